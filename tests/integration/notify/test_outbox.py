from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import pytest
from tests.integration.notify.bench import Bench
from tests.integration.notify.mailserver import DROP, HANG, MailServer, text_of
from tests.unit.notify.samples import missed, note

from vsek.demo.events import eventually
from vsek.notify.database import Claim, Database
from vsek.notify.mail import REFERENCES_LIMIT
from vsek.notify.model import DeliveryStatus

WEBER, OEZTUERK = "weber@nord.example", "oeztuerk@nord.example"


async def test_every_recipient_gets_the_same_mail_once(
    bench: Bench, mail_server: MailServer
) -> None:
    note_id = await bench.accept(note())
    assert await bench.drain() == 2
    assert [to for to, _ in mail_server.taken] == [WEBER, OEZTUERK]
    first, second = (mail for _, mail in mail_server.taken)
    assert first["Message-ID"] == second["Message-ID"] == f"<vsek.{note_id}@vsek.example>"
    assert first["Subject"] == "[Dringend] Anruf: Max Müller, Beispiel GmbH – RR"
    assert "Heizung seit heute früh ausgefallen" in text_of(first)
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 1), (OEZTUERK, "accepted", 1)]
    found = await bench.database.show(note_id)
    assert found is not None
    assert [(to.reply_code, to.reply) for to in found[0].deliveries] == [
        (250, "queued as 4711")
    ] * 2
    assert found[0].state == "accepted"
    assert mail_server.connections == 1


async def test_a_recipient_refused_for_now_is_tried_again_and_alone(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "450 4.2.0 greylisted" if to == WEBER else ""
    note_id = await bench.accept(note())
    assert await bench.drain() == 2
    assert await bench.statuses(note_id) == [(WEBER, "queued", 1), (OEZTUERK, "accepted", 1)]
    found = await bench.database.show(note_id)
    assert found is not None
    assert found[0].deliveries[0].reply == "4.2.0 greylisted"
    assert found[0].state == "queued"

    bench.clock.forward(seconds=14.9)
    assert await bench.drain() == 0
    mail_server.on_rcpt = lambda _: ""
    bench.clock.forward(seconds=0.1)
    assert await bench.drain() == 1
    assert [to for to, _ in mail_server.taken] == [OEZTUERK, WEBER]


async def test_a_recipient_that_is_never_taken_is_given_up_and_operations_get_the_note(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "452 mailbox full" if to == WEBER else ""
    note_id = await bench.accept(missed())
    for _ in range(200):
        await bench.drain()
        due = await bench.database.next_due(bench.clock())
        if due is None:
            break
        bench.clock.now = due
    [weber, operations] = await bench.statuses(note_id)
    assert weber[1] == "given_up"
    assert weber[2] > 70
    assert operations == ("ops@vsek.example", "accepted", 1)
    [(to, mail)] = mail_server.taken
    assert to == "ops@vsek.example"
    assert mail["To"] == "ops@vsek.example"
    assert mail["Subject"].startswith("[Undelivered] Missed call")
    assert "weber@nord.example: 452 mailbox full" in text_of(mail)
    assert mail["Message-ID"] == f"<vsek.{note_id}.copy@vsek.example>"


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_refusal_for_good_bounces_at_once(
    bench: Bench, mail_server: MailServer, stage: str
) -> None:
    def reply(to: str) -> str:
        return "550 5.1.1 no such user" if to == WEBER else ""

    if stage == "rcpt":
        mail_server.on_rcpt = reply
    else:
        mail_server.on_data = reply
    note_id = await bench.accept(note())
    await bench.drain()
    # The colleague has it: no copy for operations.
    assert await bench.statuses(note_id) == [(WEBER, "bounced", 1), (OEZTUERK, "accepted", 1)]
    found = await bench.database.show(note_id)
    assert found is not None
    assert found[0].state == "partly_accepted"
    assert (found[0].deliveries[0].reply_code, found[0].deliveries[0].reply) == (
        550,
        "5.1.1 no such user",
    )
    # The connection serves the next recipient after the refusal.
    assert mail_server.connections == 1


async def test_operations_get_one_copy_when_nobody_got_the_note(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "550 no" if to.endswith("nord.example") else ""
    note_id = await bench.accept(note())
    # Both fail at the same time, in workers that do not see each other.
    sessions = [bench.new_session(), bench.new_session()]
    await asyncio.gather(*(bench.outbox.send_next(session) for session in sessions))
    await bench.drain()
    for session in sessions:
        session.drop()
    assert [to for to, _ in mail_server.taken] == ["ops@vsek.example"]
    found = await bench.database.show(note_id)
    assert found is not None
    assert found[0].state == "not_delivered"


async def test_operations_own_address_gets_no_copy_of_its_own_bounce(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda _: "550 no"
    note_id = await bench.accept(missed(recipients=[{"email": "OPS@vsek.example"}]))
    await bench.drain()
    assert await bench.statuses(note_id) == [("OPS@vsek.example", "bounced", 1)]


@pytest.mark.parametrize("fault", [HANG, DROP])
@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_silence_and_a_cut_line_in_the_middle_lead_to_the_same_mail_again(
    bench: Bench, mail_server: MailServer, fault: str, stage: str
) -> None:
    if stage == "rcpt":
        mail_server.on_rcpt = lambda _: fault
    else:
        mail_server.on_data = lambda _: fault
    note_id = await bench.accept(missed())
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "queued", 1)]
    found = await bench.database.show(note_id)
    assert found is not None
    assert found[0].deliveries[0].reply_code is None
    assert found[0].deliveries[0].reply

    mail_server.on_rcpt = mail_server.on_data = lambda _: ""
    bench.clock.forward(seconds=15)
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 2)]
    # After DATA it arrived twice. Everything that names it is the same.
    names = [(mail["Message-ID"], mail["Date"], mail["Subject"]) for _, mail in mail_server.got]
    assert len(names) == (2 if stage == "data" else 1)
    assert len(set(names)) == 1


