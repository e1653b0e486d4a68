-- The stateful door: what a turn was asked by it, lists of turns, titles, attachments.

ALTER TABLE turns ADD COLUMN inputs INTEGER;  -- how many messages its request sent, but for instructions
ALTER TABLE turns ADD COLUMN carried INTEGER REFERENCES instructions (seq);  -- what turns below it take over of them
ALTER TABLE turns ADD COLUMN asked TEXT;      -- JSON: what of its request its door tells again with the reply

UPDATE turns SET carried = instructions;

CREATE INDEX turns_by_carried ON turns (carried) WHERE carried IS NOT NULL;
CREATE INDEX first_messages ON messages (conversation) WHERE parent IS NULL;
CREATE INDEX turns_by_door ON turns (owner, door, seq);

ALTER TABLE conversations ADD COLUMN titled_by TEXT;  -- user or model; NULL: the first words of the first question

-- Pictures, sound and files in messages, stored once by content; a message's body has their hash.
CREATE TABLE attachments (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    owner      INTEGER NOT NULL REFERENCES owners (seq),
    hash       BLOB NOT NULL,                 -- of the bytes
    bytes      BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (owner, hash)
) STRICT;

CREATE TABLE message_attachments (
    message    INTEGER NOT NULL REFERENCES messages (seq),
    attachment INTEGER NOT NULL REFERENCES attachments (seq),
    PRIMARY KEY (message, attachment)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_attachments_by_attachment ON message_attachments (attachment);
