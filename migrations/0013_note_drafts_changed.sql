-- The switchboard remembers whom notes name: it looks for those that were changed of late.

CREATE INDEX note_drafts_changed ON vsek.note_drafts (changed_at) WHERE changed_at IS NOT NULL;
