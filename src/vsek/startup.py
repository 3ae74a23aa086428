"""What a process needs to begin, to keep its tasks running, and to end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from vsek.errors import ServiceError
from vsek.health import sdnotify
from vsek.store import pool
from vsek.switchboard.journal import Journal

log = structlog.get_logger(__name__)

FAULT_PAUSE_S = 2.0
STAND_BY_S = 60.0
"""How long a start waits for the switchboard before it to end."""
STAND_BY_LOOK_S = 0.02
CLOSE_S = 1.0
"""How long an end waits for the database."""


def kept_running(name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task whose faults are logged and begun anew: none of them is a reason to end calls."""

    async def keep() -> None:
        while True:
            try:
                return await run()
            except Exception:
                log.exception("task_failed", task=name, retry_in_s=FAULT_PAUSE_S)
                await asyncio.sleep(FAULT_PAUSE_S)

    return asyncio.create_task(keep(), name=name)


def control_socket(path: Path) -> socket.socket:
    """The control API's socket, for its owner alone. The journal's lock has shown that a socket
    which lies there is a dead process's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ServiceError(
            f"The control API cannot listen at {path}: {error}",
            remedy="Set control.socket to a writable path of at most 100 characters",
            error_id="listen",
        ) from error
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


async def own_journal(folder: Path) -> Journal:
    """The journal, as soon as a switchboard that still runs has let go of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STAND_BY_S
    standing_by = False
    while True:
        try:
            return Journal(folder)
        except ServiceError as error:
            if error.error_id != "journal_locked" or loop.time() >= deadline:
                raise
        if not standing_by:
            standing_by = True
            log.warning(
                "standing_by",
                journal=str(folder),
                for_s=STAND_BY_S,
                remedy="Another switchboard runs here; this one takes over as soon as that ends",
            )
            sdnotify.tell(sdnotify.STANDING_BY)
        await asyncio.sleep(STAND_BY_LOOK_S)


async def close_pool(connections: pool.Pool) -> None:
    """Give the connections back, those at work too when they do not come to an end."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await connections.close()
    except (TimeoutError, *pool.UNREACHABLE):
        connections.terminate()


def read_number(path: Path) -> int:
    """What :func:`write_number` has kept; 0: nothing."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def write_number(path: Path, number: int) -> None:
    """Keep a number in a file; where that fails the log tells, and nothing else happens."""
    try:
        path.write_text(str(number))
    except OSError as error:
        log.error("shipped_not_kept", error=str(error))