async def test_without_a_mail_server_all_mail_rests_and_one_mail_probes(
    bench: Bench, mail_server: MailServer
) -> None:
    await mail_server.stop()
    ids = [await bench.accept(missed()) for _ in range(5)]
    assert await bench.drain() == 1
    assert "Error connecting" in bench.outbox.server_reply
    for rest_s in (1, 2, 4, 8, 16, 30, 30):
        bench.clock.forward(seconds=rest_s - 0.01)
        assert await bench.drain() == 0
        bench.clock.forward(seconds=0.01)
        assert await bench.drain() == 1
    # A week later nothing is given up.
    bench.clock.forward(days=7)
    assert await bench.drain() == 1
    await mail_server.start()
    bench.clock.forward(seconds=30)
    assert await bench.drain() == 5
    assert bench.outbox.server_reply == ""
    for note_id in ids:
        [(_, status, _)] = await bench.statuses(note_id)
        assert status == "accepted"


async def test_a_server_that_takes_nothing_from_us_is_no_bounce(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_mail = lambda: "550 5.7.1 sender not allowed"
    note_id = await bench.accept(missed())
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "queued", 1)]
    assert bench.outbox.server_reply == "550 5.7.1 sender not allowed"
    mail_server.on_mail = lambda: ""
    bench.clock.forward(seconds=1)
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 2)]


async def test_a_connection_that_the_server_closed_between_two_mails_is_made_anew(
    bench: Bench, mail_server: MailServer
) -> None:
    await bench.accept(missed())
    await bench.drain()
    mail_server.cut()
    note_id = await bench.accept(missed())
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 1)]


