"""An agent's softphone: a real baresip, told what to do over its control port.

Theory of operation. baresip runs in a folder of its own with a configuration that we write:
loopback only, no sound card. It speaks from a WAV file (module ``aufile``) and writes what it
hears into another; the player is chosen when a call begins to ring, so its file has a fixed name
and is renamed after the call when that is closed. ``ctrl_tcp`` carries JSON in netstrings both
ways: commands with a token and their responses, and an event for whatever happens. The account is
added by a command after the control connection stands, so that no event is missed.

baresip 1.1 refuses a ringing call with 486 and knows no other code.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsek.demo import g711
from vsek.demo.events import EventLog, eventually
from vsek.demo.processes import Program
from vsek.demo.tools import baresip
from vsek.embedded.ports import free_port
from vsek.errors import InputError, ServiceError

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{sip_port}
net_interface 127.0.0.1
call_max_calls 8
call_hold_other_calls no
audio_path {folder}/none
audio_source aufile,voice.wav
audio_player aufile,heard.wav
audio_alert aufile,alert.wav
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
rtp_ports 20000-31999
jitter_buffer_type fixed
jitter_buffer_delay 2-10
module_path {modules}
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control_port}
"""


_PAUSE_S = 1
_VOICE_S = 600
"""baresip hangs up when its voice comes to an end."""


@dataclass(frozen=True)
class PhoneEvent:
    """An event of baresip, ``at`` monotonic seconds; ``kind`` is its name, ``CALL_INCOMING``…"""

    at: float
    kind: str
    call: str = ""
    peer: str = ""
    peer_name: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.peer} {self.detail}".strip()


def check_account(name: str, secret: str) -> None:
    """Raises ``InputError`` for a name or secret that would mean something in a configuration."""
    for field, text in (("name", name), ("secret", secret)):
        if not re.fullmatch(r"[A-Za-z0-9_.~-]+", text):
            raise InputError(
                f"A softphone's {field} has letters, digits and _ . ~ - only",
                field=field,
                value=text,
            )


class PhoneCall:
    """A call at a softphone, from its ringing on."""

    def __init__(self, phone: Softphone, event: PhoneEvent) -> None:
        self.phone = phone
        self.id = event.call
        self.rang_at = event.at
        self.peer = event.peer
        """URI of the caller as the phone shows it."""
        self.peer_name = event.peer_name

    @property
    def heard(self) -> Path:
        """What the agent heard: a WAV file, there when an answered call is closed."""
        return self.phone.folder / f"heard-{self.id}.wav"

    async def answer(self, *, timeout_s: float = 10.0) -> PhoneEvent:
        """Picks up and waits until the call stands."""
        await self.phone.command("accept", self.id)
        return await self.wait("CALL_ESTABLISHED", timeout_s=timeout_s)

    async def refuse(self) -> PhoneEvent:
        """Rejects the ringing call (486)."""
        return await self.hang_up()

    async def hang_up(self) -> PhoneEvent:
        """Ends the call, or rejects it while it rings."""
        await self.phone.command("hangup", self.id)
        return await self.wait_closed()

    async def wait(self, kind: str, *, timeout_s: float = 10.0) -> PhoneEvent:
        """Waits for an event of this call."""
        return await self.phone.events.wait(
            lambda e: e.kind == kind and e.call == self.id, kind, timeout_s=timeout_s
        )

    async def wait_closed(self, *, timeout_s: float = 10.0) -> PhoneEvent:
        """Waits for the end, whoever brought it about."""
        return await self.wait("CALL_CLOSED", timeout_s=timeout_s)

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return any(e.kind == "CALL_CLOSED" and e.call == self.id for e in self.phone.events)


