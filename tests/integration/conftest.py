"""A real PostgreSQL for all tests of a run; each test module gets a fresh, migrated database."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import psycopg
import pytest

from vsek.embedded.postgres import PrivatePostgres
from vsek.store import migrate

_T = TypeVar("_T")
_TEMPLATE = "vsek_template"


class _Loop:
    """An event loop in a thread of its own: the server outlives the loops of single tests, and
    it dies with the thread that started it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """A private PostgreSQL server without data worth keeping."""
    loop = _Loop()
    server = PrivatePostgres(tmp_path_factory.mktemp("server") / "postgres", durable=False)
    try:
        loop.run(server.start())
        yield server
    finally:
        loop.run(server.stop())
        loop.close()


@pytest.fixture(scope="session")
def _template(postgres_server: PrivatePostgres) -> str:
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_TEMPLATE}".encode())
    migrate.apply(postgres_server.dsn_of(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="module")
def postgres_dsn(postgres_server: PrivatePostgres, _template: str) -> str:
    """DSN of a fresh database with all migrations applied, one per test module."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template}".encode())
    return postgres_server.dsn_of(name)


@pytest.fixture
def empty_dsn(postgres_server: PrivatePostgres) -> str:
    """DSN of a fresh database without any migration, one per test."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres_server.dsn_of(name)
