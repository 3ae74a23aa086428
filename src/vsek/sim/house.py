"""Whom the simulated calls are for, and who answers them: rules, agents, clients, shifts."""

from __future__ import annotations

import math
from itertools import count
from random import Random

import msgspec

from vsek.acd.rules import Admits, AgentRules, Circle, Clearance, ClientRules, Group, Rules
from vsek.domain.ids import AgentId, ClientId


class Shift(msgspec.Struct, frozen=True):
    """When an agent is there, seconds from the simulation's start, and the pauses in between as
    (begin, end)."""

    begins: float = 0.0
    ends: float = math.inf
    pauses: tuple[tuple[float, float], ...] = ()


class House(msgspec.Struct, frozen=True):
    """An answering service."""

    rules: Rules
    agents: dict[AgentId, tuple[Shift, ...]]
    clients: dict[ClientId, float]
    """Client → weight among the callers."""


def generated(
    agents: int,
    *,
    skills: float = 1.0,
    groups: int = 20,
    clients: int = 200,
    hold_s: float = 0.0,
    widen_s: float | None = None,
    seed: int = 1,
) -> House:
    """A house of even groups in which each agent is trained for the share ``skills`` of them.

    Who is trained for what is drawn, but evenly: no group has more than one agent more than
    another. Within a group clients are called as often as Zipf's law says. ``hold_s``: so long a
    call is kept for the agent who knows the matter. ``widen_s``: who has waited so long may be
    served by everybody.
    """
    digits = len(str(groups))
    names = [f"group-{number:0{digits}}" for number in range(1, groups + 1)]
    per_agent = max(1, round(skills * groups))
    stream = Random(f"{seed} house")  # noqa: S311 - a simulation has to be repeatable
    trained = _spread(names, agents, per_agent, stream)
    ids = [AgentId(f"agent-{number}") for number in range(1, agents + 1)]
    group = Group()
    if widen_s is not None:
        circles = (Circle(0.0, Admits.TRAINED), Circle(widen_s, Admits.OVERFLOW))
        group = Group(circles=circles, overflow_to=tuple(names))
    rules = Rules(
        groups=dict.fromkeys(names, group),
        clients={
            ClientId(f"client-{number + 1}"): ClientRules(names[number % groups], hold_s=hold_s)
            for number in range(clients)
        },
        agents={
            agent_id: AgentRules(cleared=dict.fromkeys(sorted(mine), Clearance.TRAINED))
            for agent_id, mine in zip(ids, trained, strict=True)
        },
    )
    weights = {client_id: 1 / (1 + n // groups) for n, client_id in enumerate(rules.clients)}
    return House(rules, dict.fromkeys(ids, (Shift(),)), weights)


def of_rules(
    rules: Rules, agents: int | None = None, *, clients: int = 200, hold_s: float = 0.0
) -> House:
    """A house with these rules. Without ``agents`` those whom the rules name work there, else so
    many; whom the rules do not name have all defaults. Where the rules name no clients there are
    so many, equally many in each group. All clients are called equally often."""
    if not rules.clients:
        names = list(rules.groups) or [""]
        own = {
            ClientId(f"client-{number + 1}"): ClientRules(names[number % len(names)], hold_s=hold_s)
            for number in range(clients)
        }
        rules = msgspec.structs.replace(rules, clients=own)
    ids = list(rules.agents)
    more = (AgentId(f"agent-{number}") for number in count(1))
    while len(ids) < (agents or 0):
        agent_id = next(more)
        if agent_id not in rules.agents:
            ids.append(agent_id)
    always = (Shift(),)
    shifts: dict[AgentId, tuple[Shift, ...]] = dict.fromkeys(ids[:agents] or [next(more)], always)
    return House(rules, shifts, dict.fromkeys(rules.clients, 1.0))


def in_shifts(
    house: House,
    day_s: float,
    quantile_s: list[float],
    *,
    shift_s: float,
    pause_s: float = 900.0,
    pause_every_s: float = 7200.0,
) -> House:
    """The same house on one day of ``day_s`` seconds with everybody in a shift of ``shift_s``.

    The middles of the shifts lie at ``quantile_s`` (one per agent), within the day; after each
    ``pause_every_s`` at work there is a pause of ``pause_s``.
    """
    shifts: dict[AgentId, tuple[Shift, ...]] = {}
    for agent_id, middle in zip(house.agents, quantile_s, strict=True):
        begins = min(max(0.0, middle - shift_s / 2), max(0.0, day_s - shift_s))
        ends = begins + shift_s
        pauses: list[tuple[float, float]] = []
        at = begins + pause_every_s
        while pause_s > 0 and at + pause_s < ends:
            pauses.append((at, at + pause_s))
            at += pause_s + pause_every_s
        shifts[agent_id] = (Shift(begins, ends, tuple(pauses)),)
    return msgspec.structs.replace(house, agents=shifts)


def _spread(names: list[str], agents: int, per_agent: int, stream: Random) -> list[set[str]]:
    """``per_agent`` names for each of ``agents``, each name equally often give or take one."""
    taken = dict.fromkeys(names, 0)
    result: list[set[str]] = []
    for _ in range(agents):
        order = sorted(names, key=lambda name: (taken[name], stream.random()))
        mine = set(order[:per_agent])
        for name in mine:
            taken[name] += 1
        result.append(mine)
    return result
