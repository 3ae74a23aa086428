"""Calls brought to where a test begins."""

from __future__ import annotations

from tests.unit.call.book import AGENTS, RING, directory
from tests.unit.call.house import House

from vsek.acd.rules import Rules
from vsek.call import effects as do
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.domain.outcomes import Stage

ANNA, BERT, CARL = AGENTS
K1, K2 = CallId("k1"), CallId("k2")
CALLER = ChannelId("1700000000.1")
LEG = ChannelId("vsekcall-k1.1")
LEG2 = ChannelId("vsekcall-k1.2")


def house(*agents: AgentId, rules: Rules | None = None, wrap_up_s: float = 30.0) -> House:
    made = House(directory(rules=rules, wrap_up_s=wrap_up_s))
    for agent_id in agents:
        made.register(agent_id)
    made.settle()
    return made


def names(commands: list[do.Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def commands(effects: list[do.Effect]) -> list[do.Command]:
    return [effect for effect in effects if isinstance(effect, do.Command)]


def ringing(did: str = RING) -> House:
    """Anna's phone rings for the first call, Bert is there too."""
    made = house(ANNA, BERT)
    made.asterisk.call(did)
    made.settle()
    made.asterisk.ring(LEG)
    made.settle()
    return made


def talking(did: str = RING) -> House:
    made = ringing(did)
    made.asterisk.pick_up(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING
    return made
