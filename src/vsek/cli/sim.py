"""``vsek sim``: calls, agents and the distribution in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsek.cli import output, run
from vsek.cli.run import Json
from vsek.errors import InputError

if TYPE_CHECKING:
    from vsek.acd.rules import Rules
    from vsek.sim.house import House
    from vsek.sim.report import Chart, Section, Table
    from vsek.sim.scenario import Scenario

app = typer.Typer(
    help="Try the distribution in virtual time, and compare it with others.",
    invoke_without_command=True,
)

_LOAD = 0.85
_STUDIES = ("pooling", "known", "expected", "speed")

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Write charts (SVG) and tables there."),
]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, max=64, metavar="N", help="So many runs at a time.")
]
Percent = Annotated[float, typer.Option(min=0, max=100, metavar="%")]


@app.callback()
def sim(
    ctx: typer.Context,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="Groups and agents of this file of rules."),
    ] = None,
    agents: Annotated[
        int | None, typer.Option(min=1, max=20_000, metavar="N", help="(default: 40, or as ruled)")
    ] = None,
    skills: Annotated[
        float,
        typer.Option(min=1, max=100, metavar="%", help="Of the groups each agent is trained for."),
    ] = 100.0,
    groups: Annotated[int, typer.Option(min=1, max=1_000, metavar="N")] = 20,
    clients: Annotated[int, typer.Option(min=1, max=50_000, metavar="N")] = 200,
    widen: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="Who waited so long may be served by everybody."),
    ] = None,
    hold: Annotated[
        float, typer.Option(min=0, metavar="S", help="Known callers are kept for their agent.")
    ] = 0.0,
    load: Annotated[
        float | None,
        typer.Option(min=0.01, max=5, metavar="X", help="Work over agents. (default: 0.85)"),
    ] = None,
    calls: Annotated[int, typer.Option(min=1, metavar="N", help="At that load.")] = 20_000,
    calls_per_day: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="One day instead, agents in shifts.")
    ] = None,
    curve: Annotated[str, typer.Option(metavar="NAME", help="The day's shape.")] = "bank",
    shift: Annotated[float, typer.Option(min=1, max=24, metavar="HOURS")] = 8.0,
    talk: Annotated[float, typer.Option(min=1, metavar="S", help="Mean, lognormal.")] = 120.0,
    talk_cv: Annotated[float, typer.Option(min=0.01, max=10, metavar="X")] = 1.23,
    patience: Annotated[float, typer.Option(min=1, metavar="S", help="Mean.")] = 348.0,
    wrap_up: Annotated[float, typer.Option(min=0, metavar="S")] = 0.0,
    answer: Annotated[
        float, typer.Option(min=0, metavar="S", help="Mean time until an agent picks up.")
    ] = 0.0,
    refuse: Percent = 0.0,
    miss: Percent = 0.0,
    again: Annotated[
        float, typer.Option(min=0, max=90, metavar="%", help="Of the served call again.")
    ] = 0.0,
    again_after: Annotated[float, typer.Option(min=1, metavar="S", help="Mean.")] = 3600.0,
    redial: Annotated[
        float, typer.Option(min=0, max=90, metavar="%", help="Of who gave up call again.")
    ] = 0.0,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="polling, leastrecent, pool; repeatable. (default: polling, pool)",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Other callers.")] = 1,
    jobs: Jobs = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Simulate a house and print how long its callers wait: with vsek's distribution, with one
    that polls as app_queue does, and in one pool; all have the same callers."""
    if ctx.invoked_subcommand is not None:
        return
    run.must_be_numbers(ctx)
    from vsek.sim import compare
    from vsek.sim.curve import CURVES
    from vsek.sim.house import generated, of_rules
    from vsek.sim.load import Habits
    from vsek.sim.report import prepare
    from vsek.sim.scenario import Scenario, Task, day, run_all

    rivals = ["vsek", *dict.fromkeys(_rival(name) for name in against or ("polling", "pool"))]
    if calls_per_day is not None and load is not None:
        raise InputError(
            "A day has no load of its own",
            field="--load",
            value=str(load),
            remedy="Give --calls-per-day or --load",
        )
    if curve not in CURVES:
        raise InputError(
            f"No curve is called {curve!r}",
            field="--curve",
            value=curve,
            remedy=f"Choose one of: {', '.join(CURVES)}",
        )
    if rules is not None:
        _left_to_rules(ctx)
    if refuse + miss >= 100:
        raise InputError(
            "Nobody would ever answer", field="--miss", value=str(miss), remedy="Keep below 100 %"
        )
    house: House
    if rules is not None:
        house = of_rules(_rules(rules), agents, clients=clients, hold_s=hold)
    else:
        house = generated(
            agents or 40,
            skills=skills / 100,
            groups=groups,
            clients=clients,
            hold_s=hold,
            widen_s=widen,
            seed=seed,
        )
    if calls_per_day is not None:
        house = day(house, shift * 3600, curve)
    scenario = Scenario(
        house=house,
        habits=Habits(
            talk_s=talk,
            talk_cv=talk_cv,
            patience_s=patience,
            wrap_up_s=wrap_up,
            answer_s=answer,
            refuses=refuse / 100,
            misses=miss / 100,
            again=again / 100,
            again_s=again_after,
            redials=redial / 100,
        ),
        calls=calls_per_day or calls,
        load=0.0 if calls_per_day is not None else load or _LOAD,
        curve=curve if calls_per_day is not None else "",
        seed=seed,
        warm_up=0 if calls_per_day is not None else min(calls // 10, 2_000),
    )
    if out is not None:
        prepare(out)
    tallies = dict(
        zip(rivals, run_all([Task(scenario, rival) for rival in rivals], jobs), strict=True)
    )
    tables = [
        compare.side_by_side(scenario, tallies),
        compare.by_group(scenario, tallies["vsek"]),
        compare.worst_clients(scenario, tallies["vsek"]),
    ]
    if as_json:
        output.json([_as_data(table) for table in tables])
    else:
        _print(tables, scenario)
    why = compare.too_short(scenario, tallies)
    if why:
        output.hint(why)
    if out is not None:
        _write(out, tables, compare.charts(scenario, tallies))


@app.command("study")
def study(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help=f"{', '.join(_STUDIES)}. (default: all)"),
    ] = None,
    calls: Annotated[
        int | None,
        typer.Option(min=100, metavar="N", help="Calls per run, instead of as published."),
    ] = None,
    jobs: Jobs = 1,
    out: Out = None,
) -> None:
    """Repeat the experiments of docs/acd-figures.md; all of them take half an hour."""
    from vsek.sim import study as studies
    from vsek.sim.report import draw, markdown, prepare

    unknown = [name for name in names or () if name not in _STUDIES]
    if unknown:
        raise InputError(
            f"No study is called {unknown[0]!r}",
            field="NAME",
            value=unknown[0],
            remedy=f"Choose from: {', '.join(_STUDIES)}",
        )
    if out is not None:
        prepare(out)
    for name in names or _STUDIES:
        section: Section = studies.conduct(name, calls, jobs)
        text = markdown([section], ".")
        if out is None:
            typer.echo(text)
            continue
        draw(section.charts, out)
        output.write(out / f"{name}.md", text)
        output.hint(f"{out / name}.md")


