"""Migrations: plain SQL files in ``migrations/``, applied once each, in the order of their names.

yoyo reads the files and keeps the book, in a schema of its own (``vsek_migrations``: it must not
depend on the search path, which a migration may change by creating a schema named like the user).
Three things differ from what it does by itself: a migration and the entry that it ran commit
together, so a process killed in between leaves nothing half done; an advisory lock, which ends
with its connection, keeps several processes apart (yoyo's lock is a row that outlives a killed
process); and no host name is looked up.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import conninfo

from vsek.errors import ServiceError

with warnings.catch_warnings():
    # yoyo and what it imports warn about Python versions to come.
    warnings.simplefilter("ignore")
    import yoyo
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
    from yoyo.connections import DatabaseURI

BOOK_SCHEMA = "vsek_migrations"
# Any number, so long as nobody else uses it: it names the lock in the database.
_LOCK = 0x76_73_65_6B

_LOCK_SQL = "SELECT pg_advisory_lock(%s)"
_CREATE_BOOK_SQL = "CREATE SCHEMA IF NOT EXISTS vsek_migrations"
_BOOK_EXISTS_SQL = "SELECT to_regclass('vsek_migrations._yoyo_migration') IS NOT NULL"
_APPLIED_SQL = "SELECT migration_id FROM vsek_migrations._yoyo_migration"


def folder() -> Path:
    """Where the migrations lie: in the installed package, else in the checkout.

    Raises ``ServiceError`` when there are none.
    """
    installed = Path(str(files("vsek"))) / "migrations"
    checkout = Path(__file__).resolve().parents[3] / "migrations"
    for place in (installed, checkout):
        if any(place.glob("[0-9]*.sql")):
            return place
    raise ServiceError(
        f"No migrations in {installed} or {checkout}",
        remedy="The installation is incomplete: install vsek again",
        error_id="migrations_missing",
    )


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend for psycopg 3 with the differences that the module's text names."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        database = conninfo.conninfo_to_dict(dsn).get("dbname", "")
        address = DatabaseURI("postgresql+psycopg", None, None, None, None, database, {})
        super().__init__(address, "_yoyo_migration")

    def connect(self, _address: object) -> psycopg.Connection[Any]:
        return psycopg.connect(self._dsn, autocommit=True, options=f"-c search_path={BOOK_SCHEMA}")

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:
        self.ensure_internal_schema_updated()
        with self.transaction():
            migration.process_steps(self, "apply", force=force)
            if mark:
                self.log_migration(migration, "apply")
                self.mark_one(migration, log=False)

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": str(os.getuid()),
            "hostname": os.uname().nodename,
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        lines = str(error).strip().splitlines()
        raise ServiceError(
            f"The database cannot be migrated: {lines[0] if lines else type(error).__name__}",
            remedy="Check database.dsn, that the server runs, and that the user may create schemas",
            error_id="database_migrate",
        ) from error


def _missing(connection: psycopg.Connection[Any], migrations: Any) -> Any:
    row = connection.execute(_BOOK_EXISTS_SQL).fetchone()
    applied: set[str] = set()
    if row is not None and row[0]:
        applied = {name for (name,) in connection.execute(_APPLIED_SQL).fetchall()}
    return migrations.filter(lambda migration: migration.id not in applied)


def apply(dsn: str) -> list[str]:
    """Bring the database up to date; the names of the migrations that ran. Blocks.

    Raises ``ServiceError`` when the database cannot be reached or refuses; what a failed
    migration did is undone, those before it stay.
    """
    with _connected(dsn) as guard:
        guard.execute(_LOCK_SQL, (_LOCK,))
        guard.execute(_CREATE_BOOK_SQL)
        missing = _missing(guard, yoyo.read_migrations(str(folder())))
        if missing:
            backend = _Backend(dsn)
            with backend:
                backend.init_database()
                backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def pending(dsn: str) -> list[str]:
    """Names of the migrations that have not run yet. Changes nothing, blocks.

    Raises ``ServiceError`` when the database cannot be reached.
    """
    with _connected(dsn) as connection:
        migrations = yoyo.read_migrations(str(folder()))
        return [migration.id for migration in _missing(connection, migrations)]