async def test_corrections_and_later_calls_stay_in_the_thread(
    bench: Bench, mail_server: MailServer
) -> None:
    first = await bench.accept(note(), key="call:1:auto")
    await bench.accept(note(thread="nord/other"), key="call:2:auto")
    correction = await bench.accept(note(corrects="call:1:auto"), key="call:1:auto:1")
    later = await bench.accept(note(call=None))
    stranger = await bench.accept(note(client={"id": "x", "name": "X"}))
    await bench.drain()
    mails = {mail["Message-ID"]: mail for _, mail in mail_server.taken}

    def name(note_id: str) -> str:
        return f"<vsek.{note_id}@vsek.example>"

    assert mails[name(first)]["References"] is None
    assert mails[name(correction)]["In-Reply-To"] == name(first)
    assert mails[name(correction)]["References"] == name(first)
    assert mails[name(later)]["In-Reply-To"] == name(correction)
    assert mails[name(later)]["References"].split() == [name(first), name(correction)]
    # The same caller at another client is another matter.
    assert mails[name(stranger)]["References"] is None


async def test_a_long_thread_names_its_first_and_latest_mails(
    bench: Bench, mail_server: MailServer
) -> None:
    ids = []
    for _ in range(REFERENCES_LIMIT + 3):
        ids.append(await bench.accept(missed(thread="nord/long")))
        bench.clock.forward(seconds=1)
    await bench.drain()
    mails = {mail["Message-ID"]: mail for _, mail in mail_server.taken}
    names = [f"<vsek.{note_id}@vsek.example>" for note_id in ids]
    assert mails[names[REFERENCES_LIMIT]]["References"].split() == names[:REFERENCES_LIMIT]
    assert mails[names[-1]]["References"].split() == [
        names[0],
        *names[-REFERENCES_LIMIT:-1],
    ]


async def test_two_processes_with_many_workers_send_nothing_twice(
    bench: Bench, mail_server: MailServer
) -> None:
    for _ in range(20):
        await bench.accept(note())
    outboxes = [bench.another(), bench.another()]
    tasks = [asyncio.create_task(outbox.run()) for outbox in outboxes]
    await mail_server.wait_taken(40)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    counts = Counter((to, mail["Message-ID"]) for to, mail in mail_server.got)
    assert len(counts) == 40
    assert set(counts.values()) == {1}


class _CountingDatabase(Database):
    """Counts how often somebody looks for mail that is due, and how often when the next one is."""

    looks = 0
    answers = 0

    @asynccontextmanager
    async def claim(
        self, now: datetime, in_hand: Collection[int] = ()
    ) -> AsyncIterator[Claim | None]:
        self.looks += 1
        async with super().claim(now, in_hand) as claim:
            yield claim

    async def next_due(self, now: datetime) -> datetime | None:
        due = await super().next_due(now)
        self.answers += 1
        return due


async def test_for_a_hint_one_worker_looks_once_and_its_connection_is_used_again(
    bench: Bench, mail_server: MailServer, pool: asyncpg.Pool
) -> None:
    database = _CountingDatabase(pool, country="DE", operations_email="ops@vsek.example")
    bench.database = database
    outbox = bench.another()
    running = asyncio.create_task(outbox.run())

    async def all_sleep() -> bool | None:
        return True if database.answers == 4 else None

    async def one_accepted() -> bool | None:
        return True if await bench.statuses(note_id) == [(WEBER, "accepted", 1)] else None

    await eventually(all_sleep, "four workers that found nothing")
    for mails in range(1, 4):
        note_id = await bench.accept(missed())
        outbox.wake()
        outbox.wake()
        await mail_server.wait_taken(mails)
        await eventually(one_accepted, "the mail's fate")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert database.looks == 4 + 3
    assert database.answers == 4
    assert mail_server.connections == 1


