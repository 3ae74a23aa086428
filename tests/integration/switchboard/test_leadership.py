"""Who leads, and whose journal counts, by a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from vsek import leadership as leadership_module
from vsek.acd.events import AgentPaused
from vsek.call.model import new_state
from vsek.demo.events import eventually
from vsek.demo.proxy import Proxy
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.leadership import Leadership
from vsek.store import journal as table
from vsek.store import pool
from vsek.store.records import StaleEpochError
from vsek.switchboard import shipper as shipper_module
from vsek.switchboard.journal import Journal
from vsek.switchboard.shipper import Shipper

_EMPTY_SQL = "TRUNCATE vsek.journal_batches, vsek.journal_snapshots"


@dataclass
class Machine:
    """A switchboard without calls: journal, shipping and leadership on a machine of its own."""

    folder: Path
    connections: pool.Pool
    leadership: Leadership
    journal: Journal
    shipper: Shipper
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    pulses: list[str] = field(default_factory=list)

    async def pulse(self) -> str | None:
        """The last sign of life that Asterisk saw of anybody."""
        return self.pulses.pop(0) if self.pulses else None

    async def start(self) -> bool:
        """Wait for the turn, then ship and keep the lease; whether PostgreSQL is there."""
        await self.leadership.connect()
        there = await self.leadership.await_turn(self.journal, self.shipper, self.pulse)
        self.tasks = [
            asyncio.create_task(self.shipper.run()),
            asyncio.create_task(self.leadership.run(self.journal, self.shipper)),
        ]
        return there

    def pause(self, agent: str) -> int:
        """An entry in the journal."""
        return self.journal.append(AgentPaused(AgentId(agent), "lunch"), 1.0)

    def paused(self) -> list[str]:
        """The agents in all entries of the journal."""
        _, _, entries = self.journal.restore(10**9)
        return [e.event.agent_id for e in entries if isinstance(e.event, AgentPaused)]

    async def die(self) -> None:
        """As kill -9: the kernel closes what was open."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.leadership.release()
        self.journal.release()
        self.connections.terminate()


Make = Callable[..., "asyncio.Future[Machine]"]


