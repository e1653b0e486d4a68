-- name: owner
-- An owner's number and secret.
SELECT seq, secret FROM owners WHERE name = :name

-- name: add_owner
INSERT INTO owners (name, secret, created_at) VALUES (:name, :secret, :now)
ON CONFLICT (name) DO NOTHING

-- name: end_user
SELECT seq FROM end_users WHERE owner = :owner AND name = :name

-- name: add_end_user
INSERT INTO end_users (owner, name, created_at) VALUES (:owner, :name, :now)
ON CONFLICT (owner, name) DO NOTHING

-- name: add_instructions
INSERT INTO instructions (owner, hash, body) VALUES (:owner, :hash, :body)
ON CONFLICT (owner, hash) DO NOTHING

-- name: instructions_of_hash
SELECT seq FROM instructions WHERE owner = :owner AND hash = :hash

-- name: add_turn
INSERT INTO turns (id, owner, end_user, conversation, state, lease, door, requested_model, model, parameters,
                   metadata, instructions, parent, question, head_before, gap_from, gap_to, created_at, started_at)
VALUES (:id, :owner, :end_user, :conversation, 'running', :lease, :door, :requested_model, :model, :parameters,
        :metadata, :instructions, :parent, :question, :head_before, :gap_from, :gap_to, :now, :now)

-- name: held_turn
-- A running turn under a lease: nobody else may write it.
SELECT seq, conversation, question, head_before FROM turns
WHERE id = :id AND lease = :lease AND state IN ('queued', 'running')

-- name: head_before_question
-- What was the head before a question that several turns answered: the first of them took its place.
SELECT head_before FROM turns
WHERE conversation = :conversation AND question = :question AND head_before IS NOT :question
ORDER BY seq DESC LIMIT 1

-- name: add_log
INSERT INTO turn_log (turn, batch, deltas) VALUES (:turn, :batch, :deltas)

-- name: log_of
SELECT deltas FROM turn_log WHERE turn = :turn ORDER BY batch

-- name: drop_log
DELETE FROM turn_log WHERE turn = :turn

-- name: end_turn
UPDATE turns
SET state = :state, lease = NULL, input = NULL, reply = :reply,
    finish_reason = :finish_reason, prompt_tokens = :prompt_tokens, completion_tokens = :completion_tokens,
    cached_tokens = :cached_tokens, reasoning_tokens = :reasoning_tokens, error = :error, deltas = :deltas,
    first_token_at = :first_token_at, ended_at = :now
WHERE seq = :seq

-- name: orphaned_turns
-- Turns that a dead process left running.
SELECT id, lease, seq FROM turns WHERE state IN ('queued', 'running') AND lease IS NOT :lease

-- name: turn
SELECT t.id, c.id AS conversation, t.state, t.door, t.requested_model, t.model, t.parameters, t.metadata,
       i.body AS instructions, q.id AS question, t.reply, t.gap_from, t.gap_to, t.finish_reason, t.prompt_tokens,
       t.completion_tokens, t.cached_tokens, t.reasoning_tokens, t.error, t.deltas, t.created_at,
       t.first_token_at, t.ended_at
FROM turns t
JOIN owners o ON o.seq = t.owner
LEFT JOIN conversations c ON c.seq = t.conversation
LEFT JOIN instructions i ON i.seq = t.instructions
LEFT JOIN messages q ON q.seq = t.question
WHERE o.name = :owner AND t.id = :id

-- name: last_instructions
SELECT i.body FROM turns t LEFT JOIN instructions i ON i.seq = t.instructions
WHERE t.conversation = :conversation ORDER BY t.seq DESC LIMIT 1

-- name: speaker_of_turn
-- Whose turn it is: what its keys start from. A conversation's end user, not the request's: they may differ
-- where a request names a conversation and no end user.
SELECT o.secret, e.name AS end_user
FROM turns t
JOIN owners o ON o.seq = t.owner
JOIN conversations c ON c.seq = t.conversation
LEFT JOIN end_users e ON e.seq = c.end_user
WHERE t.seq = :turn
