"""What the acceptance tests share: one running vsek, its clients, and a crew for each test."""

from __future__ import annotations

import asyncio
import itertools
import json
from array import array
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsek.demo import g711, ledger
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.mailbox import Mail, Mailbox
from vsek.demo.sipmessage import Dial
from vsek.demo.sippphone import SippPhone
from vsek.demo.softphone import PhoneCall, Softphone
from vsek.demo.stack import Stack

SETTINGS = {
    "VSEK_CALLS__RING_TIMEOUT_S": "20",
    "VSEK_CALLS__WRAP_UP_S": "2",
    "VSEK_CALLS__RONA_PARK_S": "60",
    "VSEK_CALLS__REFUSAL_PARK_S": "60",
    "VSEK_CALLS__NOTE_GRACE_S": "1",
}

# Each sound has a pitch of its own, so that none is taken for another.
GREETING_S = 1.6
SOUNDS: dict[str, array[int]] = {
    "greeting of alder": g711.melody(330, GREETING_S),
    "music of alder": g711.melody(470, 20.0),
    "greeting of birch": g711.melody(610, GREETING_S),
    "music of birch": g711.melody(740, 20.0),
    "caller": g711.melody(1010, 20.0),
}

ALDER = "+49305550201"
BIRCH = "+49305550202"
CEDAR = "+49305550203"
DOGWOOD = "+49305550204"

CLIENTS = f"""\
clients:
  - id: alder
    name: Alder GmbH
    numbers: {{did: ["{ALDER}"]}}
    policy: greet
    greeting: {{file: greeting-of-alder.wav}}
    music: {{file: music-of-alder.wav}}
    contacts: [{{name: A, email: notes@alder.example, notes: true}}]
  - id: birch
    name: Birch AG
    numbers: {{did: ["{BIRCH}"]}}
    policy: greet
    greeting: {{file: greeting-of-birch.wav}}
    music: {{file: music-of-birch.wav}}
    contacts: [{{name: B, email: notes@birch.example, notes: true}}]
  - id: cedar
    name: Cedar Ltd
    language: en
    numbers: {{did: ["{CEDAR}"]}}
    policy: ring
    contacts: [{{name: C, email: notes@cedar.example, notes: true}}]
  - id: dogwood
    name: Dogwood KG
    numbers: {{did: ["{DOGWOOD}"]}}
    policy: greet
    greeting: Guten Tag, Sie sprechen mit Dogwood.
    contacts: [{{name: D, email: notes@dogwood.example, notes: true}}]
"""


@dataclass(frozen=True)
class Agent:
    """An agent with a registered softphone; ``voice`` is what the agent says."""

    id: str
    name: str
    phone: Softphone
    voice: array[int]


