"""The client account: who the client is, which numbers are the client's, what callers hear, and
what agents must know ("account script").

``Client`` is what a YAML file holds for one client and what the database stores. Parsing needs no
file but can be told the default country:
``Client.model_validate(data, context={"country": "AT"})``.
Errors are pydantic's; :mod:`vsek.domain.yamlfile` turns them into lines of the file, with remedies.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vsek.domain.distribution import Skills, Target, Wish
from vsek.domain.hours import DayRule, Hours, Region
from vsek.domain.ids import ClientId
from vsek.domain.note import Email, Language, TimezoneName
from vsek.domain.numbers import BLOCK, overlap, starts
from vsek.domain.strict import Remark, Strict, refuse, refuse_all
from vsek.domain.temporary import Temporary
from vsek.domain.treatments import Do, Treatment
from vsek.domain.values import (
    MOST_DAYS,
    MOST_NUMBERS,
    GroupId,
    Line,
    Name,
    Number,
    NumberOrBlock,
    Slug,
    Sound,
    Text,
    Word,
    listed,
    spoken,
)

# ── how much there may be ────────────────────────────────────────────────────────────────────

MOST_CONTACTS = 500
MOST_REASONS = 100
MOST_FIELDS = 40
"""What agents ask for; a note has room for some more."""
MOST_FACTS = 200
MOST_QUESTIONS = 500
MOST_TREATMENTS = 20
MOST_TEMPORARY = 50
"""Temporary instructions that a client may have at a time."""

# ── numbers ──────────────────────────────────────────────────────────────────────────────────


class Numbers(Strict):
    """How a call is recognised as the client's."""

    did: Annotated[tuple[NumberOrBlock, ...], Field(max_length=MOST_NUMBERS)] = ()
    """Numbers of the service that belong to this client alone."""
    forwarding: Annotated[tuple[NumberOrBlock, ...], Field(max_length=MOST_NUMBERS)] = ()
    """The client's own numbers, from which calls are forwarded to a number that several share."""

    @model_validator(mode="after")
    def _some_and_distinct(self) -> Numbers:
        if not self.did and not self.forwarding:
            refuse("no_number", "has no number", "Give at least one under did or forwarding")
        wrong = []
        for kind, numbers in (("did", self.did), ("forwarding", self.forwarding)):
            first = {number: numbers.index(number) for number in numbers}
            for at, number in enumerate(numbers):
                here = (kind, at)
                if first[number] != at:
                    wrong.append(Remark(here, f"{number} stands here twice", "Remove one of them"))
                    continue
                wrong += [
                    Remark(
                        here,
                        f"{number} and {wider} have numbers in common",
                        "Keep the one that you mean",
                    )
                    for wider in starts(number)
                    if wider in first
                ]
        refuse_all("numbers", wrong)
        return self

    def __iter__(self) -> Iterator[tuple[Literal["did", "forwarding"], str]]:  # type: ignore[override]
        """Pairs of kind and number."""
        for number in self.did:
            yield "did", number
        for number in self.forwarding:
            yield "forwarding", number


# ── what callers hear ────────────────────────────────────────────────────────────────────────


class Policy(StrEnum):
    """What a caller hears until an agent is there."""

    RING = "ring"
    """Ringback; the agent's answer is the first thing the caller hears."""
    GREET = "greet"
    """The greeting at once, then the client's music."""
    SCREEN = "screen"
    """The greeting, then name and concern are asked for and recorded; the agent who picks up hears
    them first."""


def _music(value: object) -> object:
    if isinstance(value, str):
        return None if value == "default" else {"file": value}
    return value


def _prompt(value: object) -> object:
    return None if value == "default" else spoken(value)


_KEY = re.compile(r"[0-9*#]\Z")


def _keys(value: object) -> object:
    if not isinstance(value, dict):
        return value
    keys: dict[str, Any] = {}
    for key, choice in value.items():
        # YAML reads an unquoted digit as a number.
        text = str(key)
        if isinstance(key, bool) or not _KEY.match(text):
            refuse("key", f"{text!r} is no key of a telephone", "Write one of 0 to 9, '*', '#'")
        keys[text] = choice
    return keys


class Screening(Strict):
    """What callers are asked before an agent is rung (policy ``screen``)."""

    prompt: Annotated[Sound | None, BeforeValidator(_prompt)] = None
    """``None`` = the house's own: name and concern, please."""
    record: bool = True
    """Whether the answer is recorded. The caller is told so in any case."""
    attach: bool = False
    """Whether the recording goes out with the note; else it is deleted after the call."""
    max_s: Annotated[float, Field(ge=5, le=120)] = 20.0
    """The longest recording, in seconds."""
    keys: Annotated[dict[str, Name], BeforeValidator(_keys)] = Field(default_factory=dict)
    """Keys that the caller may press, and the concern that each stands for."""

    @model_validator(mode="after")
    def _sensible(self) -> Screening:
        wrong = []
        if self.keys and self.prompt is None:
            wrong.append(Remark(("keys",), "keys need a prompt that names them", "Add prompt"))
        if not self.record and not self.keys:
            message, remedy = "neither records nor knows keys", "Add keys, or use policy: greet"
            wrong.append(Remark(("record",), message, remedy))
        if self.attach and not self.record:
            remedy = "Set record: true, or leave attach out"
            wrong.append(Remark(("attach",), "there is nothing to attach", remedy))
        refuse_all("screening", wrong)
        return self


