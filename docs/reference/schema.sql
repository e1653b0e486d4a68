-- Written by `make docs`. Do not edit.

CREATE TABLE access (
    seq       INTEGER PRIMARY KEY CHECK (seq = 1),
    closed_at INTEGER NOT NULL
) STRICT;

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
, window_settings TEXT) STRICT;

CREATE INDEX api_keys_by_owner ON api_keys (owner);

CREATE TABLE attachments (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    owner      INTEGER NOT NULL REFERENCES owners (seq),
    hash       BLOB NOT NULL,                 -- of the bytes
    bytes      BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (owner, hash)
) STRICT;

CREATE TABLE attempts (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    owner           INTEGER NOT NULL REFERENCES owners (seq),
    route           TEXT NOT NULL,
    body_hash       BLOB NOT NULL,          -- keyed with the owner's secret
    idempotency_key TEXT,
    turn            INTEGER NOT NULL REFERENCES turns (seq),
    count           INTEGER NOT NULL,       -- x-stainless-retry-count
    created_at      INTEGER NOT NULL,
    UNIQUE (turn, count)
) STRICT;

CREATE INDEX attempts_by_age ON attempts (created_at);

CREATE INDEX attempts_by_body ON attempts (owner, body_hash);

CREATE INDEX attempts_by_idempotency_key ON attempts (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE choices (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    turn          INTEGER NOT NULL REFERENCES turns (seq),
    choice        INTEGER NOT NULL,           -- 1, 2, …
    reply         INTEGER REFERENCES messages (seq),  -- NULL where nothing came of it, or it is gone
    finish_reason TEXT,
    deltas        TEXT,                       -- JSON: lengths of its deltas, as those of a turn
    logprobs      TEXT,                       -- JSON: of its tokens
    UNIQUE (turn, choice)
) STRICT;

CREATE INDEX choices_by_reply ON choices (reply) WHERE reply IS NOT NULL;

CREATE TABLE conversations (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,       -- conv_…
    owner       INTEGER NOT NULL REFERENCES owners (seq),
    end_user    INTEGER REFERENCES end_users (seq),
    name        TEXT,                       -- given by a client or user; unique within owner and end user
    title       TEXT,                       -- the first words of the first user message
    head        INTEGER REFERENCES messages (seq),
    one_shot    INTEGER NOT NULL,           -- 1 until something continues it: hidden from lists
    source      TEXT,                       -- the program that began it, from its User-Agent
    metadata    TEXT,                       -- JSON object of strings
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
, title_from INTEGER, keep_seconds INTEGER, expires_at INTEGER, instructions INTEGER REFERENCES instructions (seq), window_settings TEXT, titled_by TEXT, pinned INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TRIGGER title_added AFTER INSERT ON conversations WHEN new.title IS NOT NULL BEGIN
    INSERT INTO title_index (rowid, place, text)
    SELECT seq, place, text FROM title_texts WHERE seq = new.seq AND text <> '';
END;

CREATE TRIGGER title_changed AFTER UPDATE OF title ON conversations WHEN new.title IS NOT old.title BEGIN
    DELETE FROM title_index WHERE rowid = old.seq;
    INSERT INTO title_index (rowid, place, text)
    SELECT seq, place, text FROM title_texts WHERE seq = new.seq AND text <> '';
END;

CREATE TRIGGER title_removed AFTER DELETE ON conversations WHEN old.title IS NOT NULL BEGIN
    DELETE FROM title_index WHERE rowid = old.seq;
END;

CREATE INDEX conversations_archived ON conversations (owner, updated_at) WHERE archived;

CREATE INDEX conversations_by_age ON conversations (updated_at);

CREATE INDEX conversations_by_end_user ON conversations (end_user) WHERE end_user IS NOT NULL;

CREATE INDEX conversations_by_expiry ON conversations (expires_at) WHERE expires_at IS NOT NULL;

CREATE INDEX conversations_by_head ON conversations (head);

CREATE INDEX conversations_by_instructions ON conversations (instructions) WHERE instructions IS NOT NULL;

CREATE UNIQUE INDEX conversations_by_name ON conversations (owner, coalesce(end_user, 0), name)
    WHERE name IS NOT NULL;

CREATE INDEX conversations_by_update ON conversations (owner, updated_at);

CREATE INDEX conversations_pinned ON conversations (owner, updated_at) WHERE pinned;

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

CREATE TABLE embedders (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (name, size)
) STRICT;

CREATE TABLE end_users (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    owner       INTEGER NOT NULL REFERENCES owners (seq),
    name        TEXT NOT NULL,              -- as the request named them
    created_at  INTEGER NOT NULL,
    UNIQUE (owner, name)
) STRICT;

CREATE TABLE epochs (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,        -- epoch_…
    conversation INTEGER NOT NULL REFERENCES conversations (seq),
    model        TEXT NOT NULL,               -- what answers; an epoch is of one model
    reason       TEXT NOT NULL,               -- why it began: start, overflow, model, …
    start        INTEGER NOT NULL,            -- the depth of the first message shown
    gap_from     INTEGER,                     -- depths after it that are not shown: from,
    gap_to       INTEGER,                     -- up to, excluded
    began_at     INTEGER NOT NULL
, summary INTEGER REFERENCES summaries (seq), summary_version INTEGER, summary_failed TEXT) STRICT;

CREATE INDEX epochs_by_conversation ON epochs (conversation, seq);

CREATE INDEX epochs_by_summary ON epochs (summary) WHERE summary IS NOT NULL;

CREATE TABLE instructions (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    owner  INTEGER NOT NULL REFERENCES owners (seq),
    hash   BLOB NOT NULL,
    body   TEXT NOT NULL,                   -- JSON: [{"at": messages before it, "message": {…}}, …]
    UNIQUE (owner, hash)
) STRICT;

CREATE TABLE message_attachments (
    message    INTEGER NOT NULL REFERENCES messages (seq),
    attachment INTEGER NOT NULL REFERENCES attachments (seq),
    PRIMARY KEY (message, attachment)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_attachments_by_attachment ON message_attachments (attachment);

CREATE TABLE message_counts (
    message   INTEGER NOT NULL REFERENCES messages (seq),
    tokenizer INTEGER NOT NULL REFERENCES tokenizers (seq),
    tokens    INTEGER NOT NULL,
    PRIMARY KEY (message, tokenizer)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE message_index USING fts5 (place, text, tokenize = 'porter unicode61 remove_diacritics 2');

CREATE VIEW message_texts AS
SELECT m.seq, 'o' || c.owner || coalesce(' u' || c.end_user, '') || ' c' || c.seq AS place,
    searchable(CAST(m.body AS BLOB)) AS text
FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.deleted_at IS NULL;

CREATE TABLE message_vectors (
    message  INTEGER NOT NULL REFERENCES messages (seq),
    embedder INTEGER NOT NULL REFERENCES embedders (seq),
    vector   BLOB NOT NULL,                   -- of length 1, in signed bytes: 127 stands for 1
    PRIMARY KEY (message, embedder)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_vectors_by_embedder ON message_vectors (embedder);

CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,      -- msg_…
    conversation INTEGER NOT NULL REFERENCES conversations (seq),
    parent       INTEGER REFERENCES messages (seq),
    depth        INTEGER NOT NULL,          -- 0 for a first message
    role         TEXT NOT NULL,
    body         TEXT NOT NULL,             -- JSON: the message
    key          BLOB NOT NULL,             -- the hash of its path's content; not unique
    tail         BLOB,                      -- the hash of the exchange it ends; generated replies only
    turn         INTEGER REFERENCES turns (seq),  -- the turn that generated it; NULL for what a client sent
    created_at   INTEGER NOT NULL
, deleted_at INTEGER) STRICT;

CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    INSERT INTO message_index (rowid, place, text)
    SELECT seq, place, text FROM message_texts WHERE seq = new.seq AND text <> '';
END;

CREATE TRIGGER message_changed AFTER UPDATE OF body, deleted_at ON messages BEGIN
    DELETE FROM message_index WHERE rowid = old.seq;
    INSERT INTO message_index (rowid, place, text)
    SELECT seq, place, text FROM message_texts WHERE seq = new.seq AND text <> '';
END;

CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
    DELETE FROM message_index WHERE rowid = old.seq;
END;

CREATE INDEX first_messages ON messages (conversation) WHERE parent IS NULL;

CREATE INDEX messages_by_conversation ON messages (conversation, seq);

CREATE INDEX messages_by_parent ON messages (parent);

CREATE INDEX messages_by_place ON messages (conversation, key);

CREATE INDEX messages_by_turn ON messages (turn) WHERE turn IS NOT NULL;

CREATE INDEX replies_by_key ON messages (key) WHERE turn IS NOT NULL;

CREATE INDEX replies_by_tail ON messages (tail) WHERE tail IS NOT NULL;

CREATE TABLE owners (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE,
    secret      BLOB NOT NULL,              -- where the keys of this owner's messages start
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE recall_quotes (
    recall  INTEGER NOT NULL REFERENCES recalls (seq),
    place   INTEGER NOT NULL,                 -- 0, 1, …
    message INTEGER NOT NULL REFERENCES messages (seq),
    start   INTEGER NOT NULL,                 -- characters of its text: from,
    stop    INTEGER NOT NULL,                 -- up to, excluded
    PRIMARY KEY (recall, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX recall_quotes_by_message ON recall_quotes (message);

CREATE TABLE recalls (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    turn       INTEGER NOT NULL REFERENCES turns (seq),
    place      INTEGER NOT NULL,              -- 0, 1, …
    recalled_by TEXT NOT NULL,                -- tool, setting, user
    call       TEXT,                          -- JSON: the model's call, as its prompt shows it; only of tool
    answer     TEXT,                          -- what that got where nothing could be quoted
    said       INTEGER NOT NULL,              -- characters of the reply before the call, since the one before
    UNIQUE (turn, place)
) STRICT;

CREATE TABLE store_info (
    palaver TEXT NOT NULL                         -- its version
) STRICT;

CREATE TABLE summaries (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,        -- sum_…
    conversation INTEGER NOT NULL REFERENCES conversations (seq),
    message      INTEGER NOT NULL REFERENCES messages (seq),  -- the last one that it covers
    stop         INTEGER NOT NULL,            -- the depth after that
    version      INTEGER NOT NULL,            -- 1, 2, …: one more with each change of its text
    text         TEXT NOT NULL,
    model        TEXT,                        -- what wrote it; NULL for a person
    is_off       INTEGER NOT NULL DEFAULT 0,  -- 1: no window shows it
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX summaries_by_conversation ON summaries (conversation, stop);

CREATE INDEX summaries_by_message ON summaries (message);

CREATE VIRTUAL TABLE title_index USING fts5 (place, text, tokenize = 'porter unicode61 remove_diacritics 2');

CREATE VIEW title_texts AS
SELECT seq, 'o' || owner || coalesce(' u' || end_user, '') AS place, spaced(CAST(title AS BLOB)) AS text
FROM conversations
WHERE title IS NOT NULL;

CREATE TABLE tokenizers (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE toolsets (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    owner  INTEGER NOT NULL REFERENCES owners (seq),
    hash   BLOB NOT NULL,
    body   TEXT NOT NULL,                     -- JSON: [{"name", "description", "parameters", "strict"}, …]
    UNIQUE (owner, hash)
) STRICT;

CREATE TABLE turn_log (
    turn    INTEGER NOT NULL REFERENCES turns (seq),
    batch   INTEGER NOT NULL,
    deltas  TEXT NOT NULL,                  -- JSON: [["content", text], …]
    PRIMARY KEY (turn, batch)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT NOT NULL UNIQUE, -- turn_…, shown as chatcmpl-… or resp_…
    owner             INTEGER NOT NULL REFERENCES owners (seq),
    end_user          INTEGER REFERENCES end_users (seq),
    conversation      INTEGER REFERENCES conversations (seq),
    state             TEXT NOT NULL,
    lease             TEXT,                 -- who works on it; NULL once it has ended
    door              TEXT NOT NULL,        -- the API it came by
    requested_model   TEXT NOT NULL,
    model             TEXT NOT NULL,        -- what answers
    parameters        TEXT,                 -- JSON: how the reply is drawn
    metadata          TEXT,                 -- JSON object of strings
    input             TEXT,                 -- JSON: the raw input of a queued turn; NULL once it has begun
    instructions      INTEGER REFERENCES instructions (seq),
    parent            INTEGER REFERENCES messages (seq),  -- the message its new input hangs below
    question          INTEGER REFERENCES messages (seq),  -- the message it answers
    reply             INTEGER REFERENCES messages (seq),
    head_before       INTEGER REFERENCES messages (seq),  -- what was the head; is again if the turn fails
    gap_from          INTEGER,              -- depths the client left out of its history: from,
    gap_to            INTEGER,              -- up to, excluded
    finish_reason     TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cached_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    error             TEXT,                 -- JSON: {"code", "message"}
    deltas            TEXT,                 -- JSON: lengths of the reply's deltas; reasoning negative
    created_at        INTEGER NOT NULL,
    started_at        INTEGER,
    first_token_at    INTEGER,
    ended_at          INTEGER
, continues INTEGER, tools INTEGER REFERENCES toolsets (seq), served_as TEXT, tried TEXT, warnings TEXT, logprobs TEXT, epoch INTEGER REFERENCES epochs (seq), receipt TEXT, inputs INTEGER, carried INTEGER REFERENCES instructions (seq), asked TEXT, first_text_at INTEGER) STRICT;

CREATE INDEX turns_by_carried ON turns (carried) WHERE carried IS NOT NULL;

CREATE INDEX turns_by_conversation ON turns (conversation);

CREATE INDEX turns_by_door ON turns (owner, door, seq);

CREATE INDEX turns_by_end_user ON turns (end_user) WHERE end_user IS NOT NULL;

CREATE INDEX turns_by_epoch ON turns (epoch) WHERE epoch IS NOT NULL;

CREATE INDEX turns_by_head_before ON turns (head_before) WHERE head_before IS NOT NULL;

CREATE INDEX turns_by_instructions ON turns (instructions) WHERE instructions IS NOT NULL;

CREATE INDEX turns_by_parent ON turns (parent) WHERE parent IS NOT NULL;

CREATE INDEX turns_by_question ON turns (question) WHERE question IS NOT NULL;

CREATE INDEX turns_by_reply ON turns (reply) WHERE reply IS NOT NULL;

CREATE INDEX turns_by_tools ON turns (tools) WHERE tools IS NOT NULL;

CREATE INDEX turns_open ON turns (conversation) WHERE state IN ('queued', 'running');

CREATE INDEX turns_running ON turns (state) WHERE state IN ('queued', 'running');
