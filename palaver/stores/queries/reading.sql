-- name: list_conversations
SELECT c.id, c.name, c.title, c.titled_by, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.expires_at, c.window_settings, c.pinned, c.archived
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner
  AND (:end_user IS NULL OR e.name = :end_user)
  AND (:name IS NULL OR c.name = :name)
  AND (:one_shots OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
  AND (:archived OR NOT c.archived)
  AND (:only IS NOT 'tasks' OR c.one_shot)
  AND (:only IS NOT 'temporary' OR c.expires_at IS NOT NULL)
  AND (c.updated_at, c.seq) < (:updated_at, :seq)
ORDER BY c.updated_at DESC, c.seq DESC
LIMIT :limit

-- name: list_pinned
-- Those that are pinned, by an index of them alone; also one that nothing has continued: somebody wants it.
SELECT c.id, c.name, c.title, c.titled_by, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.expires_at, c.window_settings, c.pinned, c.archived
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner AND c.pinned
  AND (:end_user IS NULL OR e.name = :end_user)
  AND (:name IS NULL OR c.name = :name)
  AND (:temporary OR c.expires_at IS NULL)
  AND (:archived OR NOT c.archived)
  AND (c.updated_at, c.seq) < (:updated_at, :seq)
ORDER BY c.updated_at DESC, c.seq DESC
LIMIT :limit

-- name: list_archived
-- Likewise, of those that are archived.
SELECT c.id, c.name, c.title, c.titled_by, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.expires_at, c.window_settings, c.pinned, c.archived
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner AND c.archived
  AND (:end_user IS NULL OR e.name = :end_user)
  AND (:name IS NULL OR c.name = :name)
  AND (:temporary OR c.expires_at IS NULL)
  AND (c.updated_at, c.seq) < (:updated_at, :seq)
ORDER BY c.updated_at DESC, c.seq DESC
LIMIT :limit

-- name: conversation_cursor
SELECT c.seq, c.updated_at FROM conversations c JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND c.id = :id

-- name: find_conversation
-- By id, else by name; where an end user is named, of theirs and, by id, of nobody's. Two lookups by index: an OR of both would read them all.
SELECT c.id, c.name, c.title, c.titled_by, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.expires_at, c.window_settings, c.pinned, c.archived, c.seq AS seq, c.head AS head_seq
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE o.name = :owner AND c.seq = coalesce(
    (SELECT i.seq FROM conversations i WHERE i.id = :ref),
    (SELECT n.seq FROM conversations n
     WHERE n.owner = (SELECT seq FROM owners WHERE name = :owner) AND n.name = :ref
       AND coalesce(n.end_user, 0) = CASE WHEN :end_user IS NULL THEN 0 ELSE (
           SELECT u.seq FROM end_users u JOIN owners v ON v.seq = u.owner
           WHERE v.name = :owner AND u.name = :end_user) END))
  AND (:end_user IS NULL OR c.end_user IS NULL OR e.name = :end_user)

-- name: items_up_from
-- One page of a path, nearest first.
WITH RECURSIVE path (seq, parent, n) AS (
    SELECT seq, parent, 1 FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, path.n + 1 FROM path JOIN messages m ON m.seq = path.parent WHERE path.n < :limit
)
SELECT m.id, p.id AS parent, m.depth, m.body, m.deleted_at, t.id AS turn, t.state, t.model,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason,
       m.created_at, m.seq
FROM path
JOIN messages m ON m.seq = path.seq
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
ORDER BY path.n

-- name: items_down_to
-- One page of a path, first message first. Walks up to it, but reads the bodies of the page only.
WITH RECURSIVE path (seq, parent, depth) AS (
    SELECT seq, parent, depth FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth FROM path JOIN messages m ON m.seq = path.parent WHERE path.depth > :depth + 1
),
page AS (SELECT seq FROM path WHERE depth > :depth ORDER BY depth LIMIT :limit)
SELECT m.id, p.id AS parent, m.depth, m.body, m.deleted_at, t.id AS turn, t.state, t.model,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason,
       m.created_at, m.seq
FROM page
JOIN messages m ON m.seq = page.seq
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
ORDER BY m.depth

-- name: first_kept_since
-- The depth of the first message of a path that was kept at a time or later.
WITH RECURSIVE path (seq, parent, depth, created_at) AS (
    SELECT seq, parent, depth, created_at FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth, m.created_at FROM path JOIN messages m ON m.seq = path.parent
)
SELECT min(depth) AS depth FROM path WHERE created_at >= :at

-- name: on_path
-- The depth of a message, if it stands on the path to another.
WITH RECURSIVE path (seq, parent, depth, id) AS (
    SELECT seq, parent, depth, id FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth, m.id FROM path JOIN messages m ON m.seq = path.parent
    WHERE m.depth >= (SELECT depth FROM messages WHERE id = :id)
)
SELECT seq, parent, depth FROM path WHERE id = :id

-- name: message_in
SELECT seq, id, parent, depth, key, deleted_at, turn FROM messages WHERE conversation = :conversation AND id = :id

-- name: messages_with_ids
-- Messages of an owner, whichever conversation holds them; where an end user is named, of theirs and of nobody's.
SELECT m.id, p.id AS parent, m.depth, m.body, m.deleted_at, t.id AS turn, t.state, t.model,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason,
       m.created_at, m.seq
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.id IN (:ids) AND o.name = :owner AND (:end_user IS NULL OR c.end_user IS NULL OR e.name = :end_user)
