-- Clients, agents, audio, calls with their timelines, note drafts and what is due to be sent.
--
-- Records about calls come from the switchboard's journal and must always be storable: they refer
-- to clients and agents by id without a foreign key.

CREATE SCHEMA vsek;

-- Sounds as callers hear them: WAV, 8 kHz, mono, 16 bit; found by their content.
CREATE TABLE vsek.audio (
    sha256   text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    wav      bytea NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);

-- What a sound was made from (engine, language and text, or the original file), so that it is not
-- made again.
CREATE TABLE vsek.audio_sources (
    source text PRIMARY KEY CHECK (source <> ''),
    sha256 text NOT NULL REFERENCES vsek.audio
);

CREATE TABLE vsek.clients (
    id             text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{0,39}$'),
    name           text NOT NULL CHECK (name <> ''),
    account        jsonb NOT NULL,
    greeting_sound text REFERENCES vsek.audio,
    music_sound    text REFERENCES vsek.audio,
    version        bigint NOT NULL DEFAULT 1,
    added_at       timestamptz NOT NULL DEFAULT now(),
    changed_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vsek.client_numbers (
    number    text NOT NULL CHECK (number <> ''),
    kind      text NOT NULL CHECK (kind IN ('did', 'forwarding')),
    client_id text NOT NULL REFERENCES vsek.clients ON DELETE CASCADE,
    PRIMARY KEY (number, kind)
);

CREATE INDEX client_numbers_client ON vsek.client_numbers (client_id);

CREATE TABLE vsek.agents (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{0,39}$'),
    name       text NOT NULL CHECK (name <> ''),
    language   text NOT NULL CHECK (language IN ('de', 'en')),
    ha1        text NOT NULL CHECK (ha1 ~ '^[0-9a-f]{32}$'),
    added_at   timestamptz NOT NULL DEFAULT now(),
    -- Removed agents stay: their calls and notes still name them.
    removed_at timestamptz
);

CREATE TABLE vsek.calls (
    id              text PRIMARY KEY CHECK (id <> ''),
    client_id       text,
    received_at     timestamptz NOT NULL,
    caller_number   text NOT NULL,
    caller_name     text NOT NULL,
    caller_withheld boolean NOT NULL,
    did             text NOT NULL,
    forwarded_by    text[] NOT NULL,
    forward_reason  text NOT NULL,
    policy          text NOT NULL,
    channel         text NOT NULL,
    outcome         text,
    stage           text,
    reason          text,
    agent_id        text,
    answered_at     timestamptz,
    ended_at        timestamptz,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);

CREATE INDEX calls_newest ON vsek.calls (received_at DESC, id DESC);
CREATE INDEX calls_of_client ON vsek.calls (client_id, received_at DESC);
CREATE INDEX calls_of_caller ON vsek.calls (caller_number, client_id, received_at)
    WHERE caller_number <> '';

CREATE TABLE vsek.call_steps (
    call_id text NOT NULL REFERENCES vsek.calls,
    number  integer NOT NULL,
    at      timestamptz NOT NULL,
    kind    text NOT NULL,
    detail  jsonb NOT NULL,
    PRIMARY KEY (call_id, number)
);

-- The agent's note on a call; opens together with the call.
CREATE TABLE vsek.note_drafts (
    call_id    text PRIMARY KEY REFERENCES vsek.calls,
    draft      jsonb NOT NULL DEFAULT '{}',
    -- The number that the caller dictated, normalised, to find the caller's other calls.
    dictated   text NOT NULL DEFAULT '',
    revision   integer NOT NULL DEFAULT 0,
    finished   boolean NOT NULL DEFAULT false,
    author     text NOT NULL DEFAULT '',
    changed_at timestamptz
);

CREATE INDEX note_drafts_dictated ON vsek.note_drafts (dictated) WHERE dictated <> '';

-- Notes to be handed to the note service. A row is open until the service acknowledged it.
CREATE TABLE vsek.note_due (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL UNIQUE,
    call_id     text NOT NULL REFERENCES vsek.calls,
    corrects    text REFERENCES vsek.note_due (key),
    due_at      timestamptz NOT NULL,
    -- Frozen when the note leaves for the first time; every repetition sends the same.
    request     jsonb,
    left_at     timestamptz,
    revision    integer,
    attempts    integer NOT NULL DEFAULT 0,
    retry_at    timestamptz,
    last_error  text NOT NULL DEFAULT '',
    acked_at    timestamptz,
    note_id     text,
    CHECK ((acked_at IS NULL) = (note_id IS NULL))
);

CREATE INDEX note_due_open ON vsek.note_due ((greatest(due_at, coalesce(retry_at, due_at))))
    WHERE acked_at IS NULL;
CREATE INDEX note_due_of_call ON vsek.note_due (call_id, id);

-- How far the switchboard's journal has arrived here. The epoch says whose journal it is: a
-- switchboard that was superseded may not write any more.
CREATE TABLE vsek.journal (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint NOT NULL,
    seq      bigint NOT NULL
);

INSERT INTO vsek.journal (epoch, seq) VALUES (0, 0);
