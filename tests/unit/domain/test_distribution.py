"""Rules of the distribution: files and their mistakes, doubts, and what calls get of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from vsek.acd import rules as acd
from vsek.acd.hours import DayHours, OpenSpan
from vsek.domain import distribution
from vsek.domain.client import Client
from vsek.domain.destinations import objection
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.distribution import (
    AgentRules,
    GroupRules,
    RuleBook,
    Times,
    Wish,
    doubts,
    mistakes,
    unserved,
)
from vsek.domain.ids import ClientId
from vsek.domain.rulesfile import RulesFile, read_rules, write_rules
from vsek.domain.treatments import Do
from vsek.domain.yamlfile import FileError, content_of, read_clients, write_clients
from vsek.settings import CallSettings, Settings
from vsek.switchboard.directory import for_calls, rules, with_book

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLE = DOCS / "example-rules.yaml"
AGENTS = ["anna", "ben", "carla", "david"]


def example() -> RulesFile:
    return read_rules(EXAMPLE.read_text(), "example-rules.yaml")


def client(**changes: Any) -> Client:
    values: dict[str, Any] = {
        "id": "a",
        "name": "A",
        "numbers": {"did": ["030 1234567"]},
        "contacts": [{"name": "X", "email": "x@example.com", "notes": "true"}],
    }
    return Client.model_validate(values | changes)


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_the_example() -> None:
    book = example().book
    assert list(book.groups["medical"].circles.items()) == [
        ("team", 0),
        ("trained", 10),
        ("learning", 20),
        ("overflow", 45),
    ]
    assert book.agents["carla"].clearance("medical") == "learning"
    assert book.agents["carla"].clearance("backup") == "none"
    assert book.agents["anna"].clearance("backup") == "trained"
    assert book.times.redial_s == 300
    assert mistakes(book, AGENTS) == []
    assert doubts(book, AGENTS) == []
    again = read_rules(write_rules(book), "again").book
    assert again == book
    assert list(again.groups["medical"].circles) == list(book.groups["medical"].circles)
    assert RuleBook.model_validate_json(book.model_dump_json(exclude_defaults=True)) == book


def test_the_manual_names_every_key() -> None:
    manual = (DOCS / "rules.md").read_text()
    for model in (GroupRules, AgentRules, Times):
        for name in model.model_fields:
            assert f"| `{name}` |" in manual, name
    for words in (distribution.Admits, distribution.Order):
        for word in get_args(words):
            assert f"| `{word}` |" in manual, word
    clients = (DOCS / "clients.md").read_text()
    for do in Do:
        assert f"| `{do}` |" in clients


def test_the_words_are_those_of_the_distribution() -> None:
    assert get_args(distribution.Admits) == tuple(acd.Admits)
    assert get_args(distribution.Order) == tuple(acd.Order)
    assert get_args(distribution.Clearance) == tuple(acd.Clearance)
    assert [do.value for do in Do] == [action.value for action in acd.Action]


def test_a_file_without_rules() -> None:
    for text in ("", "{}", "groups:\nagents:\ntimes:\n"):
        assert read_rules(text, "x").book == RuleBook()
    assert read_rules(write_rules(RuleBook()), "x").book == RuleBook()


def told(text: str | bytes) -> list[str]:
    with pytest.raises(FileError) as caught:
        read_rules(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_mistake_is_told_with_line_field_value_and_remedy() -> None:
    text = """\
groups:
  Med: {}
  b: {circles: {team: 0, trainde: 3}, order: x, new_clients: 0, foo: 1}
  c: {circles: {trained: 0, learning: -3, overflow: x}}
  d: {circles: {trained: 20, team: 0}}
  e: {circles: [{after_s: 0, admits: team}, {after_s: 9, admits: team}]}
  f: {circles: {trained: 5}}
  g: 5
  h: {circles: {trained: 0, overflow: 5}}
  i: {circles: {team: 0}}
  j: {overflow_to: [b]}
  k: {circles: {}}
  l: {circles: [{after: 0, admits: team}]}
