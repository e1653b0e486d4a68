-- name: steps
-- The path to a message from a depth on, the first message first.
WITH RECURSIVE path (seq, parent, depth) AS (
    SELECT seq, parent, depth FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth FROM path JOIN messages m ON m.seq = path.parent WHERE path.depth > :since
)
SELECT m.seq, m.id, m.depth, m.body, m.deleted_at FROM path JOIN messages m ON m.seq = path.seq
WHERE m.depth >= :since
ORDER BY m.depth

-- name: turn_above
-- The nearest turn on the path to a message that has an epoch, with that.
WITH RECURSIVE path (seq, parent, epoch) AS (
    SELECT m.seq, m.parent, t.epoch FROM messages m LEFT JOIN turns t ON t.seq = m.turn WHERE m.seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, t.epoch
    FROM path JOIN messages m ON m.seq = path.parent LEFT JOIN turns t ON t.seq = m.turn
    WHERE path.epoch IS NULL
)
SELECT t.instructions, t.tools, t.prompt_tokens, t.completion_tokens, t.receipt, coalesce(q.depth, -1) AS asked,
       t.id AS turn, e.id, e.model, e.reason, e.start, e.gap_from, e.gap_to, e.began_at,
       e.summary_version, e.summary_failed, s.id AS summary_id, s.stop AS summary_stop
FROM path
JOIN messages m ON m.seq = path.seq
JOIN turns t ON t.seq = m.turn
JOIN epochs e ON e.seq = path.epoch
LEFT JOIN summaries s ON s.seq = e.summary
LEFT JOIN messages q ON q.seq = t.question
WHERE path.epoch IS NOT NULL

-- name: turn_beside
-- The latest other turn with an epoch that answered the same message, with that.
SELECT t.instructions, t.tools, t.prompt_tokens, t.completion_tokens, t.receipt, coalesce(q.depth, -1) AS asked,
       t.id AS turn, e.id, e.model, e.reason, e.start, e.gap_from, e.gap_to, e.began_at,
       e.summary_version, e.summary_failed, s.id AS summary_id, s.stop AS summary_stop
FROM turns t JOIN epochs e ON e.seq = t.epoch LEFT JOIN messages q ON q.seq = t.question
LEFT JOIN summaries s ON s.seq = e.summary
WHERE t.question = :question AND t.seq IS NOT :turn
ORDER BY t.seq DESC LIMIT 1

-- name: window_settings_of
SELECT window_settings FROM conversations WHERE seq = :seq

-- name: set_window_settings
UPDATE conversations SET window_settings = :settings WHERE seq = :seq

-- name: add_epoch
INSERT INTO epochs (id, conversation, model, reason, start, gap_from, gap_to, began_at, summary, summary_version,
                    summary_failed)
VALUES (:id, :conversation, :model, :reason, :start, :gap_from, :gap_to, :began_at,
        (SELECT seq FROM summaries WHERE id = :summary AND conversation = :conversation), :summary_version,
        :summary_failed)
ON CONFLICT (id) DO NOTHING

-- name: epoch_with_id
SELECT seq FROM epochs WHERE id = :id AND conversation = :conversation

-- name: note_window
UPDATE turns SET epoch = :epoch, receipt = :receipt WHERE seq = :turn

-- name: remove_epochs
-- Epochs that no turn has any more.
DELETE FROM epochs
WHERE seq IN (:epochs) AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.epoch = epochs.seq)

-- name: epoch_cursor
SELECT seq FROM epochs WHERE conversation = :conversation AND id = :id

-- name: epochs_before
-- The latest first, each with the turns that it has.
SELECT e.id, e.model, e.reason, e.start, e.gap_from, e.gap_to, e.began_at,
       e.summary_version, e.summary_failed, s.id AS summary_id, s.stop AS summary_stop,
       (SELECT count(*) FROM turns t WHERE t.epoch = e.seq) AS turns,
       (SELECT t.id FROM turns t WHERE t.epoch = e.seq ORDER BY t.seq LIMIT 1) AS first_turn
FROM epochs e LEFT JOIN summaries s ON s.seq = e.summary
WHERE e.conversation = :conversation AND e.seq < :seq
ORDER BY e.seq DESC
LIMIT :limit

-- name: owned_message
SELECT m.seq, m.conversation FROM messages m JOIN conversations c ON c.seq = m.conversation JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND m.id = :id

-- name: tokenizer
SELECT seq FROM tokenizers WHERE name = :name

-- name: add_tokenizer
INSERT INTO tokenizers (name) VALUES (:name) ON CONFLICT (name) DO NOTHING

-- name: counts_of
SELECT m.id, n.tokens
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN owners o ON o.seq = c.owner
JOIN message_counts n ON n.message = m.seq AND n.tokenizer = (SELECT seq FROM tokenizers WHERE name = :tokenizer)
WHERE o.name = :owner AND m.id IN (:messages)

-- name: keep_count
-- Of a message that is there and says something.
INSERT INTO message_counts (message, tokenizer, tokens)
SELECT m.seq, :tokenizer, :tokens
FROM messages m JOIN conversations c ON c.seq = m.conversation JOIN owners o ON o.seq = c.owner
WHERE o.name = :owner AND m.id = :message AND m.deleted_at IS NULL
ON CONFLICT (message, tokenizer) DO UPDATE SET tokens = excluded.tokens

-- name: remove_counts
DELETE FROM message_counts WHERE message IN (:messages)

-- name: instructions_body
SELECT body FROM instructions WHERE seq = :seq

-- name: first_messages
-- Two at most, those that speak first before others.
SELECT seq, role FROM messages WHERE conversation = :conversation AND parent IS NULL
ORDER BY role IN ('system', 'developer') DESC LIMIT 2

-- name: messages_below
-- The same below another.
SELECT seq, role FROM messages WHERE parent = :parent ORDER BY role IN ('system', 'developer') DESC LIMIT 2

-- name: opening_of_path
-- The messages of the path to another that only system and developer messages stand above, the first message first.
WITH RECURSIVE path (seq, parent, depth, role) AS (
    SELECT seq, parent, depth, role FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.depth, m.role FROM path JOIN messages m ON m.seq = path.parent
)
SELECT seq FROM path
WHERE depth < (SELECT min(depth) FROM (SELECT depth FROM path WHERE role NOT IN ('system', 'developer')
                                       UNION ALL SELECT max(depth) + 1 FROM path))
ORDER BY depth
