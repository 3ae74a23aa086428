"""Clients and their files: the example, round trips, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.whose import whose

from vsek.domain.client import Client, Policy
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.hours import WEEKDAYS, Hours
from vsek.domain.yamlfile import FileError, parse, read_clients, write_clients

DOCS = Path(__file__).resolve().parents[3] / "docs"


def problems(text: str | bytes) -> list[tuple[int, str, str]]:
    """Line, field and message of all that is wrong with ``text``."""
    with pytest.raises(FileError) as caught:
        read_clients(text, "x.yaml")
    assert str(caught.value).count("x.yaml, line ") == len(caught.value.problems)
    return [(one.line, one.field, one.message) for one in caught.value.problems]


def client(**changes: Any) -> Client:
    values: dict[str, Any] = {
        "id": "a",
        "name": "A",
        "numbers": {"did": ["030 1234567"]},
        "contacts": [{"name": "X", "email": "x@example.com", "notes": "true"}],
    }
    return Client.model_validate(values | changes)


def test_the_example() -> None:
    text = (DOCS / "example-clients.yaml").read_text()
    file = read_clients(text, "example-clients.yaml")
    sommer, brandt, winter, harbour = file.clients
    assert sommer.numbers.did == ("+493055501001",)
    assert sommer.hours.periods[0].model_dump() == {"day": 0, "start_min": 480, "end_min": 720}
    assert [one.email for one in sommer.recipients()] == ["eva.sommer@praxis-sommer.example"]
    assert len(sommer.recipients("nina klein")) == 2
    assert brandt.policy is Policy.RING
    assert brandt.hours.always
    assert brandt.facts == ("Werkstatt und Büro sind in der Ritterstraße 12.",)
    assert harbour.greeting is not None
    assert harbour.greeting.text is not None
    assert read_clients(write_clients(file.clients), "again").clients == file.clients
    assert Client.model_validate_json(sommer.model_dump_json()) == sommer
    assert winter.screening is not None
    assert winter.screening.keys == {"1": "Termin", "2": "Rezept"}


def test_the_manual_names_every_key() -> None:
    manual = (DOCS / "clients.md").read_text()
    for name in Client.model_fields:
        assert f"| `{name}` |" in manual, name


def test_every_mistake_is_told_with_its_line() -> None:
    text = """\
clients:
  - id: Sommer
    name: ""
    langauge: de
    policy: greet
    numbers:
      did:
        - 030 1234567
        - no number
    contacts:
      - name: X
        emial: x@example.com
        notes: maybe
  - id: b
    name: B
    policy: sing
    timezone: Berlin
    wrap_up_s: soon
    greeting: {text: a, file: b}
    hours:
      mon-fry: 8-18
    numbers: {}
