-- name: titled_by_words
-- What the title of a conversation is the first words of, where that is kept and is no task.
SELECT title_from FROM conversations
WHERE seq = :conversation AND titled_by IS NULL AND title_from IS NOT NULL AND NOT one_shot AND expires_at IS NULL

-- name: set_model_title
UPDATE conversations SET title = :title, titled_by = 'model'
WHERE seq = :conversation AND titled_by IS NULL AND title_from IS NOT NULL
  AND title_from = (SELECT seq FROM messages WHERE id = :message)
