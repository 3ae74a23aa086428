"""The embedded stack: private Asterisk and PostgreSQL, and the supervisor behind ``vsek up``."""
