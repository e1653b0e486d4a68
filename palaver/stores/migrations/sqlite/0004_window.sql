-- The window: what the model saw of a path, how long messages are, and how windows are chosen.

-- Stretches of turns over which the window only grows at its end.
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
) STRICT;
CREATE INDEX epochs_by_conversation ON epochs (conversation, seq);

ALTER TABLE turns ADD COLUMN epoch INTEGER REFERENCES epochs (seq);
ALTER TABLE turns ADD COLUMN receipt TEXT;    -- JSON: what the model saw, by depths; no text
CREATE INDEX turns_by_epoch ON turns (epoch) WHERE epoch IS NOT NULL;

ALTER TABLE conversations ADD COLUMN window_settings TEXT;  -- JSON: how its windows are chosen
ALTER TABLE api_keys ADD COLUMN window_settings TEXT;       -- JSON: likewise, for requests with this key

-- What counts tokens: a model's tokenizer, by the engine's own name of it.
CREATE TABLE tokenizers (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- How many tokens a message has by itself.
CREATE TABLE message_counts (
    message   INTEGER NOT NULL REFERENCES messages (seq),
    tokenizer INTEGER NOT NULL REFERENCES tokenizers (seq),
    tokens    INTEGER NOT NULL,
    PRIMARY KEY (message, tokenizer)
) STRICT, WITHOUT ROWID;
