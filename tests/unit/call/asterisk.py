"""A small model of Asterisk, of callers' lines and of agents' phones.

It carries out commands and reports events, as far as call scripts can tell it from the real one:
ids are chosen by the client, what is gone answers 404, replies and events are not ordered against
each other. What it takes for granted is tried against the real one in
``tests/integration/embedded/test_assumptions.py``. Nothing moves by itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.unit.call.book import BUSY_LINE

from vsek.call import effects as do
from vsek.call import events as ev
from vsek.domain.ids import OURS, RECORDINGS, AgentId, CallId, ChannelId
from vsek.domain.ledger import Served


@dataclass
class Channel:
    """``jobs`` are playbacks and recordings in their order: a channel does one after the other,
    and nothing else meanwhile. ``did`` is what a caller dialled, ``shown`` the caller's number,
    ``number`` what we dialled."""

    state: str
    agent: AgentId | None = None
    number: str = ""
    did: str = ""
    shown: str = ""
    dialled: bool = False
    ringback: bool = False
    music: str = ""
    jobs: list[str] = field(default_factory=list)
    bridge: str = ""
    fallback: bool = False
    heard: bool = False
    message: str = ""
    began_at: float = 0.0

    @property
    def is_caller(self) -> bool:
        """Neither an agent nor a client's number."""
        return self.agent is None and not self.number

    @property
    def sounds(self) -> list[str]:
        """Playbacks, the one that runs first."""
        return [job for job in self.jobs if job.startswith(OURS)]

    @property
    def recording(self) -> str:
        """The recording that runs."""
        return self.jobs[0] if self.jobs and self.jobs[0].startswith(RECORDINGS) else ""


def call_of(job: str) -> CallId:
    """The call of a playback or a recording."""
    return CallId(job.removeprefix(OURS).removeprefix(RECORDINGS).rpartition("-")[0])


