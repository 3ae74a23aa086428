"""Deliberate faults in the distribution. ``tests/acceptance/test_acd_faults.py`` puts one at a time
into a copy and expects the tests to see it; ``docs/acd.md`` lists them."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """In ``file`` of ``src/vsek/acd``, ``right``, which stands there once, becomes ``wrong``."""

    what: str
    file: str
    right: str
    wrong: str


FAULTS = [
    # decide.py
    Fault(
        "an agent keeps the place among the idle after a wrap-up",
        "decide.py",
        "if not keeps_place:",
        "if not keeps_place and not agent.idle_rank:",
    ),
    Fault(
        "a caller's hang-up costs the agent the place",
        "table.py",
        '_I.CALLER_LEFT: Go(_S.READY, "caller_left", keeps_place=True)',
        '_I.CALLER_LEFT: Go(_S.READY, "caller_left")',
    ),
    Fault(
        "who did not take an offer may be rung again at once",
        "decide.py",
        "PARK_MIN_S = 1.0",
        "PARK_MIN_S = 0.0",
    ),
    Fault(
        "a timer that was set anew since is taken for the present one",
        "decide.py",
        "if (agent.timer.name, agent.timer.generation) != (name, generation):",
        "if agent.timer.name != name:",
    ),
    Fault(
        "a stale timer of a call wakes it",
        "waiting.py",
        "call.timer is None or call.timer.generation != generation",
        "call.timer is None",
    ),
    Fault(
        "a pause wanted in a talk is lost",
        "table.py",
        "_S.READY: ((Condition.PAUSE_WANTED, _S.PAUSED), (Condition.OFFLINE, _S.LOGGED_OUT)),",
        "_S.READY: ((Condition.OFFLINE, _S.LOGGED_OUT), (Condition.PAUSE_WANTED, _S.READY)),",
    ),
    Fault(
        "an open-ended wrap-up ends by itself",
        "decide.py",
        "if agent.wrap_up_s > 0:",
        "if agent.wrap_up_s:",
    ),
    Fault(
        "a claim to a place is not forgotten when it is used",
        "decide.py",
        "recent.pop(_caller_key(event), (event.arrival, self.now))",
        "recent.get(_caller_key(event), (event.arrival, self.now))",
    ),
    Fault(
        "a claim behind one that lasts longer does not expire",
        "decide.py",
        "return min(arrival, event.arrival) if until >= self.now else event.arrival",
        "return min(arrival, event.arrival)",
    ),
    Fault(
        "who was served by voicemail keeps the place as well",
        "decide.py",
        "        if not served:\n            self._unserved(call)",
        "        self._unserved(call)",
    ),
    Fault(
        "circles are opened by a sum that may fall short of the timer's",
        "waiting.py",
        "since + circle.after_s <= self.now for",
        "circle.after_s <= self.now - since for",
    ),
    Fault(
        "a call is kept for somebody who takes a pause",
        "decide.py",
        "        self._move(agent, what)\n        self._release_calls_of(agent_id)",
        "        self._move(agent, what)",
    ),
    Fault(
        "a call is kept beyond the client's time",
        "waiting.py",
        "            call.held, call.hold_until = False, 0.0",
        "            call.hold_until = 0.0",
    ),
    Fault(
        "new rules leave what waits where it is",
        "decide.py",
        "        for call in waiting:\n            acd.unmatched_calls[call.call_id] = None\n",
        "        for call in waiting:\n",
    ),
    Fault(
        "new rules forget what was done for a call",
        "decide.py",
        "                    if treatment in taken\n",
        "                    if treatment in taken and number in call.treated\n",
    ),
    Fault(
        "a new shift counts on",
        "decide.py",
        "agent.calls, agent.talked_s, agent.new_clients = 0, 0.0, {}",
        "agent.calls, agent.talked_s = 0, 0.0",
    ),
    Fault(
        "an agent who is learning meets the same client as new again",
        "decide.py",
        "is Clearance.LEARNING and call.client_id not in agent.met",
        "is Clearance.LEARNING",
    ),
    # matching.py
    Fault(
        "of several calls that come in one moment the first noted is served first",
        "matching.py",
        "    calls.sort(key=lambda call: _rank(acd, call, now))\n",
        "",
    ),
    Fault(
        "the agents who came free are served in their own order, not their calls by urgency",
        "matching.py",
        "elif best is None or found < best:\n            best = found\n    return acd",
        "elif best is None:\n            best = found\n    return acd",
    ),
    Fault(
        "a kept call waits behind a more urgent one",
        "matching.py",
        "return not call.held, -urgency(acd, call, now), call.key",
        "return True, -urgency(acd, call, now), call.key",
    ),
    Fault(
        "who knows the matter is asked although not entitled",
        "matching.py",
        "return isinstance(verdict(acd, call, agent, acd.full_need(call)), Tier)",
        "return True",
    ),
    Fault(
        "who knows the matter has to wait for the circle",
        "matching.py",
        "return isinstance(verdict(acd, call, agent, acd.full_need(call)), Tier)",
        "return isinstance(verdict(acd, call, agent, acd.need(call)), Tier)",
    ),
    Fault(
        "the second who knows is asked first",
        "matching.py",
        "return Choice(acd.agents[knowing[0]], True, entitled)",
        "return Choice(acd.agents[knowing[-1]], True, entitled)",
    ),
    Fault(
        "who is learning is asked alone",
        "matching.py",
        "if mask and need.learners:",
        "if need.learners:",
    ),
    Fault(
        "who is learning beside others comes after them",
        "matching.py",
        "        mask |= learners\n        chosen |= learners",
        "        mask |= learners",
    ),
    Fault(
        "a known client is a new one for who is learning",
        "matching.py",
        "met=call.client_id in agent.met)",
        "met=False)",
    ),
    Fault(
        "VIP callers wait as everybody does",
        "state.py",
        "(client.vip_target if call.vip else client.target).scale_s",
        "client.target.scale_s",
    ),
    # entitlement.py, index.py, ordering.py
    Fault(
        "the level of one skill is enough",
        "entitlement.py",
        "level = -min(levels)",
        "level = -max(levels)",
    ),
    Fault(
        "overflow takes who is only learning there",
        "entitlement.py",
        "if who.clearance(name) is Clearance.TRAINED:",
        "if who.clearance(name) is not Clearance.NONE:",
    ),
    Fault(
        "a call is entered behind those that came later",
        "index.py",
        "if first is None or key < first[0]:",
        "if first is None:",
    ),
    Fault(
        "the second call of a kind is not found when the first has gone",
        "index.py",
        "                insort(self.order, (following[0], need))",
        "                pass",
    ),
    Fault(
        "agents met after a call of theirs began to wait are not related to it",
        "index.py",
        "self._relate(need, profile, self.rules.group(need.want.group))",
        "pass",
    ),
    Fault(
        "an item taken out of the queue and put in again has its old place",
        "ordering.py",
        "            if self._keys.get(item) == key:\n                return key, item",
        "            if item in self._keys:\n                return key, item",
    ),
    # treatment.py
    Fault(
        "an announcement is played once only",
        "treatment.py",
        "return last + treatment.every_s if repeated else _NEVER",
        "return _NEVER",
    ),
    Fault(
        "a treatment counts the call itself among those that wait",
        "treatment.py",
        "treatment.waiting > acd.index.by_group[call.group] - 1",
        "treatment.waiting > acd.index.by_group[call.group]",
    ),
    Fault(
        "a treatment is due by the wait since the arrival",
        "treatment.py",
        "return call.queued_at + treatment.after_s",
        "return call.arrival + treatment.after_s",
    ),
    Fault(
        "somebody who is learning beside others counts as somebody",
        "treatment.py",
        "for number in bits(need.mask))",
        "for number in bits(need.mask | need.learners))",
    ),
    Fault(
        "a call of which nothing is due yet is not looked at again",
        "treatment.py",
        "looks = [now + RECHECK_S if at <= now else at for at in times if at != _NEVER]",
        "looks = [at for at in times if now < at != _NEVER]",
    ),
]
