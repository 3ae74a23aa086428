"""A private PostgreSQL on loopback.

Usage::

    async with PrivatePostgres(folder) as server:      # folder: e.g. DIR/postgres
        connection = await asyncpg.connect(server.dsn)  # postgresql://vsek:…@127.0.0.1:PORT/vsek
        other = await server.create_database("t1")      # another database; returns its DSN

    server = PrivatePostgres(folder, port=0, durable=False)   # fast and forgetful, for tests
    await server.start(); …; await server.stop()

The cluster in ``folder`` is made at the first start and used again later. It listens on 127.0.0.1
only, with a generated password (SCRAM) that is kept beside it in ``password`` (mode 0600). As root
it runs as ``nobody``; the files may then lie elsewhere (see :mod:`vsek.embedded.servant`).
``port=0`` chooses a free one at each start. The default database ``vsek`` exists after ``start``.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from vsek.embedded import packages
from vsek.embedded.ports import free_port
from vsek.embedded.servant import (
    Servant,
    command_as,
    home_for,
    run_as,
    unprivileged,
    until_ready,
)
from vsek.errors import ServiceError

_PATIENCE_S = 60.0
_PROBE_PAUSE_S = 0.03
_USER = "vsek"


class PrivatePostgres:
    """A PostgreSQL server of our own; see the module's text."""

    def __init__(
        self, folder: Path, *, port: int = 0, durable: bool = True, log: Path | None = None
    ) -> None:
        self._folder = folder.absolute()
        self._wanted_port = port
        self._durable = durable
        self._account = unprivileged()
        self._password = ""
        self._served = False
        self._servant = Servant("PostgreSQL", log or self._folder.with_name("postgres.log"))
        self.port = 0

    @property
    def dsn(self) -> str:
        """DSN of the database ``vsek``, with the password."""
        return self.dsn_of("vsek")

    @property
    def pid(self) -> int:
        """Process id of the postmaster; 0 while it does not run."""
        return self._servant.pid

    def dsn_of(self, database: str) -> str:
        """DSN of one database of this server."""
        return f"postgresql://{_USER}:{quote(self._password)}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Makes the cluster if there is none, and returns when it takes connections."""
        prefix = await asyncio.to_thread(packages.ensure, ["servers"])
        home = await asyncio.to_thread(home_for, self._folder, self._account)
        data = home / "data"
        if not (data / "PG_VERSION").exists():
            await self._make_cluster(prefix, home, data)
        self._password = (home / "password").read_text().strip()
        tries = 1 if self._wanted_port else 3
        for left in reversed(range(tries)):
            self.port = self._wanted_port or self.port or free_port()
            try:
                await self._start_server(prefix, data)
            except ServiceError:
                await self.stop()
                if self._served:
                    raise  # others know the port: they must find us there again
                # Somebody else may have taken the free port in between.
                self.port = 0
                if not left or "could not bind" not in self._servant.last_lines(20):
                    raise
            else:
                self._served = True
                break

    async def _make_cluster(self, prefix: packages.Prefix, home: Path, data: Path) -> None:
        password, unfinished = home / "password", home / "data.new"
        await asyncio.to_thread(self._prepare_folder, home, password, unfinished)
        await run_as(
            self._account,
            prefix.tool("initdb"),
            [
                *("-D", unfinished, "-U", _USER, "--auth=scram-sha-256", f"--pwfile={password}"),
                *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin"),
                *("--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"),
            ],
        )
        unfinished.rename(data)

    def _prepare_folder(self, home: Path, password: Path, data: Path) -> None:
        home.chmod(0o755)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        self._account.own(password)
        shutil.rmtree(data, ignore_errors=True)  # an initdb that was cut off left it behind
        data.mkdir(mode=0o700)
        self._account.own(data)

    async def _start_server(self, prefix: packages.Prefix, data: Path) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments: list[str | Path] = ["-D", data]
        for name, value in options.items():
            arguments += ["-c", f"{name}={value}"]
        command = command_as(
            self._account, prefix.tool("postgres"), arguments, death_signal=signal.SIGINT
        )
        await self._servant.start(command)
        await until_ready(
            self._servant, asyncio.ensure_future(self._answers()), patience_s=_PATIENCE_S
        )

    async def _answers(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(self.dsn_of("postgres"), timeout=5)
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(_PROBE_PAUSE_S)
                continue
            try:
                known = await connection.fetchval(
                    "SELECT true FROM pg_database WHERE datname = 'vsek'"
                )
                if not known:
                    await connection.execute('CREATE DATABASE "vsek"')
            finally:
                await connection.close()
            return

    async def create_database(self, name: str) -> str:
        """Makes an empty database ``name`` (letters, digits, ``_``) and returns its DSN."""
        if not name.isidentifier():
            raise ValueError(f"not a name for a database: {name!r}")
        connection = await asyncpg.connect(self.dsn_of("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.dsn_of(name)

    async def stop(self) -> None:
        """Ends it (a fast shutdown: connections are cut, nothing committed is lost)."""
        await self._servant.stop(signal.SIGINT, patience_s=20.0)

    async def wait(self) -> int:
        """Waits until the server has ended."""
        return await self._servant.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.stop()