@app.command("bench")
def bench(
    decisions: Annotated[
        int, typer.Option(min=1_000, metavar="N", help="To be timed in each run.")
    ] = 100_000,
) -> None:
    """Measure how many decisions the distribution makes in a second."""
    from vsek.sim import bench as benchmark

    results = benchmark.all_runs(decisions)
    output.table(benchmark.COLUMNS, benchmark.rows(results), empty="")
    typer.echo("")
    for demanded, measured, enough in benchmark.verdicts(results):
        typer.echo(f"{'ok  ' if enough else 'MISS'} {demanded}: {measured}")


def _rival(name: str) -> str:
    from vsek.sim.scenario import RIVALS

    others = [rival for rival in RIVALS if rival != "vsek"]
    if name not in others:
        raise InputError(
            f"Nothing to compare with is called {name!r}",
            field="--against",
            value=name,
            remedy=f"Choose from: {', '.join(others)}",
        )
    return name


def _left_to_rules(ctx: typer.Context) -> None:
    """Raises ``InputError`` for options of a generated house: the file says these things."""
    for name in ("skills", "groups", "widen"):
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(
                "The file of rules says who is trained for which groups",
                field=f"--{name}",
                value=str(ctx.params[name]),
                remedy=f"Give --rules or --{name}; circles of the file widen",
            )


def _rules(path: Path) -> Rules:
    from vsek.acd.rules import Rules
    from vsek.domain.distribution import mistakes
    from vsek.domain.rulesfile import read_rules
    from vsek.domain.yamlfile import content_of
    from vsek.switchboard.directory import with_book

    file = read_rules(content_of(path, field="--rules", holds="rules"), str(path))
    file.refuse(mistakes(file.book, set(file.book.agents)))
    return with_book(Rules(), file.book)


def _print(tables: list[Table], scenario: Scenario) -> None:
    for number, table in enumerate(tables):
        if number:
            typer.echo(f"\n{table.title}")
        output.table(table.columns, table.rows, empty="No calls.")
        if not number and scenario.formula() is not None:
            typer.echo("* All who gave up. Erlang-A: one pool, exponential talks.")


def _as_data(table: Table) -> dict[str, object]:
    return {
        "title": table.title,
        "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
    }


def _write(out: Path, tables: list[Table], charts: list[Chart]) -> None:
    from vsek.sim.report import Section, draw, markdown

    draw(charts, out)
    section = Section("Simulation", "", tables, charts)
    output.write(out / "report.md", markdown([section], "."))
    output.hint(f"Written to {out}: report.md and {len(charts)} charts")
