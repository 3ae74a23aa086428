"""The drivers against a real Asterisk that has nothing of vsek in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vsek.demo import audio, g711
from vsek.demo.caller import Caller
from vsek.demo.sipmessage import Dial
from vsek.demo.sipp import Plan, SippCall
from vsek.demo.softphone import Softphone
from vsek.errors import ServiceError

Server = tuple[str, int]


@pytest.fixture
async def anna(server: Server, tmp_path: Path, voice: Path) -> AsyncIterator[Softphone]:
    phone = Softphone("anna", "secret-secret", server, tmp_path / "anna")
    await phone.start(voice=voice)
    yield phone
    await phone.stop()


async def test_a_talk_is_heard_at_both_ends(
    server: Server, anna: Softphone, voice: Path, tmp_path: Path
) -> None:
    async with await Caller.dial(server, Dial("anna", caller="+49401", name="Jörg Groß")) as caller:
        ringing = await anna.ring()
        assert ringing.peer_name == "Jörg Groß"
        assert ringing.peer.startswith("sip:+49401@")
        await caller.wait_status(180)
        assert not caller.talking
        await ringing.answer()
        await caller.wait_answered()
        await caller.media.play(g711.melody(300))
        await ringing.hang_up()
        await caller.wait_ended()
        assert caller.ended_by == "them"
        assert caller.statuses == [100, 180, 200]
        caller.save(tmp_path / "caller.wav")
    sounds = {"agent": audio.signal(voice), "caller": audio.signal(g711.melody(300))}
    at_caller = audio.segments(audio.signal(tmp_path / "caller.wav"), sounds)
    at_agent = audio.segments(audio.signal(ringing.heard), sounds)
    assert audio.heard_in_order(at_caller) == ["agent"]
    assert audio.heard_in_order(at_agent) == ["caller"]


async def test_a_refused_call_says_486(server: Server, anna: Softphone) -> None:
    async with await Caller.dial(server, Dial("anna")) as caller:
        await (await anna.ring()).refuse()
        await caller.wait_ended()
        assert caller.ended_by == "refused"
        assert caller.statuses == [100, 180, 486]


async def test_a_caller_gives_up_while_it_rings(server: Server, anna: Softphone) -> None:
    async with await Caller.dial(server, Dial("anna")) as caller:
        ringing = await anna.ring()
        await caller.wait_status(180)
        await caller.hang_up()
        assert caller.ended_by == "us"
        await ringing.wait_closed()
        assert len(anna.rings) == 1


async def test_a_caller_may_give_up_before_anything_was_answered(server: Server) -> None:
    async with await Caller.dial(server, Dial("ring")) as caller:
        await caller.hang_up()
        assert caller.statuses[-1] == 487


async def test_an_unregistered_phone_is_not_rung_and_may_come_back(
    server: Server, anna: Softphone
) -> None:
    await anna.unregister()
    async with await Caller.dial(server, Dial("anna")) as caller:
        await caller.wait_ended()
        assert caller.ended_by == "refused" or caller.statuses[-1] >= 400
    assert anna.rings == []
    await anna.register()
    async with await Caller.dial(server, Dial("anna")):
        await anna.ring()


async def test_a_wrong_secret_is_told(server: Server, tmp_path: Path) -> None:
    phone = Softphone("ben", "wrong-secret-", server, tmp_path / "ben")
    with pytest.raises(ServiceError, match="refused: 401"):
        await phone.start()


async def test_two_phones_and_two_callers_at_once(
    server: Server, anna: Softphone, voice: Path, tmp_path: Path
) -> None:
    ben = Softphone("ben", "secret-secret", server, tmp_path / "ben")
    await ben.start(voice=voice)
    try:
        async with (
            await Caller.dial(server, Dial("anna")) as one,
            await Caller.dial(server, Dial("ben")) as two,
        ):
            calls = await asyncio.gather(anna.ring(), ben.ring())
            await asyncio.gather(*(call.answer() for call in calls))
            await asyncio.gather(one.wait_answered(), two.wait_answered())
            await asyncio.gather(one.media.wait_sound(), two.media.wait_sound())
            await one.hang_up()
            await calls[0].wait_closed()
            assert two.talking
            assert not calls[1].closed
    finally:
        await ben.stop()


async def test_what_is_played_is_heard_sample_by_sample(server: Server) -> None:
    async with await Caller.dial(server, Dial("play")) as caller:
        await caller.wait_ended()
        match = audio.find(
            audio.signal(caller.media.recording()), audio.signal(g711.melody(500)[:20000])
        )
        assert match.score > 0.98
        assert match.at_s < 0.5


async def test_forwarding_and_names_arrive_as_they_were_dialled(server: Server) -> None:
    dial = Dial(
        "headers",
        name='Müller "&" Söhne',
        diversion=("+4930222", "+4930111"),
        history=("+4930111", "+4930222"),
        privacy="none",
        asserted="+4930555",
    )
    async with await Caller.dial(server, dial) as caller:
        await caller.wait_answered()


async def test_a_killed_phone_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    phone = Softphone("ben", "secret-secret", server, tmp_path / "ben")
    await phone.start()
    program = phone._program
    assert program is not None
    await phone.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)
    with pytest.raises(ServiceError, match="has ended"):
        await phone.ring()


@pytest.mark.parametrize(
    ("number", "plan", "statuses"),
    [
        ("play", Plan(), [100, 200]),
        ("ring", Plan(cancel_after_s=0.2), [100, 180, 200, 487]),
        ("echo", Plan(hang_up_after_s=0.2), [100, 200, 200]),
    ],
)
async def test_sipp_places_the_call_that_was_planned(
    server: Server, tmp_path: Path, number: str, plan: Plan, statuses: list[int]
) -> None:
    dial = Dial(number, name="Jürgen", diversion=("+4911",))
    call = await SippCall.place(server, dial, plan, tmp_path / "sipp")
    await call.done()
    assert call.statuses == statuses


async def test_sipp_tells_when_a_call_did_not_go_as_planned(server: Server, tmp_path: Path) -> None:
    call = await SippCall.place(server, Dial("nobody"), Plan(), tmp_path / "sipp")
    with pytest.raises(ServiceError, match="404"):
        await call.done()
