"""How late an event loop is, seen from outside: somebody who asks all the time and waits.

Theory of operation. A thread sends a request that costs next to nothing (``GET /v1/live``) over the
switchboard's control socket, again and again, and takes the time until the answer. What the loop
was doing when the request came is in this time, and so is what the request itself costs (half a
millisecond or so): it is a little longer than the lag.

On a machine on which others work, most of it can be waiting for a core, which is no fault of the
loop. The kernel counts for each thread how long it was ready and did not run
(``/proc/PID/task/TID/schedstat``); ``own`` is what remains without this time, both of the process
that is asked and of the one that asks.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_REQUEST: Final = b"GET /v1/live HTTP/1.1\r\nHost: switchboard\r\n\r\n"
_ANSWER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. ``at``: when it was sent, by ``time.monotonic``; times in milliseconds."""

    at: float
    lag: float
    own: float


def waited_ms(pid: int, thread: int) -> float:
    """How long a thread has waited for a core so far; 0 where the kernel does not count it."""
    try:
        text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e6


def read_answer(line: socket.socket) -> None:
    """Reads one whole answer; raises ``OSError`` when it does not come."""
    heard = b""
    while not whole(heard):
        more = line.recv(4096)
        if not more:
            raise ConnectionError("the switchboard closed the line")
        heard += more


def whole(heard: bytes) -> bool:
    """Whether this is all of an HTTP answer with a length."""
    head, found, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(found) and len(body) >= (int(length[1]) if length else 0)


class LagProbe:
    """Asks ``pid`` at its control socket while it is entered; ``answers`` grows."""

    def __init__(self, control: Path, pid: int, *, every_s: float = 0.005) -> None:
        self.answers: list[Answer] = []
        self.failed = ""
        """Why it ended early."""
        self._control = control
        self._pid = pid
        self._every_s = every_s
        self._line: socket.socket | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag-probe", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def since(self, begin: float, end: float) -> list[Answer]:
        """Answers to requests that were sent between two moments."""
        return [answer for answer in self.answers if begin <= answer.at < end]

    def _run(self) -> None:
        try:
            while not self._over.wait(self._every_s):
                self.answers.append(self._ask())
        except OSError as error:
            self.failed = str(error) or type(error).__name__
        finally:
            self._hang_up()

    def _connected(self) -> socket.socket:
        if self._line is None:
            self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._line.settimeout(_ANSWER_S)
            self._line.connect(str(self._control))
        return self._line

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self) -> Answer:
        mine = threading.get_native_id()
        waited = waited_ms(self._pid, self._pid) + waited_ms(os.getpid(), mine)
        began = time.monotonic()
        try:
            self._exchange()
        except ConnectionError:
            # Held up for long enough, the server takes the line for idle and closes it, with our
            # request on it. The answer to the next one is as late as it is.
            self._hang_up()
            self._exchange()
        lag = 1000 * (time.monotonic() - began)
        waited = waited_ms(self._pid, self._pid) + waited_ms(os.getpid(), mine) - waited
        return Answer(began, lag, max(0.0, lag - waited))

    def _exchange(self) -> None:
        line = self._connected()
        line.sendall(_REQUEST)
        read_answer(line)
