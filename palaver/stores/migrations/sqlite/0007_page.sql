-- What the page shows of conversations and turns: pinned ones, archived ones, how long a reply was thought about.

ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;  -- 1: lists leave it out
ALTER TABLE turns ADD COLUMN first_text_at INTEGER;  -- when the first text of the reply came that is no thinking

CREATE INDEX conversations_pinned ON conversations (owner, updated_at) WHERE pinned;
CREATE INDEX conversations_archived ON conversations (owner, updated_at) WHERE archived;
