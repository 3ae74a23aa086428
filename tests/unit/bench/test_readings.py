from __future__ import annotations

import contextlib
from pathlib import Path
from random import Random

import pytest
from tests.unit.bench.wire import AGENTS, CALLERS, PBX, Wire

from vsek.bench.readings import Timeline, timeline
from vsek.errors import ServiceError


def seen(wire: Wire, tmp_path: Path) -> Timeline:
    return timeline(wire.write(tmp_path / "bench.pcap"), CALLERS, AGENTS)


def ms(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]


def test_an_offer_is_timed_from_invite_to_invite(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49401", 0.0, 0.004, 2.0)
    wire.talk("a0002", "49402", 3.0, 3.0075, 4.0)
    found = seen(wire, tmp_path)
    assert ms(found.offers_ms()) == [4.0, 7.5]
    assert ms(found.answers_ms()) == [1.0, 1.0]
    assert all(call.served for call in found.calls)


def test_repeated_messages_count_once(tmp_path: Path) -> None:
    wire = Wire()
    wire.caller(0.0, "49401")
    wire.caller(0.001, "49401")
    wire.agent(0.004, "a0001", "49401")
    wire.agent(0.5, "a0001", "49401")
    wire.agent(0.6, "a0001", "49401", "200 INVITE")
    wire.agent(1.1, "a0001", "49401", "200 INVITE")
    found = seen(wire, tmp_path)
    assert len(found.calls) == len(found.legs) == 1
    assert ms(found.offers_ms()) == [4.0]
    assert found.legs[0].answered == pytest.approx(found.calls[0].invited + 0.6)


def test_a_call_is_served_only_if_it_was_answered_and_ended(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49401", 0.0, 0.004, 2.0)
    wire.caller(3.0, "49402")
    wire.caller(3.1, "49402", "503 INVITE")
    wire.caller(4.0, "49403")
    wire.caller(4.1, "49403", "200 INVITE")
    found = seen(wire, tmp_path)
    assert [call.served for call in found.calls] == [True, False, False]
    assert found.calls[1].status == 503


def test_a_handover_counts_only_while_enough_wait(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49401", 0.0, 0.004, 2.0)
    wire.talk("a0001", "49402", 1.0, 2.005, 3.0)  # waits at 2.0, with the next one
    wire.talk("a0001", "49403", 1.5, 3.006, 4.0)  # waits at 3.0, alone
    wire.talk("a0001", "49404", 9.0, 9.006, 9.5)  # nobody waited
    found = seen(wire, tmp_path)
    assert ms(found.handovers_ms(2)) == [5.0]
    assert ms(found.handovers_ms(1)) == [5.0, 6.0]
    assert ms(found.handovers_ms(0)) == [5.0, 6.0, 5006.0]


def test_after_no_answer_the_next_ringing_counts(tmp_path: Path) -> None:
    wire = Wire()
    wire.caller(0.0, "49401")
    wire.agent(0.01, "a0004", "49401")
    wire.agent(3.0, "a0004", "49401", "CANCEL")
    wire.agent(3.002, "a0004", "49401", "487 INVITE")
    wire.agent(3.008, "a0001", "49401")
    wire.agent(3.1, "a0001", "49401", "200 INVITE")
    found = seen(wire, tmp_path)
    assert ms(found.retries_ms(1.0)) == [8.0]
    assert found.legs[0].refused is None


def test_the_wait_for_a_busy_agent_is_nobodys_fault(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49400", 0.0, 0.01, 5.0)
    wire.caller(0.5, "49401")
    wire.agent(0.51, "a0004", "49401")
    wire.agent(3.5, "a0004", "49401", "CANCEL")
    wire.agent(5.012, "a0001", "49401")  # free since 5.0
    assert ms(seen(wire, tmp_path).retries_ms(1.0)) == [12.0]


def test_an_agent_who_did_not_answer_is_free_after_the_pause(tmp_path: Path) -> None:
    wire = Wire()
    wire.caller(0.0, "49401")
    wire.agent(0.01, "a0004", "49401")
    wire.agent(3.0, "a0004", "49401", "CANCEL")
    wire.agent(4.02, "a0004", "49401", leg=2)
    found = seen(wire, tmp_path)
    assert ms(found.retries_ms(1.0)) == [20.0]
    assert ms(found.retries_ms(0.0)) == [1020.0]
    assert ms(found.retries_ms(5.0)) == [0.0]  # rung before its pause was over: it was free


def test_waiting_beside_an_idle_agent_is_told(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49401", 0.0, 0.01, 1.0)
    wire.talk("a0002", "49402", 0.0, 0.02, 2.0)
    wire.talk("a0001", "49403", 0.5, 1.3, 3.0)  # nobody is free until 1.0
    found = seen(wire, tmp_path)
    assert ms(found.idle_waits_ms(2)) == [10.0, 20.0, 300.0]


def test_a_call_that_nobody_takes_waits_to_its_end(tmp_path: Path) -> None:
    wire = Wire()
    wire.caller(0.0, "49401")
    wire.caller(0.7, "49401", "BYE")
    assert ms(seen(wire, tmp_path).idle_waits_ms(1)) == [700.0]


def test_what_is_not_of_this_run_is_passed_over(tmp_path: Path) -> None:
    wire = Wire()
    wire.datagram(0.0, CALLERS, PBX, b"\r\n\r\n")
    wire.datagram(0.0, CALLERS, PBX, b"\xff\x00garbage")
    wire.datagram(0.0, PBX, AGENTS, b"INVITE sip:@ SIP/2.0\r\nFrom: <sip:x@y>\r\n\r\n")
    wire.datagram(0.0, 9, 9, b"INVITE sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n")
    wire.agent(0.1, "a0001", "49401")  # nobody has called with this number
    wire.agent(0.2, "a0001", "49401", "BYE")
    wire.say(0.3, "INVITE sip:x@y SIP/2.0", "n", source=CALLERS, target=PBX)
    assert seen(wire, tmp_path).calls == []


def test_a_capture_may_end_in_the_middle(tmp_path: Path) -> None:
    wire = Wire()
    wire.talk("a0001", "49401", 0.0, 0.004, 2.0)
    whole = wire.bytes()
    file = tmp_path / "cut.pcap"
    counts = []
    for length in range(24, len(whole), 7):
        file.write_bytes(whole[:length])
        counts.append(len(timeline(file, CALLERS, AGENTS).calls))
    assert counts[0] == 0
    assert counts[-1] == 1
    assert counts == sorted(counts)


@pytest.mark.parametrize("content", [b"", b"x", b"no capture at all" * 10, bytes(24)])
def test_what_is_no_capture_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.pcap"
    file.write_bytes(content)
    with pytest.raises(ServiceError, match="no capture"):
        timeline(file, CALLERS, AGENTS)


def test_a_damaged_capture_never_ends_in_a_crash(tmp_path: Path) -> None:
    wire = Wire()
    for number in range(5):
        wire.talk(f"a000{number}", f"4940{number}", number, number + 0.01, number + 0.5)
    whole, random = wire.bytes(), Random(7)
    file = tmp_path / "damaged.pcap"
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 20)):
            damaged[random.randrange(24, len(damaged))] = random.randrange(256)
        file.write_bytes(damaged)
        with contextlib.suppress(ServiceError):  # it says that the file is damaged
            found = timeline(file, CALLERS, AGENTS)
            found.offers_ms(), found.handovers_ms(1), found.retries_ms(1), found.idle_waits_ms(3)
