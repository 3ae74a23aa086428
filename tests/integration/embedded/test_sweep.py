"""Recordings that a crash left behind, in a real Asterisk, by the word of a real PostgreSQL."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.embedded.conftest import get
from tests.integration.store.makers import closed, opened

from vsek.ari import Client
from vsek.call.model import Call, new_state
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.records import Record, RecordingMade
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.errors import ServiceError
from vsek.leadership import Leadership
from vsek.store import recordings, records
from vsek.store.pool import acquire, open_pool
from vsek.switchboard.sweep import SETTLED_S, Sweep
from vsek.tables import RecordingTable

if TYPE_CHECKING:
    from vsek.store.pool import Pool

_SPEECH = Path(__file__).parents[3] / "asterisk-conf/vsek-sounds/technical-fault-de.wav"
LEFT = ("dropped", "kept", "lost", "erased")
"""Calls whose recording nobody wants any more; the deletion got lost."""
STAYS = ("owed", "open", "unknown", "fresh", "live", "fallback")


def name_of(call_id: str) -> str:
    return f"vsek/{call_id}-1"


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    made = await open_pool(postgres_dsn)
    async with acquire(made) as connection:
        await connection.execute("TRUNCATE vsek.calls CASCADE")
        await connection.execute("UPDATE vsek.journal SET epoch = 7, seq = 0")
    yield made
    await made.close()


@pytest.fixture
async def known(pool: Pool) -> None:
    """The calls, as the database has them."""
    now = time.time()
    batch: list[Record] = []
    for call_id in (*LEFT, *STAYS):
        if call_id == "unknown":
            continue
        batch.append(opened(call_id, client_id=None, channel=f"in-{call_id}"))
        if call_id in ("kept", "lost", "erased", "owed"):
            made = RecordingMade(CallId(call_id), now, "screening", name_of(call_id), consent=True)
            batch.append(made)
        if call_id != "open":
            ended_at = now if call_id == "fresh" else now - SETTLED_S - 60
            batch.append(closed(call_id, ended_at=ended_at, agent_id=None))
    async with acquire(pool) as connection:
        await records.apply(connection, batch, 1, epoch=7)
        await recordings.keep(connection, "kept", name_of("kept"), b"RIFF", 1.0)
        await recordings.lost(connection, "lost", name_of("lost"), "not found")
        await recordings.erase(connection, "erased")


@pytest.fixture
def folder(asterisk: PrivateAsterisk) -> Path:
    """Asterisk's folder, with a recording of each call and others."""
    made = asterisk.home / "spool/recording/vsek"
    for call_id in (*LEFT, *STAYS):
        shutil.copyfile(_SPEECH, made / f"{call_id}-1.wav")
    shutil.copyfile(_SPEECH, made / "fallback-vsek-1700000000.1.wav")
    return made


def sweep(client: Client, pool: Pool, epoch: int = 7) -> Sweep:
    leadership = Leadership(pool, "")
    leadership.epoch = epoch
    state = new_state()
    live = CallId("live")
    state.calls[live] = Call(live, ChannelId("in-live"), None, 0.0, "", "")
    return Sweep(client, RecordingTable(pool, leadership), lambda: state, lambda: True)


def files(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


async def names(client: Client) -> set[str]:
    return {recording["name"] for recording in await get(client, "recordings/stored")}


@pytest.mark.usefixtures("known")
async def test_only_what_nobody_wants_goes(client: Client, pool: Pool, folder: Path) -> None:
    there = await names(client)
    assert {name_of(call_id) for call_id in LEFT} < there
    # Somebody else leads now, or the database is away: nothing is touched.
    assert await sweep(client, pool, epoch=6).sweep()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nowhere = await open_pool(f"postgresql://vsek@127.0.0.1:{nobody.getsockname()[1]}/vsek")
        with pytest.raises(ServiceError):
            await sweep(client, nowhere).sweep()
        await nowhere.close()
    assert await names(client) == there
    assert await sweep(client, pool).sweep()
    assert there - await names(client) == {name_of(call_id) for call_id in LEFT}
    assert files(folder) == {*(f"{call_id}-1" for call_id in STAYS), "fallback-vsek-1700000000.1"}
    # When the audio of the last one has been fetched, its file goes, too.
    async with acquire(pool) as connection:
        await recordings.keep(connection, "owed", name_of("owed"), b"RIFF", 1.0)
    assert await sweep(client, pool).sweep()
    assert name_of("owed") not in await names(client)
