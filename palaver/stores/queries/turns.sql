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

-- name: add_toolset
INSERT INTO toolsets (owner, hash, body) VALUES (:owner, :hash, :body)
ON CONFLICT (owner, hash) DO NOTHING

-- name: toolset_of_hash
SELECT seq FROM toolsets WHERE owner = :owner AND hash = :hash

-- name: add_turn
-- Its end user is the conversation's, whoever the request names.
INSERT INTO turns (id, owner, end_user, conversation, state, lease, door, requested_model, model, parameters, tools,
                   metadata, input, instructions, parent, question, continues, head_before, gap_from, gap_to,
                   created_at, started_at, inputs, carried, asked)
VALUES (:id, :owner, (SELECT end_user FROM conversations WHERE seq = :conversation), :conversation, :state, :lease,
        :door, :requested_model, :model, :parameters, :tools, :metadata, :input, :instructions, :parent, :question, :continues, :head_before, :gap_from, :gap_to,
        :now, :started_at, :inputs, :carried, :asked)
RETURNING seq

-- name: held_turn
-- A turn under a lease: nobody else may write it.
SELECT t.seq, t.id, t.state, t.owner, t.conversation, t.question, t.head_before, t.input, t.instructions,
       t.carried, t.continues, t.gap_from, t.gap_to, t.tools, t.epoch, t.receipt, c.id AS conversation_id, i.body AS instructions_body
FROM turns t
LEFT JOIN conversations c ON c.seq = t.conversation
LEFT JOIN instructions i ON i.seq = t.instructions
WHERE t.id = :id AND t.lease = :lease AND t.state IN ('queued', 'running')

-- name: open_turns
-- What runs and waits in a conversation, in the order of admission.
SELECT t.seq, t.state, t.question, t.parent
FROM conversations c JOIN turns t ON t.conversation = c.seq AND t.state IN ('queued', 'running')
WHERE c.id = :conversation
ORDER BY t.seq

-- name: begin_turn
UPDATE turns
SET state = :state, input = NULL, instructions = :instructions, carried = :carried, parent = :parent, question = :question,
    head_before = :head_before, started_at = :now
WHERE seq = :seq

-- name: instructions_at
-- The latest turn that ended in this message, or asked it, with the instructions that turns below it take over; and the
-- message above.
SELECT m.parent, t.seq AS turn, t.carried AS instructions
FROM messages m
LEFT JOIN turns t ON t.seq = (SELECT max(x.seq) FROM turns x WHERE x.seq = m.turn OR x.question = m.seq)
WHERE m.seq = :message

-- name: instructions_of_fork
SELECT i.seq, i.body FROM conversations c JOIN instructions i ON i.seq = c.instructions
WHERE c.seq = :conversation

-- name: head_before_question
-- What was the head before a question that several turns answered: the first of them took its place.
SELECT head_before FROM turns
WHERE conversation = :conversation AND question = :question AND head_before IS NOT :question
ORDER BY seq DESC LIMIT 1

-- name: hand_head_on
-- Running turns that took the head from a question would give it back to that: now to what became of it, once
-- nobody answers it any more.
UPDATE turns SET head_before = :head
WHERE head_before = :question AND state IN ('queued', 'running') AND NOT EXISTS (
    SELECT 1 FROM turns o WHERE o.question = :question AND o.state IN ('queued', 'running') AND o.seq <> :turn
)

-- name: add_log
INSERT INTO turn_log (turn, batch, deltas) VALUES (:turn, :batch, :deltas)

-- name: log_of
SELECT deltas FROM turn_log WHERE turn = :turn ORDER BY batch

-- name: drop_log
DELETE FROM turn_log WHERE turn = :turn

-- name: end_turn
UPDATE turns
SET state = :state, lease = NULL, input = NULL, model = coalesce(:model, model), served_as = :served_as,
    tried = :tried, reply = :reply, finish_reason = :finish_reason, prompt_tokens = :prompt_tokens,
    completion_tokens = :completion_tokens, cached_tokens = :cached_tokens, reasoning_tokens = :reasoning_tokens,
    error = :error, warnings = :warnings, epoch = :epoch, receipt = :receipt, deltas = :deltas, logprobs = :logprobs, first_token_at = :first_token_at,
    first_text_at = :first_text_at, ended_at = :ended_at
WHERE seq = :seq

-- name: add_choice
INSERT INTO choices (turn, choice, reply, finish_reason, deltas, logprobs)
VALUES (:turn, :choice, :reply, :finish_reason, :deltas, :logprobs)

-- name: choices_of
-- The replies of a turn but for the first, in their order.
SELECT reply, finish_reason, deltas, logprobs FROM choices WHERE turn = :turn ORDER BY choice

