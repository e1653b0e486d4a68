-- name: search_messages
-- The best first. The words come before all else, and of what they find only as many rows are looked at as it takes.
-- A LIMIT within, also one of -1, has the order stay; with a `depth` the worse ones are not sorted at all.
-- (Ordered by FTS5's own `rank` this takes twice as long: it would compute that in a statement of its own.)
SELECT m.id, c.id AS conversation, m.seq, m.parent, m.depth, m.role, m.created_at, i.score
FROM (
    SELECT rowid AS seq, -bm25(message_index, 0.0, 1.0) AS score FROM message_index
    WHERE message_index MATCH :match AND rowid <= :until
    ORDER BY score DESC LIMIT :depth
) i
CROSS JOIN messages m ON m.seq = i.seq
CROSS JOIN conversations c ON c.seq = m.conversation
WHERE c.owner = :owner
  AND (:end_user IS NULL OR c.end_user = :end_user)
  AND (:role IS NULL OR m.role = :role OR (:role = 'tool' AND m.role = 'function'))
  AND (:since IS NULL OR m.created_at >= :since)
  AND (:before IS NULL OR m.created_at < :before)
  AND (:source IS NULL OR substr(c.source, 1, length(:source)) = :source)
  AND (:tasks OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
LIMIT :limit

-- name: latest_messages
SELECT m.id, c.id AS conversation, m.seq, m.parent, m.depth, m.role, m.created_at, 1.0 AS score
FROM message_index i
CROSS JOIN messages m ON m.seq = i.rowid
CROSS JOIN conversations c ON c.seq = m.conversation
WHERE i.message_index MATCH :match AND i.rowid <= :until
  AND c.owner = :owner
  AND (:end_user IS NULL OR c.end_user = :end_user)
  AND (:role IS NULL OR m.role = :role OR (:role = 'tool' AND m.role = 'function'))
  AND (:since IS NULL OR m.created_at >= :since)
  AND (:before IS NULL OR m.created_at < :before)
  AND (:source IS NULL OR substr(c.source, 1, length(:source)) = :source)
  AND (:tasks OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
ORDER BY i.rowid DESC
LIMIT :limit

-- name: search_titles
SELECT c.id AS conversation, highlight(title_index, 1, :mark, :unmark) AS title, c.updated_at, -i.rank AS score
FROM title_index i
CROSS JOIN conversations c ON c.seq = i.rowid
WHERE i.title_index MATCH :match
  AND c.owner = :owner
  AND (:end_user IS NULL OR c.end_user = :end_user)
  AND (:conversation IS NULL OR c.seq = :conversation)
  AND (:since IS NULL OR c.updated_at >= :since)
  AND (:before IS NULL OR c.updated_at < :before)
  AND (:source IS NULL OR substr(c.source, 1, length(:source)) = :source)
  AND (:tasks OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
ORDER BY i.rank
LIMIT :limit

-- name: latest_titles
SELECT c.id AS conversation, highlight(title_index, 1, :mark, :unmark) AS title, c.updated_at, 1.0 AS score
FROM title_index i
CROSS JOIN conversations c ON c.seq = i.rowid
WHERE i.title_index MATCH :match
  AND (:below IS NULL OR (c.updated_at, c.id) < (:below, :below_id))
  AND c.owner = :owner
  AND (:end_user IS NULL OR c.end_user = :end_user)
  AND (:conversation IS NULL OR c.seq = :conversation)
  AND (:since IS NULL OR c.updated_at >= :since)
  AND (:before IS NULL OR c.updated_at < :before)
  AND (:source IS NULL OR substr(c.source, 1, length(:source)) = :source)
  AND (:tasks OR NOT c.one_shot)
  AND (:temporary OR c.expires_at IS NULL)
ORDER BY c.updated_at DESC, c.id DESC
LIMIT :limit

-- name: texts_of
-- By the ids first (CROSS JOIN): from the owner on, all messages would be looked at.
SELECT m.id, i.text FROM messages m
CROSS JOIN conversations c ON c.seq = m.conversation CROSS JOIN owners o ON o.seq = c.owner
CROSS JOIN message_index i ON i.rowid = m.seq
WHERE o.name = :owner AND m.id IN (:ids)

-- name: add_part
-- Parts of texts have an index of their own, elsewhere.
INSERT INTO temp.parts (rowid, text) VALUES (:number, :text)

-- name: excerpts_of_parts
SELECT rowid AS number, snippet(parts, 1, :mark, :unmark, '…', :words) AS excerpt FROM temp.parts
WHERE parts MATCH :match

-- name: conversation_names
SELECT c.id, c.name, c.title, c.source, e.name AS end_user
FROM conversations c CROSS JOIN owners o ON o.seq = c.owner LEFT JOIN end_users e ON e.seq = c.end_user
WHERE o.name = :owner AND c.id IN (:ids)

-- name: on_path_of
-- Of these messages those on the path to another.
WITH RECURSIVE path (seq, parent, id, depth) AS (
    SELECT seq, parent, id, depth FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, m.id, m.depth FROM path JOIN messages m ON m.seq = path.parent
)
SELECT id, depth FROM path WHERE id IN (:ids)

-- name: has_other_owners
SELECT count(*) AS owners FROM (SELECT 1 FROM owners LIMIT 2)

-- name: latest_number
SELECT coalesce(max(seq), 0) AS seq FROM messages

-- name: merge_messages
-- A part of the work of having one segment again. What was deleted stands in the others, as long as there are any
-- (https://www.sqlite.org/fts5.html#the_merge_command).
INSERT INTO message_index (message_index, rank) VALUES ('merge', :pages)

-- name: merge_titles
INSERT INTO title_index (title_index, rank) VALUES ('merge', :pages)

-- name: structure_of_messages
-- The list of an index's segments stands in this row.
SELECT length(block) AS length FROM message_index_data WHERE id = 10

-- name: structure_of_titles
SELECT length(block) AS length FROM title_index_data WHERE id = 10

-- name: rebuild_messages
INSERT INTO message_index (message_index) VALUES ('rebuild')

-- name: rebuild_titles
INSERT INTO title_index (title_index) VALUES ('rebuild')

-- name: changes
SELECT total_changes() AS changes
