-- The switchboard's journal, shipped in the background: whoever takes over on another machine goes
-- on from here. It always holds one unbroken history: the newest snapshots, and the entries after
-- the older of them.

CREATE TABLE vsek.journal_snapshots (
    number  bigint PRIMARY KEY,
    body    bytea NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);

-- A batch of entries as they stand in the journal's files.
CREATE TABLE vsek.journal_batches (
    first   bigint PRIMARY KEY,
    last    bigint NOT NULL,
    body    bytea NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    CHECK (first <= last)
);

-- Packing it would cost more than it saves: a row lives for an hour or two.
ALTER TABLE vsek.journal_batches ALTER COLUMN body SET STORAGE EXTERNAL;
