"""YAML files of clients: parsing with the line of every value, and errors that name it.

The YAML is read more plainly than PyYAML does by default: every scalar stays text (``+49 30 …``
stays a number as dialled, ``08:00`` a time, ``no`` a word; only ``null``, ``~`` and nothing mean
"nothing"), a key may stand only once, and tags, cycles and files that grow without measure are
refused. Whatever is wrong with a file is reported together.

Nothing is without an upper bound: the file as a whole here, lists and texts where they are defined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from vsek.domain.client import Client, overlaps, shared_numbers
from vsek.domain.complaints import KEY, complaints
from vsek.domain.ids import ClientId
from vsek.domain.numbers import starts
from vsek.domain.strict import Location
from vsek.domain.strict import shorten as cut
from vsek.errors import InputError

MAX_BYTES = 20_000_000
MAX_VALUES = 1_000_000
MOST_CLIENTS = 10_000
"""Clients of one file; the database takes those of several."""
MOST_TOLD = 200
"""So many problems are told in one message; of more the number is."""
_MAX_DEPTH = 20
_MAX_NESTING = 100
_SHOWN = 60


def content_of(path: Path, *, field: str, holds: str) -> bytes:
    """What is in the file. Raises ``InputError`` when it cannot be read; ``field`` is what named
    it, ``holds`` says what it should hold.

    Of a file that is too large only so much is read as shows it to :func:`parse`.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}",
            field=field,
            value=str(path),
            remedy=f"Name a YAML file of {holds}",
        ) from None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    line: int
    """Beginning with 1."""
    field: str
    """For example ``clients[2].numbers.did[0]``; empty for the file as a whole."""
    message: str
    value: object = None
    remedy: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " + (f"{self.field}: " if self.field else "")
        given = "" if self.value is None else f" (given: {shorten(self.value)})"
        remedy = f". {self.remedy}" if self.remedy else ""
        return where + self.message + given + remedy


class FileError(InputError):
    """Everything that is wrong with a file, in ``problems``; ``field`` and ``value`` are those of
    the first one."""

    error_id = "file"

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.file = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        first = self.problems[0]
        told = [f"{name}, {problem}" for problem in self.problems[:MOST_TOLD]]
        if len(self.problems) > MOST_TOLD:
            told.append(f"{name}: {len(self.problems) - MOST_TOLD} more problems are not told here")
        message = "\n".join(told)
        super().__init__(message, field=first.field, value=first.value)


def shorten(value: object) -> str:
    """``value`` for a message: one line, not too long."""
    return cut(repr(value[: 2 * _SHOWN] if isinstance(value, str) else value), _SHOWN)


def field_name(location: Sequence[str | int]) -> str:
    """A location as people write it: ``clients[2].numbers.did[0]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key is whatever somebody wrote.
            word = cut(part if part.isprintable() and part else repr(part), _SHOWN)
            text += f".{word}" if text else word
    return text


@dataclass(slots=True)
class Document:
    """A parsed file: plain data (text, lists, mappings, ``None``) and the line of each value."""

    name: str
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Sequence[str | int]) -> int:
        """The line of a value, or of the nearest thing around it."""
        known = tuple(location)
        while known and known not in self.lines:
            known = known[:-1]
        return self.lines.get(known, 1)

    def value(self, location: Sequence[str | int]) -> object:
        """The value at a location; ``None`` where there is none."""
        value = self.data
        for part in location:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def problem(self, location: Sequence[str | int], message: str, remedy: str = "") -> Problem:
        """A problem with the value at ``location``."""
        value = self.value(location)
        shown = value if isinstance(value, str) else None
        return Problem(self.line(location), field_name(location), message, shown, remedy)


class _Reader:
    """Turns YAML's nodes into plain data, with lines and limits."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._values = 0

    def _complain(self, node: yaml.Node, location: Location, message: str, remedy: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(line, field_name(location), message, None, remedy))

    def read(self, node: yaml.Node, location: Location = ()) -> Any:
        self.document.lines.setdefault(location, node.start_mark.line + 1)
        self._values += 1
        if self._values > MAX_VALUES or len(location) > _MAX_DEPTH:
            # Aliases can make a small file endless.
            problem = Problem(
                node.start_mark.line + 1, "", "The file holds too much", None, "Split it"
            )
            raise FileError(self.document.name, [problem])
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._complain(node, location, f"unknown tag {node.tag}", "Leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*location, at)) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if not getattr(node, "style", None) and node.value in ("", "~", "null", "Null", "NULL"):
            return None
        return node.value

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, location, "a key must be a word", "Write key: value")
                continue
            key = key_node.value
            inner = (*location, key)
            if key in mapping:
                first = self.document.lines[inner]
                self._complain(
                    key_node, inner, f"stands twice, first in line {first}", "Keep one of them"
                )
                continue
            self.document.lines[inner] = key_node.start_mark.line + 1
            mapping[key] = self.read(value_node, inner)
        return mapping


