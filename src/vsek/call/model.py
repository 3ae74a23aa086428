"""The switchboard's whole live state, and what it knows of clients and agents.

Everything here can be written to a snapshot with ``msgspec`` and read back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from vsek.acd.hours import Closure, DayHours, OpenSpan
from vsek.acd.rules import Action, Rules
from vsek.acd.state import Acd
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId, OfferId
from vsek.domain.numbers import starts
from vsek.domain.outcomes import CALLER_HANGUP, Finding, Outcome, Stage


class Screening(msgspec.Struct, frozen=True):
    """How a client's callers are asked for name and concern before an agent is rung."""

    prompt: str = ""
    """Media URI; empty where the notice asks too."""
    notice: str = ""
    """Media URI; says that what the caller says is recorded. Empty: nobody is recorded."""
    tone: str = ""
    """Media URI; after it the recording begins."""
    attach: bool = False
    """Whether the recording goes to the client with the note."""
    max_s: float = 20.0
    keys: dict[str, str] = {}
    """Keys that the caller may press, and what each stands for."""


class ClientScript(msgspec.Struct, frozen=True):
    """What a call needs to know of its client; a call keeps the one it began with."""

    client_id: ClientId
    name: str
    language: str
    timezone: str
    policy: str
    """``ring``, ``greet`` or ``screen``."""
    greeting: str
    """Media URI (``sound:/…``); empty: no greeting."""
    music: str
    """Music-on-hold class."""
    hours: tuple[OpenSpan, ...] = ()
    """Empty: always open."""
    days: tuple[DayHours, ...] = ()
    """Days with other hours than those; the first that names a day counts."""
    wrap_up_s: float | None = None
    """``None``: as everywhere."""
    screening: Screening | None = None
    """Given where the policy is ``screen``."""
    closures: tuple[Closure, ...] = ()
    """Times in which calls are not taken, whatever the hours say."""
    vip: frozenset[str] = frozenset()
    """Numbers of callers who are served by the client's target for VIPs."""
    known_days: int = 14
    """For how many days the agent is remembered who knows a caller's matter; 0: not at all."""


class AgentEntry(msgspec.Struct, frozen=True):
    """An agent who may sign in."""

    agent_id: AgentId
    name: str
    language: str


class Outbound(msgspec.Struct, frozen=True):
    """How calls leave the house."""

    number: str = ""
    """A number of ours (E.164), shown where the caller dialled none that is; empty: there is
    none."""
    ring_s: float = 20.0
    """How long a client's number is rung, in seconds."""


class Directory(msgspec.Struct, frozen=True):
    """Clients, their numbers, agents and the house's rules, as of one moment."""

    clients: dict[ClientId, ClientScript] = {}
    dids: dict[str, ClientId] = {}
    forwarders: dict[str, ClientId] = {}
    agents: dict[AgentId, AgentEntry] = {}
    announcements: dict[str, str] = {}
    """``closed.de`` → media URI; names as in ``vsek.pbx.announcements``."""
    default_language: str = "de"
    rules: Rules = Rules()
    wrap_up_s: float = 30.0
    note_grace_s: float = 120.0
    outbound: Outbound | None = None
    """``None``: no trunk takes calls from us, and none is forwarded."""


def owner_of(numbers: dict[str, ClientId], number: str) -> ClientId | None:
    """Whose ``number`` is: as it stands, or in a block of numbers that begin alike (``+4930123*``).

    Blocks do not overlap, so any that fits is the one.
    """
    if number in numbers:
        return numbers[number]
    return next((numbers[start] for start in starts(number) if start in numbers), None)


IN_A_GAP: Final = -1
"""Where a cause of Q.850 stands: the leg is gone, and nobody was there to see why."""


class LegStage(StrEnum):
    """An agent's leg: made, ringing, picked up; ``LEAVING`` once we have hung it up."""

    CREATING = "creating"
    DIALLED = "dialled"
    RINGING = "ringing"
    UP = "up"
    LEAVING = "leaving"


class Leg(msgspec.Struct):
    """The channel to one agent's softphone."""

    channel_id: ChannelId
    agent_id: AgentId
    offer_id: OfferId
    stage: LegStage = LegStage.CREATING
    joined: bool = False


class Asking(StrEnum):
    """How far the screening of a caller has come."""

    PROMPT = "prompt"
    NOTICE = "notice"
    """Hears that what is said is recorded."""
    TONE = "tone"
    KEY = "key"
    """Nothing is recorded; the prompt is over and a key may still come."""
    RECORDING = "recording"
    EXAMINING = "examining"
    DONE = "done"


