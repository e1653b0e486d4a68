-- name: conversation_by_id
SELECT c.seq, c.id, c.end_user, e.name AS end_user_name
FROM conversations c LEFT JOIN end_users e ON e.seq = c.end_user
WHERE c.owner = :owner AND c.id = :id

-- name: conversation_with_id
SELECT seq, id FROM conversations WHERE id = :id

-- name: speaker_of_conversation
SELECT e.name AS end_user FROM conversations c LEFT JOIN end_users e ON e.seq = c.end_user WHERE c.seq = :seq

-- name: conversation_by_name
SELECT c.seq, c.id, e.name AS end_user_name FROM conversations c LEFT JOIN end_users e ON e.seq = c.end_user
WHERE c.owner = :owner AND coalesce(c.end_user, 0) = coalesce(:end_user, 0) AND c.name = :name

-- name: add_conversation
INSERT INTO conversations (id, owner, end_user, name, one_shot, source, metadata, created_at, updated_at,
                           keep_seconds, expires_at)
VALUES (:id, :owner, :end_user, :name, :one_shot, :source, :metadata, :now, :now,
        :keep_seconds, :now + :keep_seconds * 1000)
RETURNING seq

-- name: head_of
SELECT head FROM conversations WHERE seq = :seq

-- name: move_head
-- A request was threaded here: its question is the head. It stays a task only if it is asked again. A temporary one is
-- kept for longer then; not one that is deleted at a time that was set for it.
UPDATE conversations
SET head = :head, updated_at = :now, expires_at = coalesce(:now + keep_seconds * 1000, expires_at),
    one_shot = CASE WHEN :continued THEN 0 ELSE one_shot END,
    title_from = CASE WHEN title IS NULL THEN :title_from ELSE title_from END,
    title = coalesce(title, :title)
WHERE seq = :seq

-- name: move_head_from
-- Compare and set: only if nobody moved the head elsewhere meanwhile.
UPDATE conversations
SET head = :head, updated_at = :now, expires_at = coalesce(:now + keep_seconds * 1000, expires_at)
WHERE seq = :seq AND head IS :expected

-- name: give_back_head
-- A question that got no answer is not the head, unless another turn still works on an answer to it.
UPDATE conversations SET head = :head, updated_at = :now
WHERE seq = :seq AND head IS :question AND NOT EXISTS (
    SELECT 1 FROM turns WHERE state IN ('queued', 'running') AND question = :question AND seq <> :turn
)

-- name: add_message
INSERT INTO messages (id, conversation, parent, depth, role, body, key, tail, turn, created_at)
VALUES (:id, :conversation, :parent, :depth, :role, :body, :key, :tail, :turn, :now)
RETURNING seq

-- name: message
SELECT seq, conversation, parent, depth, key, body FROM messages WHERE seq = :seq

-- name: replies_with_keys
-- The deepest first, of equal depth the latest.
SELECT m.seq, c.id AS conversation, m.depth, m.key, c.head IS m.seq AS is_head
FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.turn IS NOT NULL AND m.key IN (:keys) AND c.owner = :owner
ORDER BY m.depth DESC, m.seq DESC
LIMIT :limit

-- name: replies_with_tails
SELECT m.seq, c.id AS conversation, m.depth, m.key, c.head IS m.seq AS is_head, m.tail
FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.tail IN (:tails) AND c.owner = :owner
  AND (:conversation IS NULL OR c.id = :conversation)
LIMIT :limit

-- name: nodes_in
SELECT m.seq, c.id AS conversation, m.depth, m.key, c.head IS m.seq AS is_head
FROM conversations c JOIN messages m ON m.conversation = c.seq
WHERE c.id = :conversation AND c.owner = :owner
  AND m.key IN (:keys)

-- name: up_from
-- A message and those above it, nearest first.
WITH RECURSIVE path (seq, parent, depth, key, body, n) AS (
    SELECT seq, parent, depth, key, body, 1 FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth, m.key, m.body, path.n + 1
    FROM path JOIN messages m ON m.seq = path.parent
    WHERE path.n < :count
)
SELECT seq, depth, key, body FROM path ORDER BY n

-- name: node
SELECT m.seq, c.id AS conversation, c.seq AS conversation_seq, c.end_user, m.parent, m.depth, m.key, m.role, m.body,
       m.deleted_at, m.turn, t.state, c.head IS m.seq AS is_head,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason
FROM messages m JOIN conversations c ON c.seq = m.conversation LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.seq = :seq

-- name: node_of_owner
SELECT m.seq, c.id AS conversation, c.seq AS conversation_seq, c.end_user, m.parent, m.depth, m.key, m.role, m.body,
       m.deleted_at, m.turn, t.state, c.head IS m.seq AS is_head,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason
FROM messages m JOIN conversations c ON c.seq = m.conversation LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.id = :id AND c.owner = :owner

-- name: head_node
SELECT m.seq, c.id AS conversation, c.seq AS conversation_seq, c.end_user, m.parent, m.depth, m.key, m.role, m.body,
       m.deleted_at, m.turn, t.state, c.head IS m.seq AS is_head,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason
FROM conversations c JOIN messages m ON m.seq = c.head LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE c.id = :id

-- name: child_with_key
-- The latest message right below another that has this key.
SELECT m.seq, c.id AS conversation, c.seq AS conversation_seq, c.end_user, m.parent, m.depth, m.key, m.role, m.body,
       m.deleted_at, m.turn, t.state, c.head IS m.seq AS is_head,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason
FROM messages m JOIN conversations c ON c.seq = m.conversation LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.parent = :parent AND m.key = :key
ORDER BY m.seq DESC LIMIT 1
