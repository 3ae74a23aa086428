"""Calls that the dialplan served to their end, because vsek was away or hung.

Theory of operation. A caller who waits too long without a sign of life of vsek is taken out of
its hands by the dialplan (``CallerDiverted``, or found in ``Reconciled``): the call gives up its
place and its agent, and waits for the ledger, which tells how it went on. Callers who never reached
vsek are known from the ledger alone (``LedgerTold``); each becomes a call with an outcome like any
other.
"""

from __future__ import annotations

from vsek.call.desk import Desk, close, forget_if_empty, let_go
from vsek.call.events import LedgerTold
from vsek.call.model import Call, State
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import CALLER_HANGUP, FALLBACK, MISSED, Outcome, Stage
from vsek.domain.records import RecordingMade

GUARD_FALLBACK_S = 600.0
"""How long the ledger is waited for while the caller is there; a message has two minutes."""
GUARD_LEDGER_S = 30.0
"""The same once the caller is gone."""
TOLD_LIMIT = 2000
"""Channels whose call is remembered, so that a line of the ledger that comes late is about it."""


HELD = frozenset({Outcome.ANSWERED, Outcome.FORWARDED, Outcome.CALLBACK, Outcome.VOICEMAIL})
"""What came before the fallback and is not undone by it."""


def remember(state: State, channel_id: ChannelId, call_id: CallId) -> None:
    """The ledger's word on this channel is about this call."""
    state.told[channel_id] = call_id
    while len(state.told) > TOLD_LIMIT:
        del state.told[next(iter(state.told))]


def diverted(desk: Desk, call: Call) -> None:
    """The dialplan has the caller."""
    desk.step(call, "fallback", stage=call.stage.value)
    # A talk that goes on here has lost its agent unseen; what had not become one was our fault.
    let_go(desk, call, cut=call.stage is not Stage.TALKING)
    if call.stage is Stage.TALKING:
        # The agent had left, unseen: what came afterwards does not undo the talk.
        call.outcome_if_left, call.reason_if_left = Outcome.ANSWERED, "agent_hangup"
    elif call.stage is Stage.FORWARDED and call.answered_at is not None:
        call.outcome_if_left, call.reason_if_left = Outcome.FORWARDED, "forward_hangup"
    else:
        call.agent_id = None
        call.answered_at = None
        if call.outcome_if_left not in HELD:
            call.outcome_if_left, call.reason_if_left = Outcome.FAILED, FALLBACK
    call.bridge_id = ""
    call.sound_id = ""
    call.briefing_id = ""
    call.stage = Stage.FALLBACK
    remember(desk.state, call.channel_id, call.call_id)
    desk.arm_guard(call, GUARD_FALLBACK_S)


def caller_gone(desk: Desk, call: Call) -> None:
    """The ledger is about to tell what the caller left."""
    desk.arm_guard(call, GUARD_LEDGER_S)


def guard_due(desk: Desk, call: Call) -> None:
    """The ledger does not tell."""
    close(desk, call, call.outcome_if_left, call.reason_if_left)


def told(desk: Desk, call: Call, event: LedgerTold) -> None:
    """The caller has hung up, and this is what happened."""
    if call.stage is not Stage.FALLBACK and event.served is Served.FALLBACK:
        diverted(desk, call)
    _gone(desk, call)
    if call.outcome_if_left in HELD:
        outcome, reason = call.outcome_if_left, call.reason_if_left
    elif call.script is None:
        outcome, reason = Outcome.UNKNOWN_NUMBER, "unknown_number"
    elif event.message:
        outcome, reason = Outcome.VOICEMAIL, FALLBACK
    elif event.heard:
        outcome, reason = Outcome.FAILED, FALLBACK
    elif event.served is Served.FALLBACK:
        outcome, reason = Outcome.ABANDONED, CALLER_HANGUP
    else:
        outcome, reason = Outcome.ABANDONED, MISSED
    _keep_message(desk, call, event)
    close(desk, call, outcome, reason, event.ended_at)


def told_late(desk: Desk, call: Call, event: LedgerTold) -> None:
    """The call has its outcome; a message is kept all the same."""
    _gone(desk, call)
    _keep_message(desk, call, event)
    forget_if_empty(desk, call)


def _gone(desk: Desk, call: Call) -> None:
    desk.state.channels.pop(call.channel_id, None)
    call.caller_gone = True
    remember(desk.state, call.channel_id, call.call_id)


def _keep_message(desk: Desk, call: Call, event: LedgerTold) -> None:
    if event.message:
        desk.step(call, "message", name=event.message)
        desk.do(
            RecordingMade(call.call_id, event.ended_at, "voicemail", event.message, consent=True)
        )