class Asterisk:
    """Channels, bridges, playbacks, recordings, and the dialplan's ledger."""

    def __init__(self) -> None:
        self.channels: dict[ChannelId, Channel] = {}
        self.bridges: dict[str, list[ChannelId]] = {}
        self.dissolving: set[str] = set()
        """Bridges that are not there any more; their names are, for as long as Asterisk likes."""
        self.registered: set[AgentId] = set()
        self.stored: set[str] = set()
        self.media: dict[str, str] = {}
        """What the playbacks play."""
        self.ledger: list[ev.LedgerTold] = []
        self.events: deque[ev.Event] = deque()
        self.listening = True
        self.now = 0.0
        self.calls = 0
        self.losses = 0
        self.unheard: set[ChannelId] = set()
        """Whose end was told by the ledger alone."""
        self.waited_for: set[str] = set()
        """Sounds whose end a join had to wait for; all of that connection waited with it."""

    def report(self, event: ev.Event) -> None:
        if self.listening:
            self.events.append(event)

    # People

    def call(self, did: str, caller_number: str = "", **more: Any) -> ChannelId:
        self.calls += 1
        channel_id = ChannelId(f"1700000000.{self.calls}")
        self.channels[channel_id] = Channel("Ring", did=did, shown=caller_number, began_at=self.now)
        self.report(self.arrival(CallId(f"k{self.calls}"), channel_id, **more))
        return channel_id

    def arrival(self, call_id: CallId, channel_id: ChannelId, **more: Any) -> ev.CallArrived:
        """What the dialplan tells of a caller who is there."""
        channel = self.channels[channel_id]
        return ev.CallArrived(call_id, channel_id, (channel.did,), channel.shown, **more)

    def ring(self, channel_id: ChannelId) -> None:
        self.channels[channel_id].state = "Ringing"
        self.report(ev.ChannelRinging(channel_id))

    def pick_up(self, channel_id: ChannelId) -> None:
        self.channels[channel_id].state = "Up"
        self.report(ev.ChannelUp(channel_id))

    def press(self, channel_id: ChannelId, key: str) -> None:
        if not self.channels[channel_id].fallback:
            self.report(ev.KeyPressed(channel_id, key))

    def end(self, channel_id: ChannelId, cause: int = 16) -> None:
        channel = self.channels.pop(channel_id)
        if channel.bridge:
            self.bridges[channel.bridge].remove(channel_id)
        if channel.is_caller:
            self._write_ledger(channel_id, channel)
        # The request to hang up is what is taken for the end, so it comes before the rest.
        if channel.fallback:
            self.unheard.add(channel_id)
        else:
            self.report(ev.ChannelGone(channel_id, cause))
        for job in channel.jobs:
            self._job_done(job)

    def _write_ledger(
        self, channel_id: ChannelId, channel: Channel, served: Served = Served.VSEK
    ) -> None:
        call_id = CallId(f"l{channel_id.rpartition('.')[2]}")
        if channel.fallback and served is Served.VSEK:
            served = Served.FALLBACK
        self.ledger.append(
            ev.LedgerTold(
                ev.CallArrived(call_id, channel_id, (channel.did,), channel.shown),
                channel.began_at,
                self.now,
                served,
                channel.heard,
                channel.message,
            )
        )
        if channel.message:
            self.stored.add(channel.message)

    def divert(self, channel_id: ChannelId) -> None:
        """The dialplan takes a caller who waits."""
        channel = self.channels[channel_id]
        assert not channel.bridge
        channel.fallback = True
        for job in channel.jobs:
            self._job_done(job)
        channel.jobs.clear()
        channel.music = ""
        self.report(ev.CallerDiverted(channel_id))

    def leave_message(self, channel_id: ChannelId) -> None:
        """A caller speaks to the fallback."""
        channel = self.channels[channel_id]
        channel.heard = True
        channel.message = f"{RECORDINGS}fallback-{channel_id}"

    def sound_ends(self, channel_id: ChannelId) -> None:
        """What runs first on the channel comes to its end."""
        self._job_done(self.channels[channel_id].jobs.pop(0))

    def _job_done(self, job: str) -> None:
        if job.startswith(RECORDINGS):
            self.stored.add(job)
            self.report(ev.RecordingDone(job, call_of(job)))
        else:
            self.report(ev.SoundDone(job, call_of(job)))

    def restart(self) -> None:
        """Everything is gone, and nobody was told. The ledger has no end of those calls."""
        for channel_id, channel in self.channels.items():
            if channel.is_caller:
                self._write_ledger(channel_id, channel, Served.NOBODY)
        self.channels.clear()
        self.bridges.clear()
        self.dissolving.clear()
        self.events.clear()

    # Commands

    def execute(self, command: do.Command) -> int:
        """Carry it out; the status of the reply."""
        match command:
            case do.CreateLeg() | do.CreateForward():
                return self._create(command)
            case do.CreateBridge():
                if command.bridge_id in self.bridges or command.bridge_id in self.dissolving:
                    return 409
                self.bridges[command.bridge_id] = []
                return 200
            case do.DestroyBridge():
                return self._destroy(command.bridge_id)
            case do.StopSound() | do.StopBriefing():
                return self._stop(command.sound_id)
            case do.StopRecording():
                return self._stop(command.recording)
            case do.DropRecording():
                there = command.recording in self.stored
                self.stored.discard(command.recording)
                return 204 if there else 404
        channel = self.channels.get(command.channel_id)
        if channel is None:
            return 404
        if isinstance(command, do.Hangup | do.HangupLeg | do.HangupStray):
            self.end(command.channel_id)
            return 204
        return 409 if channel.fallback else self._on_channel(command, channel)

    def _on_channel(self, command: do.Command, channel: Channel) -> int:
        match command:
            case do.Answer():
                channel.state, channel.ringback = "Up", False
            case do.Ring():
                channel.ringback = True
            case do.Play() | do.Brief():
                # The same id twice: it would be heard twice.
                channel.jobs.append(command.sound_id)
                channel.music = ""
                self.media[command.sound_id] = command.media
            case do.Record():
                if command.recording in channel.jobs:
                    return 409
                channel.jobs.append(command.recording)
                channel.music = ""
            case do.StartMusic():
                channel.music = command.music
            case do.StopMusic():
                channel.music = ""
            case do.Dial():
                return self._dial(command.channel_id, channel)
            case do.Join():
                return self._join(command)
            case _:
                raise TypeError(command)
        return 204

    def _create(self, command: do.CreateLeg | do.CreateForward) -> int:
        if command.channel_id in self.channels:
            return 409
        if isinstance(command, do.CreateForward):
            self.channels[command.channel_id] = Channel("Down", number=command.number)
        elif command.agent_id not in self.registered:
            return 500
        else:
            self.channels[command.channel_id] = Channel("Down", command.agent_id)
        self.report(ev.LegReady(command.channel_id))
        return 200

    def _destroy(self, bridge_id: str) -> int:
        members = self.bridges.pop(bridge_id, None)
        self.dissolving.add(bridge_id)
        for member in members or ():
            self.channels[member].bridge = ""
        return 404 if members is None else 204

    def _dial(self, channel_id: ChannelId, channel: Channel) -> int:
        if channel.state != "Down":
            return 409
        # It would end then, as if somebody had hung it up.
        assert not channel.dialled, "a second INVITE in the same dialogue"
        channel.dialled = True
        if channel.number == BUSY_LINE:
            self.end(channel_id, 17)
        elif channel.agent not in self.registered and not channel.number:
            self.end(channel_id, 20)
        return 204

    def _join(self, command: do.Join) -> int:
        if command.bridge_id not in self.bridges:
            return 404
        both = (command.channel_id, command.leg_id)
        if any(channel_id not in self.channels for channel_id in both):
            return 400
        if any(self.channels[channel_id].recording for channel_id in both):
            return 409
        for channel_id in both:
            channel = self.channels[channel_id]
            while channel.jobs:
                self.waited_for.add(channel.jobs[0])
                self.sound_ends(channel_id)
            if channel.bridge:
                self.bridges[channel.bridge].remove(channel_id)
            channel.bridge = command.bridge_id
            self.bridges[command.bridge_id].append(channel_id)
            self.report(ev.Joined(channel_id))
        return 204

    def _stop(self, job: str) -> int:
        if "-b" in job:
            # Was on its way in another lane, and that was all that the join waited for.
            self.waited_for.discard(job)
        for channel in self.channels.values():
            if job in channel.jobs:
                channel.jobs.remove(job)
                self._job_done(job)
                return 204
        return 404

    def picture(self) -> ev.Reconciled:
        jobs = [job for channel in self.channels.values() for job in channel.jobs]
        return ev.Reconciled(
            {channel_id: channel.state for channel_id, channel in self.channels.items()},
            {bridge_id: tuple(members) for bridge_id, members in self.bridges.items()},
            tuple(job for job in jobs if job.startswith(OURS)),
            tuple(job for job in jobs if job.startswith(RECORDINGS)),
            tuple(channel_id for channel_id, c in self.channels.items() if c.fallback),
            tuple(
                channel_id
                for channel_id, c in self.channels.items()
                if not c.is_caller and c.state == "Down" and not c.dialled
            ),
        )
