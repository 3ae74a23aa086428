"""Rules of the distribution in a real database: import, versions, history, and into decisions."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.integration.store.makers import FakeSounds, client, file_of

from vsek.acd.effects import Offer
from vsek.acd.events import AgentReachable
from vsek.acd.state import AgentState
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.effects import CreateLeg
from vsek.call.model import Directory, new_state
from vsek.domain.distribution import RuleBook
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.rulesfile import read_rules
from vsek.domain.temporary import Temporary
from vsek.domain.yamlfile import FileError, read_clients
from vsek.errors import InputError, ServiceError
from vsek.settings import Settings
from vsek.store import agents, clients, directory, instructions, rules
from vsek.store.pool import acquire
from vsek.switchboard.directory import for_calls

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Pool

HERE = Path()
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "example-rules.yaml"
MEDICAL = "groups: {medical: {circles: {trained: 0, learning: 20}}, office: {}}\n"


async def give(conn: Connection, *agent_ids: str) -> None:
    for agent_id in agent_ids:
        await agents.add(conn, agent_id, agent_id.title())


async def take(conn: Connection, text: str, by: str = "") -> rules.RulesImport:
    return await rules.import_rules(conn, read_rules(text, "r.yaml"), by=by)


async def put(conn: Connection, client_id: str = "a", **changes: Any) -> clients.ImportResult:
    file = file_of(client(client_id, **changes))
    return await clients.import_clients(conn, file, FakeSounds(), base=HERE, by="tester")


async def test_the_documented_example(conn: Connection) -> None:
    await give(conn, "anna", "ben", "carla", "david")
    done = await rules.import_file(conn, EXAMPLE, by="otto")
    assert (done.version, done.changed) == (1, True)
    assert done.warnings == ()
    again = await rules.import_file(conn, EXAMPLE)
    assert (again.version, again.changed) == (1, False), "the same rules are no change"
    stored = await rules.current(conn)
    assert stored.book == read_rules(EXAMPLE.read_text(), "x").book
    assert list(stored.book.groups["medical"].circles) == [
        "team",
        "trained",
        "learning",
        "overflow",
    ]
    text = await rules.export(conn)
    assert (await take(conn, text)).changed is False
    [change] = await rules.history(conn)
    assert (change.version, change.rules, change.changed_by) == (1, True, "otto")
    assert change.source == "example-rules.yaml"
    assert (datetime.now(UTC) - change.changed_at).total_seconds() < 60


async def test_all_or_nothing(conn: Connection) -> None:
    await give(conn, "anna")
    await take(conn, MEDICAL)
    with pytest.raises(FileError) as caught:
        await take(conn, "agents:\n  anna: {team: x}\n  ben: {cleared: {nothing: trained}}\n")
    assert [(one.line, one.message) for one in caught.value.problems] == [
        (3, "there is no agent 'ben'"),
        (3, "there is no group 'nothing'"),
    ]
    assert (await rules.current(conn)).version == 1
    with pytest.raises(InputError, match="cannot be read: No such file"):
        await rules.import_file(conn, Path("/nowhere/rules.yaml"))


async def test_before_the_first_import_there_are_none(conn: Connection) -> None:
    assert await rules.current(conn) == rules.StoredRules(RuleBook(), 0)
    assert await rules.history(conn) == []
    assert (await directory.load(conn)).rules_version == 0


async def test_the_order_of_circles_is_a_change(conn: Connection) -> None:
    await give(conn, "anna")
    first = "groups: {a: {team: x, circles: {team: 0, trained: 0}}}"
    assert (await take(conn, first)).changed
    assert (await take(conn, "groups: {a: {team: x, circles: {trained: 0, team: 0}}}")).version == 2
    stored = (await directory.load(conn)).rules
    assert list(stored.groups["a"].circles) == ["trained", "team"]


async def test_versions_and_what_they_were(conn: Connection) -> None:
    await take(conn, "groups: {a: {}}")
    await take(conn, "groups: {b: {}}")
    await put(conn, hold_s=5)
    assert (await rules.current(conn)).version == 3
    assert list((await rules.at_version(conn, 1)).book.groups) == ["a"]
    assert list((await rules.at_version(conn, 3)).book.groups) == ["b"]
    assert (await rules.at_version(conn, 0)).book == RuleBook()
    assert await rules.export(conn, 1) == "groups:\n  a: {}\n"
    for unknown in (-1, 4):
        with pytest.raises(InputError, match="no version"):
            await rules.at_version(conn, unknown)


async def test_a_clients_part_raises_the_version_and_nothing_else_does(conn: Connection) -> None:
    async def version() -> int:
        return (await rules.current(conn)).version

    await put(conn)
    assert await version() == 0, "a client without rules of its own changes none"
    await put(conn, hold_s=10)
    assert await version() == 1
    await put(conn, hold_s=10, facts=["new"], hours={"mon": "08:00-12:00"})
    assert await version() == 1
    await put(conn, hold_s=10, when_nobody_can=[{"do": "announce", "announcement": "eins"}])
    assert await version() == 2
    await put(conn, hold_s=10, when_nobody_can=[{"do": "announce", "announcement": "zwei"}])
    assert await version() == 3
    await put(conn)
    assert await version() == 4
    changes = await rules.history(conn)
    assert [(one.version, one.rules, one.clients) for one in changes][:2] == [
        (4, False, ("a",)),
        (3, False, ("a",)),
    ]
    assert changes[0].changed_by == "tester"


async def test_clients_and_groups_need_each_other(conn: Connection) -> None:
    text = """\
