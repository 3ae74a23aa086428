"""Each generated operation asks for what its description says."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from vsek.ari import Client, models, objects
from vsek.ari._generated import resources
from vsek.ari.protocol import Query, Reply, query_items
from vsek.ari.resource import AriObject, Resource

MODELS: dict[str, Any] = {
    "application": models.Application(name="a/1"),
    "bridge": models.Bridge(id="a/1"),
    "channel": models.Channel(id="a/1"),
    "device_state": models.DeviceState(name="a/1"),
    "endpoint": models.Endpoint(technology="a", resource="1"),
    "live_recording": models.LiveRecording(name="a/1"),
    "mailbox": models.Mailbox(name="a/1"),
    "playback": models.Playback(id="a/1"),
    "sound": models.Sound(id="a/1"),
    "stored_recording": models.StoredRecording(name="a/1"),
}


class Recorder(resources.Resources):
    """A client that writes down what it was asked for, and answers something that parses."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        super().__init__(self)
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self._answer = answer

    def _note(self, method: str, uri: str, query: Query | None, body: Any) -> Reply:
        self.asked.append((method, uri, dict(query_items(query)), body))
        return Reply(status=200, body=self._answer(uri))

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
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        future.set_result(self._note(method, uri, query, body))
        return future

    async def http(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        deadline_s: float | None = None,
    ) -> Reply:
        return self._note(method, uri, query, body)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    for name, function in inspect.getmembers(cls, inspect.iscoroutinefunction):
        if name not in {"call", "http"}:
            yield name, function


def arguments(function: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = str(parameter.annotation)
        if name == "self":
            continue
        if "Fields" in annotation:
            values[name] = {"k": "v"}
        elif "Mapping" in annotation:
            values[name] = {"X": "y"}
        else:
            kinds = {"int": 7, "bool": True}
            values[name] = kinds.get(annotation.split(" ", maxsplit=1)[0], f"{name}/1")
    return values


def answer_for(function: Any) -> Callable[[str], Any]:
    """A body that the result of ``function`` can be made of."""
    annotation = str(inspect.signature(function).return_annotation)
    if annotation == "None":
        return lambda _uri: None
    if annotation == "bytes":
        return lambda _uri: b"RIFF"
    name = annotation.removeprefix("builtins.list[").removesuffix("]").split(".")[-1]
    sample = next((m for m in MODELS.values() if type(m).__name__ == name), None)
    body = {} if sample is None else msgspec.to_builtins(sample)
    if annotation.startswith("builtins.list["):
        return lambda _uri: [body]
    return lambda _uri: body


OPERATIONS = [
    (name, cls, operation)
    for name, cls in inspect.getmembers(resources, inspect.isclass)
    if issubclass(cls, Resource) and cls is not Resource
    for operation, _ in methods(cls)
]


@pytest.mark.parametrize(("name", "cls", "operation"), OPERATIONS)
async def test_operation(name: str, cls: type[Resource], operation: str) -> None:
    function = getattr(cls, operation)
    client = Recorder(answer_for(function))
    given = arguments(function)
    result = await getattr(cls(client), operation)(**given)
    [(method, uri, query, body)] = client.asked
    template = re.fullmatch(r"``(\w+) /(.*)``", function.__doc__)
    assert template is not None
    assert method == template[1]
    # "a/1" in a path must not become two segments.
    in_path = {p: f"{p}%2F1" for p in re.findall(r"\{(\w+)\}", template[2])}
    assert uri == template[2].format(**in_path)
    texts = {n: v for n, v in given.items() if n not in in_path and not isinstance(v, dict)}
    assert query == {n.rstrip("_"): {7: "7", True: "true"}.get(v, v) for n, v in texts.items()}
    if "fields" in given:
        assert body == {"fields": [{"attribute": "k", "value": "v"}]}
    elif any(isinstance(v, dict) for v in given.values()):
        assert body in ({"variables": {"X": "y"}}, {"X": "y"})
    else:
        assert body is None
    assert (result is None) == (inspect.signature(function).return_annotation == "None")


@pytest.mark.parametrize("kind", MODELS)
async def test_a_thing_asks_what_its_resource_asks(kind: str) -> None:
    cls: type[AriObject[Any]] = objects.KINDS[kind]
    for operation, function in methods(cls):
        client = Recorder(answer_for(function))
        thing = cls(client, MODELS[kind])  # type: ignore[arg-type]
        assert thing.id == "a/1"
        await getattr(thing, operation)(**arguments(function))
        [(_, uri, _, _)] = client.asked
        assert "a/1" in uri if kind == "endpoint" else "a%2F1" in uri


async def test_fields_that_come_more_than_once() -> None:
    client = Recorder(lambda _uri: [])
    rows = [{"attribute": "match", "value": "192.0.2.1"}, {"attribute": "match", "value": "::1"}]
    await client.asterisk.updateObject("res_pjsip", "identify", "trunk", fields=rows)
    await client.asterisk.updateObject("res_pjsip", "aor", "anna")
    assert [body for *_, body in client.asked] == [{"fields": rows}, None]


def test_data_of_a_thing_by_the_names_of_the_documentation() -> None:
    client = Client("http://127.0.0.1:1", "u", "p")
    caller = models.CallerID(name="Anna", number="+4930")
    channel = client.wrap("channel", models.Channel(id="c", caller=caller))
    assert channel.json["caller"] == {"name": "Anna", "number": "+4930"}
    assert models.TextMessage(from_="a", to="b") == msgspec.json.decode(
        b'{"from": "a", "to": "b"}', type=models.TextMessage
    )