def _compose(text: str, name: str) -> yaml.Node | None:
    """The file's nodes, read in C where that is there: several times as fast. But its composer does
    not mind how deep it goes, until the process dies; so the depth is looked at before."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_NESTING:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise FileError(name, [Problem(line, "", "The file holds too much", None, "Split it")])
    return yaml.compose(text, Loader=loader)


def parse(text: str | bytes, name: str) -> Document:
    """The file's text as data; raises ``FileError`` for what is no YAML or too large."""
    if len(text) > MAX_BYTES:
        message = f"The file is too large: more than {MAX_BYTES // 1_000_000} MB"
        raise FileError(name, [Problem(1, "", message, None, "Split it")])
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            problem = Problem(line, "", "is not UTF-8", None, "Save the file as UTF-8")
            raise FileError(name, [problem]) from None
    document = Document(name)
    reader = _Reader(document)
    try:
        node = _compose(text, name)
        document.data = None if node is None else reader.read(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        remedy = "Check the indentation, and put text with ': ' or '#' between quotes"
        problem = Problem(mark.line + 1 if mark else 1, "", what, None, remedy)
        raise FileError(name, [problem]) from None
    except (yaml.YAMLError, RecursionError) as error:
        what = (str(error).splitlines() or ["is no YAML"])[0]
        problem = Problem(1, "", what, None, "Mend the file; it is YAML")
        raise FileError(name, [problem]) from None
    if reader.problems:
        raise FileError(name, reader.problems)
    return document


def problems_of(
    error: ValidationError, document: Document, base: Location, model: type[BaseModel]
) -> list[Problem]:
    """``error``, raised while ``model`` parsed the value at ``base``, as problems of the file."""
    problems: list[Problem] = []
    for inner, message, remedy in complaints(error, model):
        location = base + inner
        if location[-1:] == (KEY,):
            here = location[:-1]
            problems.append(Problem(document.line(here), field_name(here), message, None, remedy))
        else:
            problems.append(document.problem(location, message, remedy))
    return problems


@dataclass(frozen=True, slots=True)
class ClientFile:
    """The clients of a file, in its order."""

    document: Document
    clients: tuple[Client, ...]

    def location(self, client_id: ClientId) -> Location:
        """Where a client stands."""
        at = next(at for at, client in enumerate(self.clients) if client.id == client_id)
        return ("clients", at)

    def number_location(self, client_id: ClientId, number: str) -> Location:
        """Where one of a client's numbers stands."""
        at = next(at for at, client in enumerate(self.clients) if client.id == client_id)
        return _place_of_number(at, self.clients[at], number)


def _place_of_number(at: int, client: Client, number: str) -> Location:
    for kind, values in (("did", client.numbers.did), ("forwarding", client.numbers.forwarding)):
        if number in values:
            return ("clients", at, "numbers", kind, values.index(number))
    return ("clients", at, "numbers")


def _among_each_other(document: Document, clients: dict[int, Client]) -> list[Problem]:
    """Ids and numbers that belong to several of ``clients`` (those that can be read, by their
    places in the file), and forwards to another client's number here, which are not dialled."""
    problems: list[Problem] = []
    places: dict[ClientId, int] = {}
    for at, client in clients.items():
        first = places.setdefault(client.id, at)
        if first != at:
            line = document.line(("clients", first, "id"))
            message = f"is also the id of the client in line {line}"
            location: Location = ("clients", at, "id")
            problems.append(document.problem(location, message, "Ids are unique: change one"))

    def of_number(client_id: ClientId, number: str) -> Location:
        at = places[client_id]
        return _place_of_number(at, clients[at], number)

    for number, ids in shared_numbers(clients.values()):
        for client_id in ids[1:]:
            message = f"{number} already belongs to client {ids[0]!r}"
            remedy = (
                "A number leads to one client. A number of the service that several clients "
                "share stands nowhere: give each its own under forwarding"
            )
            problems.append(document.problem(of_number(client_id, number), message, remedy))
    for client_id, number, owner, block in overlaps(clients.values()):
        problems.append(
            document.problem(
                of_number(client_id, number),
                f"{number} is within {block} of client {owner!r}",
                "A number leads to one client: make the block narrower, or take the number out",
            )
        )
    owners: dict[str, list[ClientId]] = {}
    for client in clients.values():
        for number in client.numbers.did:
            owners.setdefault(number, []).append(client.id)
    problems += [
        document.problem(
            ("clients", at, "when_nobody_can", place, "to"),
            f"{treatment.to} leads back here, to client {owner!r}",
            "Forward to a number at which somebody else answers",
        )
        for at, client in clients.items()
        for place, treatment in enumerate(client.when_nobody_can)
        if treatment.to
        for number in (treatment.to, *starts(treatment.to))
        for owner in owners.get(number, ())
        if owner != client.id
    ]
    return problems


def read_clients(text: str | bytes, name: str, country: str = "DE", area: str = "") -> ClientFile:
    """The clients in a file's text; ``country`` is for numbers in national form, ``area`` (an area
    code) for those in local form.

    Raises ``FileError`` with everything that is wrong.
    """
    document = parse(text, name)
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("clients"), list):
        line = document.line(("clients",))
        problem = Problem(
            line, "clients", "the file needs a list of clients", None, "Begin it with 'clients:'"
        )
        raise FileError(name, [problem])
    problems = [
        document.problem((key,), "is unknown here", "Known: clients")
        for key in data
        if key != "clients"
    ]
    if len(data["clients"]) > MOST_CLIENTS:
        message = f"has {len(data['clients'])} clients, more than {MOST_CLIENTS}"
        remedy = "Import them in several files; those that are there already stay"
        raise FileError(name, [*problems, document.problem(("clients",), message, remedy)])
    clients: dict[int, Client] = {}
    context = {"country": country, "area": area}
    for at, item in enumerate(data["clients"]):
        try:
            clients[at] = Client.model_validate(item, context=context)
        except ValidationError as error:
            problems += problems_of(error, document, ("clients", at), Client)
    problems += _among_each_other(document, clients)
    if problems:
        raise FileError(name, problems)
    return ClientFile(document, tuple(clients.values()))


class _Dumper(yaml.SafeDumper):
    """Block style, long texts as blocks, no aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _write_number(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    whole = number.is_integer()
    return dumper.represent_int(int(number)) if whole else dumper.represent_float(number)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(float, _write_number)


def write(data: object) -> str:
    """Plain data as :func:`parse` reads it."""
    text: str = yaml.dump(data, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)
    return text


def write_clients(clients: Iterable[Client]) -> str:
    """A file that :func:`read_clients` reads back to the same clients."""
    return write({"clients": [client.to_yaml_data() for client in clients]})
