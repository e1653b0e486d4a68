-- name: list_conversations
SELECT c.id, c.name, c.title, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner
  AND (:end_user IS NULL OR e.name = :end_user)
  AND (:name IS NULL OR c.name = :name)
  AND (:one_shots OR NOT c.one_shot)
  AND (:updated_at IS NULL OR (c.updated_at, c.seq) < (:updated_at, :seq))
ORDER BY c.updated_at DESC, c.seq DESC
LIMIT :limit

-- name: conversation_cursor
SELECT c.seq, c.updated_at FROM conversations c JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND c.id = :id

-- name: find_conversation
SELECT c.id, c.name, c.title, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.seq AS seq, c.head AS head_seq
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner AND (c.id = :ref OR (c.name = :ref AND e.name IS :end_user))
ORDER BY c.id = :ref DESC
LIMIT 1

-- name: message_by_id
SELECT m.seq, m.parent FROM messages m WHERE m.id = :id AND m.conversation = :conversation

-- name: items_up_from
-- One page of a path, nearest first.
WITH RECURSIVE path (seq, parent, n) AS (
    SELECT seq, parent, 1 FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, path.n + 1 FROM path JOIN messages m ON m.seq = path.parent WHERE path.n < :limit
)
SELECT m.id, p.id AS parent, m.depth, m.body, t.id AS turn, t.state, t.model, m.created_at, m.seq
FROM path
JOIN messages m ON m.seq = path.seq
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
ORDER BY path.n

-- name: items_down_to
-- One page of a path, first message first.
WITH RECURSIVE path (seq, parent) AS (
    SELECT seq, parent FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent FROM path JOIN messages m ON m.seq = path.parent
)
SELECT m.id, p.id AS parent, m.depth, m.body, t.id AS turn, t.state, t.model, m.created_at, m.seq
FROM path
JOIN messages m ON m.seq = path.seq
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
WHERE m.depth > :depth
ORDER BY m.depth
LIMIT :limit

-- name: on_path
-- The depth of a message, if it stands on the path to another.
WITH RECURSIVE path (seq, parent, depth, id) AS (
    SELECT seq, parent, depth, id FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth, m.id FROM path JOIN messages m ON m.seq = path.parent
)
SELECT seq, parent, depth FROM path WHERE id = :id
