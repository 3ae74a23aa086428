"""The generated client against the description that Asterisk ships, and against Asterisk."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.integration.ari.bare import BareAsterisk
from tests.integration.ari.conftest import MakeClient

from vsek.ari import AriRefused, Client, Reply, generate, models, objects
from vsek.ari._generated import resources
from vsek.ari._generated.events import EVENTS
from vsek.ari.base import UnknownEvent
from vsek.ari.protocol import decode
from vsek.embedded import packages

# The operation that becomes the WebSocket itself: that is Client.start.
IS_THE_CONNECTION = {("events", "eventWebsocket")}


@pytest.fixture(scope="session")
def folder() -> Path:
    return packages.ensure(["servers"]).root / "usr/share/asterisk/rest-api"


def raw_operations(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read here once more, so that a mistake of the generator's reader shows."""
    found = []
    for file in sorted(folder.glob("*.json")):
        document = json.loads(file.read_text())
        for api in document["apis"]:
            found += [(file.stem, operation) for operation in api.get("operations", [])]
    return found


def raw_models(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in folder.glob("*.json"):
        found |= json.loads(file.read_text()).get("models", {})
    return found


def test_the_committed_modules_are_what_the_description_gives(folder: Path) -> None:
    generated = Path(generate.__file__).parent / "_generated"
    for name, source in generate.modules(generate.read(folder)).items():
        assert (generated / name).read_text() == source, f"run python -m vsek.ari.generate {folder}"


def test_every_operation_with_every_parameter(folder: Path) -> None:
    operations = raw_operations(folder)
    assert len(operations) > 90
    for resource, operation in operations:
        if (resource, operation["nickname"]) in IS_THE_CONNECTION:
            continue
        cls = getattr(resources, generate.class_name(resource))
        parameters = inspect.signature(getattr(cls, operation["nickname"])).parameters
        wanted = {generate.python_name(p["name"]) for p in operation.get("parameters", [])}
        assert set(parameters) == {"self", *wanted}, operation["nickname"]


def test_every_event_with_every_property(folder: Path) -> None:
    described = raw_models(folder)
    names = {*described["Event"]["subTypes"], "MissingParams"}
    assert set(EVENTS) == names
    for name in names:
        wanted = set(described[name]["properties"]) | {"application", "timestamp", "asterisk_id"}
        assert set(EVENTS[name].__struct_encode_fields__) == wanted, name
        assert EVENTS[name].__struct_config__.tag == name


def test_every_model_with_every_property(folder: Path) -> None:
    described = raw_models(folder)
    left_out = {*EVENTS, "Message", "Event", "RESTRequest"}
    for name, model in described.items():
        if name not in left_out:
            fields = getattr(models, name).__struct_encode_fields__
            assert set(fields) == set(model["properties"]), name


def test_every_operation_on_a_thing_is_a_method_of_it(folder: Path) -> None:
    description = generate.read(folder)
    bound = {
        (generate.OBJECTS[model][2], operation.name)
        for model in generate.OBJECTS
        for operation in generate.operations_of(description, model)
        if inspect.iscoroutinefunction(getattr(getattr(objects, model), operation.name))
    }
    for resource, operations in description.operations.items():
        for operation in operations:
            starts_with_id = re.match(r"/\w+(/stored|/live)?/\{\w+\}", operation.path)
            if starts_with_id is None or operation.name in {*generate.MAKERS, "listByTech"}:
                continue
            assert (resource, operation.name) in bound


# Values that are valid enough to get past the first checks, and name nothing that exists.
VALUES: dict[str, Any] = {
    "string": "nothing-here",
    "int": 1,
    "long": 1,
    "boolean": False,
    "object": {"allowed": []},
    "containers": {"X": "y"},
}


async def test_asterisk_knows_every_operation(
    folder: Path, asterisk: BareAsterisk, connect: MakeClient
) -> None:
    """With ids of nothing each is refused for that reason, not as an unknown path or method."""
    client = await connect(asterisk, "knows")
    unknown_path = await client.submit("GET", "no/such/thing")
    wrong_method = await client.submit("DELETE", "channels")
    assert problem(unknown_path) == "Resource not found"
    assert (wrong_method.status, problem(wrong_method)) == (405, "Invalid method")
    accepted, refused = [], {}
    for resource, operation in raw_operations(folder):
        name = operation["nickname"]
        module = "res_ari_" + re.sub(r"([A-Z])", r"_\1", resource).lower()
        if (resource, name) in IS_THE_CONNECTION or not asterisk.has(module):
            continue
        given = {
            generate.python_name(p["name"]): VALUES[p["dataType"]]
            for p in operation.get("parameters", [])
            if p.get("required", True) or p["paramType"] == "body"
        }
        try:
            await getattr(getattr(client, resource), name)(**given)
        except AriRefused as error:
            refused[f"{resource}.{name}"] = problem(error.reply)
        else:
            accepted.append(name)
    assert len(accepted) > 10
    assert len(refused) > 50
    not_there = {"Resource not found", "Invalid method"}
    assert [name for name, why in refused.items() if why in not_there] == []


def problem(reply: Reply) -> str:
    return str(reply.body.get("message") if isinstance(reply.body, dict) else reply.body)


async def test_what_asterisk_really_sends_fits_the_classes(
    asterisk: BareAsterisk, connect: MakeClient
) -> None:
    """Nothing becomes an unknown event, and nothing takes the lenient way."""
    strict = Strict(await connect(asterisk, "strict"))
    await exercise(strict.client)
    assert {"StasisStart", "ChannelDestroyed", "ChannelEnteredBridge"} <= strict.seen
    assert strict.problems == []


class Strict:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: set[str] = set()
        self.problems: list[str] = []
        client.on_any_event(self._look)

    def _look(self, event: Any) -> None:
        self.seen.add(event.type)
        if isinstance(event, UnknownEvent):
            self.problems.append(f"{event.name}: {event.problem}")


async def exercise(client: Client) -> None:
    """A call with most of what a call can have."""
    gone, entered = asyncio.Event(), asyncio.Event()
    # Before the request: events travel on a line of their own and may overtake its answer.
    client.on_event("StasisStart", lambda _e: entered.set())
    leg = await client.channels.originate(
        endpoint="Local/wait@test", app=client.app, variables={"X": {"value": "1"}}
    )
    leg.on_event("ChannelDestroyed", lambda *_: gone.set())
    async with asyncio.timeout(10):
        await entered.wait()
        bridge = await client.bridges.create(type="mixing")
        await bridge.addChannel(channel=leg.id)
        await leg.setChannelVar(variable="Y", value="a,b%20c")
        assert (await leg.getChannelVar(variable="Y")).value == "a,b%20c"
        await bridge.startMoh()
        await bridge.stopMoh()
        await bridge.removeChannel(channel=leg.id)
        await bridge.destroy()
        await leg.hold()
        await leg.unhold()
        await leg.sendDTMF(dtmf="1")
        await client.events.userEvent(
            "mine", application=client.app, source=f"channel:{leg.id}", variables={"a": "b"}
        )
        await leg.hangup(reason="busy")
        await gone.wait()


def test_the_decoder_takes_every_event_with_its_required_parts_only(folder: Path) -> None:
    described = raw_models(folder)

    def sample(kind: str) -> Any:
        if kind.startswith("List["):
            return [sample(kind[5:-1])]
        scalars: dict[str, Any] = {
            "string": "s",
            "Date": "d",
            "int": 1,
            "long": 1,
            "double": 1.5,
            "boolean": True,
            "object": {},
        }
        if kind in scalars:
            return scalars[kind]
        return {
            name: sample(spec["type"])
            for name, spec in described[kind]["properties"].items()
            if spec.get("required")
        }

    for name in EVENTS:
        event = decode(json.dumps({**sample(name), "type": name}))
        assert type(event) is EVENTS[name], name
