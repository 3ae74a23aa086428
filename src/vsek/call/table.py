"""A call's states and what each of them does with each happening.

``TABLE[stage][happening]`` is a handler of :mod:`vsek.call.script`, or a text that says why
nothing is to be done. Every stage answers every happening; a missing cell is an error at import.
``docs/call.md`` is drawn from this table.

Happenings about an agent's leg concern the call's current leg. The legs of withdrawn offers are
handled before the table is asked: they are hung up, whatever they report.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from vsek.call import script
from vsek.domain.outcomes import Stage


class Happening(StrEnum):
    """What can happen to a call."""

    SOUND_DONE = "sound done"
    LEG_READY = "leg ready"
    LEG_RINGING = "leg ringing"
    LEG_UP = "leg up"
    LEG_GONE = "leg gone"
    LEG_FAILED = "leg failed"
    LEG_JOINED = "leg joined"
    CALLER_JOINED = "caller joined"
    JOIN_FAILED = "join failed"
    CALLER_GONE = "caller gone"
    GUARD_DUE = "guard due"


Handler = Callable[..., None]
Cell = Handler | str

NO_LEG = "no agent is rung in this stage"
OVER = "the call has its outcome already"
OLD_SOUND = "a sound that was stopped"
NOT_ARMED = "no guard runs in this stage"
UNANSWERED = "an agent who has not answered is in no bridge"
NOT_BRIDGED = "the caller is in no bridge in this stage"
DIALLED = "the agent has answered, what was before does not count"
ONCE = "is already in"

_OFFERING: dict[Happening, Cell] = {
    Happening.LEG_READY: script.leg_ready,
    Happening.LEG_RINGING: script.leg_ringing,
    Happening.LEG_UP: script.leg_up,
    Happening.LEG_GONE: script.leg_refused,
    Happening.LEG_FAILED: script.leg_impossible,
    Happening.LEG_JOINED: UNANSWERED,
    Happening.CALLER_JOINED: NOT_BRIDGED,
    Happening.JOIN_FAILED: UNANSWERED,
    Happening.CALLER_GONE: script.caller_left,
    Happening.GUARD_DUE: NOT_ARMED,
}

TABLE: dict[Stage, dict[Happening, Cell]] = {
    Stage.ANNOUNCEMENT: dict.fromkeys(Happening, NO_LEG)
    | {
        Happening.SOUND_DONE: script.announcement_done,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: script.guard_due,
    },
    Stage.GREETING: {Happening.SOUND_DONE: script.greeting_done, **_OFFERING},
    Stage.WAITING: {
        Happening.SOUND_DONE: OLD_SOUND,
        **_OFFERING,
        Happening.GUARD_DUE: script.rang_too_long,
    },
    Stage.CONNECTING: {
        Happening.SOUND_DONE: OLD_SOUND,
        Happening.LEG_READY: DIALLED,
        Happening.LEG_RINGING: DIALLED,
        Happening.LEG_UP: DIALLED,
        Happening.LEG_GONE: script.agent_lost,
        Happening.LEG_FAILED: DIALLED,
        Happening.LEG_JOINED: script.leg_joined,
        Happening.CALLER_JOINED: script.caller_joined,
        Happening.JOIN_FAILED: script.join_failed,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: NOT_ARMED,
    },
    Stage.TALKING: {
        Happening.SOUND_DONE: OLD_SOUND,
        Happening.LEG_READY: DIALLED,
        Happening.LEG_RINGING: DIALLED,
        Happening.LEG_UP: DIALLED,
        Happening.LEG_GONE: script.agent_left,
        Happening.LEG_FAILED: DIALLED,
        Happening.LEG_JOINED: ONCE,
        Happening.CALLER_JOINED: ONCE,
        Happening.JOIN_FAILED: ONCE,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: NOT_ARMED,
    },
    Stage.ENDED: dict.fromkeys(Happening, OVER) | {Happening.GUARD_DUE: script.guard_due},
}
"""``ARRIVING`` lasts no longer than one decision and so meets nothing."""
