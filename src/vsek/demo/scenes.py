"""What the demo shows: its clients, its agents and its calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vsek.demo.sipmessage import Dial
from vsek.demo.sipp import Plan
from vsek.domain.note import Language

SHARED_NUMBER = "+4930555019900"
"""Belongs to nobody: calls to it are known by who forwarded them."""

CLIENTS = """\
# The demo's clients. Import again after a change: vsek client import clients.yaml --dir DIR
clients:
  - id: becker
    name: Tischlerei Becker
    language: de
    numbers: {did: ["+49 30 5550 1001"]}
    policy: greet
    greeting: >-
      Guten Tag, Sie sind mit der Tischlerei Becker in Berlin verbunden.
      Einen kleinen Augenblick bitte, wir sind gleich persönlich für Sie da.
    answer_phrase: Tischlerei Becker, guten Tag, mein Name ist {agent}.
    contacts:
      - {name: Jutta Becker, email: jutta@becker.example, notes: true}

  - id: lindner
    name: Praxis Dr. Lindner
    language: de
    numbers: {forwarding: ["+49 40 5550 2002"]}
    policy: greet
    greeting: >-
      Praxis Doktor Lindner, guten Tag. Bitte bleiben Sie am Apparat,
      wir nehmen Ihr Anliegen sofort auf.
    contacts:
      - {name: Empfang, email: empfang@lindner.example, notes: true}

  - id: hartley
    name: Hartley & Sons
    language: en
    timezone: Europe/London
    numbers: {did: ["+49 30 5550 1003"]}
    policy: ring
    answer_phrase: Hartley and Sons, {agent} speaking.
    contacts:
      - {name: Olivia Hartley, email: olivia@hartley.example, notes: true}
"""


@dataclass(frozen=True)
class DemoAgent:
    """An agent of the demo and what the softphone says."""

    id: str
    name: str
    voice: str


AGENTS = (
    DemoAgent(
        "anna",
        "Anna Berg",
        "Guten Tag, mein Name ist Anna Berg. Was darf ich notieren? Ich gebe das gern weiter.",
    ),
    DemoAgent(
        "ben",
        "Ben Kaya",
        "Guten Tag, Ben Kaya am Apparat. Wie kann ich Ihnen helfen? Ich schreibe mit.",
    ),
)


@dataclass(frozen=True)
class Scene:
    """One call: how it is dialled, what both sides do, and what must become of it."""

    title: str
    dial: Dial
    plan: Plan
    client: str
    mailbox: str
    outcome: str
    talk_s: float = 0.0
    """How long the agent talks before hanging up; 0 if no agent is to be reached."""
    voice: str = ""
    """What the caller says."""
    language: Language = "de"
    note: dict[str, Any] = field(default_factory=dict)
    stage: str = ""


SCENES = (
    Scene(
        title="answered",
        dial=Dial("+493055501001", caller="+493012345601", name="Karl Müller"),
        plan=Plan(),
        client="becker",
        mailbox="jutta@becker.example",
        outcome="answered",
        talk_s=9.0,
        voice="Müller hier. Meine Haustür klemmt, können Sie diese Woche noch vorbeikommen?",
        note={
            "caller_name": "Karl Müller",
            "caller_phone": "030 123456-01",
            "concern": "Haustür klemmt",
            "action": "RR",
            "urgency": "urgent",
            "text": "Die Haustür klemmt seit gestern. Bittet um Rückruf, möglichst heute.",
        },
    ),
    Scene(
        title="answered by the other agent while the first one talks",
        dial=Dial("+493055501003", caller="+442079460123", name="Emma Clarke"),
        plan=Plan(),
        client="hartley",
        mailbox="olivia@hartley.example",
        outcome="answered",
        talk_s=6.0,
        voice="Hello, Emma Clarke. I would like to change my order, please call me back.",
        language="en",
        note={
            "caller_name": "Emma Clarke",
            "caller_company": "Clarke Interiors",
            "concern": "Change of order 4711",
            "action": "RR",
            "text": "Wants six instead of four tables. Please call back this afternoon.",
        },
    ),
    Scene(
        title="abandoned in the greeting",
        dial=Dial("+493055501001", caller="+491701234567"),
        plan=Plan(hang_up_after_s=2.0),
        client="becker",
        mailbox="jutta@becker.example",
        outcome="abandoned",
        stage="greeting",
    ),
    Scene(
        title="forwarded to a shared number, known by its Diversion header",
        dial=Dial(
            SHARED_NUMBER,
            caller="+494087654321",
            name="Ayse Demir",
            diversion=("+494055502002",),
            diversion_reason="no-answer",
        ),
        plan=Plan(),
        client="lindner",
        mailbox="empfang@lindner.example",
        outcome="answered",
        talk_s=4.0,
        voice="Demir, guten Tag. Ich möchte meinen Termin am Montag verschieben.",
        note={
            "caller_name": "Ayse Demir",
            "concern": "Termin verschieben",
            "action": "KN",
            "text": "Möchte den Termin am Montag auf Mittwoch verschieben.",
        },
    ),
)
