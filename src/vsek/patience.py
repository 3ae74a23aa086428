"""How long our processes wait for PostgreSQL.

A line that swallows everything, or a server that stands still, must hold nobody up for longer than
a command is worth. asyncpg gives a command up after ``COMMAND_TIMEOUT_S`` and its connection after
as long again, in which it tries to have the command cancelled.
"""

from __future__ import annotations

COMMAND_TIMEOUT_S = 10.0
SESSION = {
    # Of a statement that waits (for a lock, say) the server is the one that can clean up: it ends
    # it before we give up.
    "statement_timeout": "8s",
    # A statement whose client is gone is ended, and its locks with it.
    "client_connection_check_interval": "5s",
}
"""Settings of a session."""
