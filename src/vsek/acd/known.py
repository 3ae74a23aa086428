"""Who has called before, and which agents know the matter.

Pure: what is remembered of a caller's number and name goes in, a :class:`Recognition` comes out.

A number says who calls unless several people use it. Whether they do shows in what is remembered:
notes that name different people (or companies), networks that showed different names, or so many
talks with so many agents that no single matter can be behind them. At such a number only the name
counts that the network shows; where it shows none, or one that fits more than one of them, nobody
is known, so that a company's switchboard is never tied to one agent. A caller who hides the number
is recognised by a shown name that a note has word for word, but never for sure.

Names were chosen by strangers and typed by people in a hurry. :func:`name_key` brings them into one
spelling: case, umlauts and accents, the order of the words, forms of address and titles do not
matter. Two names are *alike* when one has all the words of the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import combinations

import msgspec

from vsek.domain.ids import AgentId
from vsek.domain.text import clean_line

KNOWN_DAYS = 14.0
"""How long a talk makes somebody known where the client says nothing else, in days."""
TALKS_LOOKED_AT = 50
"""The newest ones; more are not needed to tell what kind of number it is."""
AGENTS_TOLD = 5
CROWD_TALKS = 10
CROWD_AGENTS = 5
"""So many talks without a name in a note, with so many agents: many people behind one number."""

_DAY_S = 86_400.0
_WORDS_AT_MOST = 8


class Why(StrEnum):
    """By what a caller was recognised, or why not."""

    STRANGER = ""
    """Nothing is remembered."""
    NUMBER = "number"
    PERSON = "person"
    """The number has several users; the name shown is that of one of them."""
    NAME = "name"
    """The name shown stands in a note."""
    SHARED = "shared_number"
    """Not recognised: the number has several users."""
    CROWD = "busy_number"
    """Not recognised: so many calls come from the number that several people must use it."""
    OWN = "own_number"
    """Not recognised: it is the client's own number."""