agents:
  anna: {skills: {english: 10, x: y}, position: -1, cleared: {b: maybe}}
  ben: {skills: {" ": 3}, cleared: {A b: none}}
  carla: {skills: {a b: 3, "a  b": 4}}
times: {rona_park_s: 0, redial: 3}
more: x
"""
    assert told(text) == [
        (
            "line 2: groups.Med: is not usable as an id. Use a to z, 0 to 9 and '-', beginning "
            "with a letter, at most 40 characters"
        ),
        (
            "line 3: groups.b.circles.trainde: is not allowed here. Write 'team', 'trained', "
            "'learning' or 'overflow'"
        ),
        (
            "line 3: groups.b.order: is not allowed here (given: 'x'). Write 'longest_idle', "
            "'least_calls', 'least_talk' or 'fixed'"
        ),
        "line 3: groups.b.new_clients: is less than 1 (given: '0'). Write 1 or more",
        (
            "line 3: groups.b.foo: is unknown here (given: '1'). Known: name, team, circles, "
            "order, level_first, overflow_to, new_clients"
        ),
        "line 4: groups.c.circles.learning: is less than 0 (given: '-3'). Write 0 or more",
        (
            "line 4: groups.c.circles.overflow: is not a number (given: 'x'). Write digits, for "
            "example 30"
        ),
        "line 5: groups.d.circles: nobody may take a call at first. Begin with trained: 0",
        (
            "line 5: groups.d.circles.team: team opens before trained, but stands after it "
            "(given: '0'). Write the circles in the order in which they open"
        ),
        "line 6: groups.e.circles: 'team' stands twice. Keep the earlier one",
        "line 7: groups.f.circles: nobody may take a call at first. Begin with trained: 0",
        "line 8: groups.g: needs key: value lines below it (given: '5'). Indent them",
        (
            "line 9: groups.h.circles.overflow: has a circle overflow, but no overflow_to "
            "(given: '5'). Add overflow_to"
        ),
        (
            "line 10: groups.i.circles.team: has a circle for its team, but no team (given: '0'). "
            "Add team"
        ),
        (
            "line 11: groups.j.overflow_to: has overflow_to, but no circle overflow. Say under "
            "circles after how many seconds: overflow: 60"
        ),
        "line 12: groups.k.circles: has no circle. Write {trained: 0}, or leave circles out",
        "line 13: groups.l.circles: needs after_s and admits. Write {after_s: 20, admits: trained}",
        "line 15: agents.anna.skills.english: is more than 9 (given: '10'). Write 9 or less",
        (
            "line 15: agents.anna.skills.x: is not a whole number (given: 'y'). Write digits, for "
            "example 5"
        ),
        (
            "line 15: agents.anna.cleared.b: is not allowed here (given: 'maybe'). Write "
            "'trained', 'learning' or 'none'"
        ),
        "line 15: agents.anna.position: is less than 0 (given: '-1'). Write 0 or more",
        "line 16: agents.ben.skills: ' ' is no name of a skill. Write a word",
        "line 16: agents.ben.cleared: 'A b' is no id of a group. Write an id, or '*' for all",
        "line 17: agents.carla.skills: 'a b' stands twice. Keep one of them",
        "line 18: times.rona_park_s: is less than 1 (given: '0'). Write 1 or more",
        (
            "line 18: times.redial: is unknown here (given: '3'). Known: ring_timeout_s, "
            "rona_park_s, refusal_park_s, redial_s, shift_gap_s"
        ),
        "line 19: more: is unknown here (given: 'x'). Known: groups, agents, times",
    ]
    assert told('"\\e[31m": x\n')[0].startswith("line 1: '\\x1b[31m': is unknown here")
    assert told("- a\n") == ["line 1: the file holds no rules. Known: groups, agents, times"]
    assert told("[" * 200_000) == ["line 1: The file holds too much. Split it"]
    assert told("groups: " + "[" * 90 + "]" * 90) == ["line 1: The file holds too much. Split it"]
    assert "needs key: value lines below it" in told("groups: [a]\n")[0]
    assert "times: needs key" in told("times: 5\n")[0]


def test_nothing_is_without_an_upper_bound() -> None:
    long = "n" * 1_000_000
    assert told(f"groups: {{a: {{name: {long}, team: {long}}}}}") == [
        (
            f"line 1: groups.a.{key}: has 1000000 letters, more than 120 (given: '{'n' * 58}…). "
            "Shorten it"
        )
        for key in ("name", "team")
    ]
    for text in (
        f"groups: {{? {long} : {{}}}}",
        f"{long}: 1",
        f"agents: {{a: {{skills: {{? {long} : 1}}, cleared: {{? {long} : none}}}}}}",
        f"groups: {{a: {{order: {long}, circles: [{{after_s: 0, admits: {long}}}]}}}}",
        f"groups: {{a: {{overflow_to: [{long}], new_clients: {long}}}}}",
        f"times: {{redial_s: {long}}}",
    ):
        problems = told(text)
        assert all(len(problem) < 600 for problem in problems), [len(one) for one in problems]
    groups = "\n".join(f"  g{n}: {{}}" for n in range(1_000))
    agents = "\n".join(f"  a{n}: {{skills: {{s{n % 200}: 5}}}}" for n in range(10_000))
    assert len(read_rules(f"groups:\n{groups}\nagents:\n{agents}", "x").book.agents) == 10_000
    assert told(f"groups:\n{groups}\n  more: {{}}") == [
        "line 1: groups: has 1001 entries, more than 1000. Take some out"
    ]
    skills = ", ".join(f"s{n}: 5" for n in range(51))
    cleared = ", ".join(f"g{n}: none" for n in range(1_002))
    overflow = ", ".join(f"g{n}" for n in range(51))
    circles = "{trained: 0, overflow: 9}"
    assert told(
        f"agents: {{a: {{skills: {{{skills}}}, cleared: {{{cleared}}}}}}}\n"
        f"groups: {{b: {{overflow_to: [{overflow}], circles: {circles}}}}}"
    ) == [
        "line 1: agents.a.skills: has more than 50 entries. Take some out",
        "line 1: agents.a.cleared: has more than 1001 entries. Take some out",
        "line 2: groups.b.overflow_to: has more than 50 entries. Take some out",
    ]


def test_what_is_known_is_not_listed_without_end() -> None:
    groups = "\n".join(f"  g{n}: {{}}" for n in range(30))
    file = read_rules(f"groups:\n{groups}\nagents: {{a: {{cleared: {{x: none}}}}}}", "x")
    (mistake,) = mistakes(file.book, ["a"])
    assert mistake.remedy.endswith("g18, g19 and 10 more, '*'")


def test_a_message_does_not_grow_without_end() -> None:
    with pytest.raises(FileError) as caught:
        read_rules("".join(f"key{n}: 1\n" for n in range(5_000)), "x.yaml")
    lines = caught.value.message.splitlines()
    assert len(caught.value.problems) == 5_000
    assert len(lines) == 201
    assert lines[-1] == "x.yaml: 4800 more problems are not told here"


def test_of_an_endless_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.yaml"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)
    text = content_of(path, field="file", holds="rules")
    assert told(text) == ["line 1: The file is too large: more than 20 MB. Split it"]


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", ".inf"])
def test_what_is_no_number(number: str) -> None:
    assert told(f"times: {{redial_s: {number}}}") == [
        f"line 1: times.redial_s: is not a number (given: '{number}'). Write digits, for example 30"
    ]


def test_circles_one_by_one_mean_the_same() -> None:
    short = read_rules("groups: {a: {circles: {trained: 0, learning: 20}}}", "x").book
    long = "[{after_s: 0, admits: trained}, {admits: learning, after_s: 20}]"
    assert read_rules(f"groups: {{a: {{circles: {long}}}}}", "x").book == short


def test_what_refers_to_nothing() -> None:
    text = """\