async def test_all_workers_help_where_one_hint_brings_many(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_data = lambda _: HANG
    outbox = bench.another()
    running = asyncio.create_task(outbox.run())
    people = [{"email": f"p{n}@nord.example"} for n in range(4)]
    await bench.accept(missed(recipients=people))
    outbox.wake()

    async def all_at_it() -> bool | None:
        return True if len(mail_server.got) == 4 else None

    await eventually(all_at_it, "four mails at once")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_hanging_mail_does_not_hold_up_a_new_note(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: HANG if to == WEBER else ""
    task = asyncio.create_task(bench.another(workers=2).run())
    outbox = bench.another(workers=2)
    running = asyncio.create_task(outbox.run())
    await bench.accept(missed())
    outbox.wake()
    await asyncio.wait_for(mail_server.hanging.wait(), 5)
    await bench.accept(missed(recipients=[{"email": OEZTUERK}]))
    outbox.wake()
    await mail_server.wait_taken(1)
    assert [to for to, _ in mail_server.taken] == [OEZTUERK]
    for one in (task, running):
        one.cancel()
    await asyncio.gather(task, running, return_exceptions=True)


async def test_what_was_accepted_is_not_sent_again_because_the_database_went_away(
    bench: Bench, mail_server: MailServer, dsn: str
) -> None:
    note_id = await bench.accept(missed())
    killer = await asyncpg.connect(dsn)
    cut = []

    async def cut_off() -> None:
        cut.extend(
            await killer.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
        )

    mail_server.before_taking = cut_off
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await bench.drain()
    assert len(cut) == 1
    await killer.close()
    mail_server.before_taking = None
    assert await bench.statuses(note_id) == [(WEBER, "queued", 0)]
    assert await bench.drain() == 1
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 1)]
    assert len(mail_server.got) == 1


async def test_a_sender_that_dies_leaves_the_mail_free_at_once(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_data = lambda _: HANG
    note_id = await bench.accept(missed())
    dying = asyncio.create_task(bench.drain())
    await asyncio.wait_for(mail_server.hanging.wait(), 5)
    assert await bench.another().send_next(bench.new_session()) is False
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    mail_server.on_data = lambda _: ""
    other = bench.new_session()
    assert await bench.another().send_next(other) is True
    await other.close()
    assert await bench.statuses(note_id) == [(WEBER, "accepted", 1)]


async def test_a_retry_sends_what_bounced_and_only_that(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "550 no" if to == WEBER else ""
    note_id = await bench.accept(note())
    await bench.drain()
    mail_server.on_rcpt = lambda _: ""
    bench.clock.forward(days=30)
    assert await bench.database.retry(note_id, bench.clock()) == 1
    assert await bench.drain() == 1
    assert [to for to, _ in mail_server.taken] == [OEZTUERK, WEBER]
    assert await bench.database.retry(note_id, bench.clock()) == 0
    found = await bench.database.show(note_id)
    assert found is not None
    assert {to.status for to in found[0].deliveries} == {DeliveryStatus.ACCEPTED}


async def test_a_note_that_cannot_be_laid_out_stops_no_other(
    bench: Bench, mail_server: MailServer, pool: asyncpg.Pool
) -> None:
    odd = await bench.accept(missed())
    sound = await bench.accept(missed())
    await pool.execute("UPDATE notify.notes SET request = '{}' WHERE note_id = $1", odd)
    assert await bench.drain() == 2
    assert await bench.statuses(sound) == [(WEBER, "accepted", 1)]
    row = await pool.fetchrow("SELECT status, reply FROM notify.deliveries WHERE note_id = $1", odd)
    assert row is not None
    assert row["status"] == "queued"
    assert row["reply"].startswith("Could not be laid out")


async def test_the_claim_uses_the_index_of_due_mails(bench: Bench, pool: asyncpg.Pool) -> None:
    from vsek.notify.database import _CLAIM_SQL

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch("EXPLAIN " + _CLAIM_SQL, bench.clock(), [])
    text = "\n".join(row[0] for row in plan)
    assert "deliveries_due" in text
    assert "Sort" not in text
