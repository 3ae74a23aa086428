-- The note service: notes it has acknowledged, and one row per recipient (the outbox).
-- It shares no table with the rest of vsek and may live in a database of its own.

CREATE SCHEMA notify;

CREATE TABLE notify.notes (
    note_id     text PRIMARY KEY,
    -- The sender's idempotency key, and what was sent under it (SHA-256 of the canonical request).
    key         text NOT NULL UNIQUE,
    digest      bytea NOT NULL,
    request     jsonb NOT NULL,
    kind        text NOT NULL,
    client_id   text,
    call_id     text,
    thread      text NOT NULL,
    corrects    text,
    subject     text NOT NULL,
    -- Fixed when the note is accepted: however often it is sent, mailboxes see one message.
    message_id  text NOT NULL UNIQUE,
    refers_to   text[] NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE INDEX notes_received ON notify.notes (received_at DESC, note_id DESC);
CREATE INDEX notes_call ON notify.notes (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX notes_client ON notify.notes (client_id, received_at DESC);
CREATE INDEX notes_thread ON notify.notes (thread, received_at DESC) WHERE thread <> '';

CREATE TABLE notify.deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    note_id     text NOT NULL REFERENCES notify.notes ON DELETE CASCADE,
    -- note: for a recipient that was asked for. undelivered: a copy for operations, because
    -- nobody who was asked for got it.
    purpose     text NOT NULL CHECK (purpose IN ('note', 'undelivered')),
    name        text NOT NULL,
    email       text NOT NULL,
    status      text NOT NULL CHECK (status IN ('queued', 'accepted', 'bounced', 'given_up')),
    attempts    integer NOT NULL DEFAULT 0,
    -- Since when it is being tried: the give-up time counts from here.
    queued_at   timestamptz NOT NULL,
    -- When it is tried (again); has a meaning only while it is queued.
    next_at     timestamptz NOT NULL,
    settled_at  timestamptz,
    -- The mail server's last word. No code: there was no answer.
    reply_code  integer,
    reply       text NOT NULL DEFAULT '',
    UNIQUE (note_id, purpose, email),
    CHECK ((status = 'queued') = (settled_at IS NULL))
);

CREATE INDEX deliveries_due ON notify.deliveries (next_at, delivery_id) WHERE status = 'queued';