"""
    assert problems(text) == [
        (2, "clients[0].id", "is not usable as an id"),
        (3, "clients[0].name", "is empty"),
        (4, "clients[0].langauge", "is unknown here"),
        (9, "clients[0].numbers.did[1]", "is not a telephone number"),
        (12, "clients[0].contacts[0].emial", "is unknown here"),
        (13, "clients[0].contacts[0].notes", "is neither true nor false"),
        (14, "clients[1].contacts", "is missing"),
        (16, "clients[1].policy", "is not allowed here"),
        (17, "clients[1].timezone", "is not a time zone like Europe/Berlin"),
        (18, "clients[1].wrap_up_s", "is not a number"),
        (19, "clients[1].greeting", "needs exactly one of text, file, audio"),
        (20, "clients[1].hours", "'mon-fry' is not a day or a range of days"),
        (22, "clients[1].numbers", "has no number"),
    ]


def test_messages_name_value_and_remedy() -> None:
    with pytest.raises(FileError) as caught:
        read_clients("clients:\n  - id: a\n    policy: sing\n    nmae: X\n", "f.yaml")
    text = str(caught.value)
    assert "f.yaml, line 3: clients[0].policy: is not allowed here (given: 'sing')" in text
    assert "Write 'ring', 'greet' or 'screen'" in text
    assert "line 4: clients[0].nmae: is unknown here (given: 'X'). Known: id, name, lang" in text


def test_no_call_is_forwarded_to_another_client_here() -> None:
    one = "{name: X, contacts: [{name: X, email: x@y.example, notes: true}], "
    away = "when_nobody_can: [{do: forward, to: 030 7654321}]"
    text = (
        "clients:\n"
        f"- {one} id: a, numbers: {{did: [030 1234567]}}, {away}}}\n"
        f"- {one} id: b, numbers: {{did: [030 76543*]}}}}\n"
    )
    told = "+49307654321 leads back here, to client 'b'"
    assert problems(text) == [(2, "clients[0].when_nobody_can[0].to", told)]


def test_ids_and_numbers_are_unique() -> None:
    one = "{name: X, contacts: [{name: X, email: x@y.example, notes: true}], "
    text = (
        "clients:\n"
        f"- {one} id: a, numbers: {{did: [030 1234567]}}}}\n"
        f"- {one} id: b, numbers: {{did: [+49 30 7654321], forwarding: [+49301234567]}}}}\n"
        f"- {one} id: a, numbers: {{did: [030 1111111]}}}}\n"
    )
    assert problems(text) == [
        (3, "clients[1].numbers.forwarding[0]", "+49301234567 already belongs to client 'a'"),
        (4, "clients[2].id", "is also the id of the client in line 2"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "needs a list of clients"),
        ("clients:", 1, "needs a list of clients"),
        ("- a", 1, "needs a list of clients"),
        ("clients: []\nmore: 1", 2, "is unknown here"),
        ("clients:\n  - just text", 2, "needs key: value lines"),
        ("clients:\n  - id: a\n    id: b", 3, "stands twice, first in line 2"),
        ("clients:\n  - name: a: b", 2, "mapping values are not allowed"),
        ("clients:\n\t- id: a", 2, "cannot start any token"),
        ("clients: !!python/object:os.system x", 1, "needs a list of clients"),
        ("clients: !secret x", 1, "unknown tag !secret"),
        ("clients:\n  ? [a, b]\n  : c", 2, "a key must be a word"),
        ("clients: &a [*a]", 1, "holds too much"),
        ("a: *nowhere", 1, "found undefined alias"),
        ("a: \x07", 1, "unacceptable character"),
        (b"clients:\n  - id: \xff", 2, "is not UTF-8"),
        (b"x" * 20_000_001, 1, "too large"),
        ("--- a\n--- b\n", 2, "expected a single document"),
    ],
)
def test_files_that_are_no_client_files(text: str | bytes, line: int, message: str) -> None:
    found = problems(text)
    assert found[0][0] == line
    assert message in found[0][2]


def test_an_alias_bomb_ends_early() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "holds too much" in problems("\n".join(rows))[0][2]


def test_values_are_taken_as_they_are_written() -> None:
    document = parse("a: +49301\nb: 08:00\nc: no\nd: 007\ne: ~\nf:\ng: '~'\nh: 2026-01-01", "x")
    assert document.data == {
        "a": "+49301",
        "b": "08:00",
        "c": "no",
        "d": "007",
        "e": None,
        "f": None,
        "g": "~",
        "h": "2026-01-01",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "greet"}, "needs a greeting"),
        ({"music": {"text": "la la"}}, "music cannot be a text"),
        ({"greeting": " "}, "is empty"),
        ({"greeting": {"audio": "abc"}}, "not the hash"),
        ({"contacts": []}, "no contact who gets the notes"),
        ({"contacts": [{"name": "X", "notes": True}]}, "gets notes but has no email"),
        ({"contacts": [{"name": "X", "email": "x"}]}, "is not a mail address"),
        ({"answer_phrase": "I am {name}"}, "placeholder"),
        ({"answer_phrase": "I am {agent"}, "placeholder"),
        ({"answer_phrase": "{}"}, "placeholder"),
        ({"wrap_up_s": "nan"}, "finite number"),
        ({"wrap_up_s": 4000}, "less than or equal"),
        ({"hours": {"mon": "18:00-18:00"}}, "is not a time like"),
        ({"hours": {"mon": "08:60-09:00"}}, "is not a time like"),
        ({"hours": {"mon": "08:00-24:01"}}, "is not a time like"),
        ({"hours": {"mon": []}}, "has days but no times"),
        ({"hours": {"periods": [{"day": 1, "start_min": 9, "end_min": 5}]}}, "out of order"),
        ({"numbers": {"did": ["030 1234567", "+49301234567"]}}, "stands here twice"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        client(**changes)


def test_contacts_refer_to_each_other() -> None:
    main = {"name": "X", "email": "x@example.com", "notes": True}
    with pytest.raises(ValidationError, match="'Y', the deputy of 'X', is no contact"):
        client(contacts=[main | {"deputy": "Y"}])
    with pytest.raises(ValidationError, match="two contacts are"):
        client(contacts=[main, main | {"name": "x"}])
    pair = client(contacts=[main | {"deputy": "y"}, {"name": "Y"}])
    assert [one.name for one in pair.recipients("Y")] == ["X"], "Y has no address"


def test_hours_over_midnight_are_two_periods() -> None:
    hours = Hours.model_validate({"sun": "22:00-06:00", "sat-mon": ["08:00-09:00", "09:00-10:00"]})
    assert [(one.day, one.start_min, one.end_min) for one in hours.periods] == [
        (0, 0, 360),
        (0, 480, 600),
        (5, 480, 600),
        (6, 480, 600),
        (6, 1320, 1440),
    ]
    assert hours.model_dump() == {
        "mon": ["00:00-06:00", "08:00-10:00"],
        "sat": ["08:00-10:00"],
        "sun": ["08:00-10:00", "22:00-24:00"],
    }


_SPAN = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(
    lambda span: span[0] != span[1]
)


@given(st.dictionaries(st.sampled_from(WEEKDAYS), st.lists(_SPAN, min_size=1, max_size=4)))
def test_hours_survive_being_written(days: dict[str, list[tuple[int, int]]]) -> None:
    def clock(minutes: int) -> str:
        return f"{minutes // 60:02}:{minutes % 60:02}"

    spelt = {day: [f"{clock(a)}-{clock(b)}" for a, b in spans] for day, spans in days.items()}
    hours = Hours.model_validate(spelt)
    assert Hours.model_validate(hours.model_dump()) == hours
    assert hours.always == (not days)
    minutes = {
        (WEEKDAYS.index(day) * 1440 + minute) % 10080
        for day, spans in days.items()
        for start, end in spans
        for minute in range(start, end if end > start else end + 1440)
    }
    stated = {
        one.day * 1440 + minute
        for one in hours.periods
        for minute in range(one.start_min, one.end_min)
    }
    assert stated == minutes


def test_the_country_of_national_numbers() -> None:
    values = client().to_yaml_data() | {"numbers": {"did": ["01 5350 500"]}}
    austrian = Client.model_validate(values, context={"country": "AT"})
    assert austrian.numbers.did == ("+4315350500",)
    file = read_clients(write_clients([austrian]), "x")
    assert file.clients == (austrian,)


def test_identify() -> None:
    own = client(id="own", numbers={"did": ["+49301111111"]})
    near = client(id="near", numbers={"forwarding": ["+49302222222"]})
    far = client(id="far", numbers={"forwarding": ["+49303333333"]})
    known = Directory({one.id: ClientEntry(one, None, None) for one in (own, near, far)}, {})

    def owner(did: str, *forwarded_by: str) -> str | None:
        return whose(known, did, forwarded_by)

    assert owner("+49301111111", "+49302222222") == "own"
    assert owner("+49309999999", "+49308", "+49302222222", "+49303333333") == "near"
    assert owner("+49309999999") is None


def _screened(**screening: object) -> Client:
    return Client.model_validate(
        {
            "id": "a",
            "name": "A",
            "numbers": {"did": ["+49301234567"]},
            "policy": "screen",
            "greeting": "Hello.",
            "screening": screening,
            "contacts": [{"name": "C", "email": "c@example.com", "notes": True}],
        }
    )


def test_screening_takes_keys_as_yaml_gives_them() -> None:
    screening = _screened(prompt="Press 1.", keys={1: "Repair", "*": "Other"}).screening
    assert screening is not None
    assert screening.keys == {"1": "Repair", "*": "Other"}
    assert screening.record
    assert not screening.attach


@pytest.mark.parametrize(
    ("screening", "told"),
    [
        ({"keys": {"1": "Repair"}}, "a prompt that names them"),
        ({"prompt": "Press.", "keys": {"12": "Repair"}}, "no key of a telephone"),
        ({"prompt": "Press.", "keys": {True: "Repair"}}, "no key of a telephone"),
        ({"prompt": "Press.", "keys": {"1": ""}}, "at least 1 item"),
        ({"prompt": "Press.", "keys": ["1"]}, "valid dictionary"),
        ({"record": False}, "neither records nor knows keys"),
        ({"prompt": "Press.", "keys": {1: "x"}, "record": False, "attach": True}, "to attach"),
        ({"max_s": 3}, "greater than or equal to 5"),
    ],
)
def test_screening_that_makes_no_sense(screening: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _screened(**screening)


def test_screening_needs_its_policy() -> None:
    data = _screened().model_dump()
    with pytest.raises(ValidationError, match="needs policy: screen"):
        Client.model_validate(data | {"policy": "greet"})


def numbered(*clients: str) -> str:
    return "clients:\n" + "".join(
        f"  - id: {chr(97 + at)}\n    name: X\n    numbers: {numbers}\n"
        "    contacts: [{name: X, email: x@example.com, notes: true}]\n"
        for at, numbers in enumerate(clients)
    )


def test_blocks_of_numbers() -> None:
    text = numbered(
        '{did: ["+49 30 123456*", 0800 FLOWERS], forwarding: ["030 1234567"]}',
        '{did: ["030 123457*"], forwarding: ["0341 555*"]}',
    )
    one, two = read_clients(text, "x").clients
    assert one.numbers.did == ("+4930123456*", "+498003569377")
    assert two.numbers.forwarding == ("+49341555*",)
    again = read_clients(write_clients([one, two]), "again")
    assert again.clients == (one, two)


def test_numbers_within_blocks_are_refused() -> None:
    assert problems(numbered('{did: ["+49 30 1234*", "+49 30 12345"]}', '{did: ["+49*"]}')) == [
        (4, "clients[0].numbers.did[1]", "+493012345 and +49301234* have numbers in common"),
        (8, "clients[1].numbers.did[0]", "is not a block of telephone numbers"),
    ]
    assert problems(
        numbered('{did: ["+49 30 1234*"]}', '{did: ["+49 30 12345"]}', '{did: ["+49 30 12346*"]}')
    ) == [
        (8, "clients[1].numbers.did[0]", "+493012345 is within +49301234* of client 'a'"),
        (12, "clients[2].numbers.did[0]", "+493012346* is within +49301234* of client 'a'"),
    ]


def test_mistakes_among_fields_are_told_together_with_their_lines() -> None:
    text = """\