clients:
  - id: a
    name: A
    numbers: {did: [030 1234567]}
    contacts: [{name: X, email: x@example.com, notes: true}]
    group: medical
    when_nobody_can:
      - {do: regroup, group: backup, after_s: 60}
"""
    with pytest.raises(FileError) as caught:
        await clients.import_clients(conn, read_clients(text, "c.yaml"), FakeSounds(), base=HERE)
    assert [(one.line, one.field) for one in caught.value.problems] == [
        (6, "clients[0].group"),
        (8, "clients[0].when_nobody_can[0].group"),
    ]
    assert "import the rules first" in str(caught.value)
    await take(conn, "groups:\n  medical:\n  backup:\n")
    await clients.import_clients(conn, read_clients(text, "c.yaml"), FakeSounds(), base=HERE)
    with pytest.raises(FileError) as caught:
        await take(conn, "groups:\n  office:\n")
    assert [problem.message for problem in caught.value.problems] == [
        "the group 'medical' is missing, which client 'a' names",
        "the group 'backup' is missing, which client 'a' names",
    ]


async def test_calls_that_nobody_can_take_are_worth_a_warning(conn: Connection) -> None:
    await give(conn, "anna")
    await take(
        conn, MEDICAL + "agents: {anna: {cleared: {medical: trained}, skills: {english: 3}}}"
    )
    result = await put(conn, group="medical", requires={"english": 5})
    assert result.created == ("a",)
    (warning,) = result.warnings
    assert (warning.line, warning.field) == (12, "clients[0].requires")
    assert warning.message == "requires 'english' at level 5, the best agent has 3"
    assert warning.remedy
    done = await take(conn, MEDICAL + "agents: {anna: {cleared: {medical: trained}}}")
    assert any(
        problem.message == "nobody can serve 'a': requires 'english', which no agent has"
        for problem in done.warnings
    )
    assert (await put(conn, group="medical")).warnings == ()


async def test_agents_who_are_gone_do_no_harm(conn: Connection) -> None:
    await give(conn, "anna", "ben")
    await take(conn, "agents: {anna: {position: 1}, ben: {position: 2}}")
    await agents.remove(conn, "ben")
    text = await rules.export(conn)
    assert "ben" not in text
    assert (await take(conn, text)).changed


async def test_rules_that_cannot_be_read_do_not_stop_calls(conn: Connection) -> None:
    await take(conn, MEDICAL)
    await conn.execute("""UPDATE vsek.rules SET book = '{"groups": 5}'""")
    with pytest.raises(ServiceError, match="cannot be read"):
        await rules.current(conn)
    known = await directory.load(conn)
    assert (known.rules, known.rules_version) == (RuleBook(), 1)
    assert (await rules.load(conn)).book == RuleBook()


async def test_imports_at_once_get_a_version_each(pool: Pool) -> None:
    async def run(number: int) -> int:
        async with acquire(pool) as connection:
            return (await take(connection, f"times: {{redial_s: {number}}}")).version

    assert sorted(await asyncio.gather(*map(run, range(4)))) == [1, 2, 3, 4]


async def test_a_change_is_announced(conn: Connection, postgres_dsn: str) -> None:
    heard = asyncio.Event()
    listener = await asyncpg.connect(postgres_dsn)
    await listener.add_listener("vsek_directory", lambda *_: heard.set())
    await take(conn, MEDICAL)
    async with asyncio.timeout(5):
        await heard.wait()
    heard.clear()
    await put(conn)
    async with asyncio.timeout(5):
        await heard.wait()
    heard.clear()
    one = Temporary.model_validate({"until": "2100-01-01", "text": "x"})
    await instructions.add(conn, "a", one, 0.0)
    async with asyncio.timeout(5):
        await heard.wait()
    await listener.close()


# ── announcements and instructions ───────────────────────────────────────────────────────────


async def test_announcements_are_made_stored_and_exported(conn: Connection, tmp_path: Path) -> None:
    sounds = FakeSounds()
    treatments = [
        {"do": "announce", "announcement": "Bitte warten", "after_s": 20},
        {"do": "voicemail", "after_s": 90},
        {"do": "announce", "announcement": {"file": "late.wav"}, "after_s": 60},
    ]
    file = file_of(client("a", when_nobody_can=treatments))
    await clients.import_clients(conn, file, sounds, base=HERE)
    stored = await clients.show(conn, "a")
    first, none, last = stored.announcement_sounds
    assert none is None
    known = await directory.load(conn)
    assert known.sounds() == {first, last}
    made = for_calls(known, Settings(), lambda sound: f"sound:/{sound}", {}, date(2026, 1, 1))
    treated = made.rules.clients[ClientId("a")].treatments
    assert [one.detail for one in treated] == [f"sound:/{first}", "", f"sound:/{last}"]
    text = await clients.export(conn)
    assert f"audio: {last}" in text
    again = await clients.import_clients(conn, read_clients(text, "x"), sounds, base=HERE)
    assert again.changed == ("a",), "a file has become the hash of its sound"
    assert (await clients.show(conn, "a")).announcement_sounds == stored.announcement_sounds
    await clients.export(conn, audio_folder=tmp_path / "audio")
    assert (tmp_path / "audio" / f"{last}.wav").is_file()
    broken = file_of(
        client(
            "a",
            when_nobody_can=[
                treatments[1],
                {"do": "announce", "announcement": {"audio": "0" * 64}},
            ],
        )
    )
    with pytest.raises(FileError) as caught:
        await clients.import_clients(conn, broken, sounds, base=HERE)
    assert caught.value.field == "clients[0].when_nobody_can[1].announcement"


async def test_clients_stored_by_an_older_version_can_be_read(conn: Connection) -> None:
    await put(conn)
    old = """{"id": "a", "name": "Alt", "numbers": {"did": ["+49301234567"], "forwarding": []},
              "contacts": [{"name": "X", "email": "x@example.com", "notes": true}]}"""
    await conn.execute("UPDATE vsek.clients SET account = $1::text::jsonb", old)
    assert (await clients.show(conn, "a")).client.name == "Alt"
    assert (await put(conn)).changed == ("a",)


async def test_an_instruction_from_day_to_day(conn: Connection) -> None:
    await put(conn, timezone="Europe/London")
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()

    def one(until: str, text: str = "x", **more: Any) -> Temporary:
        return Temporary.model_validate({"until": until, "text": text, **more})

    await instructions.add(conn, "a", one("2026-11-22 12:01", "bald vorbei"), now, by="otto")
    await instructions.add(conn, "a", one("2026-11-23", closed=True), now + 60)
    stored = await clients.show(conn, "a")
    assert [kept.text for kept in stored.client.temporary] == ["x"], "what is over is dropped"
    assert stored.version == 3
    kept = await put(conn, timezone="Europe/London", name="Neu")
    assert kept.changed == ("a",)
    assert len((await clients.show(conn, "a")).client.temporary) == 1, "the file says nothing"
    assert (await put(conn, timezone="Europe/London", name="Neu")).unchanged == ("a",)

    script = for_calls(await directory.load(conn), Settings(), str, {}, date(2026, 1, 1)).clients
    (closure,) = script[ClientId("a")].closures
    assert closure.end == datetime(2026, 11, 24, tzinfo=UTC).timestamp()

    with pytest.raises(InputError, match="over already"):
        await instructions.add(conn, "a", one("2026-11-22 12:00"), now)
    late = one("2026-11-23", **{"from": "2026-11-25"})
    with pytest.raises(InputError, match="ends before it begins"):
        await instructions.add(conn, "a", late, now)
    with pytest.raises(InputError, match="no client 'zz'"):
        await instructions.add(conn, "zz", one("2026-11-23"), now)
    with pytest.raises(InputError, match="no temporary instruction 2"):
        await instructions.remove(conn, "a", 2)
    assert (await instructions.remove(conn, "a", 1)).closed
    await put(conn, timezone="Europe/London", temporary=[{"until": "2027-01-01", "text": "y"}])
    await put(conn, timezone="Europe/London", temporary=[])
    file = "clients:\n- {id: a, name: A, numbers: {did: [030 1234567]}, temporary: [], contacts: "
    file += "[{name: X, email: x@example.com, notes: true}]}\n"
    await clients.import_clients(conn, read_clients(file, "x"), FakeSounds(), base=HERE)
    assert (await clients.show(conn, "a")).client.temporary == ()
    for _ in range(50):
        await instructions.add(conn, "a", one("2026-11-23"), now)
    with pytest.raises(InputError, match="has 50 temporary"):
        await instructions.add(conn, "a", one("2026-11-23"), now)

    rows = await conn.fetch("SELECT version, changed_by FROM vsek.client_history ORDER BY version")
    newest = (await clients.show(conn, "a")).version
    assert [row["version"] for row in rows] == list(range(1, newest + 1))
    assert rows[1]["changed_by"] == "otto"


# ── into decisions ───────────────────────────────────────────────────────────────────────────


class House:
    """A switchboard's decisions, with the directory as it is in the database."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.state = new_state()
        self.now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC).timestamp()

    def happens(self, event: Any) -> list[Any]:
        return decide(self.state, event, self.now)

    async def sync(self) -> list[Any]:
        known = for_calls(await directory.load(self.conn), Settings(), str, {}, date(2026, 11, 23))
        return self.happens(ev.DirectoryChanged(known))

    def calls(self, call_id: str, did: str) -> list[Any]:
        return self.happens(ev.CallArrived(CallId(call_id), ChannelId(f"ch-{call_id}"), (did,)))

    def rung(self, effects: list[Any]) -> list[str]:
        return [effect.agent_id for effect in effects if isinstance(effect, CreateLeg)]


