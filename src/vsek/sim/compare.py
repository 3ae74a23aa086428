"""What ``vsek sim`` tells of one scenario: the distributions side by side, groups, clients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vsek.domain.ids import ClientId
from vsek.sim.measure import SHORT_S, SLOT_S, Figures, Tally
from vsek.sim.report import Chart, Series, Table
from vsek.sim.scenario import Scenario

WORST = 10
"""So many clients are listed."""
SETTLED = 20
"""An agent must have been there for as long as this many calls take before the share of the time
that is spent with calls tells more than how a house that was empty fills up."""


def side_by_side(scenario: Scenario, tallies: dict[str, Tally]) -> Table:
    """Each distribution in a column, and the formula where there is one."""
    totals = {name: tally.total() for name, tally in tallies.items()}
    formula = scenario.formula()
    percentiles = {name: total.percentiles_s((0.5, 0.9, 0.99)) for name, total in totals.items()}
    rows = [
        ["calls", *(f"{total.calls:,}" for total in totals.values())],
        ["mean wait", *(_s(total.mean_s) for total in totals.values())],
        *(
            [f"wait p{share}", *(_s(values[number]) for values in percentiles.values())]
            for number, share in enumerate((50, 90, 99))
        ),
        [
            f"answered in {scenario.within_s:.0f} s",
            *(_percent(total.service_level) for total in totals.values()),
        ],
        ["gave up", *(_percent(total.abandon_share) for total in totals.values())],
        [
            f"gave up in {SHORT_S:.0f} s",
            *(_percent(total.short / max(1, total.calls)) for total in totals.values()),
        ],
        ["served otherwise", *(f"{total.diverted:,}" for total in totals.values())],
        ["occupancy", *(_occupancy(scenario, tally) for tally in tallies.values())],
        ["offers per call", *(_offers(tally) for tally in tallies.values())],
    ]
    if any(tally.reach.callers for tally in tallies.values()):
        rows += [
            ["reach their agent", *(_percent(t.reach.share) for t in tallies.values())],
            ["attainable", *(_percent(t.reach.best) for t in tallies.values())],
        ]
    columns = ["", *tallies]
    if formula is not None:
        columns.append("Erlang-A")
        told = {
            "mean wait": _s(formula.wait),
            "gave up": f"{_percent(formula.abandons)} *",
            "occupancy": _percent(formula.occupancy),
        }
        rows = [[*row, told.get(row[0], "")] for row in rows]
    return Table("", columns, rows)


def too_short(scenario: Scenario, tallies: dict[str, Tally]) -> str:
    """Why there is no occupancy, in a sentence; empty where there is."""
    if all(_settled(scenario, tally) for tally in tallies.values()):
        return ""
    return (
        "No occupancy: agents were there for less time than "
        f"{SETTLED} calls take ({_s(_settled_s(scenario))}). Give more --calls."
    )


def _settled_s(scenario: Scenario) -> float:
    return SETTLED * scenario.habits.handling_s


def _settled(scenario: Scenario, tally: Tally) -> bool:
    return tally.mean_present_s >= _settled_s(scenario)


def _occupancy(scenario: Scenario, tally: Tally) -> str:
    return _percent(tally.occupancy) if _settled(scenario, tally) else "-"


def by_group(scenario: Scenario, tally: Tally) -> Table:
    """The groups' figures, in the order of their names."""
    clients, rules = list(tally.by_client), scenario.house.rules
    clients.sort(key=lambda client_id: rules.client(client_id).group)
    groups = groupby(clients, key=lambda client_id: rules.client(client_id).group)
    rows = [[group or "(none)", *_figures(tally.sum_of(members))] for group, members in groups]
    return Table("Groups", ("Group", *_COLUMNS), rows)


def worst_clients(scenario: Scenario, tally: Tally) -> Table:
    """Those clients whose callers wait longest in terms of the client's target."""
    rules = scenario.house.rules

    def strain(client_id_and_figures: tuple[ClientId, Figures]) -> float:
        client_id, figures = client_id_and_figures
        return figures.mean_s / rules.client(client_id).target.scale_s

    ranked = sorted(tally.by_client.items(), key=strain, reverse=True)[:WORST]
    rows = [[client_id, *_figures(figures)] for client_id, figures in ranked]
    return Table(
        f"Clients who wait longest, of {len(tally.by_client)}", ("Client", *_COLUMNS), rows
    )


def charts(scenario: Scenario, tallies: dict[str, Tally]) -> list[Chart]:
    """Waiting times, occupancy, groups, and the day if it is one."""
    first = next(iter(tallies))
    groups = by_group(scenario, tallies[first]).rows
    result = [
        Chart(
            "waits",
            "Share of the calls that wait longer",
            "seconds",
            "share",
            [Series(name, *_longer(tally.total())) for name, tally in tallies.items()],
        ),
        Chart(
            "occupancy",
            "Occupancy of the agents, the busiest first",
            "agent",
            "share of the time with calls",
            [
                Series(name, range(1, len(shares) + 1), shares)
                for name, tally in tallies.items()
                for shares in [tally.occupancies()]
            ],
        ),
        _per_group("service", f"Answered within {scenario.within_s:.0f} s", groups, 4),
        _per_group("gave-up", "Gave up", groups, 5),
    ]
    if scenario.curve:
        result += [
            _over_the_day("day-waits", "Mean wait", "seconds", tallies, 0),
            _over_the_day("day-gave-up", "Gave up", "%", tallies, 1),
        ]
    return result


def _per_group(name: str, title: str, rows: Sequence[Sequence[str]], column: int) -> Chart:
    values = [float(row[column].rstrip(" %")) for row in rows]
    ticks = [row[0].removeprefix("group-") for row in rows]
    return Chart(
        name, f"{title}, by group", "group", "%", [Series("", range(len(rows)), values)], ticks
    )


def _over_the_day(name: str, title: str, unit: str, tallies: dict[str, Tally], which: int) -> Chart:
    series = []
    for rival, tally in tallies.items():
        slots = sorted(tally.slots.items())
        values = [
            (slot.waits_s if which == 0 else 100 * slot.abandoned) / slot.calls for _, slot in slots
        ]
        series.append(Series(rival, [number * SLOT_S / 3600 for number, _ in slots], values))
    return Chart(name, f"{title}, by time of arrival", "hours after opening", unit, series)


def _longer(figures: Figures) -> tuple[list[float], list[float]]:
    waits = sorted(figures.waits)
    if not waits:
        return [], []
    last = min(600.0, waits[int(0.999 * len(waits))])
    points = [last * number / 100 for number in range(101)]
    shares, passed = [], 0
    for point in points:
        while passed < len(waits) and waits[passed] <= point:
            passed += 1
        shares.append(1 - passed / len(waits))
    return points, shares


_COLUMNS = ("calls", "mean", "p90", "in time", "gave up")


def _figures(figures: Figures) -> list[str]:
    return [
        f"{figures.calls:,}",
        _s(figures.mean_s),
        _s(figures.percentiles_s((0.9,))[0]),
        _percent(figures.service_level),
        _percent(figures.abandon_share),
    ]


def _offers(tally: Tally) -> str:
    calls = sum(figures.calls for figures in tally.by_client.values())
    return f"{tally.offers / calls:.2f}" if calls else ""


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