clients:
  - id: a
    name: A
    policy: greet
    music: {text: la la}
    screening: {record: true}
    group: office
    numbers:
      did:
        - 030 1234567
        - +49 30 1234567
    contacts:
      - name: X
      - name: x
        deputy: Y
    when_nobody_can:
      - do: forward
        to: 030 1234567
      - do: regroup
        group: office
    temporary:
      - {until: 2026-12-01, from: 2026-12-05, text: Closed}
  - id: b
    name: B
    numbers:
      did: [030 7777777, 030 7777777]
      forwarding: ["030 777*", 030 7777778]
    policy: screen
    greeting: Hello.
    screening:
      record: false
      attach: true
    contacts:
      - name: X
        notes: true
    when_nobody_can:
      - do: callback
        to: 030 1234567
        every_s: 20
"""
    # What is within a part is looked at before the parts are held against each other.
    first = text.replace("        - +49 30 1234567\n", "").split("  - id: b")
    assert problems(first[0]) == [
        (4, "clients[0].policy", "policy greet needs a greeting"),
        (5, "clients[0].music", "music cannot be a text"),
        (6, "clients[0].screening", "screening needs policy: screen"),
        (11, "clients[0].contacts", "has no contact who gets the notes"),
        (13, "clients[0].contacts[1].name", "two contacts are 'x'"),
        (14, "clients[0].contacts[1].deputy", "'Y', the deputy of 'x', is no contact"),
        (17, "clients[0].when_nobody_can[0].to", "calls to +49301234567 would come back here"),
        (
            19,
            "clients[0].when_nobody_can[1].group",
            "regroup to 'office': that is the client's own group",
        ),
        (21, "clients[0].temporary[0].until", "the instruction 'Closed' ends before it begins"),
    ]
    assert problems(text) == [
        (11, "clients[0].numbers.did[1]", "+49301234567 stands here twice"),
        (26, "clients[1].numbers.did[1]", "+49307777777 stands here twice"),
        (
            27,
            "clients[1].numbers.forwarding[1]",
            "+49307777778 and +4930777* have numbers in common",
        ),
        (31, "clients[1].screening.record", "neither records nor knows keys"),
        (32, "clients[1].screening.attach", "there is nothing to attach"),
        (35, "clients[1].contacts[0].notes", "gets notes but has no email"),
        (38, "clients[1].when_nobody_can[0].to", "do: callback has no to"),
        (39, "clients[1].when_nobody_can[0].every_s", "do: callback happens once"),
    ]


def test_clients_are_compared_even_where_another_one_cannot_be_read() -> None:
    text = numbered("{did: [030 1234567]}", "{did: [nothing]}", "{did: [030 1234567]}")
    assert problems(text) == [
        (8, "clients[1].numbers.did[0]", "is not a telephone number"),
        (12, "clients[2].numbers.did[0]", "+49301234567 already belongs to client 'a'"),
    ]


def test_nothing_is_without_an_upper_bound() -> None:
    long = "n" * 100_000
    text = f"""\
