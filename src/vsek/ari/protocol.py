"""REST over WebSocket, without the WebSocket: frames in, events and replies out.

Theory of operation. One ``AriProtocol`` stands for one socket to Asterisk, over all its
reconnects. It does no I/O and has no clock: the owner passes ``now`` (seconds, any monotonic
origin) and carries frames between the protocol and the socket.

Each request has an id, a deadline and exactly one fate: a ``Reply`` out of ``feed``, an
``Expired`` out of ``expire``, or its id in the result of ``disconnected`` or ``fence``. A reply
that comes after its request has had another fate is counted (``late_replies``), so is one for a
request that was never made (``stray_replies``).

States: ``DISCONNECTED`` → ``connected()`` → ``OPEN`` → ``disconnected()`` → ``DISCONNECTED``;
and ``FENCED`` for ever after ``fence()`` or an ``ApplicationReplaced``: Asterisk goes on taking
requests from the old connection of an application, but whoever replaced us owns the calls now.

An ``ApplicationReplaced`` fences at once, inside ``feed``; the owner sees ``state`` and collects
the ids of what was pending with ``fence()``.

Frames: Asterisk 22.10, ``doc/README.websocket`` and ``events.json`` (RESTRequest, RESTResponse).
"""

from __future__ import annotations

import enum
import functools
import heapq
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from vsek.ari._generated.events import EVENTS, ApplicationReplaced, RESTResponse
from vsek.ari.base import Event, UnknownEvent
from vsek.ari.errors import AriDisconnected, AriError, AriFrameTooLarge, AriReplaced

# Asterisk closes the socket (1009) on anything longer: MAXIMUM_FRAME_SIZE in
# res_http_websocket.c is 65,535.
MAX_FRAME_BYTES: Final = 65_535

QueryValue: TypeAlias = str | int | float | bool | Sequence[str] | None
Query: TypeAlias = Mapping[str, QueryValue]


class State(enum.Enum):
    """Whether requests may be sent."""

    DISCONNECTED = "disconnected"
    OPEN = "open"
    FENCED = "fenced"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Asterisk's answer. ``body`` is parsed JSON, bytes for other content, None for none.

    ``took_s`` is the time from request to reply, in seconds.
    """

    status: int
    body: Any = None
    reason: str = ""
    request_id: str = ""
    took_s: float = 0.0


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """No reply came within ``deadline_s`` seconds."""

    request_id: str
    method: str
    uri: str
    deadline_s: float


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that is no message of ARI's. ``start`` is its first part."""

    start: str
    problem: str


class _Pending(msgspec.Struct):
    method: str
    uri: str
    sent_at: float
    due: float


class _QueryString(msgspec.Struct):
    name: str
    value: str


class _Request(msgspec.Struct, tag="RESTRequest", tag_field="type", omit_defaults=True):
    request_id: str
    method: str
    uri: str
    query_strings: list[_QueryString] = []
    content_type: str = ""
    message_body: str = ""


_encode = msgspec.json.Encoder().encode
_decode_json = msgspec.json.decode
# One pass over the text yields the right class; the union is built once.
_decode_message = msgspec.json.Decoder(functools.reduce(operator.or_, EVENTS.values())).decode


