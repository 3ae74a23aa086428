"""``vsek rules …``: who may take whose calls, in which order, and what else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vsek.cli import live, output, run
from vsek.cli.run import Folder, Json
from vsek.domain.distribution import (
    EVERY_GROUP,
    AgentRules,
    GroupRules,
    RuleBook,
    Wish,
    admits,
    unserved,
)
from vsek.errors import InputError
from vsek.settings import Settings
from vsek.store import agents, clients, rules
from vsek.store.clients import StoredClient
from vsek.store.rules import Change, RulesImport, StoredRules

app = typer.Typer(help="Rules of the distribution: who gets which calls, and when.")

_Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N.")]
_Version = Annotated[
    int | None, typer.Option(metavar="N", help="Those of version N.", show_default=False)
]


@app.command("import")
def import_rules(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file, see docs/rules.md.")],
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Put the rules in FILE in place of those so far or, if anything is wrong, change nothing."""
    settings = run.settings_of(ctx, folder)

    async def work() -> RulesImport:
        async with run.database(settings) as connection:
            return await rules.import_file(connection, file, by=run.user())

    result = run.wait(work())
    if as_json:
        output.json(result)
    else:
        what = "imported" if result.changed else "unchanged"
        typer.echo(f"Rules {what}: version {result.version}")
        output.warnings(str(file), result.warnings)
    if result.changed:
        run.wait(live.announce(settings))


@app.command("export")
def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE.")
    ] = None,
    version: _Version = None,
    folder: Folder = None,
) -> None:
    """Print the rules as YAML that imports to the same rules."""
    settings = run.settings_of(ctx, folder)

    async def work() -> str:
        async with run.database(settings) as connection:
            return await rules.export(connection, version)

    text = run.wait(work())
    if file is None:
        typer.echo(text, nl=False)
    else:
        output.write(file, text)


@app.command("history")
def history(
    ctx: typer.Context, limit: _Limit = 50, as_json: Json = False, folder: Folder = None
) -> None:
    """List the changes of the rules, the newest first; clients have their part in them."""
    settings = run.settings_of(ctx, folder)

    async def work() -> list[Change]:
        async with run.database(settings) as connection:
            return await rules.history(connection, limit)

    changes = run.wait(work())
    if as_json:
        output.json({"changes": changes})
        return
    output.table(
        ("Version", "When", "Who", "What", "File"),
        (
            (
                change.version,
                change.changed_at,
                change.changed_by or "-",
                "rules" if change.rules else f"clients {', '.join(change.clients)}",
                change.source or "-",
            )
            for change in changes
        ),
        empty="No rules yet: every agent takes every call. Import some with: "
        "vsek rules import FILE",
    )


@dataclass(frozen=True, slots=True)
class _House:
    """All that is shown."""

    stored: StoredRules
    agents: dict[str, str]
    """Id → name."""
    clients: list[StoredClient]

    @property
    def book(self) -> RuleBook:
        return self.stored.book

    def of(self, group: str) -> list[StoredClient]:
        return [one for one in self.clients if (one.client.group or "") == group]

    def rules_of(self, agent_id: str) -> AgentRules:
        return self.book.agents.get(agent_id, AgentRules())

    def admitted(self, name: str, group: GroupRules) -> list[str]:
        return [one for one in self.agents if admits(name, group, self.rules_of(one))]


async def _house(settings: Settings) -> _House:
    async with run.database(settings) as connection:
        known = await agents.list_agents(connection)
        return _House(
            await rules.current(connection),
            {one.agent.id: one.agent.name for one in known},
            await clients.list_clients(connection),
        )


