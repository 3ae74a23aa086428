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

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, TextIO, cast

import msgspec
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

if TYPE_CHECKING:
    from vsek.domain.ids import CallId

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "text"]

# Fields that open a line of text, in this order; the rest follows as it was given.
_FIRST = ("timestamp", "level", "logger", "event", "call_id")

# Locals of a frame may hold secrets; they stay out of the log.
_without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

# Libraries that tell every request at level info; vsek's own events say what matters.
_TALKATIVE = ("aiohttp.access", "asyncio", "uvicorn.access", "yoyo.migrations")


def configure(level: Level = "info", fmt: Format = "json") -> None:
    """Sends all logging of this process to stderr: events at ``level`` or above, as ``fmt``.

    ``json``: one object per line. ``text``: for people, ``key=value`` after the event's name.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [structlog.processors.ExceptionRenderer(_without_locals), _render_json]
        if fmt == "json"
        else [structlog.processors.format_exc_info, _render_text]
    )
    handler = _Lines(sys.stderr)
    structlog.configure(
        processors=[*shared, _add_name, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *names: _Named(handler, *names),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            *shared,
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_logger_name,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
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
    with bound_contextvars(call_id=call_id):
        yield


class _Lines(logging.StreamHandler[TextIO]):
    """Where all lines end up."""

    def line(self, text: str) -> None:
        """Write a line that is ready. A stream that refuses is no reason to end calls."""
        try:
            with self.lock or nullcontext():
                self.stream.write(text + "\n")
                self.flush()
        except (OSError, ValueError):
            return


class _Named:
    """The end of the way of our own events: structlog's logger of one name."""

    __slots__ = ("_lines", "name")

    def __init__(self, lines: _Lines, name: str = "vsek") -> None:
        self._lines = lines
        self.name = name

    def msg(self, text: str) -> None:
        """A rendered line."""
        self._lines.line(text)

    debug = info = warning = error = critical = exception = log = fatal = msg


def _add_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(_ordered(event), enc_hook=str).decode()


def _render_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = _ordered(event)
    trace = fields.pop("exception", None)
    head = " ".join(
        _shown(fields.pop(name, ""), quote=False)
        for name in ("timestamp", "level", "logger", "event")
    )
    rest = "".join(f" {name}={_shown(value)}" for name, value in fields.items())
    # A traceback is the only thing that may take several lines; it is indented below its event.
    lines = "".join(f"\n    {_shown(line, quote=False)}" for line in str(trace or "").splitlines())
    return head + rest + lines


def _ordered(event: EventDict) -> dict[str, object]:
    first = {name: event[name] for name in _FIRST if name in event}
    return first | {name: value for name, value in event.items() if name not in first}


def _shown(value: object, *, quote: bool = True) -> str:
    text = str(value)
    if quote and (
        not text or any(c.isspace() or c in "\"'=" for c in text) or not text.isprintable()
    ):
        return repr(text)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