clients:
  - id: a
    name: {long}
    numbers: {{did: [030 1234567]}}
    contacts: [{{name: X, email: x@example.com, notes: true, role: {long}, deputy: {long}}}]
    answer_phrase: {long}
    facts: [{long}]
    instructions: {long}
    greeting: {long}
    music: {{file: {long}}}
    temporary: [{{until: 2026-12-24, text: {long}}}]
    days: [{{on: 2026-12-24, reason: {long}}}]
    faq: [{{question: {long}, answer: {long}}}]
    requires: {{? {long} : 3}}
    screening: {{keys: {{? {long} : x}}}}
  - id: {long}
    timezone: {long}
    language: {long}
    policy: {long}
    holidays: {long}
    target: {long}
    hours: {{? {long} : 08:00-09:00}}
    numbers: {{did: [{long}, "{"1" * 100_000}"]}}
    contacts: [{{name: X, email: {long}}}]
    when_nobody_can: [{{do: {long}}}, {{do: forward, to: {long}}}]
    temporary: [{{until: {long}, text: x}}]
    days: [{long}]
    ? {long}
    : 1
"""
    with pytest.raises(FileError) as caught:
        read_clients(text, "x")
    told = [str(one) for one in caught.value.problems]
    assert all(len(one) < 600 for one in told), told
    assert (
        f"line 3: clients[0].name: has 100000 letters, more than 120 (given: '{'n' * 58}…"
        in (told[0])
    )
    assert {problem.line for problem in caught.value.problems} == {*range(3, 29)} - {4}
    numbers = [f"030 {1000000 + n}" for n in range(501)]
    whole = client(numbers={"did": numbers[:500]}, vip=numbers[:500])
    assert len(whole.numbers.did) == 500
    for changes in (
        {"numbers": {"did": numbers}},
        {"numbers": {"forwarding": numbers}},
        {"vip": numbers},
        {"facts": ["x"] * 201},
        {"reasons": [{"name": "x"}] * 101},
        {"reasons": [{"name": "x", "fields": ["y"] * 41}]},
        {"faq": [{"question": "x", "answer": "y"}] * 501},
        {"days": ["2026-12-24"] * 401},
        {"when_nobody_can": [{"do": "callback"}] * 21},
        {"contacts": [{"name": "X", "email": "x@example.com", "notes": True}] * 501},
    ):
        with pytest.raises(ValidationError, match="too_long"):
            client(**changes)


def test_a_file_has_so_many_clients_at_the_most() -> None:
    ((line, field, message),) = problems("clients:\n" + "  - {}\n" * 10_001)
    assert (line, field) == (1, "clients")
    assert message == "has 10001 clients, more than 10000"


def test_a_text_of_the_longest_length_is_taken() -> None:
    assert client(name="n" * 120).name == "n" * 120
    assert client(name="n " * 60 + " " * 300).name == ("n " * 60).strip()
    with pytest.raises(ValidationError, match="has 121 letters"):
        client(name="n" * 121)
