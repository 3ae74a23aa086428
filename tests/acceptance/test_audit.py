"""``vsek audit`` on a running vsek: equal after calls of several outcomes, and telling what was
tampered with."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.acceptance.house import ALDER, BIRCH, CEDAR, Crew, House

from vsek.demo.events import eventually
from vsek.errors import ServiceError
from vsek.settings import load

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def compared(house: House) -> tuple[int, Any]:
    """Exit code and document of ``vsek audit``; nothing is too young to be compared."""
    ran = await house.stack.cli("audit", "--settle", "0", "--json", check=False)
    return ran.code, ran.json()


async def test_calls_of_several_outcomes_and_what_was_tampered_with(
    house: House, crew: Crew
) -> None:
    anna = await crew.agent()
    one = await crew.dial(ALDER)
    ringing = await anna.phone.ring()
    await ringing.answer()
    await house.wait_live(one, "talking")
    two = await crew.dial(BIRCH)
    await house.wait_live(two, "waiting")
    three = await crew.dial("+49305559999")
    await house.wait_live(three, "announcement")
    await two.hang_up()
    await one.hang_up()
    await three.hang_up()
    calls = await house.wait_closed(one, two, three)
    assert [c["outcome"] for c in calls] == ["answered", "abandoned", "unknown_number"]
    await house.stack.control("POST", f"/v1/agents/{anna.id}/ready")
    four = await crew.dial(CEDAR)  # goes on while the books are compared
    await (await crew.ring(anna, four)).answer()
    await house.wait_live(four, "talking")
    for caller in (one, two):
        await house.wait_mail(caller)

    async def equal() -> dict[str, Any] | None:
        code, document = await compared(house)
        return document if code == 0 else None

    document = await eventually(equal, "three equal books", timeout_s=20.0)
    assert document["equal"] is True
    assert document["ledger"] == {"calls": 4, "without_end": 1}
    assert document["database"]["calls"] == 4
    assert document["database"]["without_outcome"] == 1
    assert document["database"]["outcomes"] == {
        "answered": 1,
        "abandoned": 1,
        "unknown_number": 1,
    }
    assert document["note_service"]["notes"] == 3
    await four.hang_up()
    await house.wait_closed(four)

    await _tamper(house, calls)
    code, document = await compared(house)
    assert code == 1
    found = {d["kind"]: d for d in document["differences"]}
    assert found["no_copy"]["call_id"] == calls[0]["id"]
    assert found["not_in_ledger"]["call_id"] == calls[1]["id"]
    assert found["no_note"]["call_id"] == calls[2]["id"]
    channels = {d["channel"] for d in document["differences"] if d["kind"] == "not_in_database"}
    assert "pbx-1.1" in channels
    # And in words.
    ran = await house.stack.cli("audit", "--settle", "0", check=False)
    assert ran.code == 1
    assert f"no_note: call {calls[2]['id']}" in ran.out
    assert " channel pbx-1.1: Asterisk had a call at " in ran.out


async def _tamper(house: House, calls: list[dict[str, Any]]) -> None:
    connection = await asyncpg.connect(house.stack.dsn)
    try:
        await connection.execute(
            "UPDATE notify.deliveries SET status = 'bounced' WHERE note_id IN"
            " (SELECT note_id FROM notify.notes WHERE call_id = $1)",
            calls[0]["id"],
        )
        await connection.execute(
            "UPDATE vsek.calls SET channel = 'another' WHERE id = $1", calls[1]["id"]
        )
        await connection.execute("DELETE FROM vsek.note_due WHERE call_id = $1", calls[2]["id"])
    finally:
        await connection.close()
    folder = load(house.stack.folder).asterisk.ledger_folder
    assert folder is not None
    # Long enough ago that nobody can be with the dialplan any more. (Of an end that vsek knows
    # nothing of it makes a call by itself, so that it is no difference for long.)
    at = int(time.time()) - 2000
    lines = f"v=1,kind=in,channel=pbx-1.1,at={at},did=%2B49301\n"
    path = folder / f"{datetime.fromtimestamp(at, UTC):%Y%m%d}.log"
    with await asyncio.to_thread(path.open, "a") as file:
        file.write(lines)


@pytest.mark.long
async def test_calls_that_the_dialplan_served_are_in_all_books(house: House, crew: Crew) -> None:
    """vsek hangs; one caller leaves a message, one hangs up early, a talk goes on."""
    _, document = await compared(house)
    known = {(d["kind"], d["channel"]) for d in document["differences"]}
    anna = await crew.agent()
    talking = await crew.dial(ALDER)
    await (await crew.ring(anna, talking)).answer()
    await house.wait_live(talking, "talking")
    waiting = await crew.dial(BIRCH)
    await house.wait_live(waiting, "waiting")
    old = await house.serve_pid()
    os.kill(old, signal.SIGSTOP)
    speaking, short = await crew.dial(CEDAR), await crew.dial(CEDAR)
    await speaking.wait_answered(timeout_s=15.0)
    await short.hang_up()
    await speaking.media.wait_sound()
    await eventually(lambda: _serves(house, old), "vsek up has replaced it", timeout_s=60.0)
    await speaking.hang_up()
    await asyncio.gather(waiting.hang_up(), talking.hang_up())
    calls = await house.wait_closed(talking, waiting, speaking, short, timeout_s=30.0)
    assert calls[0]["outcome"] == "answered"
    # Where vsek came back in time, it has the one who waited again.
    assert {c["stage"] for c in calls[2:]} <= {"fallback", "arriving"}

    async def equal() -> bool | None:
        _, document = await compared(house)
        new = [d for d in document["differences"] if (d["kind"], d["channel"]) not in known]
        return True if not new else None

    await eventually(equal, "three equal books", timeout_s=30.0)


async def _serves(house: House, old: int) -> bool | None:
    if await house.serve_pid() == old:
        return None
    try:
        return True if (await house.stack.control("GET", "/v1/health"))["ok"] else None
    except ServiceError:
        return None
