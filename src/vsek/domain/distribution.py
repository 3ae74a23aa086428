"""The rules of the distribution as a file holds them: service groups, agents, times; and each
client's own part.

:class:`RuleBook` is what ``vsek rules import`` reads and the database stores. What can only be
judged with several parts in view is judged here as well: :func:`mistakes` must be mended,
:func:`doubts` are worth a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from vsek.domain.ids import SLUG
from vsek.domain.strict import Remark, Strict, refuse, refuse_all
from vsek.domain.text import NAME_LIMIT, clean_line
from vsek.domain.values import GroupId, Word, slug

MOST_GROUPS = 1_000
"""Groups of a house. Agents who are trained for the same groups are one kind, of which there may be
some hundred; each of them needs no group of its own."""
MOST_AGENTS = 20_000
MOST_SKILLS = 50
"""Skills that one agent has, or one client requires."""
MOST_OVERFLOWS = 50
_NAMED = 20
"""So many of what is known are named in a remedy."""

# ── skills and targets ───────────────────────────────────────────────────────────────────────


def _clean_keys(value: object) -> object:
    if not isinstance(value, dict):
        return value
    cleaned: dict[str, Any] = {}
    for key, inner in value.items():
        name = clean_line(str(key), 2 * NAME_LIMIT)
        if not name:
            refuse("skill", f"{key!r} is no name of a skill", "Write a word")
        if len(name) > NAME_LIMIT:
            message = f"{name[:20]}… has more than {NAME_LIMIT} letters"
            refuse("skill_too_long", message, "Shorten it")
        if name in cleaned:
            refuse("skill_twice", f"{name!r} stands twice", "Keep one of them")
        cleaned[name] = inner
    return cleaned


Level = Annotated[int, Field(ge=1, le=9)]
Skills = Annotated[dict[str, Level], BeforeValidator(_clean_keys), Field(max_length=MOST_SKILLS)]
"""Skill → level, 1 (some) to 9 (best)."""

_TARGET = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%?\s*/\s*([0-9]+(?:\.[0-9]+)?)\s*s?\Z", re.ASCII)


def _digits(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


class Target(Strict):
    """So many per cent of the calls are to be answered within so many seconds: ``80/20``."""

    percent: Annotated[float, Field(ge=1, le=99)]
    within_s: Annotated[float, Field(ge=1, le=3600)]

    @model_validator(mode="before")
    @classmethod
    def _from_short(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _TARGET.match(value.strip())
        if match is None:
            refuse("target", "is not a target like 80/20", "Write per cent and seconds: 80/20")
        return {"percent": match[1], "within_s": match[2]}

    @model_serializer
    def _to_short(self) -> str:
        return f"{_digits(self.percent)}/{_digits(self.within_s)}"


# ── groups ───────────────────────────────────────────────────────────────────────────────────

Admits = Literal["team", "trained", "learning", "overflow"]
Order = Literal["longest_idle", "least_calls", "least_talk", "fixed"]
Clearance = Literal["trained", "learning", "none"]
Seconds = Annotated[float, Field(ge=0, le=3600)]
EVERY_GROUP = "*"
"""Stands for all groups that are not named."""


def _from_list(value: object) -> object:
    """Circles may also be written one by one: ``[{after_s: 0, admits: team}, …]``."""
    if not isinstance(value, list | tuple):
        return value
    circles: dict[str, Any] = {}
    for circle in value:
        if not isinstance(circle, dict) or set(circle) != {"after_s", "admits"}:
            refuse("circle", "needs after_s and admits", "Write {after_s: 20, admits: trained}")
        if circle["admits"] in circles:
            refuse("circle_twice", f"{circle['admits']!r} stands twice", "Keep the earlier one")
        circles[str(circle["admits"])] = circle["after_s"]
    return circles


def _at_once() -> dict[Admits, float]:
    return {"trained": 0.0}


class GroupRules(Strict):
    """Clients that the same agents are trained for."""

    name: Word = ""
    team: Word = ""
    circles: Annotated[dict[Admits, Seconds], BeforeValidator(_from_list)] = Field(
        default_factory=_at_once
    )
    """Who may take a call that has waited so many seconds; in the order in which they open."""
    order: Order = "longest_idle"
    level_first: bool = True
    overflow_to: Annotated[tuple[GroupId, ...], Field(max_length=MOST_OVERFLOWS)] = ()
    new_clients: Annotated[int, Field(ge=1, le=1000)] = 3

    @field_validator("circles")
    @classmethod
    def _in_order(cls, circles: dict[Admits, float]) -> dict[Admits, float]:
        if not circles:
            refuse("no_circle", "has no circle", "Write {trained: 0}, or leave circles out")
        first, begins = next(iter(circles.items()))
        wrong = (
            [Remark((), "nobody may take a call at first", f"Begin with {first}: 0")]
            if begins > 0
            else []
        )
        wrong += [
            Remark(
                (other,),
                f"{other} opens before {one}, but stands after it",
                "Write the circles in the order in which they open",
            )
            for (one, begins), (other, after) in pairwise(circles.items())
            if after < begins
        ]
        refuse_all("circles", wrong)
        return circles

    @model_validator(mode="after")
    def _complete(self) -> GroupRules:
        wrong = []
        if "team" in self.circles and not self.team:
            message = "has a circle for its team, but no team"
            wrong.append(Remark(("circles", "team"), message, "Add team"))
        if "overflow" in self.circles and not self.overflow_to:
            message = "has a circle overflow, but no overflow_to"
            wrong.append(Remark(("circles", "overflow"), message, "Add overflow_to"))
        if self.overflow_to and "overflow" not in self.circles:
            message = "has overflow_to, but no circle overflow"
            remedy = "Say under circles after how many seconds: overflow: 60"
            wrong.append(Remark(("overflow_to",), message, remedy))
        refuse_all("group", wrong)
        return self


# ── agents ───────────────────────────────────────────────────────────────────────────────────


def _cleared(value: object) -> object:
    if isinstance(value, dict):
        for group in value:
            if group != EVERY_GROUP and not SLUG.match(str(group)):
                refuse("group", f"{group!r} is no id of a group", "Write an id, or '*' for all")
    return value


class AgentRules(Strict):
    """One agent's part."""

    team: Word = ""
    skills: Skills = Field(default_factory=dict)
    cleared: Annotated[
        dict[str, Clearance], BeforeValidator(_cleared), Field(max_length=MOST_GROUPS + 1)
    ] = Field(default_factory=dict)
    """Group → clearance; ``*`` for all groups that are not named. Empty: trained for all."""
    position: Annotated[int, Field(ge=0, le=100_000)] = 0
    """In groups with the order ``fixed`` the smallest is asked first."""

    def clearance(self, group: str) -> Clearance:
        """How far the agent is cleared for ``group``."""
        if not self.cleared:
            return "trained"
        return self.cleared.get(group, self.cleared.get(EVERY_GROUP, "none"))


