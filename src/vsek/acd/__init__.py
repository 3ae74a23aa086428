"""Distribution of calls to agents: who gets which call, and when. Pure, see ``docs/acd.md``."""

from __future__ import annotations

from vsek.acd.decide import decide, match, take
from vsek.acd.effects import Effect
from vsek.acd.errors import AcdError
from vsek.acd.events import Event
from vsek.acd.rules import Rules
from vsek.acd.state import Acd, AgentState

__all__ = ["Acd", "AcdError", "AgentState", "Effect", "Event", "Rules", "decide", "match", "take"]
