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

from vsek.call import fallback, forwarding, screening, script, treating
from vsek.domain.outcomes import Stage


class Happening(StrEnum):
    """What can happen to a call."""

    SOUND_DONE = "sound done"
    SOUND_FAILED = "sound failed"
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
    TREATMENT = "treatment"
    FORWARD_READY = "number ready"
    FORWARD_UP = "number up"
    FORWARD_GONE = "number gone"
    FORWARD_FAILED = "number failed"
    FORWARD_JOINED = "number joined"
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
NOT_WAITING = "nothing is done about waiting for who does not wait"
NOT_FORWARDED = "no number of the client's is rung in this stage"
DIALPLAN = "the dialplan has the caller"

_NOT_TREATED: dict[Happening, Cell] = {
    Happening.TREATMENT: NOT_WAITING,
    Happening.FORWARD_READY: NOT_FORWARDED,
    Happening.FORWARD_UP: NOT_FORWARDED,
    Happening.FORWARD_GONE: NOT_FORWARDED,
    Happening.FORWARD_FAILED: NOT_FORWARDED,
    Happening.FORWARD_JOINED: NOT_FORWARDED,
}

_NOTHING_ASKED: dict[Happening, Cell] = {
    **_NOT_TREATED,
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
    Happening.TREATMENT: treating.later,
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
        Happening.SOUND_DONE: screening.sound_done,
        Happening.RECORDING_DONE: screening.recording_done,
        Happening.EXAMINED: screening.examined,
        Happening.CALLER_KEY: screening.key_pressed,
        Happening.CALLER_GONE: script.caller_left,
        Happening.GUARD_DUE: screening.guard_due,
    },
    Stage.WAITING: {
        Happening.SOUND_DONE: OLD_SOUND,
        **_OFFERING,
        Happening.CALLER_KEY: treating.callback_key,
        Happening.TREATMENT: treating.treat,
        Happening.GUARD_DUE: script.rang_too_long,
    },
    Stage.NOTICE: {
        **_OFFERING,
        Happening.SOUND_DONE: treating.notice_over,
        Happening.CALLER_KEY: treating.callback_key,
    },
    Stage.CALLBACK: {
        **_OFFERING,
        Happening.SOUND_DONE: treating.callback_said,
        Happening.CALLER_KEY: treating.callback_key,
        Happening.GUARD_DUE: treating.keys_due,
    },
    Stage.VOICEMAIL: {
        **_OFFERING,
        Happening.SOUND_DONE: treating.message_prompted,
        Happening.RECORDING_DONE: treating.message_done,
        Happening.CALLER_KEY: treating.message_key,
        Happening.GUARD_DUE: treating.message_due,
    },
    Stage.FORWARDING: {
        **_OFFERING,
        Happening.SOUND_DONE: OLD_SOUND,
        Happening.CALLER_KEY: treating.callback_key,
        Happening.FORWARD_READY: forwarding.ready,
        Happening.FORWARD_UP: forwarding.up,
        Happening.FORWARD_GONE: treating.forward_gone,
        Happening.FORWARD_FAILED: treating.forward_impossible,
        Happening.FORWARD_JOINED: UNANSWERED,
        Happening.GUARD_DUE: treating.forward_due,
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
    Stage.FORWARDED: dict.fromkeys(Happening, NO_LEG)
    | _NOTHING_ASKED
    | {
        Happening.SOUND_DONE: OLD_SOUND,
        Happening.FORWARD_READY: DIALLED,
        Happening.FORWARD_UP: DIALLED,
        Happening.FORWARD_GONE: forwarding.left,
        Happening.FORWARD_FAILED: forwarding.not_joined,
        Happening.FORWARD_JOINED: forwarding.joined,
        Happening.CALLER_JOINED: forwarding.caller_joined,
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

for _row in TABLE.values():
    # Nobody's call hangs on a sound: where nothing else is said, one that cannot be played is over.
    _row[Happening.SOUND_FAILED] = _row[Happening.SOUND_DONE]
# Who was not told is not recorded.
TABLE[Stage.SCREENING][Happening.SOUND_FAILED] = screening.sound_failed
# Nor is anybody left in silence.
TABLE[Stage.NOTICE][Happening.SOUND_FAILED] = treating.notice_unheard
TABLE[Stage.CALLBACK][Happening.SOUND_FAILED] = treating.callback_unsaid
TABLE[Stage.VOICEMAIL][Happening.SOUND_FAILED] = treating.message_untold