class Times(Strict):
    """Times of the distribution, in seconds; ``None`` = as the settings say, or as ever."""

    ring_timeout_s: Annotated[float, Field(ge=1, le=300)] | None = None
    rona_park_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    refusal_park_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    redial_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    shift_gap_s: Annotated[float, Field(ge=60, le=604_800)] | None = None


def _slugs(value: object) -> object:
    if isinstance(value, dict):
        for key in value:
            slug(str(key))
    return value


class RuleBook(Strict):
    """All rules that are not a client's own."""

    groups: Annotated[
        dict[str, GroupRules], BeforeValidator(_slugs), Field(max_length=MOST_GROUPS)
    ] = Field(default_factory=dict)
    agents: Annotated[
        dict[str, AgentRules], BeforeValidator(_slugs), Field(max_length=MOST_AGENTS)
    ] = Field(default_factory=dict)
    times: Times = Times()

    def to_yaml_data(self) -> dict[str, Any]:
        """Plain data that parses to the same book, without what has its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


# ── the parts in view of each other ──────────────────────────────────────────────────────────


class Wish(NamedTuple):
    """What a client's calls ask of the distribution."""

    client_id: str
    group: str
    requires: Mapping[str, int]
    regroups: tuple[str, ...] = ()
    """Groups that the client's treatments hand calls on to."""
    learn_beside_trained: bool = False


def named(known: Collection[str]) -> str:
    """What there is to choose from, the first of it by name."""
    first = ", ".join(list(known)[:_NAMED]) or "none"
    return first if len(known) <= _NAMED else f"{first} and {len(known) - _NAMED} more"


def mistakes(book: RuleBook, known_agents: Collection[str]) -> list[Remark]:
    """What refers to nothing."""
    groups = named(book.groups)
    found = []
    for name, group in book.groups.items():
        for at, other in enumerate(group.overflow_to):
            here = ("groups", name, "overflow_to", at)
            if other == name:
                found.append(Remark(here, "is the group itself", "Name other groups"))
            elif other not in book.groups:
                found.append(Remark(here, f"there is no group {other!r}", f"Known: {groups}"))
            elif other in group.overflow_to[:at]:
                found.append(Remark(here, f"{other!r} stands twice", "Keep one of them"))
    for name, agent in book.agents.items():
        if name not in known_agents:
            found.append(
                Remark(
                    ("agents", name),
                    f"there is no agent {name!r}",
                    f"Add the agent first: vsek agent add {name}",
                )
            )
        found += [
            Remark(
                ("agents", name, "cleared", other),
                f"there is no group {other!r}",
                f"Known: {groups}, '*'",
            )
            for other in agent.cleared
            if other != EVERY_GROUP and other not in book.groups
        ]
    return found


