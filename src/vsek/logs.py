"""Logging of all vsek processes: structlog, one event per line on stderr.

Call :func:`configure` once per process, before anything logs. Modules take their logger with
``log = get_logger("switchboard")`` and write ``log.info("offer_made", call_id=…, agent_id=…)``: the
event is a stable name, everything else is a field. A line that belongs to a call carries its
``call_id``: either given with the event, or set for a block with :func:`call_context`. Lines of
libraries that use the standard ``logging`` come out in the same shape.

Our own events do not take the way through the standard library, which costs several times as much
and would be a good part of a call's work; both ways end in the same stream, a line in one piece.

Values may come from strangers (a caller's name), so the text format shows control characters as
escapes: nobody can forge a line or talk to the terminal of whoever reads the log.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

if TYPE_CHECKING:
    from vsek.domain.ids import CallId

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "text"]

_LEVELS = {"warn": "warning", "exception": "error", "fatal": "critical"}
_AT_ONCE = frozenset({"error", "exception", "critical", "fatal"})
"""Lines that must not be lost should the process end now."""
_call_id: ContextVar[CallId | None] = ContextVar("call_id", default=None)

# Locals of a frame may hold secrets; they stay out of the log.
_exception_as_fields = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
_TOGETHER_S = 0.05
"""Lines of so many seconds are written at once."""
_encode = msgspec.json.Encoder(enc_hook=str).encode

# Libraries that tell every request at level info; vsek's own events say what matters.
_TALKATIVE = ("aiohttp.access", "asyncio", "uvicorn.access", "yoyo.migrations")


def configure(level: Level = "info", fmt: Format = "json") -> None:
    """Sends all logging of this process to stderr: events at ``level`` or above, as ``fmt``.

    ``json``: one object per line. ``text``: for people, ``key=value`` after the event's name.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    render: Callable[[EventDict], str] = _json if fmt == "json" else _text
    handler = _Lines(sys.stderr)

    class Direct(structlog.make_filtering_bound_logger(number)):  # type: ignore[misc]
        """structlog's logger without its chain of processors: one step does it all, since each
        costs, and a call writes a dozen lines."""

        def _proxy_to_logger(self, method: str, event: str | None = None, /, **fields: Any) -> None:
            line = _complete(self._logger.name, method, event, {**self._context, **fields})
            self._logger.line(render(line), at_once=method in _AT_ONCE)

    structlog.configure(
        wrapper_class=Direct,
        logger_factory=lambda *names: _Named(handler, *names),
        cache_logger_on_first_use=False,
    )

    def theirs(_logger: WrappedLogger, method: str, event: EventDict) -> str:
        event.pop("_record", None)
        event.pop("_from_structlog", None)
        name, said = str(event.pop("logger", "")), event.pop("event", "")
        return render(_complete(name, method, said, event))

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name],
        processors=[theirs],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for the part ``name``; its lines carry ``logger="vsek.NAME"``."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(f"vsek.{name}"))


@contextmanager
def call_context(call_id: CallId) -> Iterator[None]:
    """Every line logged inside the block (and by tasks started in it) carries ``call_id``."""
    token = _call_id.set(call_id)
    try:
        yield
    finally:
        _call_id.reset(token)


class _Lines(logging.StreamHandler[TextIO]):
    """Where all lines end up. What the event loop's thread logs waits a moment, unless it is an
    error, and is written together: an agent's telephone does not wait for the log."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []
        self._writer: asyncio.AbstractEventLoop | None = None
        """Whose timer will write them; a loop that has ended does not."""
        atexit.register(self.write_out)

    def line(self, text: str, *, at_once: bool = False) -> None:
        """Take a line that is ready."""
        with self.lock or nullcontext():
            self._waiting.append(text)
            if not at_once and (loop := _get_running_loop()) is not None:
                if self._writer is not loop:
                    self._writer = loop
                    loop.call_later(_TOGETHER_S, self.write_out)
                return
        self.write_out()

    def write_out(self) -> None:
        """Write what waits. A stream that refuses is no reason to end calls."""
        try:
            with self.lock or nullcontext():
                waiting, self._waiting, self._writer = self._waiting, [], None
                if waiting:
                    self.stream.write("\n".join((*waiting, "")))
                    self.flush()
        except (OSError, ValueError):
            return

    def emit(self, record: logging.LogRecord) -> None:
        """A line of a library, or of ours that took the way through the standard library."""
        try:
            self.line(self.format(record), at_once=record.levelno >= logging.ERROR)
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)


class _Named:
    """The end of the way of our own events: structlog's logger of one name."""

    __slots__ = ("line", "name")

    def __init__(self, lines: _Lines, name: str = "vsek") -> None:
        self.line = lines.line
        self.name = name


@lru_cache(maxsize=2)
def _second(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _complete(name: str, method: str, said: str | None, fields: EventDict) -> EventDict:
    """The fields of a line in their order: those that every line has, the call, the rest."""
    now = time.time()
    line: EventDict = {
        "timestamp": f"{_second(now // 1)}.{int(now % 1 * 1e6):06d}Z",
        "level": _LEVELS.get(method, method),
        "logger": name,
        "event": said or "",
    }
    call_id = fields.pop("call_id", None) or _call_id.get()
    if call_id is not None:
        line["call_id"] = call_id
    line.update(fields)
    return line


def _json(line: EventDict) -> str:
    if "exc_info" in line:
        line = _exception_as_fields(None, "", line)
    try:
        return _encode(line).decode()
    except (TypeError, ValueError):  # half a surrogate pair, say: no reason to end a call
        sure = {name: str(value).encode(errors="backslashreplace") for name, value in line.items()}
        return _encode({name: value.decode() for name, value in sure.items()}).decode()


def _text(line: EventDict) -> str:
    if "exc_info" in line:
        line = structlog.processors.format_exc_info(None, "", line)
    trace = line.pop("exception", None)
    head = " ".join(
        _shown(line.pop(name), quote=False) for name in ("timestamp", "level", "logger", "event")
    )
    rest = "".join(f" {name}={_shown(value)}" for name, value in line.items())
    # A traceback is the only thing that may take several lines; it is indented below its event.
    lines = "".join(f"\n    {_shown(line, quote=False)}" for line in str(trace or "").splitlines())
    return head + rest + lines


def _shown(value: object, *, quote: bool = True) -> str:
    text = str(value)
    if quote and (
        not text or any(c.isspace() or c in "\"'=" for c in text) or not text.isprintable()
    ):
        return repr(text)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
