-- Notes wait for recordings, and tell of the blocked calls of a day together.

-- Since when a note waits for the audio.
ALTER TABLE vsek.recordings
    ADD COLUMN IF NOT EXISTS announced_at timestamptz NOT NULL DEFAULT now();

-- The note of a day's first blocked call tells of the others.
ALTER TABLE vsek.note_due ADD COLUMN folded_into bigint REFERENCES vsek.note_due;

CREATE INDEX note_due_folded ON vsek.note_due (folded_into) WHERE folded_into IS NOT NULL;
