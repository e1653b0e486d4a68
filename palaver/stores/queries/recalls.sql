-- name: add_recall
INSERT INTO recalls (turn, place, recalled_by, call, answer, said)
VALUES (:turn, :place, :by, :call, :answer, :said) RETURNING seq

-- name: add_quote
-- Of a message of the same owner that is there.
INSERT INTO recall_quotes (recall, place, message, start, stop)
SELECT :recall, :place, m.seq, :start, :stop
FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.id = :message AND m.deleted_at IS NULL AND c.owner = (SELECT owner FROM turns WHERE seq = :turn)

-- name: recalls_of_epoch
-- What the turns of an epoch recalled, once for each of their replies, with the question that it was recalled for.
SELECT r.seq, r.turn, r.recalled_by, r.call, r.answer, r.said, q.depth, m.id AS reply, m.body
FROM epochs e
JOIN turns t ON t.epoch = e.seq
JOIN recalls r ON r.turn = t.seq
JOIN messages q ON q.seq = t.question
JOIN messages m ON m.turn = t.seq
WHERE e.id = :epoch
ORDER BY q.depth, t.seq, r.place

-- name: recalls_of_reply
-- The same of the turn that a reply is of.
SELECT r.seq, r.turn, r.recalled_by, r.call, r.answer, r.said, q.depth, m.id AS reply, m.body
FROM messages m
JOIN recalls r ON r.turn = m.turn
JOIN turns t ON t.seq = m.turn
JOIN messages q ON q.seq = t.question
WHERE m.seq = :reply
ORDER BY r.place

-- name: quotes_of
SELECT q.start, q.stop, m.id, m.role, m.body, m.created_at, c.seq AS conversation, c.id AS conversation_id
FROM recall_quotes q
JOIN messages m ON m.seq = q.message
JOIN conversations c ON c.seq = m.conversation
WHERE q.recall = :recall
ORDER BY q.place

-- name: recalls_quoting
-- What quotes these messages, and where it was recalled.
SELECT DISTINCT r.seq, c.id AS conversation, o.name AS owner
FROM recall_quotes q
JOIN recalls r ON r.seq = q.recall
JOIN turns t ON t.seq = r.turn
LEFT JOIN conversations c ON c.seq = t.conversation
JOIN owners o ON o.seq = t.owner
WHERE q.message IN (:messages)

-- name: recalls_of_turns
SELECT seq FROM recalls WHERE turn IN (:turns)

-- name: remove_quotes
DELETE FROM recall_quotes WHERE recall IN (:recalls)

-- name: remove_recalls
DELETE FROM recalls WHERE seq IN (:recalls)

-- name: check_recalls
SELECT r.seq, r.turn, r.recalled_by, r.call, t.conversation AS turn_conversation, t.owner
FROM recalls r LEFT JOIN turns t ON t.seq = r.turn
WHERE r.seq > :after ORDER BY r.seq LIMIT :limit

-- name: check_quotes_of
SELECT q.start, q.stop, m.deleted_at, m.body, c.owner
FROM recall_quotes q
LEFT JOIN messages m ON m.seq = q.message
LEFT JOIN conversations c ON c.seq = m.conversation
WHERE q.recall = :recall
