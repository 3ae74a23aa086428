"""Lines of the call ledger, whole and torn, honest and forged."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain.ledger import LedgerLine, Served, parse

_HEAD = "v=1,kind=out,channel=vsek-1.2,at=100,began=90,cause=16,served=vsek,heard=0,message="


def test_a_whole_line() -> None:
    line = parse(f"{_HEAD}vsek%2Fx,message_s=07,reg=,did=%2B4930,name=a%2Cb%3Dc\n")
    assert line == LedgerLine(
        "out",
        "vsek-1.2",
        100.0,
        90.0,
        Served.VSEK,
        False,
        "vsek/x",
        7.0,
        16,
        {"reg": "", "did": "+4930", "name": "a,b=c"},
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "v=1",
        "v=2,kind=in,channel=x,at=1",
        "v=1,kind=up,channel=x,at=1",
        "v=1,kind=in,at=1",
        "v=1,kind=in,channel=x,at=soon",
        "v=1,kind=in,channel=x,at=nan",
        "v=1,kind=out,channel=x,at=1,began=inf",
        "v=1,kind=out,channel=x,at=1,served=nobody-else",
        "v=1,kind=in,channel=x,at=1," + "x" * 8192,
    ],
)
def test_what_is_no_line(line: str) -> None:
    assert parse(line) is None


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=6))
def test_values_of_strangers_change_nothing_but_themselves(values: dict[str, str]) -> None:
    pairs = [f"{quote(key)}={quote(value, safe='')}" for key, value in values.items()]
    line = parse(",".join([f"{_HEAD},message_s=0", *pairs]))
    assert line is not None
    assert (line.kind, line.channel, line.served, line.cause) == (
        "out",
        "vsek-1.2",
        Served.VSEK,
        16,
    )


@given(st.one_of(st.text(), st.text(st.sampled_from("v=1,kindhael%20.outsrvd\n\x00"))))
def test_any_text_is_read_or_left(text: str) -> None:
    line = parse(text)
    assert line is None or line.kind in ("in", "out")


@given(st.integers(0, len(_HEAD)))
def test_a_torn_line_is_read_or_left(length: int) -> None:
    line = parse(_HEAD[:length])
    assert line is None or line.channel
