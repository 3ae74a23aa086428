-- What callers are asked before an agent is rung, where the client has a prompt of its own.

ALTER TABLE vsek.clients ADD COLUMN prompt_sound text REFERENCES vsek.audio;
