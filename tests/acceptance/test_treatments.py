"""When nobody can come in time: what callers hear, press and say, and what becomes of it."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.acceptance.house import Crew, House
from tests.acceptance.test_screening import recording_in, step
from tests.acceptance.test_what_is_heard import compare, heard_for, seconds_of

from vsek.demo import audio, g711, ledger
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.demo.stack import Stack
from vsek.demo.trunkpeer import TrunkPeer
from vsek.embedded.packages import find_tool
from vsek.embedded.ports import free_port
from vsek.pbx.sounds import EspeakNg, SoundWorkshop

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
      - {{do: announce, announcement: {{file: notice.wav}}, after_s: 3}}
      - {{do: callback, after_s: 6}}
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
SOUNDS = {
    "greeting": g711.melody(330, 1.6),
    "music": g711.melody(470, 20.0),
    "notice": NOTICE,
}


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
    order = ["greeting", "music", "notice", "music"]
    assert audio.heard_in_order(found, min_s=0.4)[:4] == order, found
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


@pytest.mark.long
async def test_who_hides_the_number_keys_it_in_and_hears_it_read_back(
    house: House, crew: Crew
) -> None:
    caller = await crew.dial(HAZEL, privacy="id")

    async def offered() -> bool | None:
        return True if "callback" in [call["stage"] for call in await house.stack.calls()] else None

    await eventually(offered, "the offer", timeout_s=15.0)
    caller.media.press("1")
    await heard_for(caller, 2.0)
    for key in "0305512346#":
        caller.media.press(key)
        await caller.media.play(array("h", bytes(2 * 1600)))  # a pause, as people make it
    begin = len(caller.media.recording())
    await heard_for(caller, 14.0)
    read = audio.signal(caller.media.recording())[begin:]
    caller.media.press("1")
    await caller.wait_ended(timeout_s=15.0)
    intro = await spoken("Sie haben diese Rufnummer eingegeben:")
    at = audio.find(read, intro[8000:]).at_s + len(intro) / g711.RATE - 1.0
    words = ["null", "drei", "null", "fünf", "fünf", "eins", "zwei", "drei", "vier", "sechs"]
    for word in words:
        digit = await spoken(word)
        start = int((at - 0.2) * g711.RATE)
        match = audio.find(read[start : start + len(digit) + 4000], digit)
        assert match.score > 0.9, (word, match)
        at += match.at_s - 0.2 + len(digit) / g711.RATE
    mail = await house.mailbox.mails.wait(
        lambda mail: "30 5512346" in mail.text, "a note with the number", timeout_s=20.0
    )
    assert "RR" in mail.subject, mail.subject


async def spoken(word: str) -> audio.Signal:
    """A word as the house says it."""
    wav = await EspeakNg(find_tool).speak(word, "de")
    with wave.open(io.BytesIO(await SoundWorkshop(find_tool).to_telephone(wav, ".wav"))) as file:
        return audio.signal(array("h", file.readframes(file.getnframes())))


@pytest.mark.long
async def test_who_says_nothing_has_left_no_message(house: House, crew: Crew) -> None:
    caller = await crew.dial(IVY)
    await step(house, caller, "recording")
    await caller.wait_ended(timeout_s=25.0)
    mail = await house.wait_mail(caller)
    assert mail.subject.startswith("Missed call"), mail.subject
    assert "left no message" in mail.text
    assert recording_in(mail) is None


@pytest.mark.long
@pytest.mark.parametrize("who", ["caller", "number"])
async def test_nobody_answers_and_either_side_hangs_up(
    house: House, crew: Crew, peer: TrunkPeer, who: str
) -> None:
    await peer.start("180")
    caller = await crew.dial(JUNIPER)
    await house.wait_live(caller, "forwarding")
    if who == "number":
        (failed,) = await step(house, caller, "forward_failed")
        assert failed["detail"]["reason"] == "no answer"
        await house.wait_live(caller, "waiting")
    await caller.hang_up()
    (closed,) = await house.wait_closed(caller)
    assert closed["outcome"] == "abandoned"
    assert caller.statuses == [100, 180, 487]


@pytest.mark.long
async def test_a_forwarded_call_that_comes_back_is_not_answered(
    house: House, tmp_path: Path
) -> None:
    """The trunk leads straight back to us, as when the client's number forwards all calls."""
    port = free_port()
    endpoint = f"PJSIP/loopback/sip:{JUNIPER}@127.0.0.1:{port};was={{number}}"
    async with await Stack.start(
        tmp_path / "vsek",
        smtp=house.mailbox.address,
        environment={"VSEK_OUTBOUND__ENDPOINT": endpoint, "VSEK_OUTBOUND__RING_S": "15"},
        arguments=("--sip-port", str(port)),
    ) as stack:
        await stack.cli("client", "import", house.folder / "treated.yaml")
        async with await Caller.dial(stack.sip, Dial(JUNIPER, caller="+49405559999")) as caller:

            async def came_back() -> list[dict[str, Any]] | None:
                calls = await ledger.read(stack.dsn)
                kinds = [step["kind"] for call in calls for step in call["steps"]]
                ours = [call for call in calls if call["outcome"] == "failed"]
                return ours if ours and "forward_failed" in kinds else None

            (ours,) = await eventually(came_back, "a call that came back", timeout_s=15.0)
            assert (ours["reason"], ours["caller_number"]) == ("loop", JUNIPER)
            assert [call["stage"] for call in await stack.calls()] == ["waiting"]
            assert not caller.talking
