"""Ports on loopback for servers that may have any.

The kernel takes the ports of outgoing connections from a range of its own, 32,768 to 60,999 where
nobody changed it. A server's port from there is lost as soon as some connection, perhaps one of our
own to the database, happens to get it before the server listens, or while it is being started
again. So servers get theirs above that range, where nobody gets one without asking for it; sound
has its ports below (Asterisk's from 10,000 on, those of our own telephones from 20,000 on).
"""

from __future__ import annotations

import random
import socket
from collections import deque
from typing import Final

from vsek.errors import ServiceError

FIRST: Final = 61_000
LAST: Final = 64_999
_TRIES: Final = 200
_KINDS: Final = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_given: Final[deque[int]] = deque(maxlen=100)


def free_port() -> int:
    """A port that nobody uses at this moment, for UDP or TCP, and that was not given just now.

    Raises ``ServiceError`` where there is none.
    """
    for _ in range(_TRIES):
        # Even: RTP wants such ones.
        port = random.randrange(FIRST, LAST) & ~1  # noqa: S311 (no secret)
        if port in _given or not all(is_free(port, kind) for kind in _KINDS):
            continue
        _given.append(port)
        return port
    raise ServiceError(
        f"No free port between {FIRST} and {LAST} on 127.0.0.1",
        remedy="End some of the programs that listen there (ss -lntup)",
    )


def is_free(port: int, kind: socket.SocketKind) -> bool:
    """Whether a server could have this port now."""
    return _hindrance(port, kind) is None


def require_free(port: int, kind: socket.SocketKind, option: str) -> None:
    """Raises ``ServiceError`` when somebody else has this port on loopback."""
    error = _hindrance(port, kind)
    if error is not None:
        raise ServiceError(
            f"Port {port} ({option}) is not free: {error.strerror}",
            remedy=f"End what uses it, or choose another port with --{option}",
            error_id="port_taken",
        )


def _hindrance(port: int, kind: socket.SocketKind) -> OSError | None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error
    return None