class Talk(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of one talk. Names are given as :func:`name_key` writes them."""

    at: float
    """Unix seconds."""
    agent_id: AgentId
    shown: str = ""
    """The name that the network showed."""
    person: str = ""
    """Whom the note names."""
    company: str = ""


class Recognition(msgspec.Struct, frozen=True):
    """Who knows the matter."""

    agents: tuple[AgentId, ...] = ()
    """The best first: who talked with the caller last."""
    sure: bool = False
    """For certain, so that the call may be kept for one of them."""
    why: Why = Why.STRANGER


def recognise(
    by_number: Iterable[Talk],
    by_name: Iterable[Talk],
    shown: str,
    now: float,
    days: float = KNOWN_DAYS,
) -> Recognition:
    """Who knows the matter of a caller whose display is ``shown`` (a :func:`name_key`).

    ``by_number`` are talks with the caller's number at this client, none for one who hides it;
    ``by_name`` those whose note names ``shown``. Those longer ago than ``days`` do not count.
    """
    talks = _recent(by_number, now, days)
    if talks:
        if _several([*talks, Talk(now, AgentId(""), shown)]):
            return _one_of_several(talks, shown, Why.SHARED)
        if _crowd(talks):
            return _one_of_several(talks, shown, Why.CROWD)
        return Recognition(_agents(talks), sure=not _doubtful(talks, shown), why=Why.NUMBER)
    named = [talk for talk in _recent(by_name, now, days) if shown and talk.person == shown]
    return Recognition(_agents(named), why=Why.NAME) if named else Recognition()


def _recent(talks: Iterable[Talk], now: float, days: float) -> list[Talk]:
    since = now - days * _DAY_S
    recent = (talk for talk in talks if talk.at > since)
    return sorted(recent, key=lambda talk: talk.at, reverse=True)[:TALKS_LOOKED_AT]


def _agents(talks: Sequence[Talk]) -> tuple[AgentId, ...]:
    """``talks`` are in order, the newest first."""
    return tuple(dict.fromkeys(talk.agent_id for talk in talks))[:AGENTS_TOLD]


def _one_of_several(talks: Sequence[Talk], shown: str, why: Why) -> Recognition:
    """The number does not say who calls; perhaps the name does, if it is not just the company's."""
    if any(set(shown.split()) <= set(talk.company.split()) for talk in talks if talk.company):
        return Recognition(why=why)
    mine = [talk for talk in talks if alike(talk.person, shown)]
    if any(talk.shown and not alike(talk.shown, shown) for talk in talks):
        # It shows different names, so the same one again is the same person.
        line = [talk for talk in talks if talk.shown and talk.shown == shown]
        if not _crowd(line):
            mine = [talk for talk in talks if talk in mine or talk in line]
    if not mine or _several(mine):
        return Recognition(why=why)
    return Recognition(_agents(mine), sure=True, why=Why.PERSON)


def _several(talks: Iterable[Talk]) -> bool:
    """Whether these were different people."""
    identities = dict.fromkeys((talk.person, talk.company, talk.shown) for talk in talks)
    return any(_differ(*pair) for pair in combinations(identities, 2))


def _differ(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    (person, company, shown), (person_2, company_2, shown_2) = one, other
    if person and person_2:
        return not alike(person, person_2)
    if company and company_2 and not alike(company, company_2):
        return True
    return bool(shown and shown_2) and not alike(shown, shown_2)


def _crowd(talks: Sequence[Talk]) -> bool:
    unnamed = [talk.agent_id for talk in talks if not talk.person]
    return len(unnamed) >= CROWD_TALKS and len(set(unnamed)) >= CROWD_AGENTS


def _doubtful(talks: Sequence[Talk], shown: str) -> bool:
    """Whether the name shown now is new and fits none that the notes have."""
    return bool(shown) and all(
        talk.person
        and talk.shown != shown
        and not alike(talk.person, shown)
        and not alike(talk.company, shown)
        for talk in talks
    )


# --- names ----------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_SPELT = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "æ": "a", "œ": "o", "þ": "th"})
_UMLAUT = re.compile("([aou])e")
_NO_WORDS = """
    anonym anonymous anrufer anruferin blocked caller na name privat private restricted unavailable
    unbekannt unbekannte unbekannter unknown withheld
    baron baronin dame dipl dir direktor direktorin doctor doktor dr fam familie fr frau fraulein
    hc herr herrn hr inc ing jr lic llm mag magister med miss mr mrs ms msc mx phd prof professor
    professorin rain rechtsanwalt rechtsanwaltin sen sir sr univ
    ag co corp ev firma gbr ggmbh gmbh kg kgaa llc ltd mbh ohg se ug
"""
"""Words that tell nobody from anybody: for no name at all, titles, forms of companies."""
_IGNORED = frozenset(_NO_WORDS.split())


@lru_cache(maxsize=1024)
def name_key(text: str) -> str:
    """The words of a name in one spelling and order, for comparing; empty if it is no name.

    ``Dr. Jörg Müller``, ``MUELLER, Joerg`` and ``Joerg Muller`` are the same.
    """
    folded = unicodedata.normalize("NFKD", clean_line(text).casefold().translate(_SPELT))
    bare = "".join(c for c in folded if not unicodedata.combining(c)).translate(_SPELT)
    bare = unicodedata.normalize("NFC", bare)
    words = dict.fromkeys(_WORD.findall(_APOSTROPHES.sub("", bare)))
    kept = {
        _UMLAUT.sub(r"\1", word)
        for word in words
        if word not in _IGNORED and not any(c.isdigit() for c in word)
    }
    # Initials, and what is left of abbreviations such as "e.V.".
    kept = {word for word in kept if len(word) > 1 or not word.isascii()}
    return " ".join(sorted(kept)[:_WORDS_AT_MOST])


def alike(one: str, other: str) -> bool:
    """Whether two names (:func:`name_key`) may be the same person's: one has all words of the
    other. An empty one is like none."""
    if not one or not other:
        return False
    words, words_2 = set(one.split()), set(other.split())
    return words <= words_2 or words_2 <= words
