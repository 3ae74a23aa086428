-- What callers said: recorded while screening, or left as a message.
--
-- The row comes with the call's records, the audio a little later (wav is null until then).

CREATE TABLE vsek.recordings (
    call_id    text NOT NULL REFERENCES vsek.calls,
    -- screening, voicemail
    kind       text NOT NULL CHECK (kind IN ('screening', 'voicemail')),
    -- Name of the stored recording in Asterisk.
    name       text NOT NULL CHECK (name <> ''),
    at         timestamptz NOT NULL,
    -- The caller was told of the recording, and spoke.
    consent    boolean NOT NULL,
    seconds    double precision,
    wav        bytea,
    -- Why there is no audio and will be none, or when it was erased.
    lost       text NOT NULL DEFAULT '',
    deleted_at timestamptz,
    PRIMARY KEY (call_id, name)
);

CREATE INDEX recordings_owed ON vsek.recordings (at)
    WHERE wav IS NULL AND lost = '' AND deleted_at IS NULL;
CREATE INDEX recordings_with_audio ON vsek.recordings (at) WHERE wav IS NOT NULL;
