"""Agents' legs take turns at Asterisk."""

from __future__ import annotations

import pytest
from tests.unit.switchboard.test_commands import CALLER, DIAL, Bench, reply, uris

from vsek.ari.errors import AriDisconnected, AriTimeout
from vsek.call import effects as do
from vsek.call.events import CommandFailed
from vsek.demo.events import eventually
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.switchboard import legs
from vsek.switchboard.legs import AT_ONCE, Turns


def leg(number: int) -> do.CreateLeg:
    call_id = CallId(f"c{number}")
    channel_id = ChannelId(f"vsekcall-c{number}.1")
    return do.CreateLeg(call_id, channel_id, AgentId("anna"), CALLER, "", "")


class Queue:
    def __init__(self, wanted: int) -> None:
        self.made: list[do.CreateLeg] = []
        self.turns = Turns(self.made.append)
        self.legs = [leg(number) for number in range(wanted)]
        for one in self.legs:
            self.turns.want(one)


async def test_no_more_than_so_many_at_once_and_the_next_in_the_order_in_which_they_came() -> None:
    queue = Queue(AT_ONCE + 3)
    assert queue.made == queue.legs[:AT_ONCE]
    assert queue.turns.waiting == 3
    queue.turns.made(queue.legs[7].channel_id)
    assert queue.made == queue.legs[: AT_ONCE + 1]
    queue.turns.made(queue.legs[7].channel_id)  # told twice
    queue.turns.made(ChannelId("vsekcall-before-the-restart.1"))
    assert queue.turns.waiting == 2
    late = leg(1000)
    for one in queue.legs[:2]:
        queue.turns.made(one.channel_id)
    queue.turns.want(late)
    assert queue.made == queue.legs
    queue.turns.made(queue.legs[2].channel_id)
    assert queue.made == [*queue.legs, late]
    assert not queue.turns.waiting


async def test_who_is_not_wanted_any_more_makes_room() -> None:
    queue = Queue(AT_ONCE + 3)
    assert queue.turns.unwant(queue.legs[AT_ONCE].channel_id)
    assert not queue.turns.unwant(queue.legs[0].channel_id)
    assert queue.made == [*queue.legs[:AT_ONCE], queue.legs[AT_ONCE + 1]]


async def test_a_leg_of_which_nothing_is_heard_keeps_nobody_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(legs, "GIVEN_UP_S", 0.01)
    queue = Queue(3 * AT_ONCE)

    async def all_made() -> bool | None:
        return len(queue.made) == 3 * AT_ONCE or None

    await eventually(all_made, "all legs are made")
    assert queue.made == queue.legs


async def test_with_the_connection_all_is_forgotten() -> None:
    queue = Queue(AT_ONCE + 3)
    assert queue.turns.forget() == 3
    again = leg(1000)
    queue.turns.want(again)
    assert queue.made[-1] is again


def crowded() -> tuple[Bench, list[do.CreateLeg]]:
    """One more leg is wanted than can be made at once."""
    bench, wanted = Bench(), [leg(number) for number in range(AT_ONCE + 1)]
    for one in wanted:
        bench.commander.send(one)
    return bench, wanted


async def test_a_caller_whose_leg_waits_hears_it_ring() -> None:
    bench, wanted = crowded()
    bench.commander.send(do.Ring(wanted[-1].call_id, CALLER))
    assert uris(bench) == ["channels/create"] * AT_ONCE + [f"channels/{CALLER}/ring"]


async def test_a_leg_that_never_was_is_told_as_gone() -> None:
    bench, wanted = crowded()
    given_up = wanted[-1]
    bench.commander.send(do.HangupLeg(given_up.call_id, given_up.channel_id, "normal"))
    assert len(bench.asterisk.requests) == AT_ONCE
    assert bench.failed == [
        CommandFailed("HangupLeg", given_up.call_id, given_up.channel_id, 404, "was not made yet")
    ]


@pytest.mark.parametrize("how", ["dialled", "not dialled", "refused", "no answer", "hung up"])
async def test_the_next_leg_is_made_when_one_is_done_with(how: str) -> None:
    bench, wanted = crowded()
    first = wanted[-2]  # whose request was the last one
    match how:
        case "refused":
            bench.asterisk.done(reply(500, {"error": "Allocation failed"}))
        case "no answer":
            bench.asterisk.done(AriTimeout("late"))
        case "hung up":
            bench.commander.send(do.HangupLeg(first.call_id, first.channel_id, "normal"))
        case _:
            bench.asterisk.done(reply(200, {}))
            bench.commander.send(do.Dial(first.call_id, first.channel_id, DIAL.timeout_s))
            assert bench.commander.legs.waiting == 1
            bench.asterisk.done(reply(204 if how == "dialled" else 404, None))
    assert bench.commander.legs.waiting == 0
    assert bench.asterisk.requests.count(bench.asterisk.requests[0]) == 1
    made = [query["channelId"] for _, uri, query, *_ in bench.asterisk.requests if "create" in uri]
    assert made == [one.channel_id for one in wanted]


async def test_a_line_that_breaks_is_asked_for_nothing_more() -> None:
    bench, wanted = crowded()
    bench.asterisk.done(AriDisconnected("cut"))
    assert len(bench.asterisk.requests) == AT_ONCE
    assert bench.commander.legs.waiting == len(wanted) - AT_ONCE


async def test_what_waits_when_the_connection_is_lost_is_dropped() -> None:
    bench, _ = crowded()
    bench.commander.connected = False
    assert bench.commander.dropped == 1
