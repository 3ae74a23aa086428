"""What the switchboard learns from a real database of who talked with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.store.makers import T0, FakeSounds, client, closed, file_of, opened

from vsek.acd.known import Why
from vsek.call.events import CallArrived
from vsek.call.model import ClientScript, Directory
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.note import NoteDraft
from vsek.domain.outcomes import Outcome
from vsek.domain.talks import PastTalk
from vsek.errors import ServiceError
from vsek.store import acquaintance, clients, records
from vsek.store.notes import write_draft
from vsek.store.pool import open_pool, timestamp
from vsek.switchboard.acquaintance import Acquaintance
from vsek.tables import TalkTable

if TYPE_CHECKING:
    from pathlib import Path

    from vsek.store.pool import Connection, Pool

CALLER, OFFICE = "+491701234567", "+49301112222"
TALK = PastTalk(CallId("c1"), ClientId("sommer"), T0 + 60, AgentId("anna"), CALLER, "Karl Anrufer")


async def since(conn: Connection, when: float) -> list[PastTalk]:
    return [talk async for chunk in acquaintance.talks_since(conn, when) for talk in chunk]


async def named(conn: Connection, when: float) -> list[CallId]:
    chunks = acquaintance.talks_named_since(conn, when)
    return [talk.call_id async for chunk in chunks for talk in chunk]


async def talked(conn: Connection, call_id: str, at: float = T0, **changes: Any) -> None:
    end = closed(call_id, ended_at=at + 60, answered_at=at + 10)
    await records.apply(conn, [opened(call_id, received_at=at, **changes), end], 1)


async def test_a_talk_and_whom_its_note_names(conn: Connection) -> None:
    await talked(conn, "c1")
    assert await since(conn, T0) == await acquaintance.talks_of(conn, [CallId("c1")]) == [TALK]
    assert await named(conn, 0.0) == []
    draft = NoteDraft(
        caller_name="Eva \"Sommer'", caller_company="Sommer & Co", caller_phone="030 111 2222"
    )
    await write_draft(conn, "c1", draft, finish=False, now=T0 + 90)
    (noted,) = await since(conn, T0 - 1)
    assert (noted.person, noted.company, noted.dictated) == (
        "Eva \"Sommer'",
        "Sommer & Co",
        OFFICE,
    )
    assert await named(conn, T0 + 89) == ["c1"]
    assert await named(conn, T0 + 91) == []


async def test_newest_first_as_far_back_as_asked_for(conn: Connection) -> None:
    for number in range(acquaintance.CHUNK + 3):
        await talked(conn, f"c{number}", T0 + number)
    found = await since(conn, T0 + 1)
    assert [talk.call_id for talk in found] == [
        f"c{number}" for number in range(acquaintance.CHUNK + 2, 0, -1)
    ]


@pytest.mark.parametrize("apart_s", [0, 1])
async def test_each_changed_note_once_however_many(conn: Connection, apart_s: int) -> None:
    """Also those of one moment, which several pages share."""
    calls = [f"c{number:03}" for number in range(2 * acquaintance.CHUNK + 3)]
    for number, call_id in enumerate(calls):
        await talked(conn, call_id)
        when = T0 + 90 + apart_s * number
        await write_draft(conn, call_id, NoteDraft(caller_name="Eva"), finish=False, now=when)
    assert await named(conn, T0 + 90) == calls
    assert await named(conn, T0 + 90 + apart_s * 7) == calls[apart_s * 7 :]


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": Outcome.PUT_THROUGH},
        {"outcome": Outcome.ABANDONED, "answered_at": None},
        {"answered_at": T0 + 58},
        {"agent_id": None},
    ],
)
async def test_what_is_no_talk(conn: Connection, change: dict[str, Any]) -> None:
    await records.apply(conn, [opened(), closed(**change)], 1)
    await write_draft(conn, "c1", NoteDraft(caller_name="Eva"), finish=True, now=T0 + 90)
    assert await since(conn, 0.0) == []
    assert await named(conn, 0.0) == []
    assert await acquaintance.talks_of(conn, [CallId("c1"), CallId("c2")]) == []


async def test_calls_to_nobody_and_calls_that_go_on(conn: Connection) -> None:
    await records.apply(conn, [opened(client_id=None), closed(), opened("c2")], 1)
    assert await since(conn, 0.0) == []


async def test_the_telephones_of_contacts(conn: Connection, tmp_path: Path) -> None:
    contacts = [
        {"name": "Eva", "email": "eva@example.com", "notes": True, "phone": "030 111 2222"},
        {"name": "Uwe"},
    ]
    file = file_of(client(contacts=contacts), client("winter", numbers={"did": ["+4930999"]}))
    await clients.import_clients(conn, file, FakeSounds(), base=tmp_path)
    assert await acquaintance.contact_numbers(conn) == [("sommer", OFFICE)]


async def test_finding_changed_notes_walks_no_table(conn: Connection) -> None:
    await conn.execute("SET enable_seqscan = off")
    try:
        sql, since = f"EXPLAIN {acquaintance._TALKS_NAMED_SQL}", timestamp(T0)
        plan = await conn.fetch(sql, *acquaintance._COUNTS, since, "", acquaintance.CHUNK)
    finally:
        await conn.execute("RESET enable_seqscan")
    for index in ("note_drafts_changed", "calls_pkey"):
        assert any(index in row[0] for row in plan)


def directory() -> Directory:
    sommer = ClientScript(
        ClientId("sommer"), "Sommer", "de", "Europe/Berlin", "ring", "", "default"
    )
    return Directory({sommer.client_id: sommer}, {"+49301234567": sommer.client_id})


async def test_the_memory_is_filled_and_kept_up(pool: Pool, conn: Connection) -> None:
    book = directory()
    memory = Acquaintance(TalkTable(pool), lambda: book, clock=lambda: T0 + 1000)

    def call(number: str, name: str = "") -> CallArrived:
        dids = ("+49301234567",)
        return memory.recognise(CallArrived(CallId("k"), ChannelId("k"), dids, number, name))

    for number in range(120):
        await talked(conn, f"c{number}", T0 + number, caller_number=f"+49170{number:07}")
    await memory.catch_up()
    assert memory.talks == 120
    assert call("+491700000077").known == ("anna",)
    assert call("", "Sommer, Eva").known == ()
    draft = NoteDraft(caller_name="Eva Sommer", caller_phone=OFFICE)
    await write_draft(conn, "c77", draft, finish=True, now=T0 + 1000)
    await memory.catch_up()
    assert (call("", "Sommer, Eva").known, call("", "Sommer, Eva").recognised) == (
        ("anna",),
        Why.NAME,
    )
    assert call(OFFICE).sure
    memory.close()
    assert pool.get_idle_size() == pool.get_size() - 1  # ours; nothing is left open


async def test_without_a_database_there_is_nothing_to_learn() -> None:
    nowhere = await open_pool("postgresql://nobody@127.0.0.1:1/nothing")
    memory = Acquaintance(TalkTable(nowhere), Directory)
    with pytest.raises(ServiceError):
        await memory.catch_up()
    memory.close()
    await nowhere.close()


async def test_a_memory_that_is_full_leaves_no_connection_behind(
    pool: Pool, conn: Connection
) -> None:
    for number in range(3 * acquaintance.CHUNK):
        await talked(conn, f"c{number}", T0 + number, caller_name=f"Karl {'Anrufer' * 9}")
    book = directory()
    memory = Acquaintance(TalkTable(pool), lambda: book, clock=lambda: T0 + 1000, max_pages=12)
    await memory.catch_up()
    assert memory.talks < 3 * acquaintance.CHUNK
    assert pool.get_idle_size() == pool.get_size() - 1
    memory.close()
