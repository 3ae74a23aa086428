-- The journal's past: what no start needs any more, for who asks why a call went as it did. A row is
-- what was shipped from one snapshot to the next, in one piece; where a journal was superseded, its
-- end. Rows are in the order in which they were put away.

CREATE TABLE vsek.journal_past (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    base      bigint NOT NULL,  -- number of the snapshot before; 0: nothing was before
    snapshot  bytea,            -- that snapshot; only now and then, it would be much
    first     bigint NOT NULL,
    last      bigint NOT NULL,
    body      bytea NOT NULL,   -- the entries' records as they stand in the journal's files
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    CHECK (first <= last)
);
CREATE INDEX journal_past_until ON vsek.journal_past (until);
