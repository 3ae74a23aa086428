"""Tells the supervisor how we are: systemd, or ``vsek up``, which listens the same way.

The protocol is one datagram of ``NAME=value`` lines to the unix socket in ``NOTIFY_SOCKET``
(sd_notify(3)). Without a supervisor nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from struct import Struct

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
SERVING = "STATUS=serving"
STANDING_BY = "STATUS=standing by"
"""Loaded and connected; takes over when the process before us ends."""

_CREDENTIALS = Struct("3i")  # process, user, group


def tell(*lines: str) -> None:
    """Send ``lines``; a supervisor that is gone or slow is none of our business."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name in the abstract namespace
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.setblocking(False)
        sender.sendto("\n".join(lines).encode(), address)


def received(listener: socket.socket) -> tuple[list[str], int]:
    """What a process told ``listener`` (which has ``SO_PASSCRED`` set), and its process id."""
    data, ancillary, _, _ = listener.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    sender = 0
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])[0]
    return data.decode(errors="replace").splitlines(), sender


def watchdog_s() -> float | None:
    """How often the supervisor wants to hear ``WATCHDOG=1`` at the latest; ``None``: it does not.

    ``WATCHDOG_PID`` names whom it means.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        usec = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return usec / 1e6 if usec > 0 else None