# ── people, and what agents must know ────────────────────────────────────────────────────────


class Contact(Strict):
    """A person at the client."""

    name: Name
    role: Line = ""
    email: Email | None = None
    notes: bool = False
    """Whether this person gets the note of every call."""
    phone: Number | None = None
    status: Line = ""
    """What agents should know now, for example "in court until noon"."""
    deputy: Word = ""
    """The name of the contact to ask for instead."""

    @model_validator(mode="after")
    def _notes_need_an_address(self) -> Contact:
        if self.notes and self.email is None:
            message, remedy = "gets notes but has no email", "Add email, or set notes: false"
            refuse_all("contact_email", [Remark(("notes",), message, remedy)])
        return self


class Reason(Strict):
    """Why people call, what to ask them, and what to do about it."""

    name: Name
    fields: Annotated[tuple[Name, ...], Field(max_length=MOST_FIELDS)] = ()
    """What the agent asks for; these become the fields of the note."""
    action: Text = ""


class Question(Strict):
    """One entry of the client's questions and answers."""

    question: Line
    answer: Text


def _phrase(text: str) -> str:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        names = {"?"}
    if names - {"agent"}:
        refuse(
            "phrase",
            "has a placeholder that is not {agent}",
            "Write {agent} where the agent's name is to stand, and no other braces",
        )
    return text


