"""What is told of a call afterwards, from the journal alone."""

from __future__ import annotations

import os
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.unit.switchboard.day import BEGIN, Caller, Day, directory
from tests.unit.switchboard.lives import journal_in

from vsek.acd.entitlement import Bar
from vsek.acd.events import AgentPaused
from vsek.acd.explain import Edge
from vsek.acd.rules import (
    Action,
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Order,
    Rules,
    Target,
    Treatment,
)
from vsek.call.events import AsteriskAway, DirectoryChanged, Reconciled
from vsek.cli.why_words import gaps_in_words, story
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.errors import InputError
from vsek.switchboard.history import Chronicle, Gaps, Playback, of_folder, of_folders, of_rows
from vsek.switchboard.journal import bodies
from vsek.switchboard.why import Account, Cause, PassedOver, Step, Waits, differences, explain

RULES = Rules(
    version=4,
    groups={
        "gold": Group(
            "berlin",
            (Circle(0.0, Admits.TEAM), Circle(10.0, Admits.TRAINED)),
        )
    },
    clients={
        ClientId("alder"): ClientRules("gold"),
        ClientId("birch"): ClientRules("gold", target=Target(0.8, 5.0)),
        ClientId("cedar"): ClientRules(
            "gold", {"french": 2}, treatments=(Treatment(Action.ANNOUNCE, "sound:/x", 8.0),)
        ),
    },
    agents={AgentId("anna"): AgentRules("berlin"), AgentId("ben"): AgentRules("paris")},
)


def day(folder: Path, **more: object) -> Day:
    book = directory(["alder", "birch", "cedar", "elder"], ["anna", "ben"], RULES, 5.0)
    return Day(folder, book, **more)  # type: ignore[arg-type]


def told(folder: Path, call_id: CallId) -> Account:
    found = explain(of_folder(folder), call_id)
    assert found is not None
    account, gaps = found
    assert not gaps.any
    return account


def lines(account: Account) -> str:
    return "\n".join(
        " ".join([f"{at - BEGIN:.2f}", what, *more]) for at, what, more in story(account)
    )


def without_asterisk(house: Day, from_s: float, to_s: float) -> None:
    """The connection is lost meanwhile; the callers of that moment hear it ring yet."""

    def back() -> None:
        house.decide(Reconciled(dict.fromkeys(house.state.channels, "Ring"), {}, ()))

    house.tell(from_s, AsteriskAway())
    house.at(to_s, back)


