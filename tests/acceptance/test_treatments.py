"""When nobody can come in time: what callers hear, press and say, and what becomes of it."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.acceptance.house import Crew, House
from tests.acceptance.test_screening import recording_in, step
from tests.acceptance.test_what_is_heard import compare, heard_for, seconds_of

from vsek.demo import audio, g711
from vsek.demo.processes import free_port
from vsek.demo.trunkpeer import TrunkPeer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = free_port()
SETTINGS = {
    "VSEK_OUTBOUND__ENDPOINT": f"PJSIP/loopback/sip:{{number}}@127.0.0.1:{PORT}",
    "VSEK_OUTBOUND__NUMBER": "+493055503999",
    "VSEK_OUTBOUND__RING_S": "4",
}
HAZEL, IVY, JUNIPER, LARCH = (f"+4930555032{n:02}" for n in range(1, 5))
OWN = "+493098765432"
"""The clients' own number."""
NOTICE = g711.melody(1500, 1.4)

CLIENTS = f"""\
clients:
  - id: hazel
    name: Hazel GmbH
    numbers: {{did: ["{HAZEL}"]}}
    policy: greet
    greeting: {{file: greeting-of-alder.wav}}
    music: {{file: music-of-alder.wav}}
    when_nobody_can:
      - {{do: announce, announcement: {{file: notice.wav}}, after_s: 1}}
      - {{do: callback, after_s: 4}}
    contacts: [{{name: H, email: notes@hazel.example, notes: true}}]
  - id: ivy
    name: Ivy Ltd
    language: en
    numbers: {{did: ["{IVY}"]}}
    policy: ring
    when_nobody_can: [{{do: voicemail, nobody: true, after_s: 1}}]
    contacts: [{{name: I, email: notes@ivy.example, notes: true}}]
  - id: juniper
    name: Juniper AG
    numbers: {{did: ["{JUNIPER}"]}}
    policy: ring
    when_nobody_can: [{{do: forward, to: "{OWN}", after_s: 1}}]
    contacts: [{{name: J, email: notes@juniper.example, notes: true}}]
  - id: larch
    name: Larch KG
    numbers: {{did: ["{LARCH}"]}}
    policy: ring
    when_nobody_can: [{{do: announce, announcement: {{file: long-notice.wav}}, after_s: 1}}]
    contacts: [{{name: L, email: notes@larch.example, notes: true}}]
"""
SOUNDS = {"music": g711.melody(470, 20.0), "notice": NOTICE}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def clients(house: House) -> None:
    g711.write_wav(house.folder / "notice.wav", NOTICE)
    g711.write_wav(house.folder / "long-notice.wav", g711.melody(1500, 8.0))
    (house.folder / "treated.yaml").write_text(CLIENTS)
    await house.stack.cli("client", "import", house.folder / "treated.yaml")


@pytest_asyncio.fixture(loop_scope="module")
async def peer(house: House) -> AsyncIterator[TrunkPeer]:
    peer = TrunkPeer(PORT, house.folder / f"peer{next(house.numbers)}")
    yield peer
    await peer.stop()


async def test_an_announcement_then_music_again_then_key_1_and_the_promise(
    house: House, crew: Crew
) -> None:
    caller = await crew.dial(HAZEL)
    await caller.wait_answered()
    await step(house, caller, "callback_offered")
    heard = audio.signal(caller.media.recording())
    caller.media.press("1")
    await caller.wait_ended(timeout_s=15.0)
    assert caller.ended_by == "them"
    found = compare(heard, SOUNDS)
    assert audio.heard_in_order(found)[:3] == ["music", "notice", "music"], found
    assert seconds_of(found, "notice") > 1.0, found
    (closed,) = await house.wait_closed(caller)
    assert (closed["outcome"], closed["reason"]) == ("callback", "promised")
    mail = await house.wait_mail(caller)
    assert "RR" in mail.subject, mail.subject
    assert "Bitte zurückrufen" in mail.text


async def test_a_message_is_recorded_after_the_tone_and_comes_with_the_note(
    house: House, crew: Crew
) -> None:
    caller = await crew.dial(IVY)
    await caller.wait_status(180)
    await caller.wait_answered()
    await step(house, caller, "recording", count=1)
    await heard_for(caller, 0.3)
    said = g711.melody(1010, 2.0)
    await caller.media.play(said)
    caller.media.press("#")
    await caller.wait_ended(timeout_s=15.0)
    (closed,) = await house.wait_closed(caller)
    assert (closed["outcome"], closed["reason"]) == ("voicemail", "message")
    mail = await house.wait_mail(caller)
    assert mail.subject.startswith("Voice message"), mail.subject
    assert recording_in(mail) is not None


async def test_a_call_is_forwarded_to_the_clients_own_number(
    house: House, crew: Crew, peer: TrunkPeer
) -> None:
    await peer.start("200")
    caller = await crew.dial(JUNIPER)
    await caller.wait_status(180)
    await caller.wait_answered()
    await step(house, caller, "forwarded")
    assert peer.media is not None
    voice = g711.melody(830, 4.0)
    peer.media.play(voice)
    caller.media.play(g711.melody(1010, 4.0))
    await heard_for(caller, 2.0)
    there = audio.signal(peer.media.recording())
    await caller.hang_up()
    heard = audio.signal(caller.media.recording())
    assert audio.heard_in_order(compare(heard, {"voice": voice}), min_s=1.0) == ["voice"]
    spoken = compare(there, {"caller": g711.melody(1010, 4.0)})
    assert "caller" in audio.heard_in_order(spoken, min_s=0.8), spoken
    invite = peer.invites[0]
    assert invite.uri.startswith(f"sip:{OWN}@"), invite.uri
    assert JUNIPER in invite.first("from"), invite.headers
    (closed,) = await house.wait_closed(caller)
    assert (closed["outcome"], closed["stage"]) == ("forwarded", "forwarded")
    assert invite.first("x-vsek-call") == closed["id"]
    assert JUNIPER in invite.first("diversion")
    assert closed["answered_at"] is not None
    mail = await house.wait_mail(caller)
    assert "eitergeleitet" in mail.subject, mail.subject


async def test_a_number_that_is_busy_costs_the_caller_nothing(
    house: House, crew: Crew, peer: TrunkPeer
) -> None:
    await peer.start("486 Busy Here")
    caller = await crew.dial(JUNIPER)
    (failed,) = await step(house, caller, "forward_failed")
    assert failed["detail"]["reason"] == "cause 17", failed
    agent = await crew.agent(wait="offered")
    ringing = await crew.ring(agent, caller)
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    (closed,) = await house.wait_closed(caller)
    assert (closed["outcome"], caller.statuses) == ("answered", [100, 180, 200])


async def test_an_agent_who_picks_up_cuts_an_announcement_short(house: House, crew: Crew) -> None:
    caller = await crew.dial(LARCH)
    await caller.wait_answered()
    await house.wait_live(caller, "notice")
    agent = await crew.agent(wait="offered")
    ringing = await crew.ring(agent, caller)
    picked_up = await ringing.answer()
    await heard_for(caller, 1.5)
    await caller.hang_up()
    recording = audio.signal(caller.media.recording())
    sounds = {"notice": array("h", g711.melody(1500, 8.0)), agent.name: agent.voice}
    found = compare(recording, sounds)
    assert audio.heard_in_order(found) == ["notice", agent.name], found
    voice_at = next(s.start_s for s in found if s.name == agent.name) + caller.media.opened_at
    assert voice_at - picked_up.at < 0.7, found