class House:
    """A running vsek with four clients and a mailbox."""

    def __init__(self, folder: Path, stack: Stack, mailbox: Mailbox) -> None:
        self.folder = folder
        self.stack = stack
        self.mailbox = mailbox
        self.numbers = itertools.count(1)

    @classmethod
    async def open(cls, folder: Path, settings: dict[str, str], exits: AsyncExitStack) -> House:
        """Starts everything; ``exits`` ends it."""
        mailbox = Mailbox(folder / "mails")
        await mailbox.start()
        exits.push_async_callback(mailbox.stop)
        stack = await Stack.start(folder / "vsek", smtp=mailbox.address, environment=settings)
        exits.push_async_callback(stack.stop)
        for name, samples in SOUNDS.items():
            g711.write_wav(folder / f"{name.replace(' ', '-')}.wav", samples)
        (folder / "clients.yaml").write_text(CLIENTS)
        await stack.cli("client", "import", folder / "clients.yaml")
        return cls(folder, stack, mailbox)

    async def wait_state(
        self, agent_id: str, *states: str, timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """Waits until the agent is in one of ``states``."""

        async def probe() -> dict[str, Any] | None:
            agent = (await self.stack.agents()).get(agent_id)
            return agent if agent is not None and agent["state"] in states else None

        return await eventually(probe, f"{agent_id} {' or '.join(states)}", timeout_s=timeout_s)

    async def wait_live(
        self, caller: Caller, stage: str, *, timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """Waits until the live call of ``caller`` is in ``stage``."""

        async def probe() -> dict[str, Any] | None:
            number = caller.dialled.caller
            for call in await self.stack.calls():
                if call["caller_number"] == number and call["stage"] == stage:
                    return call
            return None

        return await eventually(probe, f"stage {stage}", timeout_s=timeout_s)

    async def wait_closed(self, *callers: Caller, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The calls of ``callers`` in the database, when all have their outcome."""
        numbers = [caller.dialled.caller for caller in callers]

        async def probe() -> list[dict[str, Any]] | None:
            by_caller = {call["caller_number"]: call for call in await self.calls()}
            found = [by_caller[n] for n in numbers if n in by_caller]
            return (
                found if len(found) == len(numbers) and all(c["outcome"] for c in found) else None
            )

        return await eventually(probe, "an outcome for each call", timeout_s=timeout_s)

    async def calls(self) -> list[dict[str, Any]]:
        """All calls in the database."""
        return await ledger.read(self.stack.dsn)

    async def wait_mail(self, caller: Caller, *, timeout_s: float = 20.0) -> Mail:
        """The note on the call of ``caller``: the mail that has the caller's number in its text."""
        digits = caller.dialled.caller.lstrip("+")
        return await self.mailbox.mails.wait(
            lambda mail: digits in "".join(filter(str.isdigit, mail.text)),
            f"a note on the call from {digits}",
            timeout_s=timeout_s,
        )

    async def serve_pid(self) -> int:
        """The process id of the switchboard as ``vsek up`` has it now."""
        text = await asyncio.to_thread((self.stack.folder / "run" / "stack.json").read_text)
        return int(json.loads(text)["pids"]["serve"])


class Crew:
    """Agents and callers of one test. No agent or caller occurs in two tests."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.agents: list[Agent] = []
        self.refusers: list[tuple[str, SippPhone]] = []
        self.callers: list[Caller] = []

    async def agent(self, *, wait: str = "ready", register: bool = True) -> Agent:
        """Adds an agent, whose phone registers, and waits until the agent is ``wait``."""
        number = next(self.house.numbers)
        name, secret = f"agent{number}", f"secret-of-agent-{number}"
        stack = self.house.stack
        await stack.cli("agent", "add", name, "--name", f"Agent {number}", "--secret", secret)
        folder = self.house.folder / "phones" / name
        phone = Softphone(name, secret, stack.sip, folder)
        voice = g711.melody(1200 + 130 * (number % 12), 20.0)
        g711.write_wav(self.house.folder / f"{name}.wav", voice)
        agent = Agent(name, f"Agent {number}", phone, voice)
        self.agents.append(agent)
        await phone.start(voice=self.house.folder / f"{name}.wav", register=register)
        await self.house.wait_state(name, wait if register else "logged_out")
        return agent

    async def refuser(self, status: str, *, contact: str = "") -> tuple[str, SippPhone]:
        """Adds an agent whose telephone answers every call with ``status``; id and telephone."""
        name = f"agent{next(self.house.numbers)}"
        secret, stack = f"secret-of-{name}", self.house.stack
        await stack.cli("agent", "add", name, "--name", name, "--secret", secret)
        phone = SippPhone(name, secret, stack.sip, self.house.folder / "phones" / name)
        self.refusers.append((name, phone))
        await phone.start(status, contact=contact)
        await self.house.wait_state(name, "ready")
        return name, phone

    async def dial(self, number: str, **more: Any) -> Caller:
        """A caller with a number of its own calls ``number``."""
        own = f"+4940555{next(self.house.numbers):04}"
        caller = await Caller.dial(self.house.stack.sip, Dial(number, caller=own, **more))
        self.callers.append(caller)
        return caller

    async def ring(self, agent: Agent, caller: Caller, *, timeout_s: float = 10.0) -> PhoneCall:
        """The next ringing of ``caller`` at ``agent``; other calls that ring before are left."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            left_s = deadline - asyncio.get_running_loop().time()
            call = await agent.phone.ring(timeout_s=max(left_s, 0.0))
            if call.peer.startswith(f"sip:{caller.dialled.caller}@"):
                return call

    async def go_home(self) -> None:
        """Hangs up, unregisters, and waits until the switchboard has seen it."""
        await asyncio.gather(*(caller.close() for caller in self.callers))
        dead = [agent for agent in self.agents if not agent.phone.running]
        await asyncio.gather(*(agent.phone.stop() for agent in self.agents))

        async def quiet() -> bool | None:
            return True if not await self.house.stack.calls() else None

        await eventually(quiet, "no live call")

        async def unreachable() -> bool | None:
            states = await self.house.stack.agents()
            own = [states[agent.id] for agent in self.agents if agent not in dead]
            return None if any(state["reachable"] for state in own) else True

        await eventually(unreachable, "nobody there")
        # A registration without a goodbye lives on until it expires.
        for _, phone in self.refusers:
            await phone.stop()
        for name in (*(agent.id for agent in dead), *(name for name, _ in self.refusers)):
            await self.house.stack.control("POST", f"/v1/agents/{name}/pause")
