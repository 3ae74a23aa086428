"""A mail server that misbehaves at every step of every conversation.

In the end each recipient has the mail once. Only where the server had all of it and never said so
may it come twice, and then under the same Message-ID.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import asyncpg
import pytest
from tests.integration.notify.bench import Bench
from tests.integration.notify.mailserver import MailServer
from tests.integration.notify.unruly import CUT, HANG, STEPS, Unruly
from tests.unit.notify.samples import missed, note

from vsek.notify.smtp import SmtpSession
from vsek.settings import SmtpSettings

WEBER, OEZTUERK = "weber@nord.example", "oeztuerk@nord.example"
ROUNDS = 30
TIMEOUT_S = 0.2


@pytest.fixture
async def server() -> AsyncIterator[Unruly]:
    server = Unruly()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def bench(pool: asyncpg.Pool, server: Unruly) -> AsyncIterator[Bench]:
    bench = Bench(pool, cast(MailServer, server))
    bench.smtp = bench.smtp.model_copy(update={"timeout_s": TIMEOUT_S})
    bench.outbox, bench.session = bench.another(), bench.new_session()
    yield bench
    bench.session.drop()


async def until_settled(bench: Bench, note_id: str) -> list[tuple[str, str, int]]:
    """Sends and moves the clock on until nothing of the note is queued."""
    for _ in range(ROUNDS):
        await bench.drain()
        found = await bench.statuses(note_id)
        if all(status != "queued" for _, status, _ in found):
            return found
        bench.clock.forward(seconds=60)
    raise AssertionError(f"never settled: {found}")


@pytest.mark.parametrize("fault", [CUT, HANG, "421 4.3.2 going down", "451 4.3.0 not now"])
@pytest.mark.parametrize("step", STEPS)
async def test_each_step(bench: Bench, server: Unruly, step: str, fault: str) -> None:
    server.plan = {step: [fault]}
    note_id = await bench.accept(note())
    settled = await until_settled(bench, note_id)
    assert [(to, status) for to, status, _ in settled] == [
        (WEBER, "accepted"),
        (OEZTUERK, "accepted"),
    ]
    assert all(attempts <= 2 for _, _, attempts in settled)
    # A second note meets a server that behaves, over whatever connection is left.
    other_id = await bench.accept(missed())
    await until_settled(bench, other_id)
    await bench.session.close()
    assert server.taken == dict.fromkeys(server.taken, 1)
    assert sorted(to for to, _ in server.taken) == sorted([WEBER, WEBER, OEZTUERK])
    twice = [mail for mail, count in server.got.items() if count > 1]
    assert len(twice) == (1 if step == "dot" else 0), twice
    assert {identity for _, identity in server.got} == {
        f"<vsek.{note_id}@vsek.example>",
        f"<vsek.{other_id}@vsek.example>",
    }


async def test_one_fault_after_the_other(bench: Bench, server: Unruly) -> None:
    """Every step fails twice in every way: the mail arrives in the end."""
    server.plan = {
        step: [CUT, HANG, "421 4.3.2 going down", "451 4.3.0 not now"] * 2
        for step in ("banner", "ehlo", "mail", "rcpt", "data", "dot")
    }
    notes = [await bench.accept(missed()) for _ in range(3)]
    for note_id in notes:
        for _ in range(200):
            await bench.drain()
            [(_, status, _)] = await bench.statuses(note_id)
            if status == "accepted":
                break
            bench.clock.forward(seconds=3600)
    assert server.taken == dict.fromkeys(server.taken, 1)
    assert len(server.taken) == 3


@pytest.mark.parametrize("reply", ["550 5.1.1 nobody here", "552 5.2.2 mailbox full for good"])
async def test_of_two_recipients_one_is_refused(bench: Bench, server: Unruly, reply: str) -> None:
    server.refused = {WEBER: reply}
    note_id = await bench.accept(note())
    assert await until_settled(bench, note_id) == [
        (WEBER, "bounced", 1),
        (OEZTUERK, "accepted", 1),
    ]
    assert list(server.taken.values()) == [1]


async def test_greylisting_takes_the_mail_at_the_second_attempt(
    bench: Bench, server: Unruly
) -> None:
    server.plan = {"rcpt": ["450 4.2.0 greylisted", "450 4.2.0 greylisted"]}
    note_id = await bench.accept(note())
    await bench.drain()
    assert not server.taken
    bench.clock.forward(seconds=5)
    await bench.drain()
    assert not server.taken, "too soon: a greylisting server would begin anew"
    bench.clock.forward(seconds=15)
    await bench.drain()
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 2), (OEZTUERK, "accepted", 2)]


async def test_a_server_that_refuses_connections_and_comes_back(
    bench: Bench, server: Unruly
) -> None:
    await server.stop()
    notes = [await bench.accept(missed()) for _ in range(5)]
    for _ in range(5):
        await bench.drain()
        bench.clock.forward(seconds=60)
    await server.start()
    for note_id in notes:
        [(_, status, _)] = await until_settled(bench, note_id)
        assert status == "accepted"
    assert len(server.taken) == 5
    assert set(server.taken.values()) == {1}


async def test_a_clock_that_is_set_back_prolongs_no_rest(bench: Bench, server: Unruly) -> None:
    await server.stop()
    note_id = await bench.accept(missed())
    await bench.drain()
    bench.clock.forward(hours=-1)
    await server.start()
    later_id = await bench.accept(missed())
    await bench.drain()
    # What was due by the old clock waits for it; what comes now goes out now.
    assert [status for _, status, _ in await bench.statuses(later_id)] == ["accepted"]
    bench.clock.forward(hours=1, seconds=60)
    await until_settled(bench, note_id)
    assert set(server.taken.values()) == {1}


async def test_one_hanging_recipient_takes_one_worker_not_all(bench: Bench, server: Unruly) -> None:
    """Four workers, one mail at which the server falls silent: the others are sent meanwhile."""
    server.plan = {"dot": [HANG]}
    notes = [await bench.accept(missed()) for _ in range(12)]
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(bench.outbox.run())
    began = loop.time()
    await server.wait_taken(len(notes) - 1)
    took_s = loop.time() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(f"\n  11 mails beside one that hangs: {took_s:.3f} s")
    # The one that hangs is given up after six times the timeout.
    assert took_s < 6 * TIMEOUT_S


async def test_a_slow_server_is_slow_for_each_mail_not_for_all(
    bench: Bench, server: Unruly
) -> None:
    """Five replies to a mail, four workers: twelve mails in three rounds."""
    server.slow_s = TIMEOUT_S / 2
    notes = [await bench.accept(missed()) for _ in range(12)]
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(bench.outbox.run())
    began = loop.time()
    await server.wait_taken(len(notes))
    took_s = loop.time() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(f"\n  12 mails at a slow server: {took_s:.3f} s")
    assert set(server.taken.values()) == {1}
    assert took_s < 12 * 5 * server.slow_s, "as if one after the other"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed by nobody, for another name."""
    folder = tmp_path_factory.mktemp("tls")
    file = folder / "mail.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=elsewhere.example", "-keyout", str(file), "-out", str(folder / "crt")]
    subprocess.run(command, check=True, capture_output=True)
    with file.open("a") as both:
        both.write((folder / "crt").read_text())
    return file


@pytest.mark.parametrize("kind", ["certificate", "plain"])
async def test_broken_tls_rests_and_loses_nothing(
    bench: Bench, server: Unruly, certificate: Path, kind: str
) -> None:
    """A certificate that nobody vouches for; a server that speaks no TLS where it should."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    broken = Unruly(context if kind == "certificate" else None)
    await broken.start()
    settings = SmtpSettings(port=broken.port, sender="a@b.example", timeout_s=0.5, tls="implicit")
    session = SmtpSession(settings, "[127.0.0.1]")
    note_id = await bench.accept(missed())
    assert await bench.outbox.send_next(session)
    assert await bench.statuses(note_id) == [(WEBER, "queued", 1)]
    assert bench.outbox.server_reply
    print(f"\n  TLS: {bench.outbox.server_reply}")
    session.drop()
    await broken.stop()
    assert not broken.got
    # Mended: the same mail goes out.
    bench.clock.forward(seconds=60)
    await until_settled(bench, note_id)
    assert list(server.taken.values()) == [1]
