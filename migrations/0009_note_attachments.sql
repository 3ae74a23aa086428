-- What goes along with a note: not in its request, since it is large and must be erasable.

CREATE TABLE notify.attachments (
    note_id    text NOT NULL REFERENCES notify.notes ON DELETE CASCADE,
    name       text NOT NULL,
    -- Null: erased, or removed when its time was over.
    content    bytea,
    removed_at timestamptz,
    PRIMARY KEY (note_id, name),
    CHECK ((content IS NULL) = (removed_at IS NOT NULL))
);

CREATE INDEX attachments_kept ON notify.attachments (note_id) WHERE content IS NOT NULL;
