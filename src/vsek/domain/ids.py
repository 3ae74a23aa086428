"""Identifiers. Each is a plain string with a type of its own.

Ids that vsek chooses for things inside Asterisk begin with :data:`OURS` and carry the call id, so
that leftovers can be recognised and a repeated command is harmless.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import datetime
from typing import NewType

CallId = NewType("CallId", str)
ClientId = NewType("ClientId", str)
AgentId = NewType("AgentId", str)
ChannelId = NewType("ChannelId", str)
OfferId = NewType("OfferId", str)

OURS = "vsekcall-"
"""No channel of Asterisk's own begins like this; its ids begin with its system name and a dash, and
``vsek`` is a likely system name."""

RECORDINGS = "vsek/"
"""How the names of our recordings in Asterisk begin."""

# Letters that nobody confuses when a call id is read out on the phone.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_CALL_ID = re.compile(rf"\d{{6}}-\d{{6}}-[{_ALPHABET}]{{6}}\Z", re.ASCII)
SLUG = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")


def new_call_id(now: float) -> CallId:
    """A call id: UTC date and time of ``now`` (Unix seconds) and six random letters."""
    stamp = time.strftime("%y%m%d-%H%M%S", time.gmtime(now))
    number = secrets.randbelow(len(_ALPHABET) ** 6)
    letters = ""
    for _ in range(6):  # one draw for all six: each costs a system call
        number, letter = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[letter]
    return CallId(f"{stamp}-{letters}")


def is_call_id(text: str) -> bool:
    """Whether ``text`` could be a call's id."""
    if _CALL_ID.match(text) is None:
        return False
    try:
        time_of_call_id(CallId(text))
    except ValueError:
        return False
    return True


def time_of_call_id(call_id: CallId) -> float:
    """When the call began, to the second (Unix seconds). Raises ``ValueError`` for another id."""
    return datetime.strptime(f"{call_id[:13]}+0000", "%y%m%d-%H%M%S%z").timestamp()
