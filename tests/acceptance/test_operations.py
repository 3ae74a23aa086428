"""Operations: what is counted, who is told, and that neither a hung process nor an upgrade costs a
call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.house import ALDER, BIRCH, CEDAR, Crew, House

from vsek.demo.events import eventually
from vsek.demo.mailbox import Mail
from vsek.embedded.ports import free_port
from vsek.errors import ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATIONS = "operations@vsek.example"
METRICS_PORT = free_port()
SETTINGS = {
    "VSEK_METRICS__LISTEN": str(METRICS_PORT),
    "VSEK_NOTES__OPERATIONS_EMAIL": OPERATIONS,
    "VSEK_NOTES__OPERATIONS_LANGUAGE": "de",
    "VSEK_ALARMS__CLEAR_S": "1",
    "VSEK_ALARMS__NOBODY_SIGNED_IN_S": "1",
    "VSEK_ALARMS__DATABASE_S": "1",
    "VSEK_ALARMS__ASTERISK_S": "1",
    "VSEK_ALARMS__TRUNK_S": "1",
}


def _numbers(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(house: House) -> dict[str, float]:
    """The switchboard's metrics, by TCP and by the control socket the same."""
    timeout = aiohttp.ClientTimeout(total=5)
    by_unix = aiohttp.UnixConnector(str(house.stack.ready["control"]))
    async with (
        aiohttp.ClientSession(timeout=timeout) as tcp,
        aiohttp.ClientSession(timeout=timeout, connector=by_unix) as unix,
        tcp.get(f"http://127.0.0.1:{METRICS_PORT}/metrics") as one,
        unix.get("http://switchboard/metrics") as other,
    ):
        found, same = _numbers(await one.text()), _numbers(await other.text())
    assert {name for name in found if name.startswith("vsek_")} == {
        name for name in same if name.startswith("vsek_")
    }
    return found


async def health(house: House) -> dict[str, str]:
    """What each part's status is, as the command tells it."""
    ran = await house.stack.cli("health", "--json", check=False)
    answer = json.loads(ran.out)
    assert ran.code == (0 if answer["ok"] else 1)
    return {part["name"]: part["status"] for part in answer["parts"]}


async def problems(house: House) -> list[str]:
    """Which parts need help; without the time that a command takes to start."""
    return list((await house.stack.control("GET", "/v1/health"))["problems"])


async def told(house: House, title: str, *, after: int, timeout_s: float = 20.0) -> Mail:
    """The mail to operations with ``title`` in its subject."""
    return await house.mailbox.mails.wait(
        lambda mail: OPERATIONS in mail.recipients and title in mail.subject,
        f"a mail about {title!r}",
        timeout_s=timeout_s,
        after=after,
    )


