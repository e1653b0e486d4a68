-- name: summaries_in
-- All of a conversation, or one; those that cover most first. A stale one is not on the path to the head.
WITH RECURSIVE path (seq, parent, depth) AS (
    SELECT m.seq, m.parent, m.depth FROM conversations c JOIN messages m ON m.seq = c.head WHERE c.seq = :conversation
    UNION ALL
    SELECT m.seq, m.parent, m.depth FROM path JOIN messages m ON m.seq = path.parent
    WHERE path.depth >= (SELECT min(stop) FROM summaries WHERE conversation = :conversation)
)
SELECT s.seq, s.id, c.id AS conversation, m.id AS message, s.message AS message_seq, s.stop, s.version, s.text, s.model,
       s.is_off, s.message NOT IN (SELECT seq FROM path) AS is_stale, s.created_at, s.updated_at
FROM summaries s JOIN messages m ON m.seq = s.message JOIN conversations c ON c.seq = s.conversation
WHERE s.conversation = :conversation AND (:id IS NULL OR s.id = :id)
ORDER BY s.stop DESC, s.seq DESC

-- name: summaries_on_path
-- Those of a path that windows may show, as far up as the last ones of its conversation reach.
WITH RECURSIVE path (seq, parent, depth) AS (
    SELECT seq, parent, depth FROM messages WHERE seq = :question
    UNION ALL
    SELECT m.seq, m.parent, m.depth FROM path JOIN messages m ON m.seq = path.parent
    WHERE path.depth >= (SELECT min(stop) FROM (SELECT stop FROM summaries WHERE conversation = :conversation
                                                ORDER BY stop DESC LIMIT :limit))
)
SELECT s.seq, s.id, c.id AS conversation, m.id AS message, s.stop, s.version, s.text, s.model, s.is_off, 0 AS is_stale,
       s.created_at, s.updated_at
FROM path JOIN summaries s ON s.message = path.seq JOIN messages m ON m.seq = s.message
JOIN conversations c ON c.seq = s.conversation
WHERE s.is_off = 0
ORDER BY s.stop DESC, s.seq DESC
LIMIT :limit

-- name: summary_shown
-- The one that an epoch shows, unless it was switched off.
SELECT s.seq, s.id, c.id AS conversation, m.id AS message, s.stop, s.version, s.text, s.model, s.is_off, 0 AS is_stale,
       s.created_at, s.updated_at
FROM epochs e JOIN summaries s ON s.seq = e.summary JOIN messages m ON m.seq = s.message
JOIN conversations c ON c.seq = s.conversation
WHERE e.id = :epoch AND s.is_off = 0

-- name: add_summary
INSERT INTO summaries (id, conversation, message, stop, version, text, model, created_at, updated_at)
SELECT :id, conversation, seq, depth + 1, 1, :text, :model, :now, :now FROM messages WHERE seq = :message

-- name: set_summary_text
UPDATE summaries SET text = :text, model = :model, version = version + 1, updated_at = :now WHERE seq = :seq

-- name: switch_summary
UPDATE summaries SET is_off = :is_off, updated_at = :now WHERE seq = :seq AND is_off <> :is_off

-- name: living_on_path
-- How many messages of the path to one are not deleted.
WITH RECURSIVE path (seq, parent) AS (
    SELECT seq, parent FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent FROM path JOIN messages m ON m.seq = path.parent
)
SELECT count(*) AS living FROM path JOIN messages m ON m.seq = path.seq WHERE m.deleted_at IS NULL

-- name: summaries_of_messages
-- Those that end in one of these messages.
SELECT seq FROM summaries WHERE message IN (:messages)

-- name: summaries_over
-- Those that a message is covered by: it is on the path to theirs.
WITH RECURSIVE above (summary, seq, parent, depth) AS (
    SELECT s.seq, m.seq, m.parent, m.depth FROM summaries s JOIN messages m ON m.seq = s.message
    WHERE s.conversation = :conversation AND s.stop > (SELECT depth FROM messages WHERE seq = :message)
    UNION ALL
    SELECT above.summary, m.seq, m.parent, m.depth FROM above JOIN messages m ON m.seq = above.parent
    WHERE above.depth > (SELECT depth FROM messages WHERE seq = :message)
)
SELECT summary AS seq FROM above WHERE seq = :message

-- name: forget_summary
-- The version stays, and says that there was one.
UPDATE epochs SET summary = NULL WHERE summary IN (:summaries)

-- name: remove_summaries
DELETE FROM summaries WHERE seq IN (:summaries)

-- name: summary_to_delete
SELECT s.seq, c.owner FROM summaries s JOIN conversations c ON c.seq = s.conversation
WHERE s.conversation = :conversation AND s.id = :id

-- name: summaries_made_of
-- Those that may hold what one says: they cover more of its path, and were written since.
WITH RECURSIVE above (summary, seq, parent, depth) AS (
    SELECT s.seq, m.seq, m.parent, m.depth
    FROM summaries one JOIN summaries s ON s.conversation = one.conversation JOIN messages m ON m.seq = s.message
    WHERE one.seq = :seq AND s.stop > one.stop
      AND (s.created_at >= one.created_at OR (s.model IS NOT NULL AND s.updated_at >= one.created_at))
    UNION ALL
    SELECT above.summary, m.seq, m.parent, m.depth FROM above JOIN messages m ON m.seq = above.parent
    WHERE above.depth >= (SELECT stop FROM summaries WHERE seq = :seq)
)
SELECT summary AS seq FROM above WHERE seq = (SELECT message FROM summaries WHERE seq = :seq)

-- name: check_summaries
SELECT s.seq, s.id, s.conversation, s.stop, s.version, s.text, s.is_off, s.created_at, m.seq AS message,
       m.conversation AS message_conversation, m.depth
FROM summaries s LEFT JOIN messages m ON m.seq = s.message
WHERE s.seq > :after ORDER BY s.seq LIMIT :limit

-- name: deleted_since
-- How many messages of the path to one were deleted later.
WITH RECURSIVE path (seq, parent) AS (
    SELECT seq, parent FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent FROM path JOIN messages m ON m.seq = path.parent
)
SELECT count(*) AS deleted FROM path JOIN messages m ON m.seq = path.seq WHERE m.deleted_at > :created_at
