"""What is to be done: the outputs of :func:`vsek.call.decide.decide`, in order.

Commands name their ids, so that sending one twice is harmless. A command may get lost (the
connection, the process); then :class:`vsek.call.events.Reconciled` brings state and world together
again.
"""

from __future__ import annotations

import msgspec

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.domain.records import CallClosed, CallOpened, CallStep, NoteDueMoved, RecordingMade


class Command(msgspec.Struct, frozen=True, tag=True):
    """Something that Asterisk is to do. Commands of one lane are carried out in order."""

    call_id: CallId
    channel_id: ChannelId

    @property
    def lane(self) -> str:
        """The lane: everything of a call that is not about an agent's leg stays in one."""
        return self.call_id


class Answer(Command, frozen=True, tag=True):
    """Answer the caller."""


class Ring(Command, frozen=True, tag=True):
    """Let the caller hear that it rings."""


class Play(Command, frozen=True, tag=True):
    """Play ``media`` (an URI) to the caller under the id ``sound_id``."""

    sound_id: str
    media: str


class StopSound(Command, frozen=True, tag=True):
    """Stop a playback."""

    sound_id: str


class Record(Command, frozen=True, tag=True):
    """Record the caller under the name ``recording`` until ``silence_s`` seconds of silence, or for
    ``max_s`` seconds."""

    recording: str
    max_s: float
    silence_s: float = 3.0


class StopRecording(Command, frozen=True, tag=True):
    """End a recording and keep it."""

    recording: str


class DropRecording(Command, frozen=True, tag=True):
    """Delete a stored recording."""

    recording: str


class Examine(msgspec.Struct, frozen=True, tag=True):
    """Find out what is to be heard in a recording; the answer is ``Examined``."""

    call_id: CallId
    recording: str


class StartMusic(Command, frozen=True, tag=True):
    """Music on hold of the class ``music``."""

    music: str


class StopMusic(Command, frozen=True, tag=True):
    """End the music on hold."""


class LegCommand(Command, frozen=True, tag=True):
    """A command about an agent's leg: it has its own lane, an unanswered leg waits for nobody."""

    @property
    def lane(self) -> str:
        """The leg's own lane."""
        return self.channel_id


class CreateLeg(LegCommand, frozen=True, tag=True):
    """Make a channel to an agent's softphone, without ringing it yet."""

    agent_id: AgentId
    caller_channel_id: ChannelId
    shown_number: str
    shown_name: str


class CreateForward(LegCommand, frozen=True, tag=True):
    """Make a channel to ``number`` (E.164) on a trunk, without ringing it yet. ``shown_number`` is
    ours."""

    number: str
    caller_channel_id: ChannelId
    shown_number: str


class Dial(LegCommand, frozen=True, tag=True):
    """Ring the agent, or the number. ``timeout_s`` only guards against a lost command; a timer of
    ours decides."""

    timeout_s: float


class Brief(LegCommand, frozen=True, tag=True):
    """Play ``media`` to the agent alone, under the id ``sound_id``."""

    sound_id: str
    media: str


class StopBriefing(LegCommand, frozen=True, tag=True):
    """The agent has heard enough."""

    sound_id: str


class HangupLeg(LegCommand, frozen=True, tag=True):
    """End an agent's leg, or the one to a client's number."""

    reason: str


class CreateBridge(Command, frozen=True, tag=True):
    """Make the bridge in which the caller and an agent talk."""

    bridge_id: str


class Join(Command, frozen=True, tag=True):
    """Put the caller and the agent's leg into the bridge."""

    bridge_id: str
    leg_id: ChannelId


class DestroyBridge(Command, frozen=True, tag=True):
    """Remove the bridge."""

    bridge_id: str


class Hangup(Command, frozen=True, tag=True):
    """End the caller's channel."""

    reason: str


class HangupStray(Command, frozen=True, tag=True):
    """End a channel of ours that belongs to no call any more."""


Effect = (
    Answer
    | Ring
    | Play
    | StopSound
    | Record
    | StopRecording
    | DropRecording
    | Examine
    | StartMusic
    | StopMusic
    | CreateLeg
    | CreateForward
    | Dial
    | Brief
    | StopBriefing
    | HangupLeg
    | CreateBridge
    | Join
    | DestroyBridge
    | Hangup
    | HangupStray
    | SetTimer
    | CancelTimer
    | AgentChanged
    | CallOpened
    | CallStep
    | CallClosed
    | NoteDueMoved
    | RecordingMade
)
