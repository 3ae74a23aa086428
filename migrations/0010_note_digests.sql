-- Blocked calls of a day are told of in one note: that of the first carries the others.

ALTER TABLE vsek.note_due ADD COLUMN folded_into bigint REFERENCES vsek.note_due;

CREATE INDEX note_due_folded ON vsek.note_due (folded_into) WHERE folded_into IS NOT NULL;