async def test_rules_that_change_while_a_call_waits(conn: Connection) -> None:
    await give(conn, "anna", "ben")
    await take(
        conn,
        "groups: {medical: {}}\nagents: {anna: {cleared: {}}, ben: {cleared: {medical:"
        " none, '*': trained}}}",
    )
    await put(conn, group="medical", requires={"medicine": 3})
    house = House(conn)
    await house.sync()
    for agent_id in ("anna", "ben"):
        house.happens(AgentReachable(AgentId(agent_id), True))
    assert house.rung(house.calls("c1", "+49301234567")) == [], "nobody knows medicine"
    house.now += 30

    await take(
        conn,
        "groups: {medical: {}}\nagents: {ben: {cleared: {medical: trained}, skills: "
        "{medicine: 4}}}",
    )
    effects = await house.sync()
    assert house.rung(effects) == ["ben"], "at once, for the call that waits"
    call = house.state.acd.calls[CallId("c1")]
    assert house.state.acd.rules.version == 3
    assert call.arrival == house.now - 30, "with its place"

    # Somebody is in wrap-up, somebody rings: neither is lost by further changes.
    before = {name: agent.state for name, agent in house.state.acd.agents.items()}
    assert before == {"anna": AgentState.READY, "ben": AgentState.OFFERED}
    await put(conn, group="medical", requires={"medicine": 3}, hold_s=15, target="90/10")
    assert not [one for one in await house.sync() if isinstance(one, Offer)]
    assert house.state.acd.rules.version == 4
    assert {name: agent.state for name, agent in house.state.acd.agents.items()} == before
    own = house.state.acd.rules.clients[ClientId("a")]
    assert (own.hold_s, own.target.share) == (15, 0.9)


