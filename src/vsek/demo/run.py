"""``vsek demo``: the whole system at work on real parts, in under a minute.

A private vsek comes up in the run folder, takes over three clients and two agents, and gets four
forwarded calls from SIPp. Two softphones take them as agents would: pick up, talk, hang up, write
the note, be ready again. Every mail is shown as it arrives at an SMTP server on loopback, every
call with its timeline as the database has it. The result is good (exit code 0) only if each call
has the outcome that it must have and the mail server accepted its note.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vsek.demo import g711, ledger
from vsek.demo.events import eventually
from vsek.demo.mailbox import Mail, Mailbox
from vsek.demo.rtp import RtpSession
from vsek.demo.scenes import AGENTS, CLIENTS, SCENES, DemoAgent, Scene
from vsek.demo.sipp import SippCall
from vsek.demo.softphone import PhoneCall, Softphone
from vsek.demo.stack import Stack
from vsek.domain.note import Language
from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.embedded import packages
from vsek.errors import ServiceError, VsekError
from vsek.pbx.sounds import SoundWorkshop

_SETTINGS = {"VSEK_CALLS__WRAP_UP_S": "3", "VSEK_CALLS__NOTE_GRACE_S": "5"}
_PICK_UP_S = 0.7
_CALLS_S = 45.0
_NOTES_S = 15.0


@dataclass
class _Played:
    """A scene under way."""

    scene: Scene
    sipp: SippCall
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    agent: str = ""


class Demo:
    """One run. ``say`` shows a line of progress."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.own = folder / "demo"
        self.mailbox = Mailbox(self.own / "mails")
        self.played: dict[str, _Played] = {}
        self.troubles: list[str] = []
        self._say = say
        self._began = time.monotonic()
        self._secrets: dict[str, str] = {}
        self._workshop = SoundWorkshop(packages.find_tool)

    def tell(self, text: str) -> None:
        """Shows ``text`` with the seconds since the beginning."""
        self._say(f"{time.monotonic() - self._began:5.1f} s  {text}")

    async def run(self) -> dict[str, Any]:
        """Plays everything; returns the document that ``--json`` prints."""
        await self._fetch_programs()
        self._began = time.monotonic()
        async with AsyncExitStack() as exits:
            await self.mailbox.start()
            exits.push_async_callback(self.mailbox.stop)
            self.tell(f"mail server listens at {self.mailbox.address}")
            stack = await self._start_stack(exits)
            phones = await self._start_phones(stack, exits)
            mails = asyncio.create_task(self._show_mails(), name="demo-mails")
            agents = [
                asyncio.create_task(self._work(stack, agent, phone), name=f"demo-{agent.id}")
                for agent, phone in phones
            ]
            exits.push_async_callback(_end, [mails, *agents])
            try:
                async with asyncio.timeout(_CALLS_S):
                    await self._play(stack, exits)
            except TimeoutError:
                self.troubles.append(f"The calls were not over after {_CALLS_S:g} s")
            calls = await self._wait_for_notes(stack)
        return self._document(calls)

    # -- preparing ---------------------------------------------------------------------------

    async def _fetch_programs(self) -> None:
        for group in ("servers", "speech", "peers"):
            await asyncio.to_thread(packages.ensure, [group], progress=self._say)

    async def _start_stack(self, exits: AsyncExitStack) -> Stack:
        self.tell("Asterisk, PostgreSQL, switchboard and note service are starting …")
        starting = asyncio.create_task(
            Stack.start(self.folder, smtp=self.mailbox.address, environment=_SETTINGS),
            name="demo-stack",
        )
        try:
            for agent in AGENTS:
                await self._speak(agent.voice, "de", agent.id)
            for scene in SCENES:
                if scene.voice:
                    await self._speak(scene.voice, scene.language, _name(scene))
        except BaseException:
            await _end([starting])
            raise
        stack = await starting
        exits.push_async_callback(stack.stop)
        self.tell(f"callers can call (SIP at {stack.sip[0]}:{stack.sip[1]})")
        clients = self.own / "clients.yaml"
        await asyncio.to_thread(clients.write_text, CLIENTS)
        await stack.cli("client", "import", clients)
        self.tell("three clients imported (vsek client import)")
        return stack

    async def _speak(self, text: str, language: Language, name: str) -> None:
        wanted = WantedSound(Sound(text=text), language)
        wav = await self._workshop.make(wanted)
        await asyncio.to_thread((self.own / f"{name}.wav").write_bytes, wav)

    async def _start_phones(
        self, stack: Stack, exits: AsyncExitStack
    ) -> list[tuple[DemoAgent, Softphone]]:
        phones = []
        for agent in AGENTS:
            secret = f"demo-secret-of-{agent.id}"
            await stack.cli("agent", "add", agent.id, "--name", agent.name, "--secret", secret)
            phone = Softphone(agent.id, secret, stack.sip, self.own / agent.id)
            await phone.start(voice=self.own / f"{agent.id}.wav")
            exits.push_async_callback(phone.stop)
            phones.append((agent, phone))

        async def ready() -> bool | None:
            states = {agent["state"] for agent in (await stack.agents()).values()}
            return True if states == {"ready"} else None

        await eventually(ready, "both agents ready")
        names = " and ".join(agent.name for agent in AGENTS)
        self.tell(f"{names} have registered their softphones (baresip) and are ready")
        return phones

    # -- the calls ---------------------------------------------------------------------------

    async def _play(self, stack: Stack, exits: AsyncExitStack) -> None:
        answered, other, abandoned, forwarded = SCENES
        first = await self._dial(stack, answered, exits)
        await first.connected.wait()
        second = await self._dial(stack, other, exits)
        await second.connected.wait()
        third = await self._dial(stack, abandoned, exits)
        await third.sipp.done()
        fourth = await self._dial(stack, forwarded, exits)
        for played in (first, second, fourth):
            await played.sipp.done()
        self.tell("all four calls are over")

    async def _dial(self, stack: Stack, scene: Scene, exits: AsyncExitStack) -> _Played:
        media = await RtpSession.open()
        folder = self.own / "calls" / _name(scene)
        sipp = await SippCall.place(stack.sip, scene.dial, scene.plan, folder, media=media)
        played = _Played(scene, sipp)
        self.played[scene.dial.caller] = played
        exits.push_async_callback(self._close_call, played, folder)
        via = f", forwarded by {scene.dial.diversion[0]}" if scene.dial.diversion else ""
        who = scene.dial.name or scene.dial.caller
        self.tell(f"{who} calls {scene.dial.number}{via}")
        return played

    async def _close_call(self, played: _Played, folder: Path) -> None:
        await played.sipp.stop()
        assert played.sipp.media is not None
        await asyncio.to_thread(played.sipp.media.save, folder / "heard-by-caller.wav")

    async def _work(self, stack: Stack, agent: DemoAgent, phone: Softphone) -> None:
        """An agent's day: one call after the other."""
        while True:
            call = await phone.ring(timeout_s=3600.0)
            self.tell(f"{agent.name}'s phone rings: {call.peer_name or call.peer}")
            try:
                await self._take(stack, agent, call)
            except VsekError as error:
                self.troubles.append(f"{agent.name}: {error}")
                self.tell(f"{agent.name}: {error}")

    async def _take(self, stack: Stack, agent: DemoAgent, ringing: PhoneCall) -> None:
        await asyncio.sleep(_PICK_UP_S)
        if ringing.closed:
            return
        await ringing.answer()

        async def mine() -> dict[str, Any] | None:
            live = await stack.calls()
            return next((c for c in live if c["agent_id"] == agent.id), None)

        call = await eventually(mine, f"the call that {agent.name} took")
        played = self.played[call["caller_number"]]
        played.agent = agent.id
        played.connected.set()
        scene = played.scene
        self.tell(f"{agent.name} talks with {scene.dial.name or scene.dial.caller}")
        media = played.sipp.media
        if media is not None and scene.voice:
            media.play(_samples(self.own / f"{_name(scene)}.wav"))
        await asyncio.sleep(scene.talk_s)
        if not ringing.closed:
            await ringing.hang_up()
        await stack.notes.write_draft(call["id"], scene.note, finish=True)
        await stack.control("POST", f"/v1/agents/{agent.id}/ready")
        self.tell(f"{agent.name} has written the note and is ready again")

    # -- what became of them -----------------------------------------------------------------

    async def _show_mails(self) -> None:
        shown = 0
        while True:
            mail = await self.mailbox.mails.wait(
                lambda _: True, "a mail", timeout_s=3600.0, after=shown
            )
            shown += 1
            self.tell(f"e-mail arrived for {', '.join(mail.recipients)}")
            for line in (f"Subject: {mail.subject}", "", *mail.text.strip().splitlines()):
                self._say(f"         | {line}".rstrip())

    async def _wait_for_notes(self, stack: Stack) -> list[dict[str, Any]]:
        async def done() -> list[dict[str, Any]] | None:
            calls = await ledger.read(stack.dsn)
            finished = len(calls) >= len(SCENES) and all(map(ledger.delivered, calls))
            return calls if finished else None

        try:
            return await eventually(done, "an accepted note for each call", timeout_s=_NOTES_S)
        except ServiceError as error:
            self.troubles.append(str(error))
            return await ledger.read(stack.dsn)

    def _document(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        for scene in SCENES:
            call = next((c for c in calls if c["caller_number"] == scene.dial.caller), None)
            self.troubles += _faults(scene, call)
            if not any(scene.mailbox in mail.recipients for mail in self.mailbox.mails):
                self.troubles.append(f"Call {scene.title!r}: no mail to {scene.mailbox}")
        if len(calls) != len(SCENES):
            self.troubles.append(f"{len(calls)} calls instead of {len(SCENES)}")
        return {
            "ok": not self.troubles,
            "troubles": self.troubles,
            "seconds": round(time.monotonic() - self._began, 1),
            "dir": str(self.folder),
            "calls": calls,
            "mails": [_mail(mail) for mail in self.mailbox.mails],
        }


def _faults(scene: Scene, call: dict[str, Any] | None) -> list[str]:
    """What is wrong with what became of a scene."""
    title = f"Call {scene.title!r}"
    if call is None:
        return [f"{title} is not in the database"]
    wanted = {"client_id": scene.client, "outcome": scene.outcome}
    if scene.stage:
        wanted["stage"] = scene.stage
    faults = [
        f"{title}: {name} is {call[name]!r} instead of {value!r}"
        for name, value in wanted.items()
        if call[name] != value
    ]
    if not ledger.delivered(call):
        faults.append(f"{title}: no note was accepted by the mail server")
    return faults


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels what still runs, and waits for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _name(scene: Scene) -> str:
    return f"{SCENES.index(scene) + 1}-{scene.client}"


def _samples(path: Path) -> array[int]:
    return g711.read_wav(path)


def _mail(mail: Mail) -> dict[str, Any]:
    return {
        "recipients": list(mail.recipients),
        "subject": mail.subject,
        "text": mail.text,
        "message_id": str(mail.message["Message-ID"] or ""),
        "file": str(mail.file),
    }


def timeline(call: dict[str, Any]) -> list[str]:
    """A call as lines for people; times are seconds since it came in."""
    began: datetime = call["received_at"]
    who = call["caller_name"] or call["caller_number"] or "unknown caller"
    stage = f" in stage {call['stage']}" if call["outcome"] == "abandoned" else ""
    client, outcome = call["client_id"] or "no client", call["outcome"] or "no outcome"
    lines = [f"{call['id']}  {who} → {client}  {outcome}{stage}"]
    for step in call["steps"]:
        detail = "  ".join(f"{name} {value}" for name, value in step["detail"].items() if value)
        after = (step["at"] - began).total_seconds()
        lines.append(f"  {after:7.3f} s  {step['kind']:<16} {detail}".rstrip())
    for note in call["notes"]:
        reached = ", ".join(f"{d['email']} {d['status']}" for d in note["deliveries"])
        lines.append(f"     note: {note['subject']}  ({reached})")
    return lines


def _show(document: dict[str, Any], say: Callable[[str], None]) -> None:
    folder = Path(document["dir"])
    say("")
    for call in document["calls"]:
        for line in timeline(call):
            say(line)
        say("")
    say("Where everything lies:")
    for path, what in (
        (folder / "demo" / "mails", "the e-mails as they arrived (.eml)"),
        (folder / "demo" / "calls", "what each caller heard (heard-by-caller.wav), SIPp's logs"),
        (folder / "demo" / "anna", "what the agents heard (heard-….wav), softphone logs"),
        (folder / "demo" / "clients.yaml", "the clients"),
        (folder / "log", "logs of all servers"),
    ):
        say(f"  {path}  {what}")
    say("")
    for trouble in document["troubles"]:
        say(f"NOT GOOD: {trouble}")
    verdict = "Every call has its outcome and its note was accepted"
    if not document["ok"]:
        verdict = "The demo did not go as it must"
    say(f"{verdict} ({document['seconds']:g} s).")


async def run_demo(folder: Path, *, json_out: bool = False) -> int:
    """Plays the demo in ``folder``; returns the exit code. With ``json_out`` stdout gets one JSON
    document (``calls``, ``mails``, ``ok``, ``troubles``, ``seconds``, ``dir``) and nothing else.

    Raises ``VsekError`` when something could not even be started.
    """
    stream = sys.stderr if json_out else sys.stdout

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    (folder / "demo").mkdir(parents=True, exist_ok=True)
    playing = asyncio.create_task(Demo(folder, say).run(), name="demo")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, playing.cancel)
    try:
        await asyncio.wait([playing])
    finally:
        await _end([playing])
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if playing.cancelled():
        raise ServiceError("The demo was told to stop")
    document = playing.result()
    if json_out:
        print(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))
    else:
        _show(document, say)
    return 0 if document["ok"] else 1


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
