-- name: note_palaver
UPDATE store_info SET palaver = :palaver

-- name: palaver_of_store
SELECT palaver FROM store_info

-- name: check_messages
-- A portion of all messages, each with what its key is made of. Whatever is missing is NULL, and the row is here.
SELECT m.seq, m.id, m.conversation, m.parent, m.depth, m.role, m.body, m.key, m.tail, m.turn, m.deleted_at,
       p.conversation AS parent_conversation, p.depth AS parent_depth, p.key AS parent_key,
       p.deleted_at AS parent_deleted_at, o.secret, e.name AS end_user,
       t.conversation AS turn_conversation, t.reply IS m.seq OR EXISTS (
           SELECT 1 FROM choices x WHERE x.reply = m.seq AND x.turn = m.turn) AS is_its_turns
FROM messages m
LEFT JOIN messages p ON p.seq = m.parent
LEFT JOIN conversations c ON c.seq = m.conversation
LEFT JOIN owners o ON o.seq = c.owner
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN turns t ON t.seq = m.turn
WHERE m.seq > :after ORDER BY m.seq LIMIT :limit

-- name: check_exchange
-- What stands above a reply, nearest first.
WITH RECURSIVE path (seq, parent, n) AS (
    SELECT seq, parent, 1 FROM messages WHERE seq = :seq
    UNION ALL
    SELECT m.seq, m.parent, path.n + 1 FROM path JOIN messages m ON m.seq = path.parent WHERE path.n < :count
)
SELECT m.role, m.body, m.deleted_at FROM path JOIN messages m ON m.seq = path.seq ORDER BY path.n

-- name: check_conversations
SELECT c.seq, c.id, c.owner, c.end_user, c.head, c.title, c.title_from, c.titled_by, c.window_settings,
       e.owner AS end_user_owner,
       h.conversation AS head_conversation, f.conversation AS title_conversation, f.deleted_at AS title_deleted_at
FROM conversations c
LEFT JOIN end_users e ON e.seq = c.end_user
LEFT JOIN messages h ON h.seq = c.head
LEFT JOIN messages f ON f.seq = c.title_from
WHERE c.seq > :after ORDER BY c.seq LIMIT :limit

-- name: check_turns
SELECT t.seq, t.id, t.owner, t.end_user, t.conversation, t.state, t.lease, t.input, t.ended_at, t.instructions,
       t.tools, t.parent, t.question, t.reply, t.head_before, t.continues,
       t.epoch, t.receipt, x.id AS epoch_id, x.conversation AS epoch_conversation,
       c.owner AS conversation_owner, e.owner AS end_user_owner, i.owner AS instructions_owner, t.carried, d.owner AS carried_owner, s.owner AS tools_owner,
       p.conversation AS parent_conversation, q.conversation AS question_conversation,
       r.conversation AS reply_conversation, r.turn AS reply_turn, r.parent AS reply_parent,
       h.conversation AS head_before_conversation, n.conversation AS continues_conversation,
       (SELECT count(*) FROM turn_log l WHERE l.turn = t.seq) AS batches
FROM turns t
LEFT JOIN conversations c ON c.seq = t.conversation
LEFT JOIN end_users e ON e.seq = t.end_user
LEFT JOIN instructions i ON i.seq = t.instructions
LEFT JOIN instructions d ON d.seq = t.carried
LEFT JOIN toolsets s ON s.seq = t.tools
LEFT JOIN messages p ON p.seq = t.parent
LEFT JOIN messages q ON q.seq = t.question
LEFT JOIN messages r ON r.seq = t.reply
LEFT JOIN messages h ON h.seq = t.head_before
LEFT JOIN messages n ON n.seq = t.continues
LEFT JOIN epochs x ON x.seq = t.epoch
WHERE t.seq > :after ORDER BY t.seq LIMIT :limit

-- name: check_choices
SELECT x.seq, x.turn, x.choice, x.reply, t.id AS turn_id, t.question, t.ended_at,
       r.turn AS reply_turn, r.parent AS reply_parent
FROM choices x
LEFT JOIN turns t ON t.seq = x.turn
LEFT JOIN messages r ON r.seq = x.reply
WHERE x.seq > :after ORDER BY x.seq LIMIT :limit

-- name: check_logs
-- Text of turns that are not there.
SELECT l.turn, l.batch FROM turn_log l
WHERE (l.turn, l.batch) > (:turn, :batch) AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.seq = l.turn)
ORDER BY l.turn, l.batch LIMIT :limit

-- name: check_attempts
SELECT a.seq, a.owner, a.turn, t.owner AS turn_owner FROM attempts a LEFT JOIN turns t ON t.seq = a.turn
WHERE a.seq > :after ORDER BY a.seq LIMIT :limit

-- name: check_instructions
SELECT seq, hash, body FROM instructions WHERE seq > :after ORDER BY seq LIMIT :limit

-- name: check_toolsets
SELECT s.seq, s.hash, s.body, EXISTS (SELECT 1 FROM turns t WHERE t.tools = s.seq) AS is_used
FROM toolsets s WHERE s.seq > :after ORDER BY s.seq LIMIT :limit

-- name: check_epochs
SELECT e.seq, e.id, e.start, e.gap_from, e.gap_to, c.id AS conversation_id, e.conversation, e.summary, e.summary_version,
       (SELECT conversation FROM summaries s WHERE s.seq = e.summary) AS summary_conversation,
       (SELECT count(*) FROM turns t WHERE t.epoch = e.seq AND t.conversation = e.conversation) AS turns
FROM epochs e LEFT JOIN conversations c ON c.seq = e.conversation
WHERE e.seq > :after ORDER BY e.seq LIMIT :limit

-- name: check_counts
-- By message; a message has one count by each tokenizer, and few have several.
SELECT n.message AS seq, max(n.message || '/' || n.tokenizer) AS id, min(m.role) AS role, min(m.deleted_at) AS deleted_at,
       CASE WHEN count(t.seq) = count(*) THEN min(t.name) END AS tokenizer_name
FROM message_counts n
LEFT JOIN messages m ON m.seq = n.message
LEFT JOIN tokenizers t ON t.seq = n.tokenizer
WHERE n.message > :after GROUP BY n.message ORDER BY n.message LIMIT :limit

-- name: check_attachments
SELECT a.seq, a.hash, a.bytes, o.name AS owner_name,
       EXISTS (SELECT 1 FROM message_attachments l WHERE l.attachment = a.seq) AS is_used
FROM attachments a LEFT JOIN owners o ON o.seq = a.owner
WHERE a.seq > :after ORDER BY a.seq LIMIT :limit

-- name: check_links
-- By message, as it is; few have several.
SELECT l.message AS seq, coalesce(min(m.id), l.message) AS id, min(m.body) AS body, count(*) AS links, count(a.seq) AS there,
       min(c.owner) AS owner, min(a.owner) AS attachment_owner, count(DISTINCT a.owner) AS owners,
       group_concat(hex(a.hash)) AS hashes
FROM message_attachments l
LEFT JOIN messages m ON m.seq = l.message
LEFT JOIN conversations c ON c.seq = m.conversation
LEFT JOIN attachments a ON a.seq = l.attachment
WHERE l.message > :after GROUP BY l.message ORDER BY l.message LIMIT :limit

-- name: check_links_of
SELECT a.hash FROM message_attachments l JOIN attachments a ON a.seq = l.attachment WHERE l.message = :message
