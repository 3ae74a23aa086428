"""What ``vsek why`` says, in plain words: agents by their ids, times in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby

from vsek.acd.entitlement import Bar
from vsek.acd.explain import Candidate, Edge, Hindrance, View
from vsek.acd.rules import Admits, Order
from vsek.acd.state import AgentState
from vsek.domain.ids import AgentId
from vsek.domain.text import counted
from vsek.switchboard.history import Gaps
from vsek.switchboard.why import Account, Cause, Happening, Offered, PassedOver, Step, Waits

NAMED = 6
"""So many agents are named in one list; of more the number is told."""

_STATES = {
    AgentState.OFFERED: "being rung",
    AgentState.TALKING: "talking",
    AgentState.WRAP_UP: "in wrap-up",
    AgentState.PAUSED: "paused",
    AgentState.PARKED: "parked (did not take a call)",
    AgentState.LOGGED_OUT: "logged out",
}
_BUSY = (AgentState.OFFERED, AgentState.TALKING, AgentState.WRAP_UP)
_ADMITS = {
    Admits.TRAINED: "all who are trained",
    Admits.LEARNING: "who is learning, too",
    Admits.OVERFLOW: "overflow from other groups",
}
_CAUSES = {
    Cause.QUEUED: "begins to wait",
    Cause.OFFER_ENDED: "waits again",
    Cause.CIRCLE: "another circle opened",
    Cause.HELD: "is kept for somebody who knows the matter",
    Cause.UNHELD: "is no longer kept for anybody",
    Cause.GROUP: "has moved to another group",
    Cause.RULES: "the rules have changed",
    Cause.AWAY: "the connection to Asterisk was lost",
    Cause.BACK: "Asterisk is back",
}
_STEPS = {
    "arrived": "arrived at {did}",
    "ringing": "the caller hears it ring",
    "greeting": "greeting",
    "music": "waits with music",
    "announcement": "announcement: {reason}",
    "offer_withdrawn": "the offer to {agent} was taken back: {reason}",
    "offer_failed": "the offer to {agent} failed: {reason}",
    "agent_ringing": "the telephone of {agent} rings",
    "agent_answered": "{agent} answered",
    "connected": "connected with {agent}",
    "agent_lost": "{agent} was lost: {reason}",
    "regrouped": "is served by the group {group} from now on",
    "notice": "nobody in time: an announcement",
    "callback_offered": "nobody in time: a callback is offered",
    "callback_promised": "will be called back at {number}",
    "callback_given_up": "wants no callback",
    "voicemail": "nobody in time: may leave a message",
    "forwarding": "nobody in time: is forwarded to {number}",
    "forwarded": "forwarded to {number}",
    "forward_failed": "could not be forwarded to {number}: {reason}",
    "unrecorded": "was not recorded: {reason}",
    "untreated": "nobody in time, but {action} was not possible: {reason}",
    "ended": "ended: {outcome}, in stage {stage} ({reason})",
}

_RECOGNISED = {
    "number": "by the number",
    "person": "by the number and the name shown",
    "name": "by the name shown",
    "shared_number": "several people use the number",
    "busy_number": "too many calls come from the number",
    "own_number": "the number is the client's own",
}
"""By what a caller was recognised, or why not."""


def story(
    account: Account, talks: Mapping[AgentId, datetime] | None = None
) -> Iterator[tuple[float, str, list[str]]]:
    """What happened, in order: when (Unix seconds), what, and the particulars.

    ``talks``: when agents last talked with somebody at the caller's number before.
    """
    for same, group in groupby(account.happenings, key=_is_passed_over):
        if same:
            yield from _passed_over([one for one in group if isinstance(one, PassedOver)])
        else:
            for one in group:
                yield _told(one, talks or {})


def _is_passed_over(one: Happening) -> bool:
    return isinstance(one, PassedOver)


def _told(one: Happening, talks: Mapping[AgentId, datetime]) -> tuple[float, str, list[str]]:
    match one:
        case Offered():
            when = talks.get(one.agent_id)
            why = _why(one, "" if when is None else _ago(one.at - when.timestamp()))
            return one.at, f"offered to {one.agent_id}: {why}", _offered(one)
        case Waits():
            causes = "; ".join(_CAUSES[cause] for cause in one.causes)
            away = "nobody can be rung now, Asterisk is away"
            what = away if one.away else "nobody may take it now"
            return one.at, f"{what} ({causes})", _waits(one)
        case Step():
            return one.at, _step(one), []
        case PassedOver():
            return _one_passed_over(one)


def _step(one: Step) -> str:
    if one.kind == "recognised":
        return _recognised(one)
    words = _STEPS.get(one.kind)
    if words is not None:
        # Whatever another version did not tell is left blank.
        return words.format_map(defaultdict(str, one.detail)).strip()
    detail = " ".join(f"{name}={value}" for name, value in one.detail.items())
    return f"{one.kind} {detail}".strip()


def _recognised(one: Step) -> str:
    why = one.detail.get("why", "")
    why = _RECOGNISED.get(why, why)
    agents = one.detail.get("agents")
    if not agents:
        return f"the caller was not recognised: {why}"
    sure = "" if one.detail.get("sure") else ", not for sure"
    return f"the caller was recognised {why}{sure}; has talked with {agents}"


def _passed_over(many: list[PassedOver]) -> Iterator[tuple[float, str, list[str]]]:
    for one in many[:NAMED]:
        yield _one_passed_over(one)
    if len(many) > NAMED:
        left = len(many) - NAMED
        were = "more agent was" if left == 1 else "more agents were"
        yield many[-1].at, f"and {left} {were} given to others first", []


def _one_passed_over(one: PassedOver) -> tuple[float, str, list[str]]:
    if one.kept:
        why = f"{one.agent_id} knows the matter there"
    else:
        why = f"it was more urgent ({one.other_urgency:.2f} against {one.urgency:.2f})"
    return one.at, f"{one.agent_id} was given call {one.other}: {why}", []


# Offers


def _ago(seconds: float) -> str:
    """How long ago the two talked, roughly."""
    for length, name in ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= length:
            count = int(seconds / length)
            return f" (talked {count} {name}{'s' if count > 1 else ''} ago)"
    return " (talked just now)"


def _why(one: Offered, talked: str) -> str:
    entitled = one.view.entitled
    if not one.consistent:
        return "(cannot be recomputed)"
    first, second = entitled[0], (entitled[1] if len(entitled) > 1 else None)
    knows = f"knows the matter{talked}" if first.known else ""
    if second is None:
        alone = "nobody else who is ready may take it"
        return f"{knows}, and {alone}" if knows else alone
    match one.view.edge:
        case Edge.KNOWN:
            return knows
        case Edge.KNOWS_BETTER:
            return f"{knows}, better than {second.agent_id}"
        case Edge.CIRCLE:
            return f"let in by circle {first.circle}, {second.agent_id} by circle {second.circle}"
        case Edge.LEVEL:
            return f"skill level {first.level}, {second.agent_id} {second.level}"
        case Edge.CALLS:
            return f"fewest calls in this shift: {first.calls}, {second.agent_id} {second.calls}"
        case Edge.TALK:
            return (
                f"least talk in this shift: {first.talked_s:.0f} s, "
                f"{second.agent_id} {second.talked_s:.0f} s"
            )
        case Edge.POSITION:
            return f"position {first.position}, {second.agent_id} {second.position}"
        case _:
            return f"idle longest: {first.for_s:.0f} s, {second.agent_id} {second.for_s:.0f} s"


def _offered(one: Offered) -> list[str]:
    view = one.view
    entitled = view.entitled
    ready = view.counts[AgentState.READY]
    might = f"{len(entitled)} of {counted(ready, 'ready agent')} might take it"
    decision = f"decision {one.detail.get('sequence', '?')}, rules {view.rules_version}"
    lines = [f"waited {view.waited_s:.1f} s; {_circle(view)}; {might}; {decision}"]
    if len(entitled) > 1:
        others = [f"{c.agent_id} ({_merits(view, c)})" for c in entitled[1:]]
        lines.append(f"not asked: {_some(others)}")
    return lines + _others(view)


def _merits(view: View, one: Candidate) -> str:
    merits = ["knows the matter"] if one.known else []
    if len(view.circles) > 1 and one.circle:
        merits.append(f"circle {one.circle}")
    if one.level:
        merits.append(f"level {one.level}")
    match view.order:
        case Order.LEAST_CALLS:
            merits.append(counted(one.calls, "call"))
        case Order.LEAST_TALK:
            merits.append(f"talked {one.talked_s:.0f} s")
        case Order.FIXED:
            merits.append(f"position {one.position}")
        case Order.LONGEST_IDLE:
            pass
    return ", ".join([*merits, f"idle {one.for_s:.0f} s"])


# Waiting


def _waits(one: Waits) -> list[str]:
    view = one.view
    target = f"urgency {view.urgency:.2f}"
    lines = [f"waited {view.waited_s:.1f} s ({target}); {_circle(view)}; {_next_circle(view)}"]
    if view.keeper is not None:
        lines.append(
            f"kept for {view.keeper}, who knows the matter, for {view.held_s:.1f} s at most"
        )
    if view.entitled:  # and Asterisk is away
        lines.append(f"might take it: {_some(c.agent_id for c in view.entitled)}")
    lines += _others(view)
    busy = [c for c in view.candidates if c.state in _BUSY and c.hindrance is None]
    if busy:
        named = _some([f"{c.agent_id} {_STATES[c.state]} ({c.for_s:.0f} s)" for c in busy])
        lines.append(f"might take it when free: {named}")
    else:
        lines.append("nobody who is busy might take it when free, as things stand")
    expected = "" if one.expected_s is None else f"; a wait of {one.expected_s:.0f} s was expected"
    waits = "waits" if view.waiting == 1 else "wait"
    lines.append(f"{counted(view.waiting, 'other call')} {waits}{expected}")
    return lines


def _circle(view: View) -> str:
    if not view.circle:
        return f"no circle of {len(view.circles)} is open"
    admits = view.circles[view.circle - 1][1]
    whom = f"team {view.team or '-'}" if admits is Admits.TEAM else _ADMITS[admits]
    group = f", group {view.group}" if view.group else ""
    return f"circle {view.circle} of {len(view.circles)} ({whom}{group})"


def _next_circle(view: View) -> str:
    if view.circle >= len(view.circles):
        return "all circles are open"
    after_s, admits = view.circles[view.circle]
    whom = f"team {view.team or '-'}" if admits is Admits.TEAM else _ADMITS[admits]
    return f"the next one ({whom}) opens in {max(0.0, after_s - view.waited_s):.1f} s"


# Everybody else


def _others(view: View) -> list[str]:
    barred = [c for c in view.candidates if c.state is AgentState.READY and not c.entitled]
    lines = []
    if barred:
        lines.append(f"ready, but not entitled: {'; '.join(_barred(view, barred))}")
    elif not view.counts[AgentState.READY]:
        lines.append("nobody is ready")
    knowing = [c for c in view.candidates if c.known and c.state is not AgentState.READY]
    lines += [
        f"{c.agent_id} knows the matter, but is {_STATES[c.state]}{_reason(c)}" for c in knowing
    ]
    counts = [f"{view.counts[s]} {words}" for s, words in _STATES.items() if view.counts.get(s)]
    if counts:
        lines.append(f"not ready: {', '.join(counts)}")
    return lines


def _reason(one: Candidate) -> str:
    return f" ({one.reason})" if one.state is AgentState.PAUSED and one.reason else ""


def _barred(view: View, many: list[Candidate]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for one in many:
        assert one.hindrance is not None
        groups.setdefault(_hindrance(view, one.hindrance), []).append(one.agent_id)
    return [f"{_some(names)}: {why}" for why, names in groups.items()]


def _hindrance(view: View, why: Hindrance) -> str:
    match why.bar:
        case Bar.SKILL:
            skills = (f"{name} >= {least}" for name, least in why.lacks.items())
            has = (f"{name} {level}" for name, level in why.has.items())
            low = ", ".join(has)
            return f"lacks skill {' and '.join(skills)}" + (f" (has {low})" if low else "")
        case Bar.NOT_CLEARED:
            return f"not cleared for group {view.group or '-'}"
        case Bar.CIRCLE:
            assert why.opens_in_s is not None
            return f"let in after {why.opens_in_s:.1f} s more"
        case Bar.NEW_CLIENTS:
            met = counted(why.met or 0, "new client")
            return f"is learning, has met {met} of {why.allowed} in this shift"
        case Bar.BESIDE_TRAINED:
            return "is learning, and nobody trained is free as well"
        case Bar.HELD:
            return f"the call is kept for {why.keeper or 'somebody who knows the matter'}"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) <= NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


# The playback


def gaps_in_words(gaps: Gaps) -> list[str]:
    """What the journal lacks, each in a sentence."""
    told = [
        f"entry {first} is missing from the journal"
        if first == last
        else f"entries {first} to {last} are missing from the journal"
        for first, last in gaps.missing
    ]
    if gaps.unreadable:
        were = "entry was" if gaps.unreadable == 1 else "entries were"
        told.append(
            f"{gaps.unreadable} {were} written by another version of vsek and cannot be read"
        )
    if gaps.failed:
        told.append(f"{counted(gaps.failed, 'decision')} failed in the replay")
    return told
