"""``vsek why`` and ``vsek replay`` over a real PostgreSQL and a real journal."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

import asyncpg
import pytest
from tests.unit.switchboard.day import BEGIN, Caller, Day, directory

from vsek.acd.rules import Admits, AgentRules, Circle, ClientRules, Group, Rules
from vsek.cli.main import main
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.store import journal, journal_past, records
from vsek.switchboard import history
from vsek.switchboard.journal import bodies, number_of

_EMPTY_SQL = """
TRUNCATE vsek.calls, vsek.call_steps, vsek.note_drafts, vsek.note_due, vsek.journal_batches,
    vsek.journal_snapshots, vsek.journal_past CASCADE
"""
RULES = Rules(
    version=9,
    groups={"gold": Group("berlin", (Circle(0.0, Admits.TEAM), Circle(20.0, Admits.TRAINED)))},
    clients={ClientId("alder"): ClientRules("gold")},
    agents={AgentId("anna"): AgentRules("berlin")},
)
HOSTILE = "Eve\x1b[31m\r\nBcc: x\u202e<b>"


class Done(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class House:
    """A house whose day is over: journal in ``folder``, records in PostgreSQL."""

    folder: Path
    dsn: str
    conn: asyncpg.Connection[asyncpg.Record]
    day: Day
    calls: list[CallId]
    epoch: int = 0

    async def store(self, first: int = 0) -> None:
        """The day's records arrive, from the record number ``first`` on."""
        self.epoch = await journal.begin_epoch(self.conn, 0, lambda _: None, clear=True)
        number = self.day.journal.last_number
        await records.apply(self.conn, self.day.records[first:], number, epoch=self.epoch)

    async def ship(self) -> None:
        """The journal arrives, in pieces and with its snapshots, as while the day went on."""
        chronicle = history.of_folder(self.folder / "journal")
        pieces = [(first, True, read()) for first, read in chronicle.segments.items()]
        pieces += [(number, False, read()) for number, read in chronicle.snapshots.items()]
        for number, entries, body in sorted(pieces, key=lambda piece: (piece[0], not piece[1])):
            if not entries:
                await journal.ship_snapshot(self.conn, self.epoch, number, body)
                continue
            cuts = [end for end, _ in bodies(body)][::40]
            for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
                numbers = [number_of(one) for _, one in bodies(body[begin:end])]
                if numbers:
                    span = numbers[0], numbers[-1]
                    await journal.ship(self.conn, self.epoch, *span, body[begin:end])

    def lose_files(self) -> None:
        """The machine that led is gone."""
        rmtree(self.folder / "journal")

    async def run(self, *arguments: str, dsn: str = "") -> Done:
        """The command, in a thread: it has an event loop of its own."""
        return await asyncio.to_thread(self._run, *arguments, dsn=dsn)

    def _run(self, *arguments: str, dsn: str) -> Done:
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("VSEK_DATABASE__DSN", dsn or self.dsn)
            patch.setattr(sys, "argv", ["vsek", *arguments, "--dir", str(self.folder)])
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    async def why(self, call_id: str) -> Any:
        """What the command tells, as a document."""
        done = await self.run("why", call_id, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
async def house(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[House]:
    conn = await asyncpg.connect(postgres_dsn)
    await conn.execute(_EMPTY_SQL)
    await conn.execute("UPDATE vsek.journal SET epoch = 0, seq = 0")
    book = directory(["alder", "birch"], ["anna", "ben"], RULES, 5.0)
    refuses = 4
    day = Day(
        tmp_path / "journal",
        book,
        answers=lambda _agent, ring: -1.0 if ring % refuses == 0 else 2.0,
        snapshot_every=150,
    )
    day.sign_in("anna", "ben")
    calls = [
        day.dial(Caller(13.0 * n, "birch" if n % 3 else "alder", f"+49301{n}", HOSTILE, 50.0, 9.0))
        for n in range(80)
    ]
    day.run()
    yield House(tmp_path, postgres_dsn, conn, day, calls)
    await conn.close()


def _happened(document: dict[str, Any]) -> list[Any]:
    """The document without the place where the journal was read."""
    return [document["happenings"], document["outcome"], document["differences"]]


async def test_told_from_the_files_and_the_same_from_postgresql(house: House) -> None:
    await house.store()
    await house.ship()
    chosen = house.calls[2::26]
    local = [await house.why(call_id) for call_id in chosen]
    assert all(one["compared"] and one["differences"] == [] for one in local)
    assert {one["journal"]["place"] for one in local} == {str(house.folder / "journal")}
    house.lose_files()
    # Part of it was put away already; what a start needs is where it was.
    put_away = await house.conn.fetchval("SELECT max(last) FROM vsek.journal_past")
    assert 150 < put_away < house.day.journal.last_number
    shipped = [await house.why(call_id) for call_id in chosen]
    assert {one["journal"]["place"] for one in shipped} == {"PostgreSQL"}
    assert list(map(_happened, shipped)) == list(map(_happened, local))
    kinds = {one["type"] for document in local for one in document["happenings"]}
    assert kinds >= {"offered", "step"}
    document = local[0]
    assert document["received_at"].startswith("2026-09-21T")
    offered = next(one for one in document["happenings"] if one["type"] == "offered")
    assert offered["detail"]["sequence"]
    assert {agent["agent_id"] for agent in offered["view"]["candidates"]} == {"anna", "ben"}


@pytest.mark.parametrize("part", [3000, journal_past.PART_BYTES])
async def test_every_call_is_found_wherever_it_lies(
    house: House, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_past, "PART_BYTES", part)
    await house.store()
    await house.ship()
    for call_id in house.calls:
        passage = await journal_past.of_call(house.conn, call_id, BEGIN)
        assert passage is not None
        chronicle = history.of_rows("PostgreSQL", passage.snapshots, passage.segments)
        first = chronicle.first_with(call_id)
        assert first is not None
        playback = history.Playback(chronicle, first)
        assert playback.whole
        opened = [e.number for e in playback.entries() if call_id in repr(e.event)]
        assert opened[0] == first
        assert playback.gaps.missing == []
    assert await journal_past.of_call(house.conn, "260921-120000-zzzzzz", BEGIN) is None
    # Another journal takes the place of this one: nothing of it is lost.
    before = await house.conn.fetchval("SELECT count(*) FROM vsek.journal_past")
    await journal.begin_epoch(house.conn, 0, lambda _: None, clear=True)
    assert await house.conn.fetchval("SELECT count(*) FROM vsek.journal_past") > before
    assert await house.conn.fetchval("SELECT count(*) FROM vsek.journal_batches") == 0
    for call_id in house.calls[::20]:
        passage = await journal_past.of_call(house.conn, call_id, BEGIN)
        assert passage is not None
        assert history.of_rows("x", passage.snapshots, passage.segments).first_with(call_id)


async def test_what_is_too_old_is_forgotten(house: House) -> None:
    await house.store()
    await house.ship()
    await house.conn.execute("UPDATE vsek.journal_past SET until = until - interval '15 days'")
    await journal_past.put_away(house.conn, 0)
    assert await house.conn.fetchval("SELECT count(*) FROM vsek.journal_past") == 0
    house.lose_files()
    gone = await house.run("why", house.calls[0])
    assert gone.returncode == 1
    assert "is not kept any more: it is kept for 14 days" in gone.stderr
    assert f"vsek call show {house.calls[0]}" in gone.stderr
    day = await house.run("replay", "--day", "2026-09-21", "--rules", os.devnull)
    assert day.returncode == 0, day.stderr
    assert "the journal begins only at" in day.stderr


async def test_plain_words_and_nothing_hostile_in_them(house: House) -> None:
    await house.store()
    done = await house.run("why", house.calls[0])
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "Caller:   Eve" in done.stdout
    assert "offered to anna: nobody else who is ready may take it" in done.stdout
    assert "circle 1 of 2 (team berlin, group gold); 1 of 2 ready agents" in done.stdout
    assert "ready, but not entitled: ben: let in after 20.0 s more" in done.stdout
    assert "Compared: 1 offer, as stored" in done.stdout


async def test_a_difference_is_loud(house: House) -> None:
    await house.store()
    await house.conn.execute(
        'UPDATE vsek.call_steps SET detail = detail || \'{"sequence": "77"}\' '
        "WHERE kind = 'offered' AND call_id = $1",
        house.calls[0],
    )
    done = await house.run("why", house.calls[0])
    assert done.returncode == 1
    assert "DIFFERENT: offer 1 to anna: sequence 77 stored, 1 recomputed" in done.stderr
    assert "DIFFERS from what was stored" in done.stdout


async def test_without_a_database_the_files_tell(house: House) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    done = await house.run("why", house.calls[0], dsn=nowhere)
    assert done.returncode == 0, done.stderr
    assert "Compared: no: The database does not serve" in done.stdout
    # Running, and the newest records have not arrived.
    done = await house.run("why", house.calls[0])
    assert "Compared: no: the database does not know the call yet" in done.stdout
    house.lose_files()
    done = await house.run("why", house.calls[0], dsn=nowhere)
    assert done.returncode == 1
    assert "The database does not serve" in done.stderr


@pytest.mark.parametrize("call_id", ["260921-120000-zzzzzz", "260921", "", "269999-120000-222222"])
async def test_an_unknown_call_is_said_to_be_unknown(house: House, call_id: str) -> None:
    done = await house.run("why", call_id)
    assert done.returncode == 2
    assert f"There is no call {call_id!r}" in done.stderr
    assert "vsek call list" in done.stderr


async def test_a_day_under_other_rules(house: House) -> None:
    await house.store()
    await house.ship()
    rules = house.folder / "rules.yaml"
    rules.write_text(
        "groups:\n  gold: {team: berlin, circles: {trained: 0}}\n"
        "times: {ring_timeout_s: 20, rona_park_s: 60, refusal_park_s: 10}\n"
    )
    words = ("replay", "--from", "2026-09-21", "--to", "2026-09-22", "--rules", str(rules))
    done = await house.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["calls"] == 80
    total = document["total"]
    assert total["happened"]["mean_s"] == pytest.approx(total["again"]["mean_s"], rel=0.15)
    gold = next(group for group in document["groups"] if group["name"] == "gold")
    assert gold["other"]["calls"] == gold["again"]["calls"] == 27
    # Ben is rung for them now, and both refuse at times.
    assert gold["other"]["mean_s"] != pytest.approx(gold["again"]["mean_s"], rel=0.2)
    assert [one["name"] for one in document["clients"]] == ["birch", "alder"]
    house.lose_files()
    again = json.loads((await house.run(*words, "--json")).stdout)
    assert again["journal"] == {"place": "PostgreSQL", "lacks": []}
    assert (again["total"], again["groups"]) == (total, document["groups"])
    table = await house.run(*words, "-n", "1")
    assert "group gold" in table.stdout
    assert "… and 1 more client\n" in table.stdout
    assert "Assumed:" in table.stdout


async def test_what_is_wrong_with_a_replay_is_told(house: House) -> None:
    rules = house.folder / "rules.yaml"
    when = ("--day", "2026-09-21")
    done = await house.run("replay", *when, "--rules", str(rules))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    rules.write_text("agents:\n  nobody: {team: x}\n")
    done = await house.run("replay", *when, "--rules", str(rules))
    assert done.returncode == 2
    assert "there is no agent 'nobody'" in done.stderr
    rules.write_text("groups: {}\n")
    done = await house.run("replay", "--day", "2026-09-22", "--rules", str(rules))
    assert done.returncode == 1
    assert "No journal tells of 2026-09-22" in done.stderr
    done = await house.run(
        "replay", "--from", "2026-09-20", "--to", "2026-09-21", "--rules", str(rules)
    )
    assert done.returncode == 2
    assert "No call began to wait" in done.stderr
    done = await house.run("replay", *when, "--rules", str(rules))
    assert done.returncode == 0, done.stderr
    assert "Clients are in group gold" in done.stderr
