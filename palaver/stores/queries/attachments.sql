-- name: link_attachment
-- That a message refers to an attachment of its owner, if that is there.
INSERT INTO message_attachments (message, attachment)
SELECT m.seq, a.seq
FROM messages m
JOIN conversations c ON c.seq = m.conversation
JOIN attachments a ON a.owner = c.owner AND a.hash = :hash
WHERE m.seq = :message

-- name: add_attachment
INSERT INTO attachments (owner, hash, bytes, created_at)
SELECT c.owner, :hash, :bytes, :now FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.seq = :message
ON CONFLICT (owner, hash) DO NOTHING

-- name: copy_links
INSERT INTO message_attachments (message, attachment)
SELECT :copy, attachment FROM message_attachments WHERE message = :message

-- name: attachments_of_messages
SELECT hash, bytes FROM attachments
WHERE seq IN (SELECT attachment FROM message_attachments WHERE message IN (:messages))

-- name: attachments_linked
SELECT DISTINCT attachment FROM message_attachments WHERE message IN (:messages)

-- name: remove_links
DELETE FROM message_attachments WHERE message IN (:messages)

-- name: remove_attachments
-- Those that no message refers to any more.
DELETE FROM attachments
WHERE seq IN (:attachments)
  AND NOT EXISTS (SELECT 1 FROM message_attachments WHERE message_attachments.attachment = attachments.seq)

-- name: remove_attachments_of
DELETE FROM attachments WHERE owner = :owner

-- name: attachment
-- With the first message that refers to it, which says what it is.
SELECT a.hash, length(a.bytes) AS size, a.created_at, m.body
FROM owners o
JOIN attachments a ON a.owner = o.seq AND a.hash = :hash
LEFT JOIN messages m ON m.seq = (SELECT min(l.message) FROM message_attachments l WHERE l.attachment = a.seq)
WHERE o.name = :owner

-- name: attachments
SELECT a.hash, a.bytes FROM owners o JOIN attachments a ON a.owner = o.seq AND a.hash IN (:hashes)
WHERE o.name = :owner
