from __future__ import annotations

from collections import Counter
from configparser import RawConfigParser

import pytest

from vsek.bench.house import dialled, did
from vsek.bench.pbx import EXTRA, MEMBERSHIPS, agent_name, queue_name, queues_conf
from vsek.bench.results import Competitor
from vsek.domain.agent import check_agent_id
from vsek.domain.numbers import normalise


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            name = line
            found[name] = []
        elif line:
            found[name].append(line)
    return found


def test_every_agent_is_in_every_queue() -> None:
    found = sections(queues_conf(3, 4, 7))
    assert [name for name in found if "(all)" in name] == [
        "[q0000](all)",
        "[q0001](all)",
        "[q0002](all)",
    ]
    for name in ("[q0000](all)", "[q0002](all)"):
        assert sorted(found[name]) == [f"member => PJSIP/a000{n}" for n in range(4)]


def test_what_asterisk_cannot_load_is_shared_out_evenly() -> None:
    found = sections(queues_conf(500, 2000, 7))
    queues = [lines for name, lines in found.items() if "(all)" in name]
    assert {len(lines) for lines in queues} == {80}
    assert sum(map(len, queues)) == MEMBERSHIPS
    assert set(Counter(line for lines in queues for line in lines).values()) == {20}


def test_the_queue_gets_its_best_configuration() -> None:
    lines = sections(queues_conf(1, 1, 7))["[all](!)"]
    values = dict(line.split(" = ") for line in lines if " = " in line)
    assert values["ringinuse"] == "no"
    assert values["autofill"] == "yes"
    assert values["retry"] == "1"  # 0 would be 5 seconds
    assert values["timeout"] == "7"
    assert values["wrapuptime"] == "0"
    assert values["strategy"] == "rrmemory"


def test_the_contexts_lead_straight_to_queue_and_dial() -> None:
    parser = RawConfigParser(strict=False, delimiters=("=>",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    lines = EXTRA["extensions"].replace(" same", "same").splitlines()
    parser.read_string("\n".join(lines).replace("(+)", ""))
    assert parser.sections() == ["from-trunk", "bench"]
    assert not parser.has_option("bench", "h")  # nothing of vsek's when a caller has gone
    text = EXTRA["extensions"]
    assert "_qXXXX,1,Queue(${EXTEN},r" in text
    assert "_dXXXX,1,Dial(PJSIP/a${EXTEN:1}" in text


@pytest.mark.parametrize("number", [0, 7, 499, 1999])
def test_names_fit_vsek_and_the_dialplan(number: int) -> None:
    assert check_agent_id(agent_name(number)) == agent_name(number)
    assert len(queue_name(number)) == 5
    assert normalise(did(number), "DE") == did(number)
    assert dialled(Competitor.VSEK, number) == did(number)
    assert dialled(Competitor.QUEUE, number) == queue_name(number)
    assert dialled(Competitor.DIAL, number)[1:] == agent_name(number)[1:]


def test_no_two_clients_have_one_number() -> None:
    assert len({did(number) for number in range(500)}) == 500
