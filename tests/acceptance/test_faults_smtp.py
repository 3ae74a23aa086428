"""The note service is killed again and again while it sends to a mail server that misbehaves.

Every mail arrives. Only where the service died, or the line was cut, between the mail's end and the
note of its acceptance may it come twice, and then under the same Message-ID.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.notify.unruly import CUT, Unruly
from tests.unit.notify.samples import missed

from vsek.demo.events import eventually
from vsek.demo.processes import Program
from vsek.domain.note import NoteRecipient
from vsek.embedded.ports import free_port
from vsek.embedded.postgres import PrivatePostgres
from vsek.errors import ServiceError
from vsek.notify.client import NotesClient
from vsek.notify.model import NoteState
from vsek.store import migrate

TOKEN = secrets.token_urlsafe(16)


class Service:
    """``vsek notes`` as a process, with everything that it needs."""

    def __init__(self, folder: Path, environment: dict[str, str], url: str) -> None:
        self.folder = folder
        self.environment = environment
        self.url = url
        self.starts = 0
        self.program: Program | None = None

    async def start(self) -> None:
        self.starts += 1
        self.program = await Program.start(
            "vsek notes",
            [sys.executable, "-m", "vsek.cli.main", "notes", "--dir", self.folder],
            folder=self.folder,
            log=self.folder / "notes.log",
            environment=self.environment,
        )

    async def stop(self, number: int = signal.SIGKILL) -> None:
        if self.program is not None:
            await self.program.stop(number=number)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Unruly]:
    server = Unruly()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def service(server: Unruly, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as exits:
        postgres = PrivatePostgres(tmp_path / "postgres", durable=False)
        exits.push_async_callback(postgres.stop)
        await postgres.start()
        await asyncio.to_thread(migrate.apply, postgres.dsn)
        url = f"http://127.0.0.1:{free_port()}"
        environment = {
            "VSEK_DATABASE__DSN": postgres.dsn,
            "VSEK_NOTES__URL": url,
            "VSEK_NOTES__TOKEN": TOKEN,
            "VSEK_NOTES__OPERATIONS_EMAIL": "ops@vsek.example",
            "VSEK_SMTP__PORT": str(server.port),
            "VSEK_SMTP__SENDER": "notes@vsek.example",
            "VSEK_SMTP__TIMEOUT_S": "5",
        }
        service = Service(tmp_path, environment, url)
        exits.push_async_callback(service.stop)
        yield service


async def hand_over(service: Service, count: int) -> list[str]:
    """Posts ``count`` notes to two recipients each, whoever is listening; their ids."""
    ids: list[str] = []
    async with NotesClient(service.url, TOKEN) as client:
        for number in range(count):
            request = missed().model_copy(
                update={
                    "recipients": [
                        NoteRecipient(name="", email=f"a{number}@nord.example"),
                        NoteRecipient(name="", email=f"b{number}@nord.example"),
                    ]
                }
            )

            async def post(number: int = number, request: object = request) -> str | None:
                try:
                    return (await client.post(f"key-{number}", request)).id  # type: ignore[arg-type]
                except ServiceError:
                    return None

            ids.append(await eventually(post, "an acknowledgement", timeout_s=60))
    return ids


@pytest.mark.parametrize(
    ("kills", "notes", "cuts"),
    [
        pytest.param(3, 20, 0, id="3 times"),
        # A line that is cut costs its mail 15 seconds, and the next time 45.
        pytest.param(30, 250, 3, id="30 times, lines cut too", marks=pytest.mark.long),
    ],
)
async def test_killed_while_sending(
    service: Service, server: Unruly, kills: int, notes: int, cuts: int
) -> None:
    dice = random.Random(7)
    server.slow_s = 0.01
    server.plan = {"dot": [CUT, "", "", ""] * cuts, "mail": ["", CUT] * cuts}
    await service.start()
    posting = asyncio.create_task(hand_over(service, notes), name="posting")
    killed_while_sending = 0
    for _ in range(kills):
        seen = len(server.got)
        # Not before it sends again.
        async with asyncio.timeout(60), server.news:
            await server.news.wait_for(lambda seen=seen: len(server.got) > seen)  # type: ignore[misc]
        await asyncio.sleep(dice.uniform(0.0, 0.15))
        killed_while_sending += len(server.got) < 2 * notes
        await service.stop()
        await service.start()
    ids = await posting
    await server.wait_taken(2 * notes, timeout_s=120)
    # It has come to rest: nothing is sent once more.
    async with NotesClient(service.url, TOKEN) as client:
        for note_id in ids:

            async def settled(note_id: str = note_id) -> bool | None:
                return True if (await client.show(note_id)).state is NoteState.ACCEPTED else None

            await eventually(settled, "an accepted note", timeout_s=90)
    twice = sum(count > 1 for count in server.got.values())
    print(f"\n  {2 * notes} mails, {kills} kills ({killed_while_sending} while sending),")
    print(f"  {twice} mails twice, {server.connections} connections")
    assert len(server.taken) == 2 * notes, "every mail, each under one Message-ID"
    assert len({to for to, _ in server.taken}) == 2 * notes
    assert max(server.got.values()) <= 1 + kills
    # At most four workers had a mail in their hands each time.
    assert twice <= 4 * kills + cuts
