"""Indexes that find an agent for a call, and a call for an agent, without asking them all.

Theory of operation
-------------------
Agents of whom the rules say the same share a :class:`Profile`; calls that ask the same of an agent
share a :class:`Need`. Who may take what is judged once per pair of those and kept as bits of two
integers: a need's ``mask`` has the bits of the profiles that may serve it, a profile's ``needs``
the bits of the needs that it may serve. Needs and profiles are few (a house has as many as it has
kinds of agents and groups), come up as they are met, and are made anew when the rules change.

*An agent for a call*: the need's mask and the mask of profiles that have somebody ready leave the
profiles in question, each with its ready agents in order.

*A call for an agent*: calls wait in lanes, one per target. Within a lane who came first is the
most urgent; a lane has its needs in the order of their first calls. So an agent looks at the first
suitable call of each lane, and the one that has waited longest in terms of its target is served.

Nothing here is kept over a restart: :meth:`vsek.acd.state.Acd.rebuild` fills it again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from vsek.acd.entitlement import Bar, Tier, Want, Who, judge
from vsek.acd.ordering import PriorityQueue
from vsek.acd.rules import Group, Order, Rules
from vsek.domain.ids import AgentId, CallId, ClientId

Key = tuple[float, int]
"""What agents and calls are put in order by; the second part is unique."""

_DENSE = 4
"""Up to so many needs are looked at one by one; of more the lane's order finds the first sooner."""


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Profile:
    """Agents of whom the rules say the same."""

    __slots__ = ("bit", "idle", "needs", "present", "ready", "who")

    def __init__(self, who: Who, bit: int, orders: int) -> None:
        self.who = who
        self.bit = bit
        self.needs = 0
        self.ready: list[PriorityQueue[Key, AgentId]] = [PriorityQueue() for _ in range(orders)]
        self.idle = 0
        """How many are ready."""
        self.present = 0
        """How many are signed in and not paused."""


class Need:
    """What calls ask of their agent, compiled."""

    __slots__ = ("bit", "learners", "mask", "order", "tiers", "want")

    def __init__(self, want: Want, bit: int, order: int) -> None:
        self.want = want
        self.bit = bit
        self.order = order
        """Number of the group's order in :attr:`Index.orders`."""
        self.mask = 0
        self.tiers: list[tuple[Tier, int]] = []
        """The profiles of ``mask`` by how well they suit."""
        self.learners = 0
        """Profiles of those who may take the call while somebody of ``mask`` is free as well."""

    def admit(self, tier: Tier, bit: int) -> None:
        """A profile may serve the need."""
        self.mask |= bit
        at = bisect_left(self.tiers, tier, key=lambda entry: entry[0])
        if at < len(self.tiers) and self.tiers[at][0] == tier:
            self.tiers[at] = (tier, self.tiers[at][1] | bit)
        else:
            self.tiers.insert(at, (tier, bit))


class Lane:
    """The calls that wait with one target."""

    __slots__ = ("mask", "order", "queues", "scale_s")

    def __init__(self, scale_s: float) -> None:
        self.scale_s = scale_s
        self.mask = 0
        """Needs of calls that wait here."""
        self.queues: dict[int, PriorityQueue[Key, CallId]] = {}
        self.order: list[tuple[Key, int]] = []
        """The first call of each need, sorted."""

    def put(self, call_id: CallId, key: Key, need: int) -> None:
        """A call begins to wait here."""
        queue = self.queues.get(need)
        if queue is None:
            queue = self.queues[need] = PriorityQueue()
        first = queue.first()
        if first is None or key < first[0]:
            if first is None:
                self.mask |= 1 << need
            else:
                self._drop(first[0], need)
            insort(self.order, (key, need))
        queue.put(call_id, key)

    def discard(self, call_id: CallId, need: int) -> None:
        """A call that waits here does not any more."""
        queue = self.queues[need]
        first = queue.first()
        queue.discard(call_id)
        assert first is not None  # a need without calls has no queue
        if first[1] == call_id:
            self._drop(first[0], need)
            following = queue.first()
            if following is None:
                self.mask ^= 1 << need
                del self.queues[need]
            else:
                insort(self.order, (following[0], need))

    def first_of(self, needs: int) -> tuple[Key, CallId] | None:
        """The first call with one of these needs."""
        wanted = self.mask & needs
        if not wanted:
            return None
        if wanted.bit_count() <= _DENSE:
            best = None
            for need in bits(wanted):
                head = self.queues[need].first()
                if head is not None and (best is None or head < best):
                    best = head
            return best
        first = next(need for _, need in self.order if wanted >> need & 1)
        return self.queues[first].first()

    def _drop(self, key: Key, need: int) -> None:
        del self.order[bisect_left(self.order, (key, need))]


