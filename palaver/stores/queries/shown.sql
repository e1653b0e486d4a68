-- name: turns_not_ended
SELECT t.id, t.state, q.id AS question
FROM turns t LEFT JOIN messages q ON q.seq = t.question
WHERE t.conversation = :conversation AND t.state IN ('queued', 'running')
ORDER BY t.seq

-- name: siblings_below
-- The messages beside these, which are no first ones: below the same message, and of a role that is like theirs.
SELECT m.id AS beside, s.id
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN owners o ON o.seq = c.owner
JOIN messages s ON s.parent = m.parent
WHERE m.id IN (:ids) AND o.name = :owner AND (s.deleted_at IS NULL OR s.seq = m.seq)
  AND CASE s.role WHEN 'function' THEN 'tool' WHEN 'developer' THEN 'system' ELSE s.role END
    = CASE m.role WHEN 'function' THEN 'tool' WHEN 'developer' THEN 'system' ELSE m.role END
ORDER BY s.seq

-- name: siblings_of_first
-- Likewise, of those that are the first ones of a conversation.
SELECT m.id AS beside, s.id
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN owners o ON o.seq = c.owner
JOIN messages s ON s.conversation = m.conversation AND s.parent IS NULL
WHERE m.id IN (:ids) AND m.parent IS NULL AND o.name = :owner AND (s.deleted_at IS NULL OR s.seq = m.seq)
  AND CASE s.role WHEN 'function' THEN 'tool' WHEN 'developer' THEN 'system' ELSE s.role END
    = CASE m.role WHEN 'function' THEN 'tool' WHEN 'developer' THEN 'system' ELSE m.role END
ORDER BY s.seq

-- name: figures_of_turns
SELECT t.id, t.prompt_tokens, t.completion_tokens, t.cached_tokens, t.reasoning_tokens, t.started_at, t.first_token_at,
       t.first_text_at, t.ended_at
FROM turns t JOIN owners o ON o.seq = t.owner
WHERE t.id IN (:ids) AND o.name = :owner
