"""Starts one program as another user, tied to the life of its parent.

Run as a script by :mod:`vsek.embedded.servant`, in an isolated Python (no site, no vsek)::

    python -I -S launch.py PARENT_PID SIGNAL UID GID HOSTNAME PROGRAM ARGUMENT…

``SIGNAL`` is sent to the program when the parent dies, even by SIGKILL. The order matters: a change
of user clears the parent-death signal, so it is set afterwards; a parent that died before that is
noticed by its pid. ``UID`` -1 keeps the user. ``HOSTNAME`` other than ``-`` gives the program a
host name of its own (in an UTS namespace): one that does not resolve would make Asterisk look it up
for every call. Where namespaces are not allowed the name stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUTS = 0x04000000


def main(arguments: list[str]) -> None:
    """Becomes the program; returns only by an exception."""
    parent, signal, uid, gid = (int(argument) for argument in arguments[:4])
    host_name, program = arguments[4], arguments[5]
    libc = ctypes.CDLL(None, use_errno=True)
    if host_name != "-" and libc.unshare(_CLONE_NEWUTS) == 0:
        encoded = host_name.encode()
        libc.sethostname(encoded, len(encoded))
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        os.umask(0o077)
    if libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        sys.exit(f"{program}: cannot be tied to its parent: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit(f"{program}: not started, its parent {parent} is gone")
    os.execv(program, arguments[5:])  # noqa: S606 - a shell is what it must not be


if __name__ == "__main__":
    main(sys.argv[1:])