groups:
  a: {circles: {trained: 0, overflow: 9}, overflow_to: [b, a, c, b]}
  b:
agents:
  anna: {cleared: {b: trained, x: none, "*": learning}}
  ben:
"""
    file = read_rules(text, "x.yaml")
    found = [str(problem) for problem in file.problems(mistakes(file.book, ["anna"]))]
    assert found == [
        "line 2: groups.a.overflow_to[1]: is the group itself (given: 'a'). Name other groups",
        "line 2: groups.a.overflow_to[2]: there is no group 'c' (given: 'c'). Known: a, b",
        "line 2: groups.a.overflow_to[3]: 'b' stands twice (given: 'b'). Keep one of them",
        "line 5: agents.anna.cleared.x: there is no group 'x' (given: 'none'). Known: a, b, '*'",
        "line 6: agents.ben: there is no agent 'ben'. Add the agent first: vsek agent add ben",
    ]


def test_doubts() -> None:
    text = """\
groups:
  a: {team: north, circles: {team: 0, trained: 9}}
  b: {circles: {trained: 0}}
  c: {circles: {trained: 0, overflow: 9}, overflow_to: [a]}
agents:
  anna: {team: nroth, cleared: {a: trained, b: learning}}
"""
    file = read_rules(text, "x.yaml")
    assert [str(problem) for problem in file.problems(doubts(file.book, ["anna"]))] == [
        (
            "line 2: groups.a.team: nobody is in the team 'north' (given: 'north'). Write the team "
            "as under agents"
        ),
        "line 3: groups.b.circles: admit nobody. Clear agents for the group: cleared: {b: trained}",
        (
            "line 6: agents.anna.team: no group has the team 'nroth' (given: 'nroth'). Write the "
            "team as under groups"
        ),
        (
            "line 6: agents.anna.cleared.b: learns for 'b', where no circle admits who is learning "
            "(given: 'learning'). Add learning to the group's circles"
        ),
    ]
    beside = Wish("x", "b", {}, learn_beside_trained=True)
    assert not any("learns for" in one.message for one in doubts(file.book, ["anna"], [beside]))


@pytest.mark.parametrize(
    ("group", "requires", "reason"),
    [
        ("medical", {}, ""),
        ("medical", {"english": 5}, ""),
        (
            "medical",
            {"english": 9, "medicine": 8},
            "no agent in group 'medical' may take its calls with the skills that it requires",
        ),
        ("medical", {"polish": 1}, "requires 'polish', which no agent has"),
        ("medical", {"medicine": 9}, "requires 'medicine' at level 9, the best agent has 8"),
        ("", {}, ""),
        (
            "",
            {"medicine": 8},
            (
                "no agent for clients without a group may take its calls with the "
                "skills that it requires"
            ),
        ),
    ],
)
def test_clients_whom_nobody_can_serve(group: str, requires: dict[str, int], reason: str) -> None:
    wish = Wish("x", group, requires)
    assert unserved([wish, wish], example().book, AGENTS) == (
        [(wish, reason)] * 2 if reason else []
    )


def test_an_agent_without_rules_takes_everything() -> None:
    book = example().book
    assert unserved([Wish("x", "", {})], book, ["ben"]) != []
    assert unserved([Wish("x", "", {}), Wish("y", "medical", {})], book, ["ben", "new"]) == []


# ── a client's own part ──────────────────────────────────────────────────────────────────────

FULL = """\
clients:
  - id: a
    name: A
    timezone: Europe/London
    numbers: {did: ["+49301234567"]}
    contacts: [{name: C, email: c@example.com, notes: true}]
    group: medical
    requires: {english: 4}
    target: 90/15
    vip: [030 7777777]
    vip_target: {percent: 95, within_s: 7.5}
    hold_s: 20
    known_days: 30
    learn_beside_trained: true
    when_nobody_can:
      - {do: announce, announcement: Bitte warten., after_s: 30, every_s: 60}
      - {do: callback, expected_s: 120, waiting: 3}
      - {do: regroup, group: backup, hours: {mon-fri: ["08:00-18:00"]}, days: [2026-12-24]}
      - {do: forward, to: 030 8888888, nobody: true}
      - {do: voicemail, after_s: 300}
