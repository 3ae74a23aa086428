-- The rules of the distribution, and every change of them: one row each, the newest counts.
--
-- The version counts changes of the house's rules and of the clients' own part in them, so a
-- decision can be explained by the version that it was made with.

CREATE TABLE vsek.rules (
    version    bigint PRIMARY KEY CHECK (version > 0),
    -- json, not jsonb: circles open in the order in which they stand.
    -- Null: only clients changed, the book is that of the version before.
    book       json,
    -- The clients whose part changed.
    clients    text[] NOT NULL DEFAULT '{}',
    -- From which file, and who.
    source     text NOT NULL DEFAULT '',
    changed_by text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (book IS NOT NULL OR clients <> '{}')
);