@pytest.fixture
async def make(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes machines; each has a folder of its own by its name."""
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(_EMPTY_SQL)
    await connection.execute("UPDATE vsek.journal SET epoch = 0, seq = 0")
    await connection.close()
    async with AsyncExitStack() as exits:

        async def machine(name: str, dsn: str = postgres_dsn) -> Machine:
            connections = await pool.open_pool(dsn)
            leadership = Leadership(connections, dsn)
            journal = Journal(tmp_path / name)
            shipper = Shipper(
                tmp_path / name,
                leadership.ship_entries,
                leadership.ship_snapshot,
                transient=(ServiceError, *pool.UNREACHABLE),
                fatal=(StaleEpochError,),
            )
            made = Machine(tmp_path / name, connections, leadership, journal, shipper)
            exits.push_async_callback(made.die)
            return made

        yield lambda *a, **k: asyncio.ensure_future(machine(*a, **k))


@pytest.fixture
async def line(postgres_dsn: str) -> AsyncIterator[Proxy]:
    """A line to PostgreSQL that can be broken."""
    host, _, port = postgres_dsn.partition("@")[2].partition("/")[0].partition(":")
    proxy = Proxy((host, int(port)))
    await proxy.start()
    yield proxy
    await proxy.stop()


def through(dsn: str, line: Proxy) -> str:
    """``dsn`` by way of ``line``."""
    return dsn.replace(dsn.partition("@")[2].partition("/")[0], line.address)


async def until(fact: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    async def probe() -> bool | None:
        return True if fact() else None

    await eventually(probe, what, timeout_s=timeout_s)


async def shipped(machine: Machine) -> None:
    await until(
        lambda: machine.shipper.shipped == machine.journal.last_number, "everything shipped"
    )


async def test_another_machine_takes_over_with_the_journal(make: Make) -> None:
    one, two = await make("one"), await make("two")
    assert await one.start()
    one.pause("anna")
    one.pause("ben")
    await shipped(one)
    starting = asyncio.create_task(two.start())
    await asyncio.sleep(1.0)  # as long as it takes to ask several times
    assert not starting.done()
    one.pause("cleo")
    await shipped(one)
    await one.die()
    began = asyncio.get_running_loop().time()
    assert await starting
    assert asyncio.get_running_loop().time() - began < 2.0
    assert two.paused() == ["anna", "ben", "cleo"]
    assert two.pause("dora") == 4
    await shipped(two)
    # The first machine comes back with its old journal: the second one's is newer.
    await two.die()
    again = await make("one")
    assert await again.start()
    assert again.leadership.adopted is not None
    assert again.paused() == ["anna", "ben", "cleo", "dora"]
    assert again.leadership.epoch == 3


async def test_the_same_machine_goes_on_with_its_own_journal(make: Make) -> None:
    one = await make("one")
    await one.start()
    one.pause("anna")
    await shipped(one)
    await one.die()
    again = await make("one")
    again.pause("ben")  # what was written and not shipped
    assert await again.start()
    assert again.leadership.adopted is None
    assert again.paused() == ["anna", "ben"]
    await shipped(again)
    await again.die()
    other = await make("other")
    assert await other.start()
    assert other.paused() == ["anna", "ben"]


async def test_a_machine_that_lost_the_end_of_its_journal_takes_it_back(make: Make) -> None:
    one = await make("one")
    await one.start()
    for name in ("anna", "ben", "cleo"):
        one.pause(name)
    await shipped(one)
    await one.die()
    (segment,) = one.folder.glob("journal-*.log")
    segment.write_bytes(segment.read_bytes()[:-5])
    again = await make("one")
    await again.start()
    assert again.paused() == ["anna", "ben", "cleo"]


async def test_a_long_journal_arrives_as_a_snapshot_and_what_follows(
    make: Make, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "SNAPSHOT_LOOK_S", 0.1)
    one = await make("one")
    await one.start()

    connection = await asyncpg.connect(postgres_dsn)
    for number in range(1, 5):
        for _ in range(3):
            one.pause(f"agent{number}")
        await shipped(one)
        await connection.execute("UPDATE vsek.journal SET seq = $1", one.journal.last_number)
        one.journal.snapshot(new_state())
        last = one.journal.last_number

        async def probe(last: int = last) -> bool | None:
            found = await connection.fetchval("SELECT max(number) FROM vsek.journal_snapshots")
            return True if found == last else None

        await eventually(probe, "the snapshot")
    one.pause("last")
    await shipped(one)
    kept = [
        row["number"]
        for row in await connection.fetch("SELECT number FROM vsek.journal_snapshots ORDER BY 1")
    ]
    assert kept == [9, 12]
    assert await connection.fetchval("SELECT min(first) FROM vsek.journal_batches") == 10
    await connection.close()
    await one.die()
    two = await make("two")
    await two.start()
    assert two.paused() == ["last"]
    assert two.journal.last_number == 13


async def test_without_postgresql_a_start_leads_at_once(
    make: Make, line: Proxy, postgres_dsn: str
) -> None:
    line.refuse()
    one = await make("one", through(postgres_dsn, line))
    began = asyncio.get_running_loop().time()
    assert not await one.start()
    assert asyncio.get_running_loop().time() - began < 2.0
    one.pause("anna")
    with pytest.raises(ServiceError):
        _ = one.leadership.my_epoch
    await line.start()
    await shipped(one)
    assert one.leadership.epoch == 1


async def test_without_postgresql_a_start_leaves_calls_to_one_that_lives(
    make: Make, line: Proxy, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "HEALTHY_S", 0.05)
    line.refuse()
    one = await make("one", through(postgres_dsn, line))
    one.pulses = ["1", "2", "3", "4", "4", "5"]
    assert not await one.start()
    assert one.pulses == ["5"]  # led when the sign of life did not change any more


async def test_without_postgresql_the_last_leader_leads_again_at_once(
    make: Make, line: Proxy, postgres_dsn: str
) -> None:
    line.refuse()
    one = await make("one", through(postgres_dsn, line))
    one.pause("anna")
    one.pulses = ["1", "2"]
    assert not await one.start()
    assert one.pulses == ["1", "2"]


async def test_postgresql_comes_back_while_another_one_lives(
    make: Make, line: Proxy, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "HEALTHY_S", 0.1)
    leader = await make("leader")
    await leader.start()
    leader.pause("anna")
    await shipped(leader)
    line.refuse()
    one = await make("one", through(postgres_dsn, line))
    one.pulses = [str(number) for number in range(1000)]
    starting = asyncio.create_task(one.start())
    await until(lambda: len(one.pulses) < 998, "standing by")
    await line.start()
    await leader.die()
    assert await starting
    assert one.paused() == ["anna"]


async def test_a_leader_that_was_cut_off_takes_the_lease_back(
    make: Make, line: Proxy, postgres_dsn: str
) -> None:
    one = await make("one", through(postgres_dsn, line))
    await one.start()
    line.refuse()
    line.cut()
    one.pause("anna")
    await until(lambda: one.shipper.failing, "the loss")
    await line.start()
    await shipped(one)
    assert one.leadership.epoch == 1
    assert not any(task.done() for task in one.tasks)


async def test_a_leader_that_was_cut_off_ends_when_another_one_led(
    make: Make, line: Proxy, postgres_dsn: str
) -> None:
    one, two = await make("one", through(postgres_dsn, line)), await make("two")
    await one.start()
    one.pause("anna")
    await shipped(one)
    line.refuse()
    line.cut()
    assert await two.start()
    assert two.paused() == ["anna"]
    one.pause("ben")  # it goes on meanwhile
    assert not any(task.done() for task in one.tasks)
    await line.start()
    done, _ = await asyncio.wait(one.tasks, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
    error = next(iter(done)).exception()
    assert isinstance(error, ServiceError | StaleEpochError)
    assert not any(task.done() for task in two.tasks)
    two.pause("cleo")
    await shipped(two)


async def test_a_leader_that_hangs_loses_the_lease(
    make: Make, line: Proxy, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stands, but nothing comes: the server ends it by itself."""
    one, two = await make("one", through(postgres_dsn, line)), await make("two")
    one.leadership._lease._idle_s = 2
    await one.start()
    line.hold()
    began = asyncio.get_running_loop().time()
    assert await two.start()
    assert asyncio.get_running_loop().time() - began < 6.0
    # When the line is back, the first one notices.
    line.heal()
    done, _ = await asyncio.wait(one.tasks, timeout=15, return_when=asyncio.FIRST_EXCEPTION)
    assert done


async def test_a_black_hole_of_a_moment_does_not_change_the_leader(
    make: Make, line: Proxy, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old session may still hold the lease: it is its own, so it is ended."""
    monkeypatch.setattr(leadership_module, "PATIENCE", 1)
    one = await make("one", through(postgres_dsn, line))
    await one.start()
    line.hold()
    await until(lambda: not one.leadership._held, "the loss")
    old = list(line.links)
    line.heal()
    await until(lambda: one.leadership._held, "the lease again", timeout_s=15.0)
    assert one.leadership.epoch == 1
    assert old
    one.pause("anna")
    await shipped(one)


async def test_one_that_stands_by_does_not_lead_when_postgresql_comes_back(
    make: Make, line: Proxy, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "AFTER_OUTAGE_S", 2.0)
    one = await make("one", through(postgres_dsn, line))
    two = await make("two", through(postgres_dsn, line))
    await one.start()
    starting = asyncio.create_task(two.start())
    await asyncio.sleep(0.6)
    line.refuse()
    line.cut()
    await until(lambda: not one.leadership._held, "the loss")
    await line.start()
    await until(lambda: one.leadership._held, "the lease again")
    await asyncio.sleep(2.5)  # longer than the second one waits
    assert not starting.done()
    assert one.leadership.epoch == 1
    assert not any(task.done() for task in one.tasks)
    starting.cancel()


async def test_a_database_from_a_backup_gets_the_journal_anew(
    make: Make, postgres_dsn: str
) -> None:
    one = await make("one")
    await one.start()
    one.pause("anna")
    await shipped(one)
    await one.die()
    again = await make("one")
    await again.start()
    again.pause("ben")
    await shipped(again)
    await again.die()
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE vsek.journal SET epoch = 1, seq = 0")
    await connection.execute("DELETE FROM vsek.journal_batches WHERE first > 1")
    await connection.close()
    third = await make("one")
    await third.start()
    assert third.leadership.adopted is None
    assert third.leadership.epoch == 3
    await shipped(third)
    async with pool.acquire(third.connections) as conn:
        assert await table.shipped_to(conn) == 2
        whole = await table.load(conn)
    assert [first for first, _ in whole.batches] == [1, 2]


async def test_a_stale_leader_writes_nothing(make: Make) -> None:
    one = await make("one")
    await one.start()
    async with pool.acquire(one.connections) as conn:
        await table.begin_epoch(conn, 0, lambda _: None, clear=False)
        with pytest.raises(StaleEpochError):
            await one.leadership.ship_entries(1, 1, b"x")
        with pytest.raises(StaleEpochError):
            await one.leadership.ship_snapshot(1, b"x")
        assert await table.shipped_to(conn) is None
