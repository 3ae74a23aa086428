"""Nobody is recorded who was not told of it: what a caller hears before, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.unit.call.asterisk import Asterisk
from tests.unit.call.book import KEYS, SCREEN, directory
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, CALLER, K1, LEG, house

from vsek.call import events as ev
from vsek.call.model import Asking, Directory
from vsek.domain.ids import ClientId
from vsek.domain.outcomes import Stage

SAID = ["sound:/prompt", "sound:/recorded", "sound:/tone"]
"""What the caller hears before being recorded."""


def asking(known: Directory | None = None, *, until: str = SAID[0], did: str = SCREEN) -> House:
    """The caller hears ``until``, and Anna is there."""
    made = House(known) if known is not None else house()
    made.register(ANNA)
    made.asterisk.call(did)
    made.settle()
    while media(made) != until:
        made.asterisk.sound_ends(CALLER)
        made.settle()
    return made


def media(made: House) -> str:
    (sound,) = made.asterisk.channels[CALLER].sounds
    return made.asterisk.media[sound]


def stage(made: House) -> Asking:
    screened = made.state.calls[K1].screened
    assert screened is not None
    return screened.asking


def is_missing(made: House) -> None:
    """Asterisk has no such file; nothing is heard of it."""
    channel = made.asterisk.channels[CALLER]
    made.decide(ev.SoundDone(channel.jobs.pop(0), K1, played=False))
    made.settle()


def is_refused(made: House) -> None:
    channel = made.asterisk.channels[CALLER]
    sound = channel.jobs.pop(0)
    made.decide(ev.CommandFailed("Play", K1, CALLER, 500, "refused", sound))
    made.settle()


def is_never_reported(made: House) -> None:
    while made.asterisk.channels[CALLER].sounds and media(made) in SAID:
        made.timer()
        made.settle()


FAILURES = [is_missing, is_refused, is_never_reported]


def test_prompt_notice_and_tone_are_played_one_by_one() -> None:
    made = asking()
    heard = []
    while made.asterisk.channels[CALLER].sounds:
        heard.append(media(made))
        made.asterisk.sound_ends(CALLER)
        made.settle()
    assert heard == SAID
    assert made.asterisk.channels[CALLER].recording == "vsek/k1-1"


@pytest.mark.parametrize("fails", FAILURES)
@pytest.mark.parametrize("what", SAID[1:])
def test_who_was_not_told_or_not_when_is_not_recorded_and_gets_an_agent(
    what: str, fails: Callable[[House], None]
) -> None:
    made = asking(until=what)
    fails(made)
    call = made.state.calls[K1]
    assert (call.stage, call.sound_id) == (Stage.WAITING, "")
    assert "unrecorded" in made.kinds[K1]
    assert "recording" not in made.kinds[K1]
    caller = made.asterisk.channels[CALLER]
    assert (caller.recording, caller.music) == ("", "client-screen")
    assert made.asterisk.channels[LEG].dialled


@pytest.mark.parametrize("fails", [is_missing, is_refused])
def test_a_prompt_that_is_missing_keeps_nobody_from_the_notice(
    fails: Callable[[House], None],
) -> None:
    made = asking()
    fails(made)
    assert media(made) == "sound:/recorded"


def test_who_cannot_be_asked_for_a_key_gets_an_agent_at_once() -> None:
    made = asking(did=KEYS, until="sound:/keys")
    is_missing(made)
    assert made.state.calls[K1].stage is Stage.WAITING
    assert made.asterisk.channels[LEG].dialled


def test_a_key_cuts_the_prompt_short_and_not_what_is_said_of_the_recording() -> None:
    made = asking()
    for _ in range(2):
        made.asterisk.press(CALLER, "1")
        made.settle()
        assert media(made) == "sound:/recorded"
    made.asterisk.sound_ends(CALLER)
    made.settle()
    made.asterisk.press(CALLER, "1")
    made.settle()
    assert media(made) == "sound:/tone"
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert stage(made) is Asking.RECORDING
    assert made.kinds[K1].count("key") == 1


def test_any_key_ends_the_recording() -> None:
    made = asking(until="sound:/tone")
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert stage(made) is Asking.RECORDING
    made.asterisk.press(CALLER, "9")
    made.settle()
    assert stage(made) is Asking.EXAMINING


def test_a_key_during_the_greeting_does_not_skip_the_notice() -> None:
    made = asking(until="sound:/greeting")
    made.asterisk.press(CALLER, "1")
    made.settle()
    assert media(made) == "sound:/recorded"


def test_the_notice_may_be_the_prompt_too() -> None:
    known = directory()
    script = known.clients[ClientId("screen")]
    assert script.screening is not None
    script = msgspec.structs.replace(
        script, screening=msgspec.structs.replace(script.screening, prompt="")
    )
    clients = {**known.clients, script.client_id: script}
    made = asking(msgspec.structs.replace(known, clients=clients), until="sound:/recorded")
    made.asterisk.press(CALLER, "1")
    made.settle()
    assert media(made) == "sound:/recorded"


@pytest.mark.parametrize("what", SAID)
def test_what_may_not_have_been_heard_is_said_again(what: str) -> None:
    made = asking(until=what)
    made.disconnect()
    end_unseen(made.asterisk)
    made.reconnect()
    made.recovered()
    made.settle()
    assert media(made) == what


def end_unseen(asterisk: Asterisk) -> None:
    asterisk.sound_ends(CALLER)
    assert not asterisk.events


def test_a_key_may_come_after_the_prompt() -> None:
    made = asking(did=KEYS, until="sound:/keys")
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert stage(made) is Asking.KEY
    for key, told in (("9", []), ("1", ["key"])):
        made.asterisk.press(CALLER, key)
        made.settle()
        assert [kind for kind in made.kinds[K1] if kind == "key"] == told
    assert made.state.calls[K1].stage is Stage.WAITING


def test_who_pressed_a_key_before_the_prompt_ended_is_not_waited_for() -> None:
    made = asking(did=KEYS, until="sound:/keys")
    made.asterisk.press(CALLER, "1")
    made.settle()
    assert made.state.calls[K1].stage is Stage.WAITING
