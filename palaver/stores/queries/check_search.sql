-- name: check_message_entries
-- All messages, each with what is to stand in the index and what does.
SELECT m.seq, m.id, i.rowid AS entry, i.text AS entry_text, i.place AS entry_place,
       (SELECT t.text FROM message_texts t WHERE t.seq = m.seq) AS text,
       (SELECT t.place FROM message_texts t WHERE t.seq = m.seq) AS place
FROM messages m LEFT JOIN message_index i ON i.rowid = m.seq
WHERE m.seq > :after ORDER BY m.seq LIMIT :limit

-- name: check_message_orphans
SELECT i.rowid AS seq FROM message_index i
WHERE i.rowid > :after AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.seq = i.rowid)
ORDER BY i.rowid LIMIT :limit

-- name: check_title_entries
SELECT c.seq, c.id, i.rowid AS entry, i.text AS entry_text, i.place AS entry_place,
       (SELECT t.text FROM title_texts t WHERE t.seq = c.seq) AS text,
       (SELECT t.place FROM title_texts t WHERE t.seq = c.seq) AS place
FROM conversations c LEFT JOIN title_index i ON i.rowid = c.seq
WHERE c.seq > :after ORDER BY c.seq LIMIT :limit

-- name: check_title_orphans
SELECT i.rowid AS seq FROM title_index i
WHERE i.rowid > :after AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.seq = i.rowid)
ORDER BY i.rowid LIMIT :limit

-- name: terms_of_messages
SELECT term, doc, cnt FROM temp.terms_of_message_index WHERE term > :after ORDER BY term LIMIT :limit

-- name: terms_of_titles
SELECT term, doc, cnt FROM temp.terms_of_title_index WHERE term > :after ORDER BY term LIMIT :limit

-- name: terms_of_portion
SELECT term, doc, cnt FROM temp.terms_of_portion

-- name: texts_of_messages
-- A portion of what is indexed, into an index of its own.
INSERT INTO temp.portion (rowid, place, text)
SELECT seq, place, text FROM message_texts WHERE text <> '' AND seq > :after AND seq <= :until

-- name: texts_of_titles
INSERT INTO temp.portion (rowid, place, text)
SELECT seq, place, text FROM title_texts WHERE text <> '' AND seq > :after AND seq <= :until

-- name: empty_portion
INSERT INTO temp.portion (portion) VALUES ('delete-all')

-- name: last_message_number
SELECT coalesce(max(seq), 0) AS seq FROM messages

-- name: last_title_number
SELECT coalesce(max(seq), 0) AS seq FROM conversations