def query_text(value: QueryValue) -> str:
    """A value as Asterisk reads it: lists with commas, booleans as words."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return ",".join(value or ())


def query_items(query: Query | None) -> list[tuple[str, str]]:
    """The parameters that were given (None means: not given)."""
    if not query:
        return []
    return [(name, query_text(value)) for name, value in query.items() if value is not None]


def decode(frame: str | bytes) -> Event | Malformed:
    """The message in a frame.

    A message whose content does not fit the description gets a second, lenient try (without its
    nulls, numbers in quotes allowed) before it becomes an ``UnknownEvent``.
    """
    try:
        message: Event = _decode_message(frame)
    except (msgspec.DecodeError, UnicodeError):
        return _decode_lenient(frame)
    return message


def _decode_lenient(frame: str | bytes) -> Event | Malformed:
    start = repr(frame[:200])
    try:
        raw = _decode_json(frame)
    except (msgspec.DecodeError, UnicodeError) as error:
        return Malformed(start=start, problem=str(error))
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        return Malformed(start=start, problem="not an object with a type")
    name: str = raw["type"]
    problem = ""
    if name in EVENTS:
        try:
            return msgspec.convert(_without_nulls(raw), EVENTS[name], strict=False)
        except msgspec.ValidationError as error:
            problem = str(error)
    return UnknownEvent(
        name=name,
        raw=raw,
        problem=problem,
        application=str(raw.get("application", "")),
        timestamp=str(raw.get("timestamp", "")),
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def parse_body(text: str | None, content_type: str | None) -> Any:
    """The body of a reply: JSON parsed, other text as it is, nothing as None."""
    if not text:
        return None
    if content_type is not None and not content_type.startswith("application/json"):
        return text
    try:
        return _decode_json(text)
    except msgspec.DecodeError:
        return text


class AriProtocol:
    """Requests, replies, deadlines and fencing of one socket.

    ``prefix`` begins every request id, so that the ids of several sockets differ.
    """

    def __init__(self, prefix: str = "") -> None:
        self.state = State.DISCONNECTED
        self.prefix = prefix
        self.late_replies = 0
        self.stray_replies = 0
        self.malformed_frames = 0
        self._count = 0
        self._pending: dict[str, _Pending] = {}
        self._deadlines: list[tuple[float, str]] = []

    @property
    def pending(self) -> int:
        """How many requests wait for their fate."""
        return len(self._pending)

    def is_pending(self, request_id: str) -> bool:
        """Whether this request still waits for its fate."""
        return request_id in self._pending

    @property
    def next_deadline(self) -> float | None:
        """When ``expire`` should be called next."""
        return self._deadlines[0][0] if self._deadlines else None

    def connected(self) -> None:
        """A new connection is there. A fenced protocol stays fenced."""
        if self.state is State.DISCONNECTED:
            self.state = State.OPEN

    def disconnected(self) -> list[str]:
        """The connection is gone. Returns the ids of the requests that fail by it."""
        if self.state is State.OPEN:
            self.state = State.DISCONNECTED
        return self._drop_pending()

    def fence(self) -> list[str]:
        """No request will be sent any more. Returns the ids of the requests that fail by it."""
        self.state = State.FENCED
        return self._drop_pending()

    def _drop_pending(self) -> list[str]:
        failed = list(self._pending)
        self._pending.clear()
        self._deadlines.clear()
        return failed

    def request(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        *,
        now: float,
        deadline_s: float,
    ) -> tuple[str, bytes]:
        """Returns the id of a new request and the frame to send.

        ``uri`` has no leading slash and no ``ari/``; its segments are percent-encoded, the values
        of ``query`` are not. Raises ``AriDisconnected``, ``AriReplaced``, ``AriFrameTooLarge``,
        or ``AriError`` for what cannot be written as JSON.
        """
        if self.state is not State.OPEN:
            if self.state is State.FENCED:
                raise AriReplaced(f"{method} {uri}: another program owns our application now")
            raise AriDisconnected(f"{method} {uri}: not connected to Asterisk")
        self._count += 1
        request_id = f"{self.prefix}{self._count}"
        message = _Request(request_id=request_id, method=method, uri=uri)
        if query:
            message.query_strings = [_QueryString(*item) for item in query_items(query)]
        try:
            if body is not None:
                message.content_type = "application/json"
                message.message_body = _encode(body).decode()
            frame = _encode(message)
        except (TypeError, ValueError) as error:  # half a surrogate pair is a ValueError
            raise AriError(f"{method} {uri}: cannot be written as JSON: {error}") from error
        if len(frame) > MAX_FRAME_BYTES:
            raise AriFrameTooLarge(
                f"{method} {uri}: the request has {len(frame)} bytes, Asterisk takes "
                f"{MAX_FRAME_BYTES} on a WebSocket",
                remedy="Send it with Client.http",
            )
        due = now + deadline_s
        self._pending[request_id] = _Pending(method, uri, now, due)
        heapq.heappush(self._deadlines, (due, request_id))
        return request_id, frame

    def feed(self, frame: str | bytes, now: float) -> list[Event | Reply | Malformed]:
        """Takes one received text frame; returns what it means to the owner."""
        message = decode(frame)
        if isinstance(message, RESTResponse):
            reply = self._reply(message, now)
            return [] if reply is None else [reply]
        if isinstance(message, Malformed):
            self.malformed_frames += 1
        elif isinstance(message, ApplicationReplaced):
            self.state = State.FENCED
        return [message]

    def _reply(self, message: RESTResponse, now: float) -> Reply | None:
        pending = self._pending.pop(message.request_id, None)
        if pending is None:
            if self._was_ours(message.request_id):
                self.late_replies += 1
            else:
                self.stray_replies += 1
            return None
        return Reply(
            status=message.status_code,
            body=parse_body(message.message_body, message.content_type),
            reason=message.reason_phrase,
            request_id=message.request_id,
            took_s=now - pending.sent_at,
        )

    def _was_ours(self, request_id: str) -> bool:
        number = request_id.removeprefix(self.prefix)
        return number.isdecimal() and 0 < int(number) <= self._count

    def expire(self, now: float) -> list[Expired]:
        """Gives up the requests whose deadline has come."""
        expired = []
        while self._deadlines:
            due, request_id = self._deadlines[0]
            pending = self._pending.get(request_id)
            if pending is not None:
                if due > now:
                    break
                del self._pending[request_id]
                expired.append(
                    Expired(
                        request_id=request_id,
                        method=pending.method,
                        uri=pending.uri,
                        deadline_s=pending.due - pending.sent_at,
                    )
                )
            heapq.heappop(self._deadlines)
        return expired
