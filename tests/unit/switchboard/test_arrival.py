"""Who was called, who calls and who forwarded, in the shapes in which networks say it."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.call.events import CallArrived
from vsek.domain.ids import CallId, ChannelId
from vsek.switchboard.arrival import Reader, values_of

D = "+4930123456"


def read(**values: str) -> CallArrived:
    given = {"from": "+4930555000"} | {name.rstrip("_"): text for name, text in values.items()}
    return Reader("DE").read(CallId("c"), ChannelId("1.1"), given)


@pytest.mark.parametrize(
    ("values", "dids"),
    [
        ({"did": "+4930123456"}, (D,)),
        ({"did": "004930123456"}, (D,)),
        ({"did": "030123456"}, (D,)),
        ({"did": "030123456", "to": "<sip:+4930123456@x>"}, (D,)),
        ({"did": "x", "uri": "sip:030123456@x;user=phone"}, (D,)),
        ({"did": "123456", "uri": "sip:123456;phone-context=+4930@x;user=phone"}, (D,)),
        ({"did": "030123456", "uri": "sip:030123456;phone-context=+49@x"}, (D,)),
        ({"did": "123456", "uri": "tel:123-456;phone-context=+49-30"}, (D,)),
        ({"did": "s", "reg": "1", "pcpid": "<sip:+4930123456@x>", "to": "<sip:vsek@x>"}, (D,)),
        ({"did": "vsek", "reg": "1", "to": "<sip:+4930123456@x>"}, (D,)),
        ({"did": "+49301", "reg": "1", "to": "<sip:+4930123456@x>"}, (D, "+49301")),
        ({"did": "", "to": ""}, ()),
        ({"did": "s", "to": "<sip:x.example>"}, ()),
        ({"did": "information", "to": ""}, ("information",)),
        ({"did": "x" * 500}, ("x" * 63 + "…",)),
        ({"did": "0800FLOWERS"}, ("0800FLOWERS", "+498003569377")),
        ({"did": "*31#030123456"}, (D,)),
        ({"did": "123456", "area": "30"}, (D,)),
        ({"did": "0123456", "country": "AT", "area": "x"}, ("+43123456",)),
        ({"did": "123456", "country": "nowhere"}, ("123456",)),
    ],
)
def test_numbers_called(values: dict[str, str], dids: tuple[str, ...]) -> None:
    assert read(**values).dids == dids


@given(
    st.from_regex(r"\A\+[0-9]{0,15}\Z"),
    st.sampled_from(["", ";npdi;rn=+49199123", ";phone-context=+43", ":secret", ";isub=1"]),
    st.sampled_from(["sip:{}@x;user=phone", "sips:{}@x", "tel:{}"]),
    st.sampled_from(["", "1"]),
)
def test_of_a_plain_number_the_request_uri_says_nothing_more(
    number: str, behind: str, scheme: str, registered: str
) -> None:
    """The dialplan leaves it out."""
    uri = scheme.format(number + ("" if "tel:" in scheme and ":" in behind else behind))
    more = {"to": "<sip:030123456@x>", "div": f"<sip:{number}@x>", "reg": registered}
    assert read(did=number, uri=uri, **more) == read(did=number, **more)
    assert read(did=number, uri="", **more) == read(did=number, **more)


def test_the_area_code_of_the_house_is_for_numbers_in_local_form_alone() -> None:
    house = Reader("DE", "30")
    for dialled, number in {
        "123456": D,
        "1234": "1234",
        "030123456": D,
        "4930123456": D,
        "+4930123456": D,
        "0341123456": "+49341123456",
    }.items():
        arrived = house.read(CallId("c"), ChannelId("1.1"), {"did": dialled})
        assert arrived.dids == (number,), dialled


def test_what_was_read_for_one_trunk_does_not_count_for_another() -> None:
    house = Reader("DE", "30")
    for said, number in (
        ({}, D),
        ({"area": "40"}, "+4940123456"),
        ({"country": "at", "area": "1"}, "+431123456"),
        ({"area": "x"}, D),
    ):
        arrived = house.read(CallId("c"), ChannelId("1.1"), {"did": "123456", **said})
        assert arrived.dids == (number,), said


@pytest.mark.parametrize(
    ("values", "number", "withheld"),
    [
        ({}, "+4930555000", False),
        ({"from_": "+4917012345678"}, "+4917012345678", False),
        ({"from_": "anonymous"}, "", True),
        ({"from_": "", "name": ""}, "", True),
        ({"from_": "alice"}, "", True),
        ({"pai": "<sip:+4930222222@x>", "trust": "true"}, "+4930222222", False),
        ({"pai": "<sip:+4930222222@x>", "trust": "false"}, "+4930555000", False),
        ({"pai": "<sip:a@x>, <tel:+49-30-222222>", "trust": "true"}, "+4930222222", False),
        ({"pai": "<sip:a@x>", "trust": "true"}, "+4930555000", False),
        ({"privacy": "id"}, "", True),
        ({"privacy": "Header;Critical"}, "", True),
        ({"privacy": "user"}, "", True),
        ({"privacy": "none"}, "+4930555000", False),
        ({"privacy": "critical"}, "+4930555000", False),
        ({"privacy": "history"}, "+4930555000", False),
        ({"pres": "prohib_passed_screen"}, "", True),
        ({"pres": "prohib_passed_screen", "privacy": "none"}, "+4930555000", False),
        ({"sender": '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'}, "", True),
        ({"sender": "<sip:unavailable@unknown.invalid>"}, "+4930555000", False),
        ({"sender": '"anonymous" <sip:+4930555000@x>'}, "+4930555000", False),
        ({"sender": "<sip:%41nonymous@x>"}, "", True),
        ({"sender": "<sip:Bloc\u212aed@x>"}, "", True),
        ({"sender": "<sip:+4930555000@Withheld.invalid>", "privacy": "none"}, "+4930555000", False),
        ({"sender": "anonymous"}, "+4930555000", False),
    ],
)
def test_the_caller(values: dict[str, str], number: str, withheld: bool) -> None:
    arrived = read(did=D, **values)
    assert arrived.caller_number == number
    assert arrived.caller_withheld is withheld


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"name": "Erika Muster"}, "Erika Muster"),
        ({"name": "Erika Muster", "privacy": "id"}, ""),
        ({"name": "Anonymous"}, ""),
        ({"name": 'O\\"Neil \\\\ Co'}, 'O"Neil \\ Co'),
    ],
)
def test_the_callers_name(values: dict[str, str], name: str) -> None:
    assert read(did=D, **values).caller_name == name


@pytest.mark.parametrize(
    "name",
    ['"><script>', "a\r\nBcc: x@y.z", "\x00nul", "\u202egnirts", "x" * 4096, "%FF%FE", "a,b=c"],
)
def test_a_hostile_name_is_one_clean_line(name: str) -> None:
    cleaned = read(did=D, name=name).caller_name
    assert len(cleaned) <= 200
    assert not set(cleaned) & set("\r\n\x00\u202e")


def test_forwarders_of_both_headers_the_most_recent_first() -> None:
    arrived = read(
        did=D,
        div="<sip:+4930111111@x>;reason=user-busy,<sip:+4930222222@x>",
        hist="<sip:+4930333333@x>;index=1,<sip:+4930444444@x>;index=1.1,<sip:+4930123456@x>;index=1.1.1",
    )
    assert arrived.forwarded_by == ("+4930111111", "+4930222222", "+4930444444", "+4930333333")
    assert arrived.forward_reason == "user-busy"
    assert arrived.loop == ""


def test_asterisks_word_for_the_reason_goes_first() -> None:
    said = "<sip:+4930111111@x>;reason=user-busy"
    assert read(did=D, div=said, reason="cfb").forward_reason == "cfb"
    assert read(did=D, div=said, reason="unknown").forward_reason == "user-busy"


def test_a_loop_and_a_call_of_ours() -> None:
    assert read(did=D, div=f"<sip:{D}@x>").loop == "came_back"
    assert read(did=D, div="<sip:+49301@x>", hops="11").loop == "too_many_hops"
    assert read(did=D, hops="11").loop == "too_many_hops"
    assert read(did=D, hops="-1").loop == ""
    assert read(did=D, ours=" 261122-062201-abcdef\n").our_call == "261122-062201-abcdef"


def test_values_of_arguments() -> None:
    assert values_of(["did=%2B49", "name=a%3Db%2Cc", "did=2", "x", "bad=%FF"]) == {
        "did": "+49",
        "name": "a=b,c",
        "x": "",
        "bad": "\ufffd",
    }
    assert values_of([]) == {}


_ARGUMENTS = st.lists(
    st.lists(
        st.sampled_from(["a", "k", "=", "%3D", "%0A", "\n", "%", "%C3", "%A9", "ß", "\udcff", "4"]),
        max_size=6,
    ).map("".join),
    max_size=5,
)


@given(_ARGUMENTS)
def test_each_argument_is_decoded_by_itself(arguments: list[str]) -> None:
    expected: dict[str, str] = {}
    for key, _, value in (argument.partition("=") for argument in arguments):
        expected.setdefault(key, unquote(value, errors="replace"))
    found = values_of(iter(arguments))
    assert list(found.items()) == list(expected.items())


_KEYS = st.sampled_from(
    [
        *("reg", "did", "uri", "to", "pcpid", "from", "name", "sender", "pai", "pres", "privacy"),
        *("trust", "ours", "reason", "country", "area", "hops", "div", "hist", "other"),
    ]
)
_PIECES = st.sampled_from(
    [
        *'"<>,;\\@:?=%01',
        *("sip:", "tel:", "+4930", "index=1.1", "index=1", ";mp=1", "cause=302", "ß", " "),
        *("\x00", "\r\n", "\udcff", "\u202e"),
    ]
)
_TEXTS = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=30).map("".join))


@given(st.dictionaries(_KEYS, _TEXTS), st.sampled_from(["DE", "US", "AT", "XX"]))
def test_anything_at_all_is_read(values: dict[str, str], country: str) -> None:
    arrived = Reader(country, "30").read(CallId("c"), ChannelId("1.1"), values)
    texts = [*arrived.dids, *arrived.forwarded_by, arrived.caller_number, arrived.caller_name]
    for text in [*texts, arrived.forward_reason, arrived.our_call]:
        assert text.isprintable()
        assert len(text) <= 120
    assert len(arrived.forwarded_by) <= 16
