"""Connections to PostgreSQL.

The pool connects when it is first used, so that a process starts while the database is away;
:func:`acquire` turns the many ways in which a server can be unreachable into one ``ServiceError``.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from vsek.errors import InputError, ServiceError
from vsek.patience import COMMAND_TIMEOUT_S, SESSION

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Row = asyncpg.Record
    Connection = asyncpg.Connection[Row] | PoolConnectionProxy[Row]
    Pool = asyncpg.Pool[Row]

CONNECT_TIMEOUT_S = 5.0
DIRECTORY_CHANNEL = "vsek_directory"
"""NOTIFY channel: clients, agents or audio changed."""
NOTE_DUE_CHANNEL = "vsek_note_due"
"""NOTIFY channel: a note is due, or due at another time."""

UNREACHABLE = (
    OSError,
    TimeoutError,
    ssl.SSLError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # cut at the very moment at which a command is being sent
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting, cancelled by an administrator
    asyncpg.InsufficientResourcesError,  # too many connections, disk or memory full
    asyncpg.TransactionRollbackError,  # a deadlock: the next attempt works
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted
    asyncpg.PostgresSystemError,
)
"""What asyncpg raises when the server is away, starting, stopping, full, or asks to try again."""


def as_service_error(error: BaseException) -> ServiceError:
    """``error``, raised by asyncpg, as an error for people."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return ServiceError(
            f"The database has not been migrated: {text}",
            remedy="Run 'vsek up' once, or apply the migrations to it",
            error_id="database_schema",
        )
    return ServiceError(
        f"The database does not serve: {text}",
        remedy="Check that PostgreSQL runs and that database.dsn is right ('vsek doctor' tells)",
        error_id="database",
    )


async def open_pool(dsn: str, *, size: int = 4, one_plan: bool = False) -> Pool:
    """A pool of at most ``size`` connections. It does not connect yet.

    ``one_plan``: each statement is planned once a connection, whatever its values. That is for
    statements that find rows by their keys: planning a large one costs more than running it.

    Raises ``InputError`` when the DSN cannot be read.
    """
    check_dsn(dsn)
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={
            "application_name": "vsek",
            **SESSION,
            **({"plan_cache_mode": "force_generic_plan"} if one_plan else {}),
        },
        reset=leave_as_it_is,
    )


async def leave_as_it_is(_: object) -> None:
    """What a pool does with a connection that comes back, beyond ending its transaction: nothing.

    By default asyncpg resets whatever a session can hold, with a round trip that costs more than
    most of our queries. Nobody here leaves anything in a session: settings are ``SET LOCAL``, who
    listens stops listening before the connection goes back, and locks are those of transactions.
    """


def check_dsn(dsn: str) -> None:
    """Raises ``InputError`` when the DSN cannot be read; asyncpg would do so only on connecting."""
    try:
        address = urlsplit(dsn)
        good = address.scheme in ("postgresql", "postgres") and address.port != 0
    except ValueError:
        good = False
    if not good:
        # The DSN may hold a password: it is not repeated.
        raise InputError(
            "The database DSN cannot be read",
            field="database.dsn",
            remedy="Write it like postgresql://USER@HOST:PORT/DATABASE",
        )


@asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Connection]:
    """A connection from the pool; what goes wrong with the server becomes ``ServiceError``."""
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
            yield connection
    except (
        *UNREACHABLE,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.UndefinedTableError,
        asyncpg.InvalidSchemaNameError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise as_service_error(error) from error


def timestamp(seconds: float) -> datetime:
    """Unix seconds as PostgreSQL wants them.

    Raises ``InputError`` for what is no time (NaN, infinity, beyond the year 9999).
    """
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{seconds!r} is not a time", field="time", value=seconds, remedy="Give Unix seconds"
        ) from None
