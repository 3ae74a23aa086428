"""YAML files with the rules of the distribution: one whole rule book each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from vsek.domain.distribution import (
    MOST_AGENTS,
    MOST_GROUPS,
    AgentRules,
    GroupRules,
    RuleBook,
    Times,
)
from vsek.domain.ids import SLUG
from vsek.domain.strict import Location, Remark
from vsek.domain.yamlfile import Document, FileError, Problem, parse, problems_of, write

_KNOWN = ("groups", "agents", "times")
_MOST = {"groups": MOST_GROUPS, "agents": MOST_AGENTS}


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A file's rules, and where each of them stands."""

    document: Document
    book: RuleBook

    def problems(self, remarks: Iterable[Remark]) -> list[Problem]:
        """Remarks with the lines that they are about."""
        return [self.document.problem(*remark) for remark in remarks]

    def refuse(self, mistakes: Iterable[Remark]) -> None:
        """Raises ``FileError`` with all of the mistakes, if there are any."""
        problems = self.problems(mistakes)
        if problems:
            raise FileError(self.document.name, problems)


def _part(
    document: Document, location: Location, model: type[BaseModel], problems: list[Problem]
) -> BaseModel | None:
    value = document.value(location)
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        problems += problems_of(error, document, location, model)
        return None


def _parts(
    document: Document, name: str, model: type[BaseModel], problems: list[Problem]
) -> dict[str, BaseModel | None]:
    """The groups or the agents; each is read by itself, so that everything wrong is told."""
    values = document.value((name,))
    if values is None:
        return {}
    if not isinstance(values, dict):
        remedy = "Write one id per line, and what belongs to it indented below"
        problems.append(document.problem((name,), "needs key: value lines below it", remedy))
        return {}
    if len(values) > _MOST[name]:
        message = f"has {len(values)} entries, more than {_MOST[name]}"
        problems.append(document.problem((name,), message, "Take some out"))
        return {}
    for key in values:
        if not SLUG.match(key):
            remedy = "Use a to z, 0 to 9 and '-', beginning with a letter, at most 40 characters"
            problems.append(document.problem((name, key), "is not usable as an id", remedy))
    return {key: _part(document, (name, key), model, problems) for key in values}


def read_rules(text: str | bytes, name: str) -> RulesFile:
    """The rules in a file's text. An empty file means no rules: everybody takes everything.

    Raises ``FileError`` with everything that is wrong, as far as the file itself tells.
    """
    document = parse(text, name)
    data: Any = {} if document.data is None else document.data
    known = f"Known: {', '.join(_KNOWN)}"
    if not isinstance(data, dict):
        raise FileError(name, [Problem(1, "", "the file holds no rules", None, known)])
    problems = [
        document.problem((key,), "is unknown here", known) for key in data if key not in _KNOWN
    ]
    groups = _parts(document, "groups", GroupRules, problems)
    agents = _parts(document, "agents", AgentRules, problems)
    times = _part(document, ("times",), Times, problems)
    if problems:
        raise FileError(name, problems)
    return RulesFile(
        document, RuleBook.model_validate({"groups": groups, "agents": agents, "times": times})
    )


def write_rules(book: RuleBook) -> str:
    """A file that :func:`read_rules` reads back to the same rules."""
    data = book.to_yaml_data()
    # An agent without any rules of their own stands there all the same: somebody wrote it so.
    return write(data) if data else "{}\n"