class Softphone:
    """A baresip registered as one agent."""

    def __init__(self, name: str, secret: str, server: tuple[str, int], folder: Path) -> None:
        """``folder`` is made; it gets configuration, log and recordings."""
        check_account(name, secret)
        self.name = name
        self.secret = secret
        self.server = server
        self.folder = folder
        self.events: EventLog[PhoneEvent] = EventLog(f"softphone {name}")
        self._taken = 0
        self._talking = ""
        self._program: Program | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._tokens = itertools.count(1)
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    # -- life --------------------------------------------------------------------------------

    async def start(self, *, voice: Path | None = None, register: bool = True) -> None:
        """Starts baresip; ``voice`` (8 kHz mono WAV) is what the agent says in every call."""
        tool, modules = baresip()
        self.folder.mkdir(parents=True, exist_ok=True)
        control_port = free_port()
        (self.folder / "config").write_text(
            _CONFIG.format(
                sip_port=free_port(),
                control_port=control_port,
                folder=self.folder,
                modules=modules,
            )
        )
        for name in ("accounts", "contacts"):
            (self.folder / name).write_text("")
        self._program = await Program.start(
            f"baresip {self.name}",
            [*tool, "-f", self.folder],
            folder=self.folder,
            log=self.folder / "baresip.log",
        )
        try:
            await self._connect(control_port)
            if voice is not None:
                self.speak(voice)
            if register:
                await self.register()
        except BaseException:
            await self.kill()
            raise

    async def _connect(self, port: int) -> None:
        program = self._program
        assert program is not None

        async def attempt() -> bool | None:
            if program.returncode is not None:
                raise ServiceError(f"{program.name} ended at its start:\n{program.log_tail()}")
            try:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return None
            return True

        await eventually(attempt, f"{program.name}'s control port", timeout_s=10.0)
        self._task = asyncio.create_task(self._read(), name=f"softphone-{self.name}")

    async def register(self, *, timeout_s: float = 10.0) -> PhoneEvent:
        """Registers and waits until the server has accepted.

        Raises ``ServiceError`` with the server's answer when it refuses.
        """
        seen = len(self.events)
        host, port = self.server
        await self.command(
            "uanew",
            f"<sip:{self.name}@{host}:{port};transport=udp>;auth_user={self.name};"
            f"auth_pass={self.secret};audio_codecs=pcma;regint=120;mwi=no",
        )
        event = await self.events.wait(
            lambda e: e.kind in ("REGISTER_OK", "REGISTER_FAIL"),
            "an answer to the registration",
            timeout_s=timeout_s,
            after=seen,
        )
        if event.kind == "REGISTER_FAIL":
            raise ServiceError(f"Softphone {self.name}: registration refused: {event.detail}")
        return event

    async def unregister(self) -> None:
        """Takes the registration away; the phone itself stays on."""
        seen = len(self.events)
        await self.command("uadelall")
        await self.events.wait(lambda e: e.kind == "UNREGISTERING", "unregistering", after=seen)

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        return self._program is not None and self._program.returncode is None

    async def stop(self) -> None:
        """Hangs up, unregisters and ends the program."""
        program = self._program
        if program is None:
            return
        # SIGTERM makes baresip hang up, unregister and wait for the answers.
        await program.stop(number=signal.SIGTERM, grace_s=4.0)
        await self._closed()

    async def kill(self) -> None:
        """Ends the program without a goodbye, as a power cut would."""
        if self._program is not None:
            await self._program.stop(number=signal.SIGKILL)
        await self._closed()

    async def _closed(self) -> None:
        self._program = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.events.close("the phone has ended")

    # -- calls -------------------------------------------------------------------------------

    def speak(self, voice: Path) -> None:
        """What the agent says in a call, over and over: ``voice`` (8 kHz mono WAV)."""
        samples = g711.read_wav(voice)
        samples.frombytes(bytes(2 * _PAUSE_S * g711.RATE))
        g711.write_wav(
            self.folder / "voice.wav", samples * (_VOICE_S * g711.RATE // len(samples) + 1)
        )

    async def ring(self, *, timeout_s: float = 10.0) -> PhoneCall:
        """The next call that rings here; each call is handed out once."""
        event = await self.events.wait(
            lambda e: e.kind == "CALL_INCOMING",
            "a call",
            timeout_s=timeout_s,
            after=self._taken,
        )
        self._taken = next(i for i, e in enumerate(self.events) if e is event) + 1
        return PhoneCall(self, event)

    @property
    def rings(self) -> list[PhoneEvent]:
        """Every call that ever rang here."""
        return [e for e in self.events if e.kind == "CALL_INCOMING"]

    # -- control connection ------------------------------------------------------------------

    async def command(self, name: str, parameters: str = "", *, timeout_s: float = 5.0) -> str:
        """Runs a command of baresip's menu and returns what it prints.

        Raises ``ServiceError`` when it fails or does not answer.
        """
        if self._writer is None:
            raise ServiceError(f"Softphone {self.name} does not run")
        token = str(next(self._tokens))
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[token] = future
        body = {"command": name, "token": token}
        if parameters:
            body["params"] = parameters
        data = json.dumps(body).encode()
        self._writer.write(b"%d:%b," % (len(data), data))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise ServiceError(f"Softphone {self.name}: {name} was not answered") from None
        finally:
            self._answers.pop(token, None)
        text = str(answer.get("data", ""))
        if not answer.get("ok"):
            raise ServiceError(f"Softphone {self.name}: {name} {parameters}: {text}")
        return text

    async def _read(self) -> None:
        """Reads netstrings (``LENGTH:JSON,``) until the connection ends."""
        reader = self._reader
        assert reader is not None
        try:
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                self._take(json.loads((await reader.readexactly(length + 1))[:-1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the program ended; whoever waits learns it below
        finally:
            why = "the phone has ended"
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(ServiceError(f"Softphone {self.name}: {why}"))
            self.events.close(why)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("response"):
            future = self._answers.get(str(message.get("token", "")))
            if future is not None and not future.done():
                future.set_result(message)
        elif message.get("event"):
            event = PhoneEvent(
                at=time.monotonic(),
                kind=str(message.get("type", "")),
                call=str(message.get("id", "")),
                peer=str(message.get("peeruri", "")),
                peer_name=str(message.get("peerdisplayname", "")),
                detail=str(message.get("param", "")),
            )
            if event.kind == "CALL_ESTABLISHED":
                self._talking = event.call
            elif event.kind == "CALL_CLOSED" and event.call == self._talking:
                self._talking = ""
                recording = self.folder / "heard.wav"
                if recording.exists():
                    recording.rename(self.folder / f"heard-{event.call}.wav")
            self.events.append(event)