class Client(Strict):
    """A client company."""

    id: Slug
    name: Name
    language: Language = "de"
    timezone: TimezoneName = "Europe/Berlin"
    numbers: Numbers
    policy: Policy = Policy.RING
    greeting: Annotated[Sound | None, BeforeValidator(spoken)] = None
    music: Annotated[Sound | None, BeforeValidator(_music)] = None
    """``None`` = Asterisk's default music."""
    screening: Screening | None = None
    """With policy ``screen``; ``None`` = as the house does it."""
    hours: Hours = Hours()
    holidays: Region | None = None
    """Where public holidays are kept: then calls are not taken; ``None`` = nowhere."""
    days: Annotated[tuple[DayRule, ...], BeforeValidator(listed), Field(max_length=MOST_DAYS)] = ()
    """Days and periods with hours of their own; the first that names a day counts."""
    wrap_up_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Seconds that an agent has after a call; ``None`` = the setting ``calls.wrap_up_s``."""
    contacts: Annotated[tuple[Contact, ...], Field(max_length=MOST_CONTACTS)]

    group: GroupId | None = None
    """The service group whose agents take the calls; ``None`` = whoever is trained for all."""
    requires: Skills = Field(default_factory=dict)
    target: Target | None = None
    """``None`` = 80/20."""
    vip_target: Target | None = None
    """For callers in ``vip``; ``None`` = 90/10."""
    vip: Annotated[tuple[Number, ...], Field(max_length=MOST_NUMBERS)] = ()
    """Numbers of callers who are served by ``vip_target``."""
    hold_s: Annotated[float, Field(ge=0, le=120)] = 0.0
    """How long somebody who calls again is kept for the agent who knows the matter, in seconds."""
    known_days: Annotated[int, Field(ge=0, le=365)] = 14
    """How long that agent is remembered."""
    learn_beside_trained: bool = False
    """Who is learning gets calls only while somebody who is trained is free as well."""
    when_nobody_can: Annotated[tuple[Treatment, ...], Field(max_length=MOST_TREATMENTS)] = ()
    """What is done for a call that nobody can take in time."""
    temporary: Annotated[tuple[Temporary, ...], Field(max_length=MOST_TEMPORARY)] = ()
    """Instructions that end by themselves."""

    answer_phrase: Annotated[Line, AfterValidator(_phrase)] = ""
    """How agents answer; ``{agent}`` stands for the agent's name."""
    pronunciation: Line = ""
    facts: Annotated[tuple[Text, ...], BeforeValidator(listed), Field(max_length=MOST_FACTS)] = ()
    instructions: Text = ""
    reasons: Annotated[tuple[Reason, ...], Field(max_length=MOST_REASONS)] = ()
    urgent_if: Text = ""
    """How agents tell an urgent call."""
    faq: Annotated[tuple[Question, ...], Field(max_length=MOST_QUESTIONS)] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Client:
        refuse_all(
            "client",
            [
                *self._mistakes_of_answer(),
                *self._mistakes_of_people(),
                *self._mistakes_of_forwards(),
                *self._mistakes_of_times(),
            ],
        )
        return self

    def _mistakes_of_answer(self) -> Iterator[Remark]:
        if self.policy is not Policy.RING and self.greeting is None:
            message = f"policy {self.policy} needs a greeting"
            yield Remark(("policy",), message, "Add one, or use policy: ring")
        if self.screening is not None and self.policy is not Policy.SCREEN:
            message, remedy = "screening needs policy: screen", "Set it, or remove screening"
            yield Remark(("screening",), message, remedy)
        if self.music is not None and self.music.text is not None:
            remedy = "Name an audio file, or write default"
            yield Remark(("music",), "music cannot be a text", remedy)

    def _mistakes_of_people(self) -> Iterator[Remark]:
        if not any(contact.notes for contact in self.contacts):
            message = "has no contact who gets the notes"
            remedy = "Give at least one contact an email and notes: true"
            yield Remark(("contacts",), message, remedy)
        names = Counter[str]()
        known = {contact.name.casefold() for contact in self.contacts}
        for at, contact in enumerate(self.contacts):
            names[contact.name.casefold()] += 1
            if names[contact.name.casefold()] > 1:
                message = f"two contacts are {contact.name!r}"
                yield Remark(("contacts", at, "name"), message, "Tell them apart")
            if contact.deputy and contact.deputy.casefold() not in known:
                yield Remark(
                    ("contacts", at, "deputy"),
                    f"{contact.deputy!r}, the deputy of {contact.name!r}, is no contact",
                    "Write the name exactly as under contacts, or add the contact",
                )

    def _mistakes_of_forwards(self) -> Iterator[Remark]:
        own = [number for _, number in self.numbers]
        for at, treatment in enumerate(self.when_nobody_can):
            here = ("when_nobody_can", at)
            if treatment.to and any(overlap(treatment.to, number) for number in own):
                message = f"calls to {treatment.to} would come back here"
                remedy = "Forward to a number from which calls are not forwarded to the service"
                yield Remark((*here, "to"), message, remedy)
            if treatment.do is Do.REGROUP and treatment.group == self.group:
                message = f"regroup to {self.group!r}: that is the client's own group"
                yield Remark((*here, "group"), message, "Name another")

    def _mistakes_of_times(self) -> Iterator[Remark]:
        for at, one in enumerate(self.temporary):
            start, end = one.span(self.timezone)
            if end <= start:
                message = f"the instruction {one.text[:40]!r} ends before it begins"
                yield Remark(("temporary", at, "until"), message, "Check from and until")

    def wish(self) -> Wish:
        """What the client's calls ask of the distribution."""
        regroups = tuple(one.group for one in self.when_nobody_can if one.group is not None)
        group = self.group or ""
        return Wish(self.id, group, self.requires, regroups, self.learn_beside_trained)

    def distribution(self) -> dict[str, Any]:
        """Plain data of all that decides about who takes the calls, and what happens if nobody
        can; the same data, the same decisions."""
        part = self.model_dump(mode="json", include=_DISTRIBUTION, exclude_defaults=True)
        if self.when_nobody_can:
            part["timezone"] = self.timezone  # by whose clock that is done
        return part

    def instructions_at(self, now: float) -> list[Temporary]:
        """The temporary instructions that hold at ``now`` (Unix seconds)."""
        spans = [(one, one.span(self.timezone)) for one in self.temporary]
        return [one for one, (start, end) in spans if start <= now < end]

    def recipients(self, for_contact: str = "") -> list[Contact]:
        """Who gets a note, each address once: everybody with ``notes``, and the contact for whom
        it is (``for_contact``, a contact's name in any case) if that one has an address."""
        wanted = for_contact.strip().casefold()
        chosen: dict[str, Contact] = {}
        for contact in self.contacts:
            if contact.email and (contact.notes or contact.name.casefold() == wanted):
                chosen.setdefault(contact.email.lower(), contact)
        return list(chosen.values())

    def to_yaml_data(self) -> dict[str, Any]:
        """Plain data that parses to the same client, without fields that have their default."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return {name: data[name] for name in type(self).model_fields if name in data}


_DISTRIBUTION = {
    "group",
    "requires",
    "target",
    "vip_target",
    "vip",
    "hold_s",
    "known_days",
    "learn_beside_trained",
    "when_nobody_can",
}


def overlaps(clients: Iterable[Client]) -> list[tuple[ClientId, str, ClientId, str]]:
    """Numbers and blocks within another client's block: each with its client, then the block and
    the client whose it is."""
    blocks: dict[str, list[ClientId]] = {}
    stand = [(client.id, number) for client in clients for _, number in client.numbers]
    for client_id, number in stand:
        if number.endswith(BLOCK):
            blocks.setdefault(number, []).append(client_id)
    found = []
    for client_id, number in stand:
        for wider in starts(number):
            found += [
                (client_id, number, owner, wider)
                for owner in blocks.get(wider, ())
                if owner != client_id
            ]
    return found


def shared_numbers(clients: Iterable[Client]) -> list[tuple[str, list[ClientId]]]:
    """Numbers that more than one of ``clients`` claims, with those clients' ids."""
    owners: dict[str, list[ClientId]] = {}
    for client in clients:
        for _, number in client.numbers:
            if client.id not in owners.setdefault(number, []):
                owners[number].append(client.id)
    return [(number, ids) for number, ids in owners.items() if len(ids) > 1]
