-- name: add_embedder
INSERT INTO embedders (name, size) VALUES (:name, :size)
RETURNING seq, size

-- name: last_embedder
SELECT seq, size FROM embedders WHERE name = :name ORDER BY seq DESC LIMIT 1

-- name: embedders_of_size
SELECT seq FROM embedders WHERE name = :name AND size = :size

-- name: remove_embedder
DELETE FROM embedders WHERE seq = :embedder

-- name: other_embedders
SELECT seq FROM embedders WHERE seq <> :embedder

-- name: unembedded_messages
-- The text as it is indexed: what has none is not there, nor what is deleted.
SELECT m.seq, m.id, o.name AS owner, c.id AS conversation, substr(i.text, 1, :characters) AS text
FROM messages m
CROSS JOIN conversations c ON c.seq = m.conversation
CROSS JOIN owners o ON o.seq = c.owner
CROSS JOIN message_index i ON i.rowid = m.seq
WHERE m.seq > :above AND m.seq < :below
  AND m.role IN ('user', 'assistant') AND m.deleted_at IS NULL
  AND NOT c.one_shot AND c.expires_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM message_vectors v WHERE v.message = m.seq AND v.embedder IS :embedder)
ORDER BY m.seq DESC
LIMIT :limit

-- name: keep_vector
-- Of a message that is there: it may have gone while its vector was computed.
INSERT INTO message_vectors (message, embedder, vector)
SELECT m.seq, e.seq, :vector FROM messages m JOIN embedders e ON e.seq = :embedder
WHERE m.id = :id AND m.deleted_at IS NULL
ON CONFLICT (message, embedder) DO UPDATE SET vector = excluded.vector

-- name: copy_vectors
INSERT INTO message_vectors (message, embedder, vector)
SELECT :copy, embedder, vector FROM message_vectors WHERE message = :message

-- name: remove_vectors
DELETE FROM message_vectors WHERE message IN (:messages)

-- name: vectors_to_drop
SELECT message FROM message_vectors WHERE embedder = :embedder ORDER BY message LIMIT :limit

-- name: drop_vectors
DELETE FROM message_vectors WHERE embedder = :embedder AND message IN (:messages)

-- name: latest_vectors
-- The index has them in the order of their messages.
SELECT m.seq, v.vector
FROM message_vectors v INDEXED BY message_vectors_by_embedder
CROSS JOIN messages m ON m.seq = v.message
CROSS JOIN conversations c ON c.seq = m.conversation
WHERE v.embedder = :embedder AND v.message <= :until
  AND c.owner = :owner
  AND (:end_user IS NULL OR c.end_user = :end_user)
  AND (:role IS NULL OR m.role = :role)
  AND (:since IS NULL OR m.created_at >= :since)
  AND (:before IS NULL OR m.created_at < :before)
  AND (:source IS NULL OR substr(c.source, 1, length(:source)) = :source)
  AND (:tasks OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
ORDER BY v.message DESC
LIMIT :limit

-- name: latest_vectors_in
SELECT m.seq, v.vector
FROM messages m INDEXED BY messages_by_conversation
CROSS JOIN message_vectors v ON v.message = m.seq AND v.embedder = :embedder
WHERE m.conversation = :conversation AND m.seq <= :until
  AND (:role IS NULL OR m.role = :role)
  AND (:since IS NULL OR m.created_at >= :since)
  AND (:before IS NULL OR m.created_at < :before)
ORDER BY m.seq DESC
LIMIT :limit

-- name: vectors_of
SELECT m.seq, v.vector
FROM message_vectors v
CROSS JOIN messages m ON m.seq = v.message
CROSS JOIN conversations c ON c.seq = m.conversation
WHERE v.message IN (:numbers) AND v.embedder = :embedder AND c.owner = :owner

-- name: numbered_messages
SELECT m.id, c.id AS conversation, m.seq, m.parent, m.depth, m.role, m.created_at, 0.0 AS score
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN owners o ON o.seq = c.owner
WHERE m.seq IN (:numbers) AND o.name = :owner AND m.deleted_at IS NULL

-- name: check_vectors
-- All vectors of a message.
SELECT v.message AS seq, m.seq AS there, m.deleted_at, count(*) AS vectors, count(e.seq) AS embedders,
       coalesce(sum(length(v.vector) <> e.size), 0) AS misfits
FROM message_vectors v
LEFT JOIN messages m ON m.seq = v.message
LEFT JOIN embedders e ON e.seq = v.embedder
WHERE v.message > :after GROUP BY v.message ORDER BY v.message LIMIT :limit
