-- Every parameter: tools, several replies to one question, what answered and what failed before it.

-- Tools, stored once by content: many requests carry the same.
CREATE TABLE toolsets (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    owner  INTEGER NOT NULL REFERENCES owners (seq),
    hash   BLOB NOT NULL,
    body   TEXT NOT NULL,                     -- JSON: [{"name", "description", "parameters", "strict"}, …]
    UNIQUE (owner, hash)
) STRICT;

ALTER TABLE turns ADD COLUMN tools INTEGER REFERENCES toolsets (seq);  -- what the model might call
ALTER TABLE turns ADD COLUMN served_as TEXT;  -- what answered, by the engine's own name
ALTER TABLE turns ADD COLUMN tried TEXT;      -- JSON: [{"model", "error"}, …], models that failed before it
ALTER TABLE turns ADD COLUMN warnings TEXT;   -- JSON array: what went well, but not as one might think
ALTER TABLE turns ADD COLUMN logprobs TEXT;   -- JSON: of the tokens of its reply, where they were asked for

CREATE INDEX turns_by_tools ON turns (tools) WHERE tools IS NOT NULL;

-- The replies of a turn that was asked for several, but for the first, which stands with the turn.
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
