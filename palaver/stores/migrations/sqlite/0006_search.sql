-- Finding again: full text, vectors, what was recalled, summaries.
-- `searchable` and `spaced` are functions of ours (`stores.sqlite_functions`): the words of a message, and a text in
-- which scripts that write without spaces have their signs apart. Both take bytes: what is damaged may be no text.

-- The words of every message that is not deleted. `place` says whose it is and where: o1 u2 c3.
CREATE VIRTUAL TABLE message_index USING fts5 (place, text, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO message_index (message_index, rank) VALUES ('rank', 'bm25(0.0, 1.0)');
INSERT INTO message_index (message_index, rank) VALUES ('usermerge', 2);  -- so that merging ends only with all of it
CREATE VIRTUAL TABLE title_index USING fts5 (place, text, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO title_index (title_index, rank) VALUES ('rank', 'bm25(0.0, 1.0)');
INSERT INTO title_index (title_index, rank) VALUES ('usermerge', 2);

CREATE VIEW message_texts AS
SELECT m.seq, 'o' || c.owner || coalesce(' u' || c.end_user, '') || ' c' || c.seq AS place,
    searchable(CAST(m.body AS BLOB)) AS text
FROM messages m JOIN conversations c ON c.seq = m.conversation
WHERE m.deleted_at IS NULL;

CREATE VIEW title_texts AS
SELECT seq, 'o' || owner || coalesce(' u' || end_user, '') AS place, spaced(CAST(title AS BLOB)) AS text
FROM conversations
WHERE title IS NOT NULL;

INSERT INTO message_index (rowid, place, text) SELECT seq, place, text FROM message_texts WHERE text <> '';
INSERT INTO title_index (rowid, place, text) SELECT seq, place, text FROM title_texts WHERE text <> '';

-- The index follows in the transaction of whatever changes a message or a title.
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

-- What embeds messages: a model, and how many numbers its vectors have.
CREATE TABLE embedders (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (name, size)
) STRICT;

CREATE TABLE message_vectors (
    message  INTEGER NOT NULL REFERENCES messages (seq),
    embedder INTEGER NOT NULL REFERENCES embedders (seq),
    vector   BLOB NOT NULL,                   -- of length 1, in signed bytes: 127 stands for 1
    PRIMARY KEY (message, embedder)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_vectors_by_embedder ON message_vectors (embedder);

-- What a turn recalled, in the order in which it did; what was quoted is referred to, never copied.
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

CREATE TABLE recall_quotes (
    recall  INTEGER NOT NULL REFERENCES recalls (seq),
    place   INTEGER NOT NULL,                 -- 0, 1, …
    message INTEGER NOT NULL REFERENCES messages (seq),
    start   INTEGER NOT NULL,                 -- characters of its text: from,
    stop    INTEGER NOT NULL,                 -- up to, excluded
    PRIMARY KEY (recall, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX recall_quotes_by_message ON recall_quotes (message);

-- Summaries orient: each is of the path to a message, from its beginning.
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

ALTER TABLE epochs ADD COLUMN summary INTEGER REFERENCES summaries (seq);  -- what its windows show
ALTER TABLE epochs ADD COLUMN summary_version INTEGER;  -- also where that summary is gone
ALTER TABLE epochs ADD COLUMN summary_failed TEXT;      -- why all that they leave out is in none: empty, too_long, failed, none_yet
CREATE INDEX epochs_by_summary ON epochs (summary) WHERE summary IS NOT NULL;
