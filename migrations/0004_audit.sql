-- The comparison of the books finds a call by Asterisk's channel id.

CREATE INDEX calls_channel ON vsek.calls (channel);
