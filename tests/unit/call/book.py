"""The clients, numbers, agents and sounds of the tests: one client for each way to treat a call."""

from __future__ import annotations

import msgspec

from vsek.acd.hours import OpenSpan
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.call.model import AgentEntry, ClientScript, Directory, Outbound, Screening
from vsek.domain.ids import AgentId, ClientId

RING, GREET, MUTE, CLOSED, UNKNOWN = "+4910", "+4920", "+4930", "+4940", "+4999"
SCREEN, KEYS = "+4950", "+4960"
TREAT, TREAT_RING, TREAT_NOW = "+4970", "+4980", "+4971"
HOLD, HOLD_TREAT = "+4972", "+4973"
OUTSIDE, BUSY_LINE = "+4930111222", "+4930111333"
"""Numbers of clients' own, to which calls are forwarded."""
AGENTS = tuple(AgentId(name) for name in ("anna", "bert", "carl"))


def _client(name: str, policy: str, greeting: str = "", **more: object) -> ClientScript:
    return ClientScript(
        ClientId(name),
        name.title(),
        "de",
        "Europe/Berlin",
        policy,
        greeting,
        f"client-{name}",
        **more,  # type: ignore[arg-type]
    )


CLIENTS = {
    ClientId("treat"): ClientRules(
        treatments=(
            Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0, every_s=20.0),
            Treatment(Action.CALLBACK, after_s=12.0),
            Treatment(Action.FORWARD, OUTSIDE, after_s=24.0),
            Treatment(Action.VOICEMAIL, after_s=45.0),
        )
    ),
    ClientId("treat-ring"): ClientRules(
        treatments=(
            Treatment(Action.FORWARD, BUSY_LINE, after_s=4.0),
            Treatment(Action.ANNOUNCE, "sound:/soon", after_s=10.0),
            Treatment(Action.FORWARD, OUTSIDE, after_s=20.0),
            Treatment(Action.CALLBACK, after_s=40.0),
        )
    ),
    ClientId("treat-now"): ClientRules(
        treatments=(
            Treatment(Action.CALLBACK),
            Treatment(Action.FORWARD, "110"),
            Treatment(Action.VOICEMAIL, nobody=True, after_s=2.0),
        )
    ),
    ClientId("hold"): ClientRules(hold_s=12.0),
    ClientId("hold-treat"): ClientRules(
        hold_s=20.0,
        treatments=(
            Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0),
            Treatment(Action.CALLBACK, after_s=10.0),
        ),
    ),
}
"""Rules for each of them; callers who are known are kept by two."""
_SPOKEN = (
    *(
        "closed",
        "callback",
        "callback_hidden",
        "callback_number",
        "callback_check",
        "callback_confirm",
    ),
    *("callback_thanks", "voicemail", "voicemail_thanks", *(f"digit_{n}" for n in range(10))),
)
SOUNDS = {f"{name}.de": f"sound:/{name}" for name in _SPOKEN}


def directory(
    agents: tuple[AgentId, ...] = AGENTS, rules: Rules | None = None, wrap_up_s: float = 30.0
) -> Directory:
    """Clients for every policy; Monday at 3 in the night ``CLOSED`` is closed."""
    clients = [
        _client("ring", "ring"),
        _client("greet", "greet", "sound:/greeting"),
        _client("mute", "greet", wrap_up_s=0.0),
        _client(
            "screen",
            "screen",
            "sound:/greeting",
            screening=Screening(
                "sound:/prompt",
                "sound:/recorded",
                "sound:/tone",
                attach=True,
                keys={"1": "pipe burst"},
            ),
        ),
        _client("keys", "screen", screening=Screening("sound:/keys", keys={"1": "urgent"})),
        _client("treat", "greet", "sound:/greeting"),
        _client("treat-ring", "ring"),
        _client("treat-now", "greet", "sound:/greeting"),
        _client("hold", "ring"),
        _client("hold-treat", "greet"),
        _client("closed", "greet", "sound:/x", hours=(OpenSpan(frozenset({6}), 0, 60),)),
    ]
    return Directory(
        clients={client.client_id: client for client in clients},
        dids={
            RING: ClientId("ring"),
            GREET: ClientId("greet"),
            MUTE: ClientId("mute"),
            CLOSED: ClientId("closed"),
            SCREEN: ClientId("screen"),
            KEYS: ClientId("keys"),
            TREAT: ClientId("treat"),
            TREAT_RING: ClientId("treat-ring"),
            TREAT_NOW: ClientId("treat-now"),
            HOLD: ClientId("hold"),
            HOLD_TREAT: ClientId("hold-treat"),
        },
        forwarders={"+49777": ClientId("ring")},
        agents={agent_id: AgentEntry(agent_id, agent_id.title(), "de") for agent_id in agents},
        announcements={**SOUNDS, "unknown_number.de": "sound:/unknown", "tone": "sound:/tone"},
        rules=msgspec.structs.replace(rules or Rules(), clients=CLIENTS),
        outbound=Outbound("+49309999", 10.0),
        wrap_up_s=wrap_up_s,
    )
