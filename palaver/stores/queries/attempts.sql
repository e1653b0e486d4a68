-- name: attempt_by_idempotency_key
SELECT turn, body_hash FROM attempts
WHERE owner = :owner AND idempotency_key = :idempotency_key AND created_at > :since
ORDER BY seq DESC LIMIT 1

-- name: turn_without_attempt
-- The latest turn of a request that was not claimed for this count, or a later one, yet.
SELECT turn FROM attempts
WHERE owner = :owner AND body_hash = :hash AND idempotency_key IS NULL AND created_at > :since
GROUP BY turn HAVING max(count) < :count
ORDER BY turn DESC LIMIT 1

-- name: turn_without_first_attempt
-- A turn that only repetitions have asked for, so far.
SELECT turn FROM attempts
WHERE owner = :owner AND body_hash = :hash AND idempotency_key IS NULL AND created_at > :since
GROUP BY turn HAVING min(count) > 0
ORDER BY turn LIMIT 1

-- name: turn_to_join
SELECT t.seq, t.id, t.state, t.lease, t.parent, t.question, t.continues, t.gap_from, t.gap_to,
       q.id AS question_id, c.id AS conversation
FROM turns t
LEFT JOIN conversations c ON c.seq = t.conversation
LEFT JOIN messages q ON q.seq = t.question
WHERE t.seq = :seq

-- name: turn_number
SELECT seq FROM turns WHERE owner = :owner AND id = :id

-- name: add_attempt
-- One that is there already stays: a request with the same idempotency key may come any number of times.
INSERT INTO attempts (owner, route, body_hash, idempotency_key, turn, count, created_at)
VALUES (:owner, :route, :hash, :idempotency_key, :turn, :count, :now)
ON CONFLICT (turn, count) DO NOTHING

-- name: move_attempts
UPDATE attempts SET turn = :turn WHERE turn = :old
