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

from vsek.call import fallback, screening, script
from vsek.domain.outcomes import Stage


class Happening(StrEnum):
    """What can happen to a call."""

    SOUND_DONE = "sound done"
    RECORDING_DONE = "recording done"
    EXAMINED = "examined"
    CALLER_KEY = "caller's key"
    LEG_READY = "leg ready"
    LEG_RINGING = "leg ringing"
    LEG_UP = "leg up"
    LEG_GONE = "leg gone"
    LEG_FAILED = "leg failed"
    LEG_KEY = "agent's key"
    BRIEFING_DONE = "briefing done"
    LEG_JOINED = "leg joined"
    CALLER_JOINED = "caller joined"
    JOIN_FAILED = "join failed"
    CALLER_GONE = "caller gone"
    CALLER_DIVERTED = "caller diverted"
    LEDGER_TOLD = "ledger told"
    GUARD_DUE = "guard due"


Handler = Callable[..., None]
Cell = Handler | str

NO_LEG = "no agent is rung in this stage"
MOMENT = "lasts no longer than one decision"
OVER = "the call has its outcome already"
OLD_SOUND = "a sound that was stopped"
NOT_ARMED = "no guard runs in this stage"
UNANSWERED = "an agent who has not answered is in no bridge"
NOT_BRIDGED = "the caller is in no bridge in this stage"
DIALLED = "the agent has answered, what was before does not count"
ONCE = "is already in"
NOT_ASKED = "the caller is not being asked in this stage"
NOT_BRIEFED = "no agent listens to a recording in this stage"
DIALPLAN = "the dialplan has the caller"

_NOTHING_ASKED: dict[Happening, Cell] = {
    Happening.RECORDING_DONE: NOT_ASKED,
    Happening.EXAMINED: NOT_ASKED,
    Happening.CALLER_KEY: NOT_ASKED,
    Happening.LEG_KEY: NOT_BRIEFED,
    Happening.BRIEFING_DONE: NOT_BRIEFED,
    Happening.CALLER_DIVERTED: fallback.diverted,
    Happening.LEDGER_TOLD: fallback.told,
}

_OFFERING: dict[Happening, Cell] = {
    **_NOTHING_ASKED,
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
    Stage.ARRIVING: dict.fromkeys(Happening, MOMENT) | {Happening.LEDGER_TOLD: fallback.told},
    Stage.ANNOUNCEMENT: dict.fromkeys(Happening, NO_LEG)
    | _NOTHING_ASKED
    | {
        Happening.SOUND_DONE: script.announcement_done,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: script.guard_due,
    },
    Stage.GREETING: {
        Happening.SOUND_DONE: script.greeting_done,
        **_OFFERING,
        Happening.CALLER_KEY: screening.early_key,
    },
    Stage.SCREENING: dict.fromkeys(Happening, NO_LEG)
    | _NOTHING_ASKED
    | {
        Happening.SOUND_DONE: screening.prompt_done,
        Happening.RECORDING_DONE: screening.recording_done,
        Happening.EXAMINED: screening.examined,
        Happening.CALLER_KEY: screening.key_pressed,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: screening.guard_due,
    },
    Stage.WAITING: {
        Happening.SOUND_DONE: OLD_SOUND,
        **_OFFERING,
        Happening.GUARD_DUE: script.rang_too_long,
    },
    Stage.BRIEFING: {
        **_NOTHING_ASKED,
        Happening.SOUND_DONE: OLD_SOUND,
        Happening.LEG_READY: DIALLED,
        Happening.LEG_RINGING: DIALLED,
        Happening.LEG_UP: DIALLED,
        Happening.LEG_GONE: script.agent_lost,
        Happening.LEG_FAILED: DIALLED,
        Happening.LEG_KEY: screening.heard_enough,
        Happening.BRIEFING_DONE: screening.briefed,
        Happening.LEG_JOINED: NOT_BRIDGED,
        Happening.CALLER_JOINED: NOT_BRIDGED,
        Happening.JOIN_FAILED: NOT_BRIDGED,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: screening.listened_too_long,
    },
    Stage.CONNECTING: {
        **_NOTHING_ASKED,
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
        **_NOTHING_ASKED,
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
    Stage.FALLBACK: dict.fromkeys(Happening, DIALPLAN)
    | {
        Happening.CALLER_GONE: fallback.caller_gone,
        Happening.LEDGER_TOLD: fallback.told,
        Happening.GUARD_DUE: fallback.guard_due,
    },
    Stage.ENDED: dict.fromkeys(Happening, OVER)
    | {
        Happening.LEDGER_TOLD: fallback.told_late,
        Happening.GUARD_DUE: script.guard_due,
    },
}
"""``ARRIVING`` lasts no longer than one decision, unless nobody but the ledger knew the call."""
