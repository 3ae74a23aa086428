"""What the generated classes stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from vsek.ari.errors import AriMalformed, refusal

if TYPE_CHECKING:
    import asyncio

    from vsek.ari.base import Event
    from vsek.ari.client import Client
    from vsek.ari.protocol import Query, Reply
    from vsek.ari.subscriptions import Subscription

T = TypeVar("T")
Model = TypeVar("Model")
Fields: TypeAlias = Mapping[str, str] | Sequence[Mapping[str, str]]


class Caller(Protocol):
    """What a resource needs of a client."""

    def submit(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        *,
        lane: str = "",
        deadline_s: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Sends over a WebSocket."""
        ...

    async def http(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        deadline_s: float | None = None,
    ) -> Reply:
        """Sends over HTTP."""
        ...


def quoted(value: str) -> str:
    """``value`` as one segment of a path: device names contain slashes, channel ids semicolons."""
    return quote(value, safe="")


def parsed(reply: Reply, kind: type[T]) -> T:
    """The body of a reply as the model that the description promises."""
    try:
        return msgspec.convert(reply.body, kind, strict=False)
    except msgspec.ValidationError as error:
        raise AriMalformed(f"Asterisk's answer does not fit its description: {error}") from error


def binary(reply: Reply) -> bytes:
    """The body of a reply that is a file."""
    return reply.body if isinstance(reply.body, bytes) else b""


def container(name: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A body with one member, or none."""
    return None if value is None else {name: value}


def config_fields(fields: Fields | None) -> dict[str, Any] | None:
    """A sorcery object's fields; repeated fields (two ``match`` lines) need the list form."""
    if fields is None:
        return None
    if isinstance(fields, Mapping):
        return {"fields": [{"attribute": k, "value": v} for k, v in fields.items()]}
    return {"fields": list(fields)}


class Resource:
    """The root of the resources. Operations raise ``AriRefused`` for a status of 400 or more."""

    def __init__(self, client: Caller) -> None:
        # The generated objects want the typed resources of the client as well.
        self.client: Client = client  # type: ignore[assignment]

    async def call(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        lane: str = "",
    ) -> Reply:
        """Sends over the WebSocket of ``lane``."""
        reply = await self.client.submit(method, uri, query, body, lane=lane)
        if reply.status >= 400:
            raise refusal(reply, method, uri)
        return reply

    async def http(
        self, method: str, uri: str, *, query: Query | None = None, body: Any = None
    ) -> Reply:
        """Sends over HTTP."""
        reply = await self.client.http(method, uri, query, body)
        if reply.status >= 400:
            raise refusal(reply, method, uri)
        return reply


class AriObject(Generic[Model]):
    """A thing in Asterisk: its id, its data when it was sent, and its operations.

    The data does not follow what happens later; ``get()`` fetches anew.
    """

    kind: ClassVar[str] = ""

    def __init__(self, client: Client, model: Model) -> None:
        self.client = client
        self.model = model
        self.id = self.id_of(model)

    @staticmethod
    def id_of(model: Any) -> str:
        """The id of the thing that ``model`` describes."""
        raise NotImplementedError

    @property
    def json(self) -> dict[str, Any]:
        """The data as a dictionary, named as in Asterisk's documentation."""
        builtins: dict[str, Any] = msgspec.to_builtins(self.model)
        return builtins

    def on_event(
        self, event: str | type[Event], callback: Callable[[Any, Any], Any]
    ) -> Subscription:
        """Calls ``callback(this object, event)`` for events about this thing.

        Ends by ``close()`` of the result, or by itself when the thing is gone.
        """
        return self.client.subscribe_object(self, event, callback)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"
