-- name: set_metadata
UPDATE conversations SET metadata = :metadata WHERE seq = :seq

-- name: set_title
UPDATE conversations SET title = :title, title_from = :title_from, titled_by = :titled_by WHERE seq = :seq

-- name: set_marks
UPDATE conversations SET pinned = coalesce(:pinned, pinned), archived = coalesce(:archived, archived) WHERE seq = :seq

-- name: set_expiry
-- When it goes, whatever is said in it meanwhile; NULL: it is kept.
UPDATE conversations SET keep_seconds = NULL, expires_at = :expires_at WHERE seq = :seq

-- name: first_questions
-- What was asked first on the path to the head. Few of them have no words: a picture alone.
WITH RECURSIVE path (seq, parent) AS (
    SELECT m.seq, m.parent FROM conversations c JOIN messages m ON m.seq = c.head WHERE c.seq = :conversation
    UNION ALL
    SELECT m.seq, m.parent FROM path JOIN messages m ON m.seq = path.parent
)
SELECT m.seq, m.body FROM path JOIN messages m ON m.seq = path.seq
WHERE m.role = 'user' AND m.deleted_at IS NULL
ORDER BY m.depth
LIMIT 20

-- name: calls_up_from
-- Of a message and those above it, so many in all, the ones that make calls.
WITH RECURSIVE path (seq, parent, n) AS (
    SELECT seq, parent, 1 FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, path.n + 1 FROM path JOIN messages m ON m.seq = path.parent WHERE path.n < :count
)
SELECT m.body FROM path JOIN messages m ON m.seq = path.seq
WHERE m.role = 'assistant' AND (instr(m.body, '"tool_calls"') OR instr(m.body, '"function_call"'))
