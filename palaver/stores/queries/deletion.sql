-- name: message_to_delete
SELECT m.seq, m.conversation, m.parent, m.role, m.turn, m.deleted_at, c.owner
FROM messages m JOIN conversations c ON c.seq = m.conversation JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND m.id = :id

-- name: turn_to_delete
SELECT t.seq, t.owner, t.conversation, t.parent, t.question, t.instructions, t.carried, t.tools, t.epoch
FROM turns t JOIN owners o ON o.seq = t.owner
WHERE o.name = :owner AND t.id = :id

-- name: message_in_the_way
-- A message with all that deleting it takes.
SELECT seq, conversation, parent, role, deleted_at FROM messages WHERE seq = :seq

-- name: conversation_to_delete
SELECT c.seq, c.owner, c.end_user FROM conversations c JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND c.id = :id

-- name: end_user_to_delete
SELECT e.seq, e.owner FROM end_users e JOIN owners o ON o.seq = e.owner
WHERE o.name = :owner AND e.name = :end_user

-- name: has_answer
SELECT 1 AS found FROM messages WHERE parent = :parent LIMIT 1

-- name: all_below
-- A message and all below it, the latest first: whatever hangs below another came after it.
WITH RECURSIVE below (seq) AS (
    SELECT seq FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq FROM below JOIN messages m ON m.parent = below.seq
)
SELECT b.seq, m.deleted_at FROM below b JOIN messages m ON m.seq = b.seq ORDER BY b.seq DESC

-- name: all_in_conversation
SELECT seq, deleted_at FROM messages WHERE conversation = :conversation ORDER BY seq DESC

-- name: open_turns_in
-- What works, or waits to, in a conversation; where it asks, and what it goes on with.
SELECT seq, state, question, continues FROM turns
WHERE conversation = :conversation AND state IN ('queued', 'running')

-- name: turns_of_messages
-- The turns that generated these messages, and those that they were the questions of.
SELECT t.seq, t.parameters, t.asked, t.instructions, t.carried, t.tools, t.epoch, t.receipt
FROM messages m JOIN turns t ON t.seq = m.turn
WHERE m.seq IN (:messages)
UNION
SELECT seq, parameters, asked, instructions, carried, tools, epoch, receipt FROM turns WHERE question IN (:messages)

-- name: turns_in_conversation
SELECT seq, instructions, carried, tools, epoch FROM turns WHERE conversation = :conversation

-- name: forget_question
UPDATE turns SET question = NULL WHERE question IN (:messages)

-- name: forget_reply
-- One of which nothing came has a reason why it ended, and one that is gone has none.
UPDATE turns SET reply = NULL, finish_reason = NULL, deltas = NULL, logprobs = NULL WHERE reply IN (:messages)

-- name: forget_choice
-- A reply that is gone leaves its number, so that those after it keep theirs.
UPDATE choices SET reply = NULL, finish_reason = NULL, deltas = NULL, logprobs = NULL WHERE reply IN (:messages)

-- name: turns_with_replies
-- Those of these turns of which a reply is left.
SELECT t.seq FROM turns t
WHERE t.seq IN (:turns)
  AND (t.reply IS NOT NULL OR EXISTS (SELECT 1 FROM choices c WHERE c.turn = t.seq AND c.reply IS NOT NULL))

-- name: forget_head_before
UPDATE turns SET head_before = NULL WHERE head_before IN (:messages)

-- name: forget_parent
UPDATE turns SET parent = NULL, gap_from = NULL, gap_to = NULL WHERE parent IN (:messages)

-- name: forget_continued
UPDATE turns SET continues = NULL WHERE conversation = :conversation AND continues IN (:messages)

-- name: forget_title
UPDATE conversations SET title = NULL, title_from = NULL, titled_by = NULL
WHERE seq = :conversation AND title_from IN (:messages)

-- name: remove_messages
DELETE FROM messages WHERE seq IN (:messages)

-- name: remove_logs
DELETE FROM turn_log WHERE turn IN (:turns)

-- name: remove_attempts
DELETE FROM attempts WHERE turn IN (:turns)

-- name: remove_choices
DELETE FROM choices WHERE turn IN (:turns)

-- name: remove_turns
DELETE FROM turns WHERE seq IN (:turns)

-- name: remove_instructions
-- Instructions that no turn and no fork has any more.
DELETE FROM instructions
WHERE seq IN (:instructions) AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.instructions = instructions.seq)
  AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.carried = instructions.seq)
  AND NOT EXISTS (SELECT 1 FROM conversations WHERE conversations.instructions = instructions.seq)

-- name: remove_toolsets
-- Tools that no turn has any more.
DELETE FROM toolsets
WHERE seq IN (:toolsets) AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.tools = toolsets.seq)

-- name: make_tombstone
UPDATE messages SET body = :body, key = :key, tail = NULL, deleted_at = :now WHERE seq = :seq

-- name: replies_with_this_in_their_tail
-- Replies whose second hash this message went into: those below it, up to where the next exchange begins.
WITH RECURSIVE exchange (seq) AS (
    SELECT m.seq FROM messages m WHERE m.parent = :seq AND m.role <> 'user'
    UNION ALL
    SELECT m.seq FROM exchange JOIN messages m ON m.parent = exchange.seq AND m.role <> 'user'
)
SELECT m.seq FROM exchange JOIN messages m ON m.seq = exchange.seq WHERE m.tail IS NOT NULL