"""


def test_a_client_with_everything() -> None:
    (one,) = read_clients(FULL, "f.yaml").clients
    assert read_clients(write_clients([one]), "again").clients == (one,)
    assert Client.model_validate_json(one.model_dump_json(exclude_defaults=True)) == one
    assert one.wish() == Wish("a", "medical", {"english": 4}, ("backup",), True)
    entry = ClientEntry(one, None, None, announcement_sounds=("abc", None, None, None, None))
    known = Directory({one.id: entry}, {}, rules=example().book, rules_version=7)
    made = for_calls(known, Settings(), lambda sound: f"sound:{sound}", {}, date(2026, 11, 22))
    script = made.clients[one.id]
    assert script.vip == {"+49307777777"}
    assert script.known_days == 30
    assert made.rules.version == 7
    assert made.rules.clients == {
        "a": acd.ClientRules(
            group="medical",
            requires={"english": 4},
            target=acd.Target(0.9, 15),
            vip_target=acd.Target(0.95, 7.5),
            hold_s=20,
            learn_beside_trained=True,
            treatments=(
                acd.Treatment(
                    acd.Action.ANNOUNCE,
                    "sound:abc",
                    after_s=30,
                    every_s=60,
                    timezone="Europe/London",
                ),
                acd.Treatment(
                    acd.Action.CALLBACK, expected_s=120, waiting=3, timezone="Europe/London"
                ),
                acd.Treatment(
                    acd.Action.REGROUP,
                    "backup",
                    hours=tuple(OpenSpan(frozenset({day}), 480, 1080) for day in range(5)),
                    timezone="Europe/London",
                    days=(
                        DayHours(date(2026, 12, 24).toordinal(), date(2026, 12, 24).toordinal()),
                    ),
                ),
                acd.Treatment(
                    acd.Action.FORWARD, "+49308888888", nobody=True, timezone="Europe/London"
                ),
                acd.Treatment(acd.Action.VOICEMAIL, after_s=300, timezone="Europe/London"),
            ),
        )
    }


def test_who_has_no_rules_stands_in_none() -> None:
    one = client()
    known = Directory({one.id: ClientEntry(one, None, None)}, {})
    made = rules(known, CallSettings(ring_timeout_s=12, rona_park_s=30, refusal_park_s=5), str)
    assert made == acd.Rules(ring_timeout_s=12, rona_park_s=30, refusal_park_s=5)


def test_the_house_rules_as_the_distribution_gets_them() -> None:
    made = rules(Directory({}, {}, rules=example().book, rules_version=3), CallSettings(), str)
    assert made.groups["medical"] == acd.Group(
        team="north",
        circles=(
            acd.Circle(0, acd.Admits.TEAM),
            acd.Circle(10, acd.Admits.TRAINED),
            acd.Circle(20, acd.Admits.LEARNING),
            acd.Circle(45, acd.Admits.OVERFLOW),
        ),
        overflow_to=("office",),
        new_clients=2,
    )
    assert made.groups["backup"].order is acd.Order.FIXED
    assert made.agents["carla"] == acd.AgentRules(  # type: ignore[index]
        "south",
        {"english": 3},
        {"office": acd.Clearance.TRAINED, "medical": acd.Clearance.LEARNING},
    )
    assert (made.ring_timeout_s, made.shift_gap_s, made.version) == (15, 14_400, 3)


def test_a_past_day_can_be_played_back_under_another_book() -> None:
    own = {ClientId("a"): acd.ClientRules(hold_s=5)}
    then = acd.Rules(ring_timeout_s=12, redial_s=60, version=4, clients=own)
    made = with_book(then, example().book)
    assert (made.clients, made.version) == (own, 4)
    assert (made.ring_timeout_s, made.redial_s) == (15, 300)
    assert set(made.groups) == {"medical", "office", "backup"}
    assert with_book(made, RuleBook()).agents == {}


def test_treatments_stored_without_sounds_can_be_read() -> None:
    one = client(when_nobody_can=[{"do": "announce", "announcement": "Hallo"}])
    known = Directory({one.id: ClientEntry(one, None, None)}, {})
    (treatment,) = rules(known, CallSettings(), str).clients[one.id].treatments
    assert treatment.detail == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": "0/20"}, "greater than or equal to 1"),
        ({"target": "100/20"}, "less than or equal to 99"),
        ({"target": "80"}, "not a target like 80/20"),
        ({"target": "80/0"}, "greater than or equal to 1"),
        ({"hold_s": 121}, "less than or equal to 120"),
        ({"known_days": 366}, "less than or equal to 365"),
        ({"requires": {"english": 0}}, "greater than or equal to 1"),
        ({"group": "Med"}, "not usable as an id"),
        ({"vip": ["nobody"]}, "not a telephone number"),
        ({"vip": ["030 123456*"]}, "not a telephone number"),
        ({"when_nobody_can": [{"do": "sing"}]}, "'announce', 'callback'"),
        ({"when_nobody_can": [{"do": "announce"}]}, "needs announcement"),
        ({"when_nobody_can": [{"do": "announce", "announcement": {"file": ""}}]}, "is empty"),
        ({"when_nobody_can": [{"do": "voicemail", "announcement": "x"}]}, "has no announcement"),
        ({"when_nobody_can": [{"do": "voicemail", "every_s": 60}]}, "happens once"),
        ({"when_nobody_can": [{"do": "announce", "announcement": "x", "every_s": 5}]}, "less than"),
        ({"when_nobody_can": [{"do": "forward"}]}, "needs to"),
        ({"when_nobody_can": [{"do": "forward", "to": "110"}]}, "110 is an emergency number"),
        ({"when_nobody_can": [{"do": "forward", "to": "0900 1234567"}]}, "premium-rate"),
        ({"when_nobody_can": [{"do": "forward", "to": "1001"}]}, "is not a public number"),
        ({"when_nobody_can": [{"do": "forward", "to": "+999 123456"}]}, "is not a public number"),
        ({"when_nobody_can": [{"do": "forward", "to": "030 1234567"}]}, "would come back here"),
        ({"when_nobody_can": [{"do": "regroup"}]}, "needs group"),
        ({"when_nobody_can": [{"do": "regroup", "group": "b"}], "group": "b"}, "own group"),
        ({"when_nobody_can": [{"do": "voicemail", "nobdoy": "true"}]}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_for_a_client_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        client(**changes)


@pytest.mark.parametrize(
    ("number", "country", "reason"),
    [
        ("+49305550100", "DE", ""),
        ("+491701234567", "DE", ""),
        ("110", "DE", "is an emergency number"),
        ("112", "US", "is an emergency number"),
        ("+49112", "DE", "is an emergency number"),
        ("+49110", "DE", "is an emergency number"),
        ("144", "AT", "is an emergency number"),
        ("999", "GB", "is an emergency number"),
        ("+499001234567", "DE", "is a premium-rate number"),
        ("09001234567", "DE", "is a premium-rate number"),
        ("+4913712345", "DE", "is a premium-rate number"),
        ("+4911833", "DE", "is a premium-rate number"),
        ("11833", "DE", "is a premium-rate number"),
        ("+43900123456", "AT", "is a premium-rate number"),
        ("+41900123456", "CH", "is a premium-rate number"),
        ("+449011234567", "GB", "is a premium-rate number"),
        ("+19005551234", "US", "is a premium-rate number"),
        ("1001", "DE", "is not a public number"),
        ("+99912345678", "DE", "is not a public number"),
        ("+1234", "DE", "is not a public number"),
        ("*21*4930123", "DE", "is not a public number"),
        ("0000", "DE", "is not a public number"),
        ("\u0661\u0661\u0660", "DE", "is not a public number"),
    ],
)
def test_where_calls_must_not_be_sent(number: str, country: str, reason: str) -> None:
    assert objection(number, country) == reason


def test_the_distribution_part_of_a_client_changes_only_with_what_decides() -> None:
    plain = client()
    assert plain.distribution() == {}
    assert client(name="B", timezone="Europe/London", facts=["x"]).distribution() == {}
    voicemail = [{"do": "voicemail"}]
    treated = client(when_nobody_can=voicemail).distribution()
    assert treated != client(when_nobody_can=voicemail, timezone="Europe/London").distribution()
    for key, value in (("hold_s", 5), ("vip", ["030 77777"]), ("target", "80/20")):
        assert client(**{key: value}).distribution() != {}