class Screened(msgspec.Struct):
    """What has been found out about a caller."""

    asking: Asking = Asking.PROMPT
    recording: str = ""
    """Name of the stored recording, empty when there is none (any more)."""
    recordings: int = 0
    finding: Finding = Finding.UNKNOWN
    spoken_s: float = 0.0
    key: str = ""
    choice: str = ""
    """What the key stands for."""


class CallingBack(StrEnum):
    """How far the offer to be called back has come."""

    OFFERED = "offered"
    """From the offer on, for as long as the caller waits."""
    NUMBER = "number"
    """The caller hides the number, or has none to be dialled, and keys one in."""
    CONFIRM = "confirm"
    """Hears it digit by digit, and confirms it."""


class Callback(msgspec.Struct):
    """What a caller was offered, and has keyed in."""

    asking: CallingBack = CallingBack.OFFERED
    digits: str = ""
    attempts: int = 0
    """How often the caller was asked for a number."""


class Forward(msgspec.Struct):
    """The channel to a number of the client's own."""

    channel_id: ChannelId
    number: str
    stage: LegStage = LegStage.CREATING
    joined: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """A treatment that waits for the one before it to be over."""

    action: Action
    detail: str


class Call(msgspec.Struct):
    """One call of one caller."""

    call_id: CallId
    channel_id: ChannelId
    script: ClientScript | None
    received_at: float
    caller_number: str
    caller_name: str
    stage: Stage = Stage.ARRIVING
    outcome_if_left: Outcome = Outcome.ABANDONED
    """The outcome should the caller hang up now (or the announcement end)."""
    reason_if_left: str = CALLER_HANGUP
    caller_gone: bool = False
    caller_joined: bool = False
    answer_sent: bool = False
    sound_id: str = ""
    """The playback that the caller hears, empty when none."""
    media: str = ""
    """Media URI, or several with commas between them, of the last one."""
    sounds: int = 0
    briefing_id: str = ""
    """The playback that the agent hears before being joined, empty when none."""
    screened: Screened | None = None
    did: str = ""
    """The number at which the call arrived."""
    wanted: list[Wanted] = []
    callback: Callback | None = None
    """Given once the caller was offered to be called back."""
    message: str = ""
    """Name of the recording with the caller's message, once it has begun."""
    forwards: dict[ChannelId, Forward] = {}
    forward_id: ChannelId | None = None
    """The client's number that rings now, later the one that the caller talks with."""
    dialled: tuple[str, ...] = ()
    """Numbers of the client's that were rung for this call: once each."""
    bridge_id: str = ""
    bridges: int = 0
    """How many were made for it."""
    legs: dict[ChannelId, Leg] = {}
    leg_id: ChannelId | None = None
    """The leg of the current offer, later of the agent who talks."""
    agent_id: AgentId | None = None
    """The agent who took the call."""
    answered_at: float | None = None
    waited_s: float = 0.0
    """How long the call waited for the agent who took it, in seconds."""
    expected_s: float | None = None
    """How long that was expected to take, when the call began to wait."""
    caller_key: str = ""
    """By which the caller is told who calls again soon; empty: not at all."""
    place: float | None = None
    """The arrival that counts (Unix seconds), once it was queued: earlier than ``received_at`` for
    one who calls again soon."""
    known: tuple[AgentId, ...] = ()
    """Agents who know the matter, the best first."""
    sure: bool = False
    """The caller was recognised for certain."""
    offers: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        """Runs after decoding, too: calls of earlier versions did not count their one bridge."""
        if not self.bridges and (self.bridge_id or self.offers or self.dialled):
            self.bridges = 1

    @property
    def leg(self) -> Leg | None:
        """The current leg."""
        return self.legs.get(self.leg_id) if self.leg_id is not None else None

    @property
    def forward(self) -> Forward | None:
        """The client's number that rings, or is talked with, now."""
        return self.forwards.get(self.forward_id) if self.forward_id is not None else None


class State(msgspec.Struct):
    """All live state. One owner mutates it, through :func:`vsek.call.decide.decide` only."""

    acd: Acd
    directory: Directory = Directory()
    calls: dict[CallId, Call] = {}
    channels: dict[ChannelId, CallId] = {}
    """Callers' channels and agents' legs that Asterisk has, or is about to have."""
    timers: dict[str, tuple[int, float]] = {}
    """Armed timers: name → (generation, deadline in Unix seconds)."""
    timers_made: int = 0
    told: dict[ChannelId, CallId] = {}
    """Callers' channels of which the ledger told last, so that nobody is told of twice."""


def new_state() -> State:
    """The state of a switchboard that has never seen a call."""
    return State(acd=Acd())