-- name: forget_tails
UPDATE messages SET tail = NULL WHERE seq IN (:messages)

-- name: empty_turn
UPDATE turns SET parameters = :parameters, asked = :asked, instructions = carried, tools = NULL, metadata = NULL, error = NULL, tried = NULL, warnings = NULL,
                 receipt = :receipt
WHERE seq = :turn

-- name: forget_form_of_reply
-- The lengths of its deltas, and its tokens.
UPDATE turns SET deltas = NULL, logprobs = NULL WHERE reply = :seq

-- name: forget_form_of_choice
UPDATE choices SET deltas = NULL, logprobs = NULL WHERE reply = :seq

-- name: place_above
SELECT seq, parent, deleted_at FROM messages WHERE seq = :seq

-- name: put_head
-- Deleting is no use: the conversation keeps its place in lists, and its age.
UPDATE conversations SET head = :head WHERE seq = :conversation

-- name: conversation_left
SELECT c.seq, c.name, c.metadata, c.head, c.end_user,
       (SELECT max(m.seq) FROM messages m WHERE m.conversation = :conversation AND m.deleted_at IS NULL) AS newest
FROM conversations c WHERE c.seq = :conversation

-- name: remove_conversation
DELETE FROM conversations WHERE seq = :conversation RETURNING instructions

-- name: remove_idle_end_user
-- An end user of whom nothing is kept is forgotten, name and all.
DELETE FROM end_users
WHERE seq = :end_user
  AND NOT EXISTS (SELECT 1 FROM conversations WHERE end_user = :end_user)
  AND NOT EXISTS (SELECT 1 FROM turns WHERE end_user = :end_user)

-- name: conversation_ids_of_end_user
SELECT c.id FROM conversations c JOIN end_users e ON e.seq = c.end_user JOIN owners o ON o.seq = e.owner
WHERE o.name = :owner AND e.name = :end_user

-- name: conversations_of_end_user
SELECT seq, owner, end_user FROM conversations WHERE end_user = :end_user LIMIT :limit

-- name: conversations_of_owner
SELECT seq, owner, end_user FROM conversations WHERE owner = :owner LIMIT :limit

-- name: remove_end_user
DELETE FROM end_users WHERE seq = :end_user

-- name: remove_end_users_of
DELETE FROM end_users WHERE owner = :owner

-- name: remove_instructions_of
DELETE FROM instructions WHERE owner = :owner

-- name: remove_toolsets_of
DELETE FROM toolsets WHERE owner = :owner

-- name: remove_api_keys_of
DELETE FROM api_keys WHERE owner = :owner

-- name: remove_owner
DELETE FROM owners WHERE seq = :owner

-- name: aged_conversations
-- The oldest first. Where a turn runs or waits, somebody is there.
SELECT c.id, c.name, c.title, c.titled_by, e.name AS end_user, c.source, c.one_shot, h.id AS head,
       coalesce(h.depth + 1, 0) AS messages, c.metadata, c.created_at, c.updated_at,
       c.expires_at, c.window_settings, c.pinned, c.archived, c.seq, c.owner, c.end_user AS end_user_seq
FROM conversations c
JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
WHERE c.updated_at < :before AND (:owner IS NULL OR o.name = :owner)
  AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation = c.seq AND t.state IN ('queued', 'running'))
ORDER BY c.updated_at, c.seq
LIMIT :limit

-- name: count_aged
SELECT count(*) AS conversations FROM conversations c JOIN owners o ON o.seq = c.owner
WHERE c.updated_at < :before AND (:owner IS NULL OR o.name = :owner)
  AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation = c.seq AND t.state IN ('queued', 'running'))

-- name: expired_conversations
SELECT c.seq, c.owner, c.end_user FROM conversations c
WHERE c.expires_at < :now
  AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation = c.seq AND t.state IN ('queued', 'running'))
ORDER BY c.expires_at LIMIT :limit

-- name: next_expiry
-- When the next one goes. A temporary one that is spoken in stays until that has ended.
SELECT c.expires_at FROM conversations c
WHERE c.expires_at IS NOT NULL
  AND (c.keep_seconds IS NULL
       OR NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation = c.seq AND t.state IN ('queued', 'running')))
ORDER BY c.expires_at LIMIT 1

-- name: overdue_conversations
-- Those that go at a time that was set for them, which is over, and where a turn runs or waits.
SELECT o.name AS owner, c.id FROM conversations c JOIN owners o ON o.seq = c.owner
WHERE c.expires_at < :now AND c.keep_seconds IS NULL
  AND EXISTS (SELECT 1 FROM turns t WHERE t.conversation = c.seq AND t.state IN ('queued', 'running'))
ORDER BY c.expires_at

-- name: remove_old_attempts
DELETE FROM attempts
WHERE created_at < :before AND (idempotency_key IS NULL OR created_at < :before_with_key)

-- name: record_deletion
INSERT INTO deletions (owner, what, id, conversations, messages, turns, created_at)
VALUES (:owner, :what, :id, :conversations, :messages, :turns, :now)

-- name: latest_unscrubbed
-- The last deletion of which something may still stand in the files.
SELECT max(seq) AS seq FROM deletions WHERE scrubbed_at IS NULL

-- name: note_scrubbed
UPDATE deletions SET scrubbed_at = :now WHERE scrubbed_at IS NULL AND seq <= :seq
