"""``vsek agent …``: the people who answer, and their SIP accounts."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from vsek.cli import live, output, run
from vsek.cli.control import Control, SwitchboardAwayError
from vsek.cli.run import Folder, Json
from vsek.settings import Settings
from vsek.store import agents
from vsek.store.agents import AddedAgent, StoredAgent

app = typer.Typer(help="Agents: the people who answer, with any SIP softphone.")

_AgentId = Annotated[str, typer.Argument(metavar="ID", help="For example anna.")]


@app.command("add")
def add(
    ctx: typer.Context,
    agent_id: _AgentId,
    name: Annotated[str, typer.Option(metavar="NAME", help="As clients read it in notes.")],
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            help="SIP secret, at least 12 characters; '-' reads it from stdin. "
            "(default: a random one, shown once)",
        ),
    ] = None,
    language: Annotated[str, typer.Option(metavar="de|en", help="The agent's language.")] = "de",
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Add an agent: from then on a softphone can register with ID and secret."""
    settings = run.settings_of(ctx, folder)
    if secret == "-":  # noqa: S105 - the sign for stdin, no secret
        secret = sys.stdin.readline().rstrip("\r\n")

    async def work() -> AddedAgent:
        async with run.database(settings) as connection:
            return await agents.add(connection, agent_id, name, secret, language)

    added = run.wait(work())
    run.wait(live.announce(settings))
    sip = live.sip_address(settings)
    if as_json:
        # The secret that somebody chose is known to them and need not stand in another place.
        output.json(
            {
                "id": added.agent.id,
                "name": added.agent.name,
                "language": added.agent.language,
                "secret": added.secret if added.secret_was_made else None,
                "sip": sip,
            }
        )
        return
    typer.echo(f"Agent {added.agent.id} ({added.agent.name}) added.")
    pairs: list[tuple[str, object]] = [("user", added.agent.id)]
    if added.secret_was_made:
        pairs.append(("secret", f"{added.secret}   (shown only this once)"))
    if sip:
        pairs.append(("server", f"{sip} (UDP)"))
    output.facts(pairs)


@app.command("list")
def list_agents(ctx: typer.Context, as_json: Json = False, folder: Folder = None) -> None:
    """List all agents with what they are doing now."""
    settings = run.settings_of(ctx, folder)
    rows = run.wait(_list(settings))
    if as_json:
        output.json({"agents": rows})
        return
    output.table(
        ("ID", "Name", "State", "Since", "Reason", "Call", "Registered"),
        (
            (
                row["id"],
                row["name"],
                _doing(row),
                output.moment(row["since"]),
                row["reason"],
                row["call_id"],
                row["reachable"],
            )
            for row in rows
        ),
        empty="No agents yet. Add one with: vsek agent add ID --name NAME",
    )


async def _list(settings: Settings) -> list[dict[str, Any]]:
    """Agents as the switchboard sees them; without one, as the database knows them."""
    try:
        async with Control(settings) as control:
            return await control.agents()
    except SwitchboardAwayError:
        pass
    async with run.database(settings) as connection:
        stored: list[StoredAgent] = await agents.list_agents(connection)
    unknown = dict.fromkeys(("state", "since", "reason", "pause_wanted", "call_id", "reachable"))
    return [{"id": one.agent.id, "name": one.agent.name, **unknown} for one in stored]


@app.command("ready")
def ready(ctx: typer.Context, agent_id: _AgentId, folder: Folder = None) -> None:
    """Let an agent get calls: ends pause, wrap-up and the time-out after a missed call."""
    settings = run.settings_of(ctx, folder)

    async def work() -> dict[str, Any]:
        async with Control(settings) as control:
            return await control.ready(agent_id)

    answer = run.wait(work())
    _state(agent_id, answer)
    why = _no_calls_yet(agent_id, answer, live.sip_address(settings))
    if why:
        output.hint(why)


@app.command("pause")
def pause(
    ctx: typer.Context,
    agent_id: _AgentId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="For example lunch.")] = "",
    folder: Folder = None,
) -> None:
    """No more calls for an agent; during a talk it takes effect after the wrap-up."""
    settings = run.settings_of(ctx, folder)

    async def work() -> dict[str, Any]:
        async with Control(settings) as control:
            return await control.pause(agent_id, reason)

    _state(agent_id, run.wait(work()))


def _state(agent_id: str, answer: dict[str, Any]) -> None:
    state = answer.get("state")
    later = "; the pause begins after the wrap-up" if answer.get("pause_wanted") else ""
    typer.echo(f"Agent {agent_id}: {output.shown(state) if state else 'done'}{later}")


def _no_calls_yet(agent_id: str, answer: dict[str, Any], sip: str) -> str:
    """Why an agent who was made ready gets no call all the same, and what to do about it."""
    state = answer.get("state")
    if state == "talking":
        return "The next call comes after this talk and its wrap-up."
    if state != "logged_out":
        return ""
    where = f"{sip} (UDP)" if sip else "your Asterisk"
    return (
        f"No softphone is registered for {agent_id}, so no call can reach them. They are ready as "
        "soon as one is.\n"
        f"  remedy: Register a softphone at {where}: user {agent_id}, and the secret that "
        "'vsek agent add' showed. If it says that it is registered: vsek doctor"
    )


def _doing(row: dict[str, Any]) -> str | None:
    """State and, during a talk, the pause that follows."""
    state, wanted = row["state"], row.get("pause_wanted")
    return f"{state}, then pause ({wanted})" if wanted else state


@app.command("remove")
def remove(ctx: typer.Context, agent_id: _AgentId, folder: Folder = None) -> None:
    """Remove an agent and the SIP account; a talk that goes on is finished first."""
    settings = run.settings_of(ctx, folder)

    async def work() -> None:
        async with run.database(settings) as connection:
            await agents.remove(connection, agent_id)

    run.wait(work())
    run.wait(live.announce(settings))
    typer.echo(f"Agent {agent_id} removed.")
