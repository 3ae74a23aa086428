"""The audio that callers and agents receive over RTP, compared by signal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.acceptance.house import (
    ALDER,
    BIRCH,
    CEDAR,
    DOGWOOD,
    GREETING_S,
    SOUNDS,
    Agent,
    Crew,
    House,
)

from vsek.demo import audio
from vsek.demo.caller import Caller
from vsek.embedded import packages

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def heard_for(caller: Caller, seconds: float) -> None:
    """Waits until the caller has received audio for that long from now on."""
    start = caller.media.packets[-1].at if len(caller.media.packets) else caller.media.opened_at
    await caller.media.packets.wait(
        lambda packet: packet.at >= start + seconds,
        f"{seconds:g} s of audio",
        timeout_s=seconds + 5,
        after=len(caller.media.packets),
    )


def at_caller(caller: Caller, *agents: Agent) -> list[audio.Segment]:
    sounds = {**SOUNDS, **{agent.name: agent.voice for agent in agents}}
    return compare(audio.signal(caller.media.recording()), sounds)


def compare(recording: audio.Signal, sounds: Mapping[str, object]) -> list[audio.Segment]:
    references = {name: audio.signal(samples) for name, samples in sounds.items()}  # type: ignore[arg-type]
    return audio.segments(recording, references, window_s=0.2)


def seconds_of(segments: list[audio.Segment], name: str) -> float:
    return sum(s.end_s - s.start_s for s in segments if s.name == name)


@pytest.mark.parametrize(("number", "client"), [(ALDER, "alder"), (BIRCH, "birch")])
async def test_greet_the_clients_greeting_then_its_music_then_the_agent(
    crew: Crew, number: str, client: str
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(number)
    answered = await caller.wait_answered()
    ringing = await agent.phone.ring()
    # The phone rings at once; the agent takes some time, and the greeting is over by then.
    assert ringing.rang_at - answered.at < 1.0
    first = await caller.media.wait_sound()
    assert first.at - answered.at < 1.0
    await heard_for(caller, GREETING_S + 1.2)
    picked_up = await ringing.answer()
    await heard_for(caller, 1.5)
    await caller.media.play(SOUNDS["caller"][:8000])
    await ringing.hang_up()
    await caller.wait_ended()
    assert caller.ended_by == "them"

    found = at_caller(caller, agent)
    greeting, music = f"greeting of {client}", f"music of {client}"
    assert audio.heard_in_order(found) == [greeting, music, agent.name], found
    assert seconds_of(found, greeting) > GREETING_S - 0.5, found
    assert seconds_of(found, music) > 0.6, found
    assert seconds_of(found, agent.name) > 1.5, found
    assert seconds_of(found, "unknown") < 1.0, found
    # Nobody waits for the joining: the voice is there within half a second.
    voice_at = next(s.start_s for s in found if s.name == agent.name) + caller.media.opened_at
    assert voice_at - picked_up.at < 0.7, found

    other_side = compare(audio.signal(ringing.heard), {**SOUNDS, agent.name: agent.voice})
    assert audio.heard_in_order(other_side) == ["caller"], other_side


async def test_greet_an_agent_who_is_quick_cuts_the_greeting_short(crew: Crew) -> None:
    agent = await crew.agent()
    caller = await crew.dial(ALDER)
    await caller.media.wait_sound()
    ringing = await agent.phone.ring()
    await ringing.answer()
    await heard_for(caller, 1.5)
    await caller.hang_up()
    found = at_caller(caller, agent)
    assert audio.heard_in_order(found)[-1] == agent.name, found
    assert "music of alder" not in audio.heard_in_order(found), found
    assert seconds_of(found, "greeting of alder") < GREETING_S - 0.2, found


async def test_ring_the_agent_is_the_first_thing_that_is_heard(crew: Crew) -> None:
    agent = await crew.agent()
    caller = await crew.dial(CEDAR)
    ringing = await agent.phone.ring()
    await caller.wait_status(180)
    assert not caller.talking
    await ringing.answer()
    await caller.wait_answered()
    assert caller.statuses == [100, 180, 200]
    await heard_for(caller, 1.5)
    await caller.hang_up()
    await ringing.wait_closed()
    found = at_caller(caller, agent)
    assert audio.heard_in_order(found) == [agent.name], found


async def test_a_spoken_greeting_and_the_default_music(house: House, crew: Crew) -> None:
    agent = await crew.agent()
    caller = await crew.dial(DOGWOOD)
    await caller.wait_answered()
    await house.wait_live(caller, "greeting")
    call = await house.wait_live(caller, "waiting")
    began = len(caller.media.recording())
    await heard_for(caller, 1.5)
    assert call["offered_to"] == agent.id
    await caller.hang_up()
    recording = audio.signal(caller.media.recording())

    files = sorted((house.stack.folder / "sounds").glob("*.wav"))
    own = {path: audio.signal(path) for path in files}
    spoken = max(own, key=lambda path: audio.find(recording, own[path][:12000]).score)
    assert audio.find(recording, own[spoken][:12000]).score > 0.95
    shown = (await house.stack.cli("client", "show", "dogwood", "--json")).out
    assert spoken.stem in shown

    music = packages.find_tool("asterisk").parent.parent.parent / "usr/share/asterisk/moh"
    window = recording[began + 2000 : began + 10000]
    score = max(audio.find(audio.signal(p), window).score for p in music.glob("*.wav"))
    assert score > 0.95
