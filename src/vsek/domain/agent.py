"""Agents: the people who take the calls, each with a SIP account of the same id."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vsek.domain.ids import SLUG, AgentId
from vsek.domain.note import Language
from vsek.domain.numbers import looks_like_number
from vsek.domain.strict import shorten
from vsek.domain.text import CleanName
from vsek.errors import InputError

REALM = "vsek"
"""The realm of SIP authentication; part of every stored hash."""
SECRET_MIN = 12
SECRET_MAX = 128

# Names with a meaning of their own in asterisk-conf or in SIP.
RESERVED_IDS = frozenset(
    {"agents", "anonymous", "asterisk", "from-trunk", "general", "global", "loopback", "system"}
    | {"trunk", "trunk-ip", "trunk-local", "trunk-registration", "vsek"}
)
# A letter or two before a row of digits still reads as a number ("p4930123456").
_NUMBERISH = re.compile(r"[a-z]{0,3}-?[0-9-]{5,}\Z")
# Letters and digits that can be told apart when read out or typed from paper.
_SECRET_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz"  # noqa: S105
_MADE_SECRET_LENGTH = 20


def check_agent_id(text: str) -> AgentId:
    """``text`` as an agent's id.

    Raises ``InputError`` for anything but a lower-case slug of at most 40 characters, for names
    that vsek uses itself, and for what looks like a telephone number: a SIP account is found by
    the user name of the caller's address, where networks put the caller's number.
    """
    if looks_like_number(text) or _NUMBERISH.match(text):
        raise InputError(
            f"Agent id {shorten(text, 60)!r} looks like a telephone number",
            field="id",
            value=text,
            remedy="Choose a name, for example 'anna' or 'anna-schmidt'",
            error_id="agent_id",
        )
    if not SLUG.match(text):
        raise InputError(
            f"Agent id {shorten(text, 60)!r} is not usable",
            field="id",
            value=text,
            remedy="Use a to z, 0 to 9 and '-', beginning with a letter, at most 40 characters",
            error_id="agent_id",
        )
    if text in RESERVED_IDS:
        raise InputError(
            f"Agent id {shorten(text, 60)!r} is reserved",
            field="id",
            value=text,
            remedy="Choose another one, for example the person's name",
            error_id="agent_id",
        )
    return AgentId(text)


def check_secret(text: str) -> str:
    """``text`` as a SIP secret; raises ``InputError`` (which does not repeat the secret)."""
    if len(text) < SECRET_MIN:
        raise InputError(
            f"The secret has {len(text)} characters; at least {SECRET_MIN} are needed",
            field="secret",
            remedy="Give a longer one, or none: then one is made and shown once",
            error_id="agent_secret",
        )
    if len(text) > SECRET_MAX or not text.isascii() or not text.isprintable():
        raise InputError(
            "The secret is not usable",
            field="secret",
            remedy=f"Use at most {SECRET_MAX} printable ASCII characters",
            error_id="agent_secret",
        )
    return text


def make_secret() -> str:
    """A fresh random secret of about 115 bits."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_MADE_SECRET_LENGTH))


def ha1(agent_id: str, secret: str, realm: str = REALM) -> str:
    """The digest hash (RFC 2617, MD5) that is stored instead of the secret."""
    digest = hashlib.md5(f"{agent_id}:{realm}:{secret}".encode(), usedforsecurity=False)
    return digest.hexdigest()


def _agent_id(text: str) -> AgentId:
    try:
        return check_agent_id(text)
    except InputError as error:
        raise ValueError(str(error)) from None


class Agent(BaseModel):
    """An agent as stored. ``ha1`` is what the PBX needs to check the agent's password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[AgentId, AfterValidator(_agent_id)]
    name: Annotated[CleanName, Field(min_length=1)]
    language: Language = "de"
    ha1: str = Field(pattern=r"\A[0-9a-f]{32}\z", repr=False)