-- name: replies_of_turn
-- All messages that a turn generated, tombstones too, the latest first.
SELECT seq, conversation, parent, role, deleted_at FROM messages WHERE turn = :turn ORDER BY seq DESC

-- name: orphaned_turns
-- Turns that a dead process left running.
-- Those that ran come first: what waited hangs below what they had said.
SELECT id, lease, seq FROM turns WHERE state IN ('queued', 'running') AND lease IS NOT :lease
ORDER BY state DESC, seq

-- name: turn
SELECT t.seq, t.id, c.id AS conversation, t.state, t.door, t.requested_model, t.model, t.served_as, t.tried,
       t.parameters, t.metadata, s.body AS tools, i.body AS instructions, q.id AS question, t.reply, t.gap_from,
       t.gap_to, t.finish_reason, t.prompt_tokens, t.completion_tokens, t.cached_tokens, t.reasoning_tokens,
       t.error, t.warnings, t.receipt, t.deltas, t.logprobs, t.created_at, t.first_token_at, t.ended_at,
       t.inputs, t.asked, t.input
FROM turns t
JOIN owners o ON o.seq = t.owner
LEFT JOIN conversations c ON c.seq = t.conversation
LEFT JOIN instructions i ON i.seq = t.instructions
LEFT JOIN toolsets s ON s.seq = t.tools
LEFT JOIN messages q ON q.seq = t.question
WHERE o.name = :owner AND t.id = :id

-- name: turns_of_door
-- One page of the turns that came by a door and have ended with something to show, the first one first. A reply that
-- says nothing has a reason why it ended, and one that is gone has none.
SELECT t.id
FROM turns t
JOIN owners o ON o.seq = t.owner
LEFT JOIN messages r ON r.seq = t.reply
WHERE o.name = :owner AND t.door = :door AND t.seq > :seq
  AND t.state IN ('completed', 'incomplete', 'cancelled')
  AND (:model IS NULL OR t.model = :model OR t.requested_model = :model)
  AND NOT EXISTS (
      SELECT 1 FROM json_each(:metadata) w
      WHERE NOT EXISTS (SELECT 1 FROM json_each(t.metadata) h WHERE h.key = w.key AND h.value = w.value))
  AND (CASE WHEN t.reply IS NULL THEN t.finish_reason IS NOT NULL ELSE r.deleted_at IS NULL END
       OR EXISTS (
           SELECT 1 FROM choices x LEFT JOIN messages m ON m.seq = x.reply
           WHERE x.turn = t.seq
             AND CASE WHEN x.reply IS NULL THEN x.finish_reason IS NOT NULL ELSE m.deleted_at IS NULL END))
ORDER BY t.seq
LIMIT :limit

-- name: turns_of_door_back
-- The same, the last one first.
SELECT t.id
FROM turns t
JOIN owners o ON o.seq = t.owner
LEFT JOIN messages r ON r.seq = t.reply
WHERE o.name = :owner AND t.door = :door AND t.seq < :seq
  AND t.state IN ('completed', 'incomplete', 'cancelled')
  AND (:model IS NULL OR t.model = :model OR t.requested_model = :model)
  AND NOT EXISTS (
      SELECT 1 FROM json_each(:metadata) w
      WHERE NOT EXISTS (SELECT 1 FROM json_each(t.metadata) h WHERE h.key = w.key AND h.value = w.value))
  AND (CASE WHEN t.reply IS NULL THEN t.finish_reason IS NOT NULL ELSE r.deleted_at IS NULL END
       OR EXISTS (
           SELECT 1 FROM choices x LEFT JOIN messages m ON m.seq = x.reply
           WHERE x.turn = t.seq
             AND CASE WHEN x.reply IS NULL THEN x.finish_reason IS NOT NULL ELSE m.deleted_at IS NULL END))
ORDER BY t.seq DESC
LIMIT :limit

-- name: turn_of_door
SELECT t.seq FROM turns t JOIN owners o ON o.seq = t.owner
WHERE o.name = :owner AND t.door = :door AND t.id = :id

-- name: set_turn_metadata
UPDATE turns SET metadata = :metadata
WHERE id = :id AND owner = (SELECT seq FROM owners WHERE name = :owner)

-- name: last_instructions
SELECT i.seq, i.body FROM turns t LEFT JOIN instructions i ON i.seq = t.carried
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

-- name: turn_input
-- Where the messages stand that a turn's request sent, or the raw input of one that waits.
SELECT t.question, t.inputs, t.input, t.created_at, t.gap_from, t.gap_to, q.depth, p.depth AS above
FROM turns t
JOIN owners o ON o.seq = t.owner
LEFT JOIN messages q ON q.seq = t.question
LEFT JOIN messages p ON p.seq = t.parent
WHERE o.name = :owner AND t.id = :id