async def test_a_closure_begins_and_ends_by_itself(conn: Connection) -> None:
    await give(conn, "anna")
    await put(conn)
    house = House(conn)
    one = Temporary.model_validate(
        {"from": "2026-11-23 12:00", "until": "2026-11-23 13:00", "text": "x", "closed": "true"}
    )
    await instructions.add(conn, "a", one, house.now)
    await house.sync()
    house.happens(AgentReachable(AgentId("anna"), True))
    house.now = datetime(2026, 11, 23, 11, 30, tzinfo=UTC).timestamp()  # 12:30 in Berlin
    assert house.rung(house.calls("c1", "+49301234567")) == []
    house.now += 1800
    assert house.rung(house.calls("c2", "+49301234567")) == ["anna"]


async def test_a_vip_is_one_however_the_number_is_written(conn: Connection) -> None:
    await put(conn, vip=["030/7777777"])
    house = House(conn)
    await house.sync()
    for call_id, number in (("c1", "+49307777777"), ("c2", "+49308888888"), ("c3", "")):
        house.happens(
            ev.CallArrived(CallId(call_id), ChannelId(call_id), ("+49301234567",), number)
        )
    assert [house.state.acd.calls[CallId(one)].vip for one in ("c1", "c2", "c3")] == [
        True,
        False,
        False,
    ]


async def test_nothing_changes_for_those_who_have_no_rules(conn: Connection) -> None:
    await give(conn, "anna")
    await put(conn)
    house = House(conn)
    assert house.state.directory == Directory()
    await house.sync()
    house.happens(AgentReachable(AgentId("anna"), True))
    assert house.rung(house.calls("c1", "+49301234567")) == ["anna"]
    assert house.state.acd.rules.clients == {}