class Index:
    """All of it, for one version of the rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        groups = [Group(), *rules.groups.values()]
        self.orders: list[Order] = sorted({group.order for group in groups})
        self.profiles: list[Profile] = []
        self.ready_mask = 0
        """Profiles of which somebody is ready."""
        self.ready: dict[AgentId, Profile] = {}
        self.lanes: dict[float, Lane] = {}
        self.by_client: dict[ClientId, dict[CallId, None]] = {}
        """The calls in the lanes."""
        self.by_group: dict[str, int] = {}
        """How many calls wait of each group, in the lanes or held."""
        self.known: dict[AgentId, dict[CallId, None]] = {}
        """Waiting calls whose matter the agent knows."""
        self.graduates: dict[ClientId, dict[AgentId, None]] = {}
        """Agents who have had enough new clients for this shift, by clients they have met."""
        self._needs: list[Need] = []
        self._profile_of: dict[Who, Profile] = {}
        self._need_of: dict[Want, Need] = {}
        self._want_of: dict[tuple[ClientId, str, int], Need] = {}
        self._where: dict[CallId, tuple[Lane, int]] = {}

    def __contains__(self, call_id: CallId) -> bool:
        """Whether the call is in a lane."""
        return call_id in self._where

    def profile(self, who: Who) -> Profile:
        """The profile of such agents."""
        profile = self._profile_of.get(who)
        if profile is None:
            profile = Profile(who, 1 << len(self.profiles), len(self.orders))
            self.profiles.append(profile)
            self._profile_of[who] = profile
            for need in self._needs:
                self._relate(need, profile, self.rules.group(need.want.group))
        return profile

    def need(self, client_id: ClientId, group: str, circles: int) -> Need:
        """What a call of this client asks while it is served by ``group`` and ``circles`` of its
        circles are open."""
        need = self._want_of.get((client_id, group, circles))
        if need is None:
            client = self.rules.client(client_id)
            requires = tuple(sorted(client.requires.items()))
            want = Want(group, requires, circles, client.learn_beside_trained)
            need = self._need_of.get(want)
            if need is None:
                need = self._need_of[want] = self._make_need(want)
            self._want_of[client_id, group, circles] = need
        return need

    def _make_need(self, want: Want) -> Need:
        group = self.rules.group(want.group)
        need = Need(want, len(self._needs), self.orders.index(group.order))
        self._needs.append(need)
        for profile in self.profiles:
            self._relate(need, profile, group)
        return need

    def _relate(self, need: Need, profile: Profile, group: Group) -> None:
        verdict = judge(need.want, group, profile.who)
        if isinstance(verdict, Tier):
            need.admit(verdict, profile.bit)
            profile.needs |= 1 << need.bit
        elif verdict is Bar.BESIDE_TRAINED:
            need.learners |= profile.bit

    # Agents

    def set_ready(self, agent_id: AgentId, profile: Profile, keys: list[Key]) -> None:
        """The agent is ready; ``keys`` are the places, one for each of :attr:`orders`."""
        for queue, key in zip(profile.ready, keys, strict=True):
            queue.put(agent_id, key)
        self.ready_mask |= profile.bit
        profile.idle += agent_id not in self.ready
        self.ready[agent_id] = profile

    def unset_ready(self, agent_id: AgentId) -> None:
        """The agent is not ready any more."""
        profile = self.ready.pop(agent_id)
        for queue in profile.ready:
            queue.discard(agent_id)
        profile.idle -= 1
        if not profile.idle:
            self.ready_mask &= ~profile.bit

    def key_of(self, agent_id: AgentId, order: int) -> Key:
        """The place of an agent who is ready, by the given one of :attr:`orders`."""
        return self.ready[agent_id].ready[order].key(agent_id)

    # Calls

    def enter(
        self, call_id: CallId, client_id: ClientId, scale_s: float, key: Key, need: Need
    ) -> None:
        """The call waits for whoever may serve ``need``."""
        lane = self.lanes.get(scale_s)
        if lane is None:
            lane = self.lanes[scale_s] = Lane(scale_s)
        lane.put(call_id, key, need.bit)
        self._where[call_id] = lane, need.bit
        self.by_client.setdefault(client_id, {})[call_id] = None

    def leave(self, call_id: CallId, client_id: ClientId) -> None:
        """The call is in no lane any more, if it ever was."""
        where = self._where.pop(call_id, None)
        if where is None:
            return
        lane, need = where
        lane.discard(call_id, need)
        if not lane.mask:
            del self.lanes[lane.scale_s]
        calls = self.by_client[client_id]
        del calls[call_id]
        if not calls:
            del self.by_client[client_id]
