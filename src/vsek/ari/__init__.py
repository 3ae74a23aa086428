"""An asyncio client of Asterisk's REST interface (ARI), in the shape of ari-py.

Requests go as REST over WebSocket (Asterisk 20.14, 21.9, 22.4 and later), big lists and binaries
over HTTP. See ``docs/ari.md``.
"""

from __future__ import annotations

from vsek.ari._generated import events, models, objects
from vsek.ari.backoff import Backoff
from vsek.ari.base import Event, UnknownEvent
from vsek.ari.client import Client
from vsek.ari.errors import (
    AriBadRequest,
    AriClosed,
    AriConflict,
    AriDisconnected,
    AriError,
    AriFrameTooLarge,
    AriLoginRefused,
    AriMalformed,
    AriNotFound,
    AriRefused,
    AriReplaced,
    AriServerError,
    AriTimeout,
)
from vsek.ari.protocol import Query, Reply
from vsek.ari.subscriptions import Subscription

__all__ = [
    "AriBadRequest",
    "AriClosed",
    "AriConflict",
    "AriDisconnected",
    "AriError",
    "AriFrameTooLarge",
    "AriLoginRefused",
    "AriMalformed",
    "AriNotFound",
    "AriRefused",
    "AriReplaced",
    "AriServerError",
    "AriTimeout",
    "Backoff",
    "Client",
    "Event",
    "Query",
    "Reply",
    "Subscription",
    "UnknownEvent",
    "events",
    "models",
    "objects",
]
