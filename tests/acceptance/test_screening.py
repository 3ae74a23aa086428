"""Policy screen: callers are asked, recorded, and heard by the agent before they are joined."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.acceptance.house import Crew, House
from tests.acceptance.test_what_is_heard import heard_for

from vsek.demo import audio, g711
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.mailbox import Mail
from vsek.embedded.packages import find_tool
from vsek.pbx.sounds import EspeakNg, SoundWorkshop
from vsek.settings import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELM = "+49305550301"
"""Says that it records; sends the recording."""
FIR = "+49305550302"
"""Has keys, and records nothing."""
GORSE = "+49305550303"
"""English; records and keeps nothing."""

CLIENTS = f"""\
clients:
  - id: elm
    name: Elm GmbH
    numbers: {{did: ["{ELM}"]}}
    policy: screen
    greeting: {{file: greeting-of-alder.wav}}
    music: {{file: music-of-alder.wav}}
    screening: {{attach: true, max_s: 8}}
    contacts: [{{name: E, email: notes@elm.example, notes: true}}]
  - id: fir
    name: Fir AG
    numbers: {{did: ["{FIR}"]}}
    policy: screen
    greeting: {{file: greeting-of-birch.wav}}
    music: {{file: music-of-birch.wav}}
    screening: {{prompt: {{file: prompt.wav}}, record: false, keys: {{1: Termin, 2: Rechnung}}}}
    contacts: [{{name: F, email: notes@fir.example, notes: true}}]
  - id: gorse
    name: Gorse Ltd
    language: en
    numbers: {{did: ["{GORSE}"]}}
    policy: screen
    greeting: {{file: greeting-of-alder.wav}}
    screening: {{prompt: {{file: prompt.wav}}, keys: {{1: Order}}}}
    contacts: [{{name: G, email: notes@gorse.example, notes: true}}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def clients(house: House) -> None:
    g711.write_wav(house.folder / "prompt.wav", g711.melody(880, 1.0))
    (house.folder / "screened.yaml").write_text(CLIENTS)
    await house.stack.cli("client", "import", house.folder / "screened.yaml")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> array[int]:
    """What a caller says."""

    async def speak() -> bytes:
        wav = await EspeakNg(find_tool).speak("Guten Tag, Müller. Ich habe eine Frage.", "de")
        return await SoundWorkshop(find_tool).to_telephone(wav, ".wav")

    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(asyncio.run(speak()))
    return g711.read_wav(path)


async def step(house: House, caller: Caller, kind: str, *, count: int = 1) -> list[dict[str, Any]]:
    """Waits for a line of the caller's timeline."""

    async def probe() -> list[dict[str, Any]] | None:
        for call in await house.calls():
            if call["caller_number"] == caller.dialled.caller:
                found = [step for step in call["steps"] if step["kind"] == kind]
                return found if len(found) >= count else None
        return None

    return await eventually(probe, f"step {kind}", timeout_s=20.0)


def recording_in(mail: Mail) -> bytes | None:
    sounds = [p for p in mail.message.walk() if p.get_content_maintype() == "audio"]
    assert len(sounds) <= 1
    return bytes(sounds[0].get_content()) if sounds else None


async def stored_recordings(house: House) -> list[str]:
    """Names of the recordings that lie in Asterisk."""
    ari = load(house.stack.folder).ari
    account = aiohttp.encode_basic_auth(ari.username, ari.password.get_secret_value())
    async with (
        aiohttp.ClientSession(headers={"Authorization": account}) as session,
        session.get(f"{ari.url}/ari/recordings/stored") as response,
    ):
        return [recording["name"] for recording in await response.json()]


async def test_the_agent_hears_the_caller_first_and_the_note_brings_the_recording(
    house: House, crew: Crew, speech: array[int], tmp_path: Path
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(ELM)
    await caller.wait_answered()
    await step(house, caller, "recording")
    assert not agent.phone.rings
    await heard_for(caller, 0.6)  # the tone
    await caller.media.play(speech)
    ringing = await crew.ring(agent, caller, timeout_s=20)
    await ringing.answer()
    await house.wait_live(caller, "briefing")
    heard = len(caller.media.recording())
    await house.wait_live(caller, "talking", timeout_s=15)
    music = audio.signal(caller.media.recording()[heard:])
    await heard_for(caller, 1.5)
    await caller.hang_up()
    await ringing.wait_closed()

    # The agent heard what was said, before anything of the talk.
    assert audio.find(audio.signal(ringing.heard), audio.signal(speech)[4000:12000]).score > 0.9
    # Meanwhile the caller heard music, and then the agent.
    own = audio.segments(music, {"music": audio.signal(house_music())}, window_s=0.2)
    assert audio.heard_in_order(own)[0] == "music", own
    screened = (await step(house, caller, "screened"))[0]
    assert screened["detail"]["finding"] == "speech", screened
    await step(house, caller, "consent")

    mail = await house.wait_mail(caller)
    sound = recording_in(mail)
    assert sound is not None
    (tmp_path / "attached.wav").write_bytes(sound)
    attached = audio.signal(tmp_path / "attached.wav")
    assert audio.find(attached, audio.signal(speech)[4000:12000]).score > 0.95


def house_music() -> array[int]:
    return g711.melody(470, 20.0)


@pytest.mark.long
async def test_who_says_nothing_is_asked_again_and_then_gets_an_agent(
    house: House, crew: Crew
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(ELM)
    await step(house, caller, "screening", count=2)
    ringing = await crew.ring(agent, caller, timeout_s=30)
    await ringing.answer()
    await house.wait_live(caller, "talking")  # there is nothing to be heard first
    await caller.hang_up()
    screened = (await step(house, caller, "screened"))[0]
    assert screened["detail"]["finding"] == "silence"
    assert recording_in(await house.wait_mail(caller)) is None


async def test_a_key_goes_straight_to_an_agent_who_sees_the_concern(
    house: House, crew: Crew
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(FIR)
    await caller.wait_answered()
    await house.wait_live(caller, "screening")
    caller.media.press("2")
    ringing = await crew.ring(agent, caller, timeout_s=10)
    assert "Rechnung" in ringing.peer_name
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    screened = (await step(house, caller, "screened"))[0]
    assert screened["detail"]["choice"] == "Rechnung"
    mail = await house.wait_mail(caller)
    assert "Rechnung" in mail.text


@pytest.mark.long
async def test_an_early_key_skips_the_greeting_and_one_that_means_nothing_does_not(
    house: House, crew: Crew
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(FIR)
    await house.wait_live(caller, "greeting")
    caller.media.press("91")
    ringing = await crew.ring(agent, caller, timeout_s=10)
    assert "Termin" in ringing.peer_name
    await caller.hang_up()
    await ringing.wait_closed()
    (closed,) = await house.wait_closed(caller)
    assert (closed["outcome"], closed["stage"]) == ("abandoned", "waiting")


@pytest.mark.long
async def test_the_agent_skips_the_recording_with_a_key(
    house: House, crew: Crew, speech: array[int]
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(GORSE)
    await step(house, caller, "recording")
    await heard_for(caller, 0.6)
    caller.media.play(speech)
    await heard_for(caller, 2.0)
    caller.media.press("1")  # ends the recording, and is the concern
    ringing = await crew.ring(agent, caller, timeout_s=20)
    assert "Order" in ringing.peer_name
    await ringing.answer()
    await house.wait_live(caller, "briefing")
    await agent.phone.command("sndcode", "1")
    await house.wait_live(caller, "talking", timeout_s=2)
    await caller.hang_up()
    assert recording_in(await house.wait_mail(caller)) is None  # attach was not wanted

    async def deleted() -> bool | None:
        return True if not await stored_recordings(house) else None

    await eventually(deleted, "no recording left in Asterisk")


@pytest.mark.long
@pytest.mark.parametrize("instant", ["prompt", "recording", "briefing"])
async def test_who_hangs_up_while_being_asked_leaves_nothing_behind(
    house: House, crew: Crew, speech: array[int], instant: str
) -> None:
    agent = await crew.agent()
    caller = await crew.dial(ELM)
    if instant == "prompt":
        await house.wait_live(caller, "screening")
    else:
        await step(house, caller, "recording")
        await heard_for(caller, 0.6)
        caller.media.play(speech)
        await heard_for(caller, 2.0)
    if instant == "briefing":
        caller.media.press("5")
        ringing = await crew.ring(agent, caller, timeout_s=20)
        await ringing.answer()
        await house.wait_live(caller, "briefing")
    await caller.hang_up()
    (closed,) = await house.wait_closed(caller)
    stage = "briefing" if instant == "briefing" else "screening"
    assert (closed["outcome"], closed["stage"]) == ("abandoned", stage)
    mail = await house.wait_mail(caller)
    assert (recording_in(mail) is not None) == (instant != "prompt")


@pytest.mark.long
async def test_where_all_sounds_are_missing_nobody_is_recorded_and_an_agent_comes(
    house: House, crew: Crew
) -> None:
    agent = await crew.agent()
    sounds = [path for path in load(house.stack.folder).sounds_folder.iterdir() if path.is_file()]
    assert sounds
    for path in sounds:
        path.rename(path.with_suffix(".aside"))
    try:
        caller = await crew.dial(GORSE)
        (left,) = await step(house, caller, "unrecorded")
        ringing = await crew.ring(agent, caller, timeout_s=20)
    finally:
        for path in sounds:
            path.with_suffix(".aside").rename(path)
    assert left["detail"]["reason"] == "the notice was not heard"
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    (closed,) = await house.wait_closed(caller)
    assert "recording" not in [one["kind"] for one in closed["steps"]]