@app.command("show")
def show(
    ctx: typer.Context,
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", show_default=False, help="Only this one.")
    ] = None,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Show the service groups; or one of them, with its agents and clients."""
    house = run.wait(_house(run.settings_of(ctx, folder)))
    if group is None:
        _show_all(house, as_json)
    elif group in house.book.groups:
        _show_group(house, group, as_json)
    else:
        raise InputError(
            f"There is no group {group!r}",
            field="GROUP",
            value=group,
            remedy=f"Known: {', '.join(house.book.groups) or 'none'}",
            error_id="unknown_group",
        )


def _circles(group: GroupRules) -> list[str]:
    return [f"{who} after {after:g} s" for who, after in group.circles.items()]


def _show_all(house: _House, as_json: bool) -> None:
    groups: dict[str, GroupRules] = dict(house.book.groups)
    if house.of(""):
        groups[""] = GroupRules(name="(clients without a group)")
    if as_json:
        output.json(
            {
                "version": house.stored.version,
                "times": house.book.times.model_dump(exclude_none=True),
                "groups": [_plain_group(house, name, groups[name]) for name in groups],
                "agents": [_plain_agent(house, one) for one in house.agents],
            }
        )
        return
    typer.echo(f"# Version {house.stored.version}")
    for name, seconds in house.book.times.model_dump(exclude_none=True).items():
        typer.echo(f"# {name} {seconds:g}")
    output.table(
        ("Group", "Name", "Team", "Circles", "Order", "Agents", "Clients"),
        (
            (
                name or "-",
                group.name or "-",
                group.team or "-",
                _circles(group),
                group.order,
                len(house.admitted(name, group)),
                len(house.of(name)),
            )
            for name, group in groups.items()
        ),
        empty="No groups: every agent takes every call.",
    )


def _show_group(house: _House, name: str, as_json: bool) -> None:
    group = house.book.groups[name]
    if as_json:
        plain = _plain_group(house, name, group)
        inside = [_plain_agent(house, one) for one in house.admitted(name, group)]
        output.json({"version": house.stored.version, **plain, "agents": inside})
        return
    output.facts(
        [
            ("group", f"{name} ({group.name})" if group.name else name),
            ("team", group.team or "-"),
            ("circles", _circles(group)),
            ("order", group.order),
            ("level first", group.level_first),
            ("overflow to", group.overflow_to),
            ("new clients", f"{group.new_clients} in a shift for who is learning"),
        ]
    )
    typer.echo("")
    output.table(
        ("Agent", "Name", "Clearance", "Team", "Skills"),
        (
            (
                one,
                house.agents[one],
                _clearance(house, name, one),
                house.rules_of(one).team or "-",
                house.rules_of(one).skills,
            )
            for one in house.admitted(name, group)
        ),
        empty="No agent may take calls of this group.",
    )
    typer.echo("")
    nobody = _unserved(house)
    output.table(
        ("Client", "Name", "Requires", "Target", "Hold", "Remarks"),
        (
            (
                one.client.id,
                one.client.name,
                one.client.requires,
                one.client.target.model_dump() if one.client.target else "80/20",
                f"{one.client.hold_s:g} s",
                nobody.get(one.client.id, "-"),
            )
            for one in house.of(name)
        ),
        empty="No client is in this group.",
    )


def _clearance(house: _House, group: str, agent_id: str) -> str:
    clearance = house.rules_of(agent_id).clearance(group)
    return "overflow" if clearance == "none" else clearance


def _unserved(house: _House) -> dict[str, str]:
    wishes: list[Wish] = [one.client.wish() for one in house.clients]
    return {wish.client_id: why for wish, why in unserved(wishes, house.book, house.agents)}


def _plain_group(house: _House, name: str, group: GroupRules) -> dict[str, Any]:
    return {
        "id": name,
        **group.model_dump(mode="json"),
        "admits": house.admitted(name, group),
        "clients": [one.client.id for one in house.of(name)],
    }


def _plain_agent(house: _House, agent_id: str) -> dict[str, Any]:
    own = house.rules_of(agent_id)
    cleared = own.cleared or {EVERY_GROUP: "trained"}
    plain = own.model_dump(mode="json") | {"cleared": cleared}
    return {"id": agent_id, "name": house.agents[agent_id], **plain}