def test_an_offer_is_told_with_everybody_considered(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("ben", "anna")
    call_id = house.dial(Caller(30.0, "alder"))
    house.run()
    account = told(tmp_path, call_id)
    (offer,) = account.offers
    assert (offer.agent_id, offer.view.edge, offer.consistent) == ("anna", Edge.ALONE, True)
    assert account.closed == house.closed[call_id]
    assert account.opened is not None
    assert account.queued_at == account.arrival == BEGIN + 30.0
    assert differences(account, house.steps[call_id]) == []
    text = lines(account)
    assert "30.00 offered to anna: nobody else who is ready may take it" in text
    assert "circle 1 of 2 (team berlin, group gold); 1 of 2 ready agents might take it" in text
    assert "decision 1, rules 4" in text
    assert "ready, but not entitled: ben: let in after 10.0 s more" in text
    assert "connected with anna" in text
    assert "ended: answered, in stage talking (caller_hangup)" in text


def test_waiting_is_told_with_what_changes_and_who_was_given_to_others(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna")
    first = house.dial(Caller(1.0, "alder", talk_s=30.0))
    waits = house.dial(Caller(10.0, "alder", talk_s=5.0))
    urgent = house.dial(Caller(12.0, "birch", talk_s=5.0))
    house.run()
    account = told(tmp_path, waits)
    causes = [one.causes for one in account.happenings if isinstance(one, Waits)]
    assert causes == [(Cause.QUEUED,), (Cause.CIRCLE,)]
    (over,) = [one for one in account.happenings if isinstance(one, PassedOver)]
    assert (over.agent_id, over.other, over.kept) == ("anna", urgent, False)
    assert over.other_urgency > over.urgency
    text = lines(account)
    assert "nobody may take it now (begins to wait) waited 0.0 s" in text
    assert "the next one (all who are trained) opens in 10.0 s" in text
    assert "nobody is ready not ready: 1 talking" in text
    assert "might take it when free: anna talking (7 s)" in text
    assert "another circle opened" in text
    assert f"anna was given call {urgent}: it was more urgent (" in text
    assert differences(account, house.steps[waits]) == []
    assert "nobody else" in lines(told(tmp_path, first))


def test_who_waited_because_asterisk_was_away_is_told_so(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("ben")  # let in after 10 s, as anna's team is not there
    call_id = house.dial(Caller(1.0, "alder", talk_s=5.0))
    without_asterisk(house, 5.0, 15.0)
    house.run()
    account = told(tmp_path, call_id)
    waits = [one for one in account.happenings if isinstance(one, Waits)]
    assert [(one.causes, one.away) for one in waits] == [
        ((Cause.QUEUED,), False),
        ((Cause.AWAY,), True),
        ((Cause.CIRCLE,), True),
    ]
    (offer,) = account.offers
    assert (offer.agent_id, offer.at, offer.consistent) == ("ben", BEGIN + 15.0, True)
    text = lines(account)
    assert "5.00 nobody can be rung now, Asterisk is away (the connection to Asterisk was" in text
    assert "11.00 nobody can be rung now, Asterisk is away (another circle opened)" in text
    assert "all circles are open might take it: ben" in text
    assert differences(account, house.steps[call_id]) == []


def test_who_still_waits_when_asterisk_is_back_is_told_so(tmp_path: Path) -> None:
    house = day(tmp_path)
    call_id = house.dial(Caller(1.0, "alder", patience_s=30.0))
    without_asterisk(house, 2.0, 6.0)
    house.run()
    text = lines(told(tmp_path, call_id))
    assert "6.00 nobody may take it now (Asterisk is back) waited 5.0 s" in text
    assert "might take it:" not in text


def test_a_call_that_was_never_offered_tells_why_not(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna", "ben")
    house.tell(5.0, AgentPaused(AgentId("ben"), "lunch\x1b[31m"))
    call_id = house.dial(Caller(1.0, "cedar", patience_s=15.0))
    house.run()
    account = told(tmp_path, call_id)
    assert account.offers == []
    first = next(one for one in account.happenings if isinstance(one, Waits))
    assert {c.hindrance.bar for c in first.view.candidates if c.hindrance} == {Bar.SKILL}
    text = lines(account)
    assert "anna, ben: lacks skill french >= 2" in text
    assert "nobody who is busy might take it when free, as things stand" in text
    assert "nobody in time: an announcement" in text
    assert "ended: abandoned, in stage waiting (caller_hangup)" in text


def test_refusals_and_who_knows_the_matter(tmp_path: Path) -> None:
    house = day(tmp_path, answers=lambda agent, ring: -1.0 if (agent, ring) == ("anna", 1) else 2.0)
    house.sign_in("anna", "ben")
    call_id = house.dial(Caller(1.0, "alder"))
    house.run()
    account = told(tmp_path, call_id)
    assert [offer.agent_id for offer in account.offers] == ["anna", "ben"]
    text = lines(account)
    assert "the offer to anna failed: refused" in text
    assert "waits again" in text
    assert "not ready: 1 parked (did not take a call)" in text


def test_who_knows_the_matter_is_kept_waited_for_and_told_of(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna", "ben")
    house.dial(Caller(1.0, "birch", talk_s=20.0))
    call_id = house.dial(Caller(10.0, "elder", talk_s=20.0, known=("anna", "ben")))
    house.run()
    account = told(tmp_path, call_id)
    at = account.offers[0].at
    talks = {AgentId("anna"): datetime.fromtimestamp(at - 2.5 * 86400, UTC)}
    text = "\n".join(" ".join([what, *more]) for _, what, more in story(account, talks))
    assert "recognised by the number; has talked with anna, ben" in text
    assert "nobody may take it now (begins to wait)" not in text, "ben knows it as well"
    assert "offered to ben: knows the matter, and nobody else who is ready may take it" in text
    assert "anna knows the matter, but is talking" in text


def test_what_the_first_has_over_the_second_in_words(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna", "ben")
    call_id = house.dial(Caller(30.0, "elder"))
    house.run()
    account = told(tmp_path, call_id)
    (offer,) = account.offers
    first, second = offer.view.candidates
    assert second.agent_id == "ben"
    first = msgspec.structs.replace(
        first, known=True, level=3, calls=1, talked_s=60.0, position=1, for_s=90.0
    )
    second = msgspec.structs.replace(
        second, circle=2, level=1, calls=4, talked_s=75.0, position=2, for_s=30.0
    )
    talks = {AgentId("anna"): datetime.fromtimestamp(offer.at - 7300, UTC)}
    words = {}
    for edge in Edge:
        order = {Edge.CALLS: Order.LEAST_CALLS, Edge.TALK: Order.LEAST_TALK}.get(
            edge, Order.FIXED if edge is Edge.POSITION else Order.LONGEST_IDLE
        )
        seen = msgspec.structs.replace(
            offer.view, edge=edge, order=order, candidates=(first, second)
        )
        account.happenings = [msgspec.structs.replace(offer, view=seen)]
        ((_, words[edge], more),) = story(account, talks)
        assert "not asked: ben (" in more[1]
    assert words == {
        edge: f"offered to anna: {why}"
        for edge, why in {
            Edge.ALONE: "idle longest: 90 s, ben 30 s",
            Edge.KNOWN: "knows the matter (talked 2 hours ago)",
            Edge.KNOWS_BETTER: "knows the matter (talked 2 hours ago), better than ben",
            Edge.CIRCLE: "let in by circle 1, ben by circle 2",
            Edge.LEVEL: "skill level 3, ben 1",
            Edge.CALLS: "fewest calls in this shift: 1, ben 4",
            Edge.TALK: "least talk in this shift: 60 s, ben 75 s",
            Edge.POSITION: "position 1, ben 2",
            Edge.IDLE: "idle longest: 90 s, ben 30 s",
        }.items()
    }


def test_long_lists_are_cut_and_every_hindrance_has_words(tmp_path: Path) -> None:
    many = [f"a{number}" for number in range(12)]
    learning = {"young": Clearance.LEARNING}
    under = Rules(
        groups={
            "young": Group(circles=(Circle(0.0, Admits.LEARNING),), new_clients=1),
            "gold": Group(),
        },
        clients={
            ClientId("alder"): ClientRules("young"),
            ClientId("birch"): ClientRules("young"),
            ClientId("cedar"): ClientRules("young", learn_beside_trained=True),
            ClientId("dill"): ClientRules("gold", hold_s=30.0),
        },
        agents={AgentId(name): AgentRules(cleared=learning) for name in many},
    )
    clients = ["alder", "birch", "cedar", "dill"]
    house = Day(tmp_path, directory(clients, [*many, "zoe"], under, 5.0))
    house.sign_in(*many[:1])
    house.dial(Caller(1.0, "alder", talk_s=5.0))
    full = house.dial(Caller(30.0, "birch", patience_s=10.0))
    beside = house.dial(Caller(0.1, "cedar", patience_s=0.5))
    house.at(70.0, lambda: house.sign_in(*many[1:], "zoe"))
    barred = house.dial(Caller(80.0, "dill", talk_s=60.0))
    kept = house.dial(Caller(90.0, "dill", patience_s=10.0, known=("zoe",)))
    house.run()
    assert "a0: is learning, has met 1 new client of 1 in this shift" in lines(told(tmp_path, full))
    assert "is learning, and nobody trained is free as well" in lines(told(tmp_path, beside))
    text = lines(told(tmp_path, barred))
    assert "a0, a1, a10, a11, a2, a3 and 6 more: not cleared for group gold" in text
    text = lines(told(tmp_path, kept))
    assert "kept for zoe, who knows the matter, for 30.0 s at most" in text
    assert "zoe knows the matter, but is talking" in text


def test_who_was_given_to_others_is_told_of_six_times(tmp_path: Path) -> None:
    book = directory(["alder", "birch", "cedar"], ["anna"], RULES, 0.0)
    house = Day(tmp_path, book)
    house.sign_in("anna")
    house.dial(Caller(1.0, "alder", talk_s=20.0))
    waits = house.dial(Caller(10.0, "alder", patience_s=150.0))
    urgent = [house.dial(Caller(12.0, "birch", talk_s=5.0)) for _ in range(12)]
    knows = house.dial(Caller(13.0, "cedar", known=("anna",)))
    house.run()
    assert knows in house.closed
    account = told(tmp_path, waits)
    over = [one for one in account.happenings if isinstance(one, PassedOver)]
    assert [one.other for one in over] == urgent
    text = lines(account)
    assert text.count("anna was given call") == 6
    assert "and 6 more agents were given to others first" in text


def test_every_call_of_a_busy_day_is_told_as_it_was(tmp_path: Path) -> None:
    house = day(
        tmp_path, answers=lambda _agent, ring: -1.0 if ring % 5 == 0 else 2.0, snapshot_every=300
    )
    house.sign_in("anna", "ben")
    house.pause(200.0, "anna", 100.0)
    clients = ("alder", "birch", "alder", "cedar")
    calls = [
        house.dial(
            Caller(7.0 * n, clients[n % 4], f"+4930{n % 9}", patience_s=40.0 + n % 7, talk_s=9.0)
        )
        for n in range(120)
    ]
    house.at(400.0, lambda: house.decide(DirectoryChanged(house.book)))
    house.run()
    played = 0
    for call_id in calls:
        account = told(tmp_path, call_id)
        assert account.closed == house.closed[call_id]
        assert differences(account, house.steps[call_id]) == []
        assert lines(account)
        played = max(played, account.played)
    assert played < 600, "snapshots are used"


def test_what_differs_is_said(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("ben", "anna")
    call_id = house.dial(Caller(30.0, "alder"))
    house.run()
    account = told(tmp_path, call_id)
    kinds = dict(house.steps[call_id])
    same = kinds["offered"]
    assert differences(account, [("offered", {**same, "sequence": "7", "parked": "1"})]) == [
        "offer 1 to anna: sequence 7 stored, 1 recomputed, parked 1 stored, 0 recomputed"
    ]
    assert differences(account, [("offered", {**same, "agent": "ben"})]) == [
        "offer 1 was made to ben, the replay made it to anna"
    ]
    # The newest steps may not be in the database yet, unless the end is.
    assert differences(account, []) == []
    assert differences(account, [("ended", {})]) == ["0 offers were made, the replay made 1"]
    assert differences(account, [("offered", same), ("offered", same)]) == [
        "2 offers were made, the replay made 1"
    ]
    account.happenings = [msgspec.structs.replace(account.offers[0], agent_id=AgentId("ben"))]
    assert "asking every agent finds another choice" in differences(account, [])[0]
    assert "(cannot be recomputed)" in lines(account)


def test_a_call_under_way_is_told_as_far_as_it_has_come(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna")
    call_id = house.dial(Caller(1.0, "alder"))
    house.now = BEGIN + 1.0
    house._plan[0][2]()
    account = told(tmp_path, call_id)
    assert account.closed is None
    assert [offer.agent_id for offer in account.offers] == ["anna"]
    assert explain(of_folder(tmp_path), CallId("260921-120000-zzzzzz")) is None


# What the journal lacks


def test_entries_that_the_disk_refused_are_bridged_or_told_of(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna", "ben")
    house.journal.last_number += 3
    house.journal.snapshot(house.state)
    call_id = house.dial(Caller(30.0, "alder"))
    house.run()
    assert told(tmp_path, call_id).closed is not None
    (snapshot,) = tmp_path.glob("snapshot-*.bin")
    snapshot.unlink()
    found = explain(of_folder(tmp_path), call_id)
    assert found is not None
    assert gaps_in_words(found[1]) == ["entries 4 to 6 are missing from the journal"]


def test_one_of_anything_that_is_missing_is_told_as_one() -> None:
    assert gaps_in_words(Gaps([(4, 4), (6, 7)], unreadable=1, failed=1)) == [
        "entry 4 is missing from the journal",
        "entries 6 to 7 are missing from the journal",
        "1 entry was written by another version of vsek and cannot be read",
        "1 decision failed in the replay",
    ]


def test_a_call_goes_on_over_entries_that_are_missing(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("anna", "ben")
    call_id = house.dial(Caller(30.0, "alder", talk_s=60.0))

    def disk_is_full() -> None:
        house.journal.last_number += 3
        house.journal.snapshot(house.state)

    house.at(45.0, disk_is_full)
    later = house.dial(Caller(50.0, "alder", talk_s=60.0))
    house.run()
    account = told(tmp_path, call_id)
    assert account.closed == house.closed[call_id]
    (over,) = tmp_path.glob("snapshot-*.bin")
    over.write_bytes(over.read_bytes()[:-1])
    found = explain(of_folder(tmp_path), call_id)
    assert found is not None
    assert len(found[1].missing) == 1
    assert told_of(found[0]) == told_of(account)
    found = explain(of_folder(tmp_path), later)
    assert found is not None
    assert found[0].closed == house.closed[later]


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (
            {"why": "number", "agents": "anna, ben", "sure": "yes"},
            "the caller was recognised by the number; has talked with anna, ben",
        ),
        (
            {"why": "name", "agents": "anna"},
            "the caller was recognised by the name shown, not for sure; has talked with anna",
        ),
        (
            {"why": "shared_number"},
            "the caller was not recognised: several people use the number",
        ),
    ],
)
def test_who_calls_is_told_in_a_sentence(detail: dict[str, str], text: str) -> None:
    ((_, what, _),) = story(Account(CallId("c"), "", 0, [Step(1.0, 0, "recognised", detail)]))
    assert what == text


def told_of(account: Account) -> list[str]:
    return [what for _, what, _ in story(account)]


def frame(body: bytes) -> bytes:
    """A record as the journal's files hold it."""
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def test_an_entry_of_another_version_is_counted(tmp_path: Path) -> None:
    house = day(tmp_path)
    house.sign_in("ben", "anna")
    call_id = house.dial(Caller(30.0, "alder"))
    house.run()
    (segment,) = tmp_path.glob("journal-*.log")
    records = [body for _, body in bodies(segment.read_bytes())]
    records[1] = msgspec.msgpack.encode([2, BEGIN, {"type": "Unheard"}])
    segment.write_bytes(b"".join(map(frame, records)))
    found = explain(of_folder(tmp_path), call_id)
    assert found is not None
    account, gaps = found
    assert gaps.unreadable == 1
    assert "another version" in gaps_in_words(gaps)[0]
    assert account.closed is not None
    assert differences(account, house.steps[call_id]) == [
        "offer 1 to anna: ready 2 stored, 1 recomputed, logged_out 0 stored, 1 recomputed"
    ]


def test_a_decision_that_fails_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = day(tmp_path)
    house.sign_in("anna")
    house.run()
    playback = Playback(of_folder(tmp_path), 1)
    monkeypatch.setattr("vsek.switchboard.history.decide", lambda *_: 1 / 0)
    assert [playback.decide(entry) for entry in playback.entries()] == [[], []]
    assert playback.gaps.failed == 2
    assert gaps_in_words(playback.gaps) == ["2 decisions failed in the replay"]


def test_without_what_came_before_it_nothing_is_made_up(tmp_path: Path) -> None:
    house = day(tmp_path, snapshot_every=4)
    house.sign_in("anna", "ben", "anna")
    call_id = house.dial(Caller(30.0, "alder"))
    house.run()
    assert told(tmp_path, call_id).base == 4
    min(tmp_path.glob("journal-*.log")).unlink()
    snapshots = sorted(tmp_path.glob("snapshot-*.bin"))
    snapshots[0].write_bytes(frame(msgspec.msgpack.encode({"number": 4})))
    with pytest.raises(InputError, match="no readable snapshot from before"):
        explain(of_folder(tmp_path), call_id)
    os.truncate(snapshots[0], 3)
    with pytest.raises(InputError, match="no readable snapshot from before"):
        explain(of_folder(tmp_path), call_id)


def test_journals_that_were_superseded_are_read_as_well(tmp_path: Path) -> None:
    house = day(tmp_path / "journal")
    house.sign_in("anna")
    call_id = house.dial(Caller(1.0, "alder"))
    house.run()
    journal_in(tmp_path / "journal").adopt(None, ())
    current, old = of_folders(tmp_path / "journal")
    assert explain(current, call_id) is None
    assert explain(old, call_id) is not None
    assert of_folders(tmp_path / "nowhere") == []


def test_rows_and_files_that_vanish(tmp_path: Path) -> None:
    house = day(tmp_path, snapshot_every=5)
    house.sign_in("anna")
    call_id = house.dial(Caller(1.0, "alder"))
    house.run()
    files = of_folder(tmp_path)
    rows = of_rows(
        "memory",
        [(number, read()) for number, read in files.snapshots.items()],
        [(first, read()) for first, read in files.segments.items()],
    )
    for path in tmp_path.glob("journal-*.log"):
        path.unlink()
    assert explain(files, call_id) is None
    found = explain(rows, call_id)
    assert found is not None
    assert found[0].place == "memory"


def test_the_first_entry_from_a_time_on(tmp_path: Path) -> None:
    house = day(tmp_path, snapshot_every=10)
    house.sign_in("anna")
    for n in range(5):
        house.dial(Caller(100.0 * n, "alder", talk_s=10.0))
    house.run()
    chronicle = of_folder(tmp_path)
    times = [(e.at, e.number) for e in Playback(chronicle, 1).entries()]
    for after_s in (-1.0, 0.0, 99.0, 100.0, 250.0, 400.0):
        wanted = next(number for at, number in times if at >= BEGIN + after_s)
        assert chronicle.first_from(BEGIN + after_s) == wanted
    assert chronicle.first_from(BEGIN + 1e6) is None
    assert Chronicle("nowhere", {}, {}).first_from(0.0) is None