def unknown_groups(wish: Wish, book: RuleBook) -> list[str]:
    """The groups that a client names and that the rules do not have."""
    named = (*([wish.group] if wish.group else ()), *wish.regroups)
    return [name for name in dict.fromkeys(named) if name not in book.groups]


def doubts(
    book: RuleBook, known_agents: Iterable[str], wishes: Iterable[Wish] = ()
) -> list[Remark]:
    """What is allowed, but hardly meant: groups that nobody serves, teams that belong nowhere,
    learners who get no calls."""
    agents = _kinds(book, known_agents)
    taught = {name for name, group in book.groups.items() if "learning" in group.circles}
    taught.update(wish.group for wish in wishes if wish.learn_beside_trained)
    teams = {group.team for group in book.groups.values()}
    found = []
    for name, group in book.groups.items():
        if not any(admits(name, group, agent) for agent in agents):
            found.append(
                Remark(
                    ("groups", name, "circles"),
                    "admit nobody",
                    f"Clear agents for the group: cleared: {{{name}: trained}}",
                )
            )
        elif group.team and all(agent.team != group.team for agent in agents):
            found.append(
                Remark(
                    ("groups", name, "team"),
                    f"nobody is in the team {group.team!r}",
                    "Write the team as under agents",
                )
            )
    for name, agent in book.agents.items():
        if agent.team and agent.team not in teams:
            found.append(
                Remark(
                    ("agents", name, "team"),
                    f"no group has the team {agent.team!r}",
                    "Write the team as under groups",
                )
            )
        found += [
            Remark(
                ("agents", name, "cleared", other),
                f"learns for {other!r}, where no circle admits who is learning",
                "Add learning to the group's circles",
            )
            for other, clearance in agent.cleared.items()
            if clearance == "learning" and other != EVERY_GROUP and other not in taught
        ]
    return found


def unserved(
    wishes: Iterable[Wish], book: RuleBook, known_agents: Iterable[str]
) -> list[tuple[Wish, str]]:
    """Clients whose calls nobody can ever take, with the reason."""
    agents = _kinds(book, known_agents)
    judged: dict[tuple[str, tuple[tuple[str, int], ...]], str] = {}
    found = []
    for wish in wishes:
        key = (wish.group, tuple(sorted(wish.requires.items())))
        if key not in judged:
            judged[key] = _why_unserved(wish, book, agents)
        if judged[key]:
            found.append((wish, judged[key]))
    return found


def _why_unserved(wish: Wish, book: RuleBook, agents: list[AgentRules]) -> str:
    for skill, level in wish.requires.items():
        best = max((agent.skills.get(skill, 0) for agent in agents), default=0)
        if best == 0:
            return f"requires {skill!r}, which no agent has"
        if best < level:
            return f"requires {skill!r} at level {level}, the best agent has {best}"
    group = book.groups.get(wish.group, GroupRules())
    for agent in agents:
        enough = all(agent.skills.get(skill, 0) >= level for skill, level in wish.requires.items())
        if enough and admits(wish.group, group, agent):
            return ""
    where = f"in group {wish.group!r}" if wish.group else "for clients without a group"
    return f"no agent {where} may take its calls" + (
        " with the skills that it requires" if wish.requires else ""
    )


def admits(name: str, group: GroupRules, agent: AgentRules) -> bool:
    """Whether some circle of the group ``name`` lets the agent in."""
    clearance = agent.clearance(name)
    trained = clearance == "trained"
    return any(
        (kind == "team" and trained and agent.team == group.team)
        or (kind == "trained" and trained)
        or (kind == "learning" and clearance == "learning")
        or (
            kind == "overflow"
            and any(agent.clearance(other) == "trained" for other in group.overflow_to)
        )
        for kind in group.circles
    )


def _kinds(book: RuleBook, known_agents: Iterable[str]) -> list[AgentRules]:
    """The agents' rules, those that are alike once."""
    alike: dict[str, AgentRules] = {}
    default = AgentRules()
    for agent_id in known_agents:
        agent = book.agents.get(agent_id, default)
        alike.setdefault(agent.model_dump_json(), agent)
    return list(alike.values())
