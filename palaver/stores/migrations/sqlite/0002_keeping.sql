-- Keeping and letting go: deletion, temporary conversations, continued replies, API keys, repeated requests.

ALTER TABLE conversations ADD COLUMN title_from INTEGER;  -- the message (seq) that the title was made of
ALTER TABLE conversations ADD COLUMN keep_seconds INTEGER;  -- a temporary one: kept so long after its last turn
ALTER TABLE conversations ADD COLUMN expires_at INTEGER;  -- when a temporary one goes; NULL for those that stay
ALTER TABLE conversations ADD COLUMN instructions INTEGER REFERENCES instructions (seq);  -- a fork's, until a turn's
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;  -- a tombstone: its body is a role only, its key is empty
ALTER TABLE turns ADD COLUMN continues INTEGER;  -- the message (seq) whose text its reply begins with

-- The title was made of the first user message with words, which is the first one nearly always.
UPDATE conversations SET title_from = (
    SELECT m.seq FROM messages m WHERE m.conversation = conversations.seq AND m.role = 'user' ORDER BY m.seq LIMIT 1
) WHERE title IS NOT NULL;

CREATE INDEX conversations_by_end_user ON conversations (end_user) WHERE end_user IS NOT NULL;
CREATE INDEX conversations_by_instructions ON conversations (instructions) WHERE instructions IS NOT NULL;
CREATE INDEX conversations_by_expiry ON conversations (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX conversations_by_age ON conversations (updated_at);
CREATE INDEX messages_by_conversation ON messages (conversation, seq);
CREATE INDEX messages_by_turn ON messages (turn) WHERE turn IS NOT NULL;
CREATE INDEX turns_open ON turns (conversation) WHERE state IN ('queued', 'running');
CREATE INDEX turns_by_question ON turns (question) WHERE question IS NOT NULL;
CREATE INDEX turns_by_reply ON turns (reply) WHERE reply IS NOT NULL;
CREATE INDEX turns_by_parent ON turns (parent) WHERE parent IS NOT NULL;
CREATE INDEX turns_by_head_before ON turns (head_before) WHERE head_before IS NOT NULL;
CREATE INDEX turns_by_instructions ON turns (instructions) WHERE instructions IS NOT NULL;
CREATE INDEX turns_by_end_user ON turns (end_user) WHERE end_user IS NOT NULL;
CREATE INDEX attempts_by_idempotency_key ON attempts (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE api_keys (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,     -- key_…
    owner               INTEGER NOT NULL REFERENCES owners (seq),
    name                TEXT NOT NULL,
    hash                BLOB NOT NULL UNIQUE,     -- of the key; the key itself is nowhere
    hint                TEXT NOT NULL,            -- its last characters
    scopes              TEXT NOT NULL,            -- JSON array
    requests_per_minute INTEGER,
    tokens_per_minute   INTEGER,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER,
    revoked_at          INTEGER,
    last_used_at        INTEGER
) STRICT;
CREATE INDEX api_keys_by_owner ON api_keys (owner);

-- One row from the first API key on: then a key is asked for, also when all of them are revoked or gone.
CREATE TABLE access (
    seq       INTEGER PRIMARY KEY CHECK (seq = 1),
    closed_at INTEGER NOT NULL
) STRICT;

-- What was deleted, when and how much of it. Nothing of what it was.
CREATE TABLE deletions (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    owner         INTEGER,                        -- its number: the owner may be gone
    what          TEXT NOT NULL,                  -- message, branch, conversation, end_user, owner, age, expiry
    id            TEXT,                           -- of the message or conversation
    conversations INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    turns         INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    scrubbed_at   INTEGER                         -- when its last bytes were gone from the files
) STRICT;
CREATE INDEX deletions_unscrubbed ON deletions (seq) WHERE scrubbed_at IS NULL;

-- One row: who has brought this file to its version, so that an older palaver can say which one to install.
CREATE TABLE store_info (
    palaver TEXT NOT NULL                         -- its version
) STRICT;
INSERT INTO store_info (palaver) VALUES ('');
