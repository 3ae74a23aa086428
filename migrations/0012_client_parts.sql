-- Sounds of the announcements for those whom nobody can serve in time, in the order of the client's
-- treatments (empty where one has none); and what a client's account was before.

ALTER TABLE vsek.clients ADD COLUMN announcement_sounds text[] NOT NULL DEFAULT '{}';

CREATE TABLE vsek.client_history (
    client_id  text NOT NULL,
    version    bigint NOT NULL,
    account    jsonb NOT NULL,
    changed_by text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, version)
);

INSERT INTO vsek.client_history (client_id, version, account, changed_at)
SELECT id, version, account, changed_at FROM vsek.clients;
