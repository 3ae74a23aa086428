"""Callers who wait for treatments: how a test brings them there, and what it looks at."""

from __future__ import annotations

import msgspec
from tests.unit.call.asterisk import Asterisk
from tests.unit.call.book import OUTSIDE, TREAT, directory
from tests.unit.call.house import House
from tests.unit.call.steps import CALLER, K1

from vsek.acd.events import TimerDue
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.model import Call, Directory
from vsek.call.treating import treat
from vsek.domain.ids import AgentId, ChannelId, ClientId
from vsek.domain.outcomes import Outcome, Stage

NUMBER = "+49301234567"
FORWARD = ChannelId("vsekcall-k1-f1")


def book(*treatments: Treatment, client: str = "treat", **changes: object) -> Directory:
    """A directory in which one client has these treatments."""
    plain = directory()
    clients = {**plain.rules.clients, ClientId(client): ClientRules(treatments=treatments)}
    rules: Rules = msgspec.structs.replace(plain.rules, clients=clients)
    return msgspec.structs.replace(plain, **{"rules": rules, **changes})


def waiting(
    did: str = TREAT,
    number: str = NUMBER,
    *agents: AgentId,
    known: Directory | None = None,
) -> House:
    """The first caller has heard the greeting, and waits."""
    made = House(known)
    for agent_id in agents:
        made.register(agent_id)
    made.settle()
    made.asterisk.call(did, caller_number=number)
    made.settle()
    if made.state.calls[K1].stage is Stage.GREETING:
        made.asterisk.sound_ends(CALLER)
        made.settle()
    return made


def call_of(made: House) -> Call:
    return made.state.calls[K1]


def until(made: House, stage: Stage) -> House:
    """Time passes, sounds end, until the call is there."""
    for _ in range(30):
        call = call_of(made)
        if call.stage is stage:
            return made
        if call.sound_id:
            made.asterisk.sound_ends(CALLER)
        else:
            made.timer()
        made.settle()
    raise AssertionError(f"never {stage}: {made.kinds[K1]}")


def hear_out(made: House) -> None:
    """What the caller hears comes to its end."""
    made.asterisk.sound_ends(CALLER)
    made.settle()


def goes_missing(made: House) -> None:
    """Asterisk cannot play what the caller is to hear now."""
    sound_id = made.asterisk.channels[CALLER].jobs.pop(0)
    made.asterisk.report(ev.SoundDone(sound_id, K1, played=False))
    made.settle()


def guard(made: House) -> None:
    """The call's guard timer runs out."""
    generation, deadline = made.state.timers[f"guard:{K1}"]
    made.now = max(made.now, deadline)
    made.decide(TimerDue(f"guard:{K1}", generation))
    made.settle()


def press(made: House, keys: str) -> None:
    for key in keys:
        made.asterisk.press(CALLER, key)
        made.settle()


def sound(made: House) -> str:
    """What the caller hears."""
    jobs = made.asterisk.channels[CALLER].jobs
    return made.asterisk.media[jobs[0]] if jobs else ""


def ended(made: House) -> tuple[Outcome, Stage, str]:
    closed = made.closed[K1]
    return closed.outcome, closed.stage, closed.reason


def step_of(effects: list[do.Effect], kind: str) -> dict[str, str]:
    found = [e for e in effects if getattr(e, "kind", "") == kind]
    assert len(found) == 1, effects
    detail = found[0].detail  # type: ignore[union-attr]
    return dict(detail)


def untreated(made: House, action: Action, detail: str = "") -> str:
    """Why the treatment of a caller who waits is not done."""
    from vsek.call.decide import distribute
    from vsek.call.desk import Desk

    desk = Desk(made.state, made.now, distribute)
    treat(desk, call_of(made), action, detail)
    why = step_of(desk.effects, "untreated")["reason"]
    call_of(made).steps -= 1  # it was only asked
    assert [type(effect).__name__ for effect in desk.effects] == ["CallStep"]
    assert call_of(made).stage is Stage.WAITING
    return why


def asked_for_a_number() -> House:
    made = until(waiting(TREAT, ""), Stage.CALLBACK)
    press(made, "1")
    return made


def recording() -> House:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = until(waiting(known=known), Stage.VOICEMAIL)
    assert sound(made) == "sound:/voicemail"
    hear_out(made)
    assert sound(made) == "sound:/tone"
    assert K1 in made.state.acd.calls
    hear_out(made)
    assert made.asterisk.channels[CALLER].recording == call_of(made).message == "vsek/k1-1"
    assert K1 not in made.state.acd.calls
    return made


def forwarding(did: str = TREAT) -> House:
    """The client's number rings."""
    known = book(
        Treatment(Action.FORWARD, OUTSIDE, after_s=5.0),
        client="treat" if did == TREAT else "treat-ring",
    )
    made = until(waiting(did, known=known), Stage.FORWARDING)
    made.asterisk.ring(FORWARD)
    made.settle()
    return made


def forwarded(did: str = TREAT) -> House:
    made = forwarding(did)
    made.now += 2.0
    made.asterisk.pick_up(FORWARD)
    made.settle()
    assert call_of(made).stage is Stage.FORWARDED
    return made


def recovered(made: House) -> House:
    made.reconnect()
    made.sent.clear()
    made.recovered()
    made.settle()
    return made


def lost(made: House, keep: int = 0) -> Asterisk:
    made.disconnect(keep)
    made.restart()
    return made.asterisk
