-- name: tree_from
-- One page of a conversation's messages, in the order in which they came.
SELECT m.id, p.id AS parent, m.depth, m.body, m.deleted_at, t.id AS turn, t.state, t.model,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason,
       m.created_at, m.seq
FROM messages m
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.conversation = :conversation AND m.seq > :seq
ORDER BY m.seq
LIMIT :limit

-- name: leaves_before
-- Messages that none follows, the latest first. A tombstone with nothing below it is nobody's branch.
SELECT m.id, p.id AS parent, m.depth, m.body, m.deleted_at, t.id AS turn, t.state, t.model,
       CASE WHEN t.reply = m.seq THEN t.finish_reason ELSE x.finish_reason END AS finish_reason,
       m.created_at, m.seq
FROM messages m
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN turns t ON t.seq = m.turn
LEFT JOIN choices x ON x.reply = m.seq
WHERE m.conversation = :conversation AND m.seq < :seq AND m.deleted_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM messages f WHERE f.parent = m.seq)
ORDER BY m.seq DESC
LIMIT :limit

-- name: set_head
-- Whoever chooses a branch wants to go on with it: the conversation is no task.
UPDATE conversations SET head = :head, one_shot = 0, updated_at = :now WHERE seq = :seq

-- name: newest_below
-- A message that is no tombstone and has the highest number of those below another, itself included: it is a leaf.
WITH RECURSIVE below (seq) AS (
    SELECT seq FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq FROM below JOIN messages m ON m.parent = below.seq
)
SELECT max(m.seq) AS seq FROM below b JOIN messages m ON m.seq = b.seq WHERE m.deleted_at IS NULL

-- name: skeleton
-- All messages of a conversation without what they say, in the order in which they came.
SELECT seq, id, parent, role, deleted_at, created_at FROM messages WHERE conversation = :conversation ORDER BY seq

-- name: bodies
SELECT seq, body FROM messages WHERE seq IN (:messages)

-- name: begin_fork
-- What can be said of a fork only when its messages are there.
UPDATE conversations
SET head = :head, title = :title, title_from = :title_from, titled_by = :titled_by, instructions = :instructions
WHERE seq = :seq

-- name: add_fork
-- A conversation like another, with a name of its own. A temporary one is kept as long as the other, from now on.
INSERT INTO conversations (id, owner, end_user, name, one_shot, source, metadata, window_settings, keep_seconds,
                           expires_at, created_at, updated_at)
SELECT :id, owner, end_user, :name, 0, source, metadata, window_settings, keep_seconds, :now + keep_seconds * 1000,
       :now, :now
FROM conversations WHERE seq = :seq
RETURNING seq

-- name: fork_source
-- Whose a conversation is, what its keys start from, and its title with the message that this was made of.
SELECT c.owner, c.end_user, o.secret, e.name AS end_user_name, c.title, c.title_from,
       c.titled_by
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
WHERE c.seq = :seq

-- name: path_to
-- A message and all above it, the first message first, with all that a copy needs.
WITH RECURSIVE path (seq, parent) AS (
    SELECT seq, parent FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent FROM path JOIN messages m ON m.seq = path.parent
)
SELECT m.seq, m.role, m.body, m.key, m.deleted_at, m.created_at
FROM path JOIN messages m ON m.seq = path.seq
ORDER BY m.depth