async def told_once_and_over(house: House, title: str, *, after: int) -> None:
    """Waits for the mail that it is over; there was one before it, and only one."""
    over = await told(house, f"Vorbei: {title}", after=after)
    mails = [mail.subject for mail in list(house.mailbox.mails)[after:] if title in mail.subject]
    assert len(mails) == 2, mails
    assert "dauerte" in over.text


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """SIGSTOP for a process and its children, while the context lasts."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [pid, *map(int, children)]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in reversed(pids):
            os.kill(one, signal.SIGCONT)


async def wait_ready(house: House) -> None:
    """Waits until callers are answered."""

    async def probe() -> bool | None:
        try:
            return (await house.stack.control("GET", "/v1/ready"))["ok"] or None
        except ServiceError:
            return None

    await eventually(probe, "a switchboard that is ready", timeout_s=20.0, every_s=0.02)


async def another_pid(house: House, old: int, *, timeout_s: float = 20.0) -> int:
    """The pid of the switchboard that replaced ``old``."""

    async def probe() -> int | None:
        pid = await house.serve_pid()
        return pid if pid not in {0, old} else None

    return await eventually(probe, "another switchboard", timeout_s=timeout_s)


async def test_metrics_equal_the_calls_made(house: House, crew: Crew) -> None:
    before = await scrape(house)
    agent = await crew.agent()
    one = await crew.dial(CEDAR)
    await (await agent.phone.ring()).answer()
    await house.wait_live(one, "talking")
    two = await crew.dial(CEDAR)
    await house.wait_live(two, "waiting")
    now = await scrape(house)
    assert now["vsek_live_calls/talking"] == now["vsek_live_calls/waiting"] == 1
    assert now["vsek_callers_waiting"] == 1
    assert now["vsek_longest_wait_seconds"] > 0
    assert now["vsek_agents/talking"] == 1
    await two.hang_up()
    await one.hang_up()
    await house.wait_closed(one, two)
    three = await crew.dial("+49305550299")
    await house.wait_live(three, "announcement")
    await three.hang_up()
    await house.wait_closed(three)
    after = await scrape(house)

    def more(name: str) -> float:
        return after[name] - before[name]

    assert more("vsek_calls_arrived_total") == 3
    assert more("vsek_calls_total/answered") == 1
    assert more("vsek_calls_total/abandoned") == 1
    assert more("vsek_calls_total/unknown_number") == 1
    assert more("vsek_call_answer_seconds_count") == more("vsek_call_ring_seconds_count") == 1
    assert more("vsek_call_wait_seconds_count") == 2
    assert more("vsek_decision_seconds_count") == more("vsek_journal_entries_total") > 10
    assert more("vsek_commands_sent_total") > 3
    assert after["vsek_commands_timeouts_total"] == after["vsek_commands_dropped_total"] == 0
    assert after["vsek_asterisk_connected"] == after["vsek_database_up"] == 1
    assert after["vsek_event_loop_lag_seconds_count"] > before["vsek_event_loop_lag_seconds_count"]


async def test_metrics_of_the_note_service(house: House, crew: Crew) -> None:
    caller = await crew.dial(CEDAR)
    await house.wait_live(caller, "waiting")
    await caller.hang_up()
    await house.wait_mail(caller)
    url = f"{house.stack.ready['notes']}/metrics"

    async def counted() -> dict[str, float] | None:
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            found = _numbers(await reply.text())
        return found if found["vsek_deliveries_total/accepted"] else None

    found = await eventually(counted, "a mail that was accepted")
    assert found["vsek_notes_taken_total"] >= 1
    assert found["vsek_smtp_attempts_total/accepted"] >= 1
    assert found["vsek_mail_server_up"] == found["vsek_database_up"] == 1


async def test_a_hung_switchboard_is_replaced_within_ten_seconds(house: House, crew: Crew) -> None:
    agent = await crew.agent()
    talking = await crew.dial(ALDER)
    await (await agent.phone.ring()).answer()
    await house.wait_live(talking, "talking")
    waiting = await crew.dial(BIRCH)
    await house.wait_live(waiting, "waiting")
    old = await house.serve_pid()
    began = time.monotonic()
    os.kill(old, signal.SIGSTOP)
    await another_pid(house, old)
    took_s = time.monotonic() - began
    assert took_s <= 10.0
    await wait_ready(house)
    await talking.media.wait_sound(after=len(talking.media.packets))
    stages = {call["caller_number"]: call["stage"] for call in await house.stack.calls()}
    assert stages == {talking.dialled.caller: "talking", waiting.dialled.caller: "waiting"}
    assert "part_hangs" in house.stack.program.log.read_text()


async def test_a_frozen_database_is_seen_told_and_forgotten(house: House, crew: Crew) -> None:
    agent = await crew.agent()
    after = len(house.mailbox.mails)
    with frozen(house.stack.ready["pids"]["postgres"]):
        began = time.monotonic()

        async def seen() -> bool | None:
            return True if "database" in await problems(house) else None

        await eventually(seen, "a health that tells of it", timeout_s=15.0)
        assert time.monotonic() - began < 8.0
        assert (await health(house))["database"] == "down"
        # Callers are answered meanwhile, and health answers at once.
        caller = await crew.dial(ALDER)
        await (await agent.phone.ring()).answer()
        await house.wait_live(caller, "talking")
        asked = time.monotonic()
        assert (await house.stack.control("GET", "/v1/health"))["status"] == "degraded"
        assert time.monotonic() - asked < 1.0
        mail = await told(house, "Alarm: PostgreSQL antwortet nicht", after=after)
        assert "Was zu tun ist" in mail.text
    await told_once_and_over(house, "PostgreSQL antwortet nicht", after=after)

    async def well() -> bool | None:
        return True if not await problems(house) else None

    await eventually(well, "a health without complaints", timeout_s=15.0)
    assert set((await health(house)).values()) == {"ok"}


async def test_callers_without_anybody_signed_in(house: House, crew: Crew) -> None:
    after = len(house.mailbox.mails)
    caller = await crew.dial(ALDER)
    title = "Anrufer warten, und niemand ist angemeldet"
    mail = await told(house, f"Alarm: {title}", after=after)
    assert mail.message["X-Priority"] == "1"
    assert caller.dialled.caller not in mail.text  # operations need no names
    agent = await crew.agent(wait="offered")
    await (await agent.phone.ring()).answer()
    await told_once_and_over(house, title, after=after)


@pytest.mark.long
async def test_an_asterisk_that_hangs_is_told_of(house: House) -> None:
    after = len(house.mailbox.mails)
    with frozen(house.stack.ready["pids"]["asterisk"]):
        await told(house, "Alarm: Asterisk ist weg", after=after, timeout_s=30.0)
        assert (await health(house))["asterisk"] == "down"
    await told_once_and_over(house, "Asterisk ist weg", after=after)
    await wait_ready(house)


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.long)])
async def test_renewals_cost_no_call(house: House, crew: Crew, times: int) -> None:
    """New code (SIGHUP): who talks goes on talking, who waits keeps the place."""
    agent = await crew.agent()
    talking = await crew.dial(ALDER)
    leg = await agent.phone.ring()
    await leg.answer()
    await house.wait_live(talking, "talking")
    first, second = await crew.dial(BIRCH), await crew.dial(ALDER)
    for caller in (first, second):
        await house.wait_live(caller, "waiting")
    calls = {c["id"]: (c["stage"], c["place"]) for c in await house.stack.calls()}
    assert sorted(place for _, place in calls.values() if place is not None) == [0, 1]
    for _ in range(times):
        old = await house.serve_pid()
        os.kill(house.stack.program.pid, signal.SIGHUP)
        await another_pid(house, old)
        await wait_ready(house)
        await talking.media.wait_sound(after=len(talking.media.packets))
        assert {c["id"]: (c["stage"], c["place"]) for c in await house.stack.calls()} == calls
        assert not any(caller.ended for caller in (talking, first, second))
        assert not leg.closed
    assert "not_renewed" not in house.stack.program.log.read_text()


@pytest.mark.long
async def test_a_second_switchboard_stands_by_and_takes_over(
    house: House, crew: Crew, tmp_path: Path
) -> None:
    """Upgrade by hand, under a supervisor like systemd: start the new one, stop the old one."""
    caller = await crew.dial(BIRCH)
    await house.wait_live(caller, "waiting")
    old = await house.serve_pid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.setblocking(False)
        environment = {
            **house.stack.program.environment,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "900000",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vsek.cli.main", "serve", "--dir", str(house.stack.folder)),
            env=environment,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert await _told(supervisor, "STATUS=standing by") == []
            [call] = await house.stack.calls()
            assert call["stage"] == "waiting"
            os.kill(old, signal.SIGTERM)
            assert "WATCHDOG=1" not in await _told(supervisor, "READY=1")
            await wait_ready(house)
            assert [call["stage"] for call in await house.stack.calls()] == ["waiting"]
            assert not caller.ended
            for _ in range(3):
                await _told(supervisor, "WATCHDOG=1")
        finally:
            # vsek up has started one of its own, which stands by and takes over again.
            process.terminate()
            await process.wait()
        await _told(supervisor, "STOPPING=1")
    await wait_ready(house)
    assert not caller.ended


async def _told(supervisor: socket.socket, line: str) -> list[str]:
    """Waits until a process tells ``line``; what it told before."""
    loop, before = asyncio.get_running_loop(), list[str]()
    async with asyncio.timeout(20):
        while True:
            lines = (await loop.sock_recv(supervisor, 4096)).decode().splitlines()
            if line in lines:
                return before
            before += lines
