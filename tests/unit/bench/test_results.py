from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.bench.reports import DIAL, QUEUE, VSEK, case, report, whole

from vsek.bench import guard, results, tables
from vsek.bench.bench import Goal
from vsek.bench.charts import charts
from vsek.bench.workloads import ALL, chosen
from vsek.errors import InputError
from vsek.sim.report import draw

GUARD = Path("tests/acceptance/bench-guard.json")


def goals() -> dict[tuple[str, str], Goal]:
    made = whole()
    return {(name, g.what): g for name, w in ALL.items() for g in w.goals(made)}


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.write(file, whole())
    assert results.load(file) == whole()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff\xfe", b'{"format":1,"cases":[{"workload":7}]}', b"x" * 10_000],
)
def test_what_is_no_result_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match="no result"):
        results.load(file)


def test_a_result_of_another_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    made = whole()
    made.format = 99
    results.write(file, made)
    with pytest.raises(InputError, match="format 99"):
        results.load(file)
    with pytest.raises(InputError, match="cannot be read"):
        results.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("workload", "what", "found", "met"),
    [
        ("W1", "p50, beyond Dial()", "3 ms", True),
        ("W1", "p99, beyond Dial()", "7 ms", True),
        ("W1", "2,000 agents: p50, times Queue()'s", "0.75", True),
        ("W2", "times faster than Queue() (p50)", "150", True),
        ("W3", "p99", "30 ms", False),
        ("W4", "times Queue()'s rate at its best size", "0.75", False),
        ("W4", "times Queue()'s rate at 500 x 2,000", "6", True),
        ("W4", "lost from 50 to 2,000 agents, most", "25 %", False),
        ("W5", "application", "4 ms", False),
        ("W5", "sum, times Dial()'s", "1.78", True),
        ("W5", "sum, times Queue()'s at 500 x 2,000", "", None),
        ("W7", "failed calls", "0", True),
        ("W7", "longest wait while an agent is free", "18 ms", True),
    ],
)
def test_goals_stand_beside_what_was_found(
    workload: str, what: str, found: str, met: bool | None
) -> None:
    goal = goals()[workload, what]
    assert (goal.found, goal.met) == (found, met)


def test_without_figures_no_goal_is_met_or_missed() -> None:
    empty = report()
    assert {goal.met for workload in ALL.values() for goal in workload.goals(empty)} == {None}


def test_a_run_that_broke_is_told() -> None:
    cases = [case("W7", {VSEK: [{"max": 3.0}, {}], QUEUE: [{}]})]
    rows = tables.rows(ALL["W7"], cases)
    assert [row[-2] for row in rows] == ["0+1", "0+1"]
    found = {goal.what: goal for goal in ALL["W7"].goals(report(*cases))}
    assert found["failed calls"].met is False


def test_tables_fit_a_terminal() -> None:
    made = whole()
    for workload in ALL.values():
        lines = [tables.columns(workload), *tables.rows(workload, made.of(workload.id))]
        assert len({len(line) for line in lines}) == 1
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80, workload.id


def test_the_document_gets_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "performance.md"
    file.write_text(f"before\n{tables._BEGIN}\nold\n{tables._END}\nafter\n")
    text = tables.markdown(whole(), list(ALL.values()), ["benchmark/cost.svg"])
    tables.fill(file, text)
    tables.fill(file, text)
    found = file.read_text()
    assert found.startswith("before\n")
    assert found.endswith("\nafter\n")
    assert "old" not in found
    assert found.count("Measured on") == 1
    assert "| W2 | p50 | ≤ 6 ms | 4 ms | yes |" in found
    assert "![cost](benchmark/cost.svg)" in found
    # A name with a bar must not make a column.
    assert {line.count("|") for line in found.splitlines() if line.startswith("| W")} == {6}


@pytest.mark.parametrize("text", ["", "nothing here", tables._END + tables._BEGIN])
def test_a_document_without_a_place_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "performance.md"
    file.write_text(text)
    with pytest.raises(InputError, match="no place"):
        tables.fill(file, "figures")
    assert file.read_text() == text


def test_a_busy_machine_is_told() -> None:
    assert "times are too long" not in tables.machine(whole())
    busy = report(case("W2", {VSEK: [{"p50": 1.0}]}, others=0.4))
    assert "took 40%" in tables.machine(busy)


def test_charts_are_drawn_of_what_is_there(tmp_path: Path) -> None:
    for chart in charts(whole()):
        assert {series.name for series in chart.series} <= {"vsek", "Queue()", "Dial()", "wanted"}
    files = draw(charts(whole()), tmp_path)
    assert {file.stem for file in files} == {
        "latency-by-rate-40-agents",
        "latency-by-rate-400-agents",
        "latency-by-rate-2000-agents",
        "latency-by-agents-5-calls",
        "latency-by-agents-20-calls",
        "waiting-w2",
        "waiting-w3",
        "capacity",
        "cost",
    }
    assert all(file.read_text().startswith("<?xml") for file in files)
    assert charts(report()) == []
    one_only = report(case("W1", {VSEK: [{"p50": 1.0, "p99": 2.0}]}))
    assert charts(one_only) == []
    broken = report(case("W2", {VSEK: [{}]}), case("W5", {VSEK: [{}]}))
    draw(charts(broken), tmp_path)


def limits(most: float, workload: str = "W2") -> list[guard.Limit]:
    return [guard.Limit(workload, "p50", QUEUE, most)]


def test_the_guard_lets_pass_what_is_fast_enough() -> None:
    assert guard.violations(whole(), limits(0.01)) == []


def test_the_guard_tells_what_is_too_slow() -> None:
    (told,) = guard.violations(whole(), limits(0.005))
    assert "W2 p50" in told
    assert "0.00667" in told


def test_a_busy_machine_is_not_judged() -> None:
    assert guard.busy(whole()) is None
    assert guard.busy(report()) is None
    assert guard.busy(report(case("W2", {VSEK: [{"p50": 1.0}]}, others=0.5))) == 0.5


def test_the_guard_does_not_let_pass_what_was_not_measured() -> None:
    assert "not measured" in guard.violations(report(), limits(1.0))[0]
    broken = report(case("W2", {VSEK: [{}], QUEUE: [{"p50": 1.0}]}))
    assert "no values" in guard.violations(broken, limits(1.0))[0]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"limits":[{"workload":"W2"}]}', b'{"limits":[],"more":1}']
)
def test_wrong_limits_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "guard.json"
    file.write_bytes(content)
    with pytest.raises(InputError):
        guard.load(file)
    with pytest.raises(InputError):
        guard.load(tmp_path / "none.json")


def test_the_stored_limits_fit_the_workloads() -> None:
    stored = guard.load(GUARD)
    assert {limit.workload for limit in stored} <= set(ALL)
    assert {limit.versus for limit in stored} <= {QUEUE, DIAL}
    assert all(limit.value in ALL[limit.workload].values for limit in stored)


def test_workloads_are_chosen_by_name() -> None:
    assert [w.id for w in chosen([])] == list(ALL)
    assert [w.id for w in chosen(["w7", "W2"])] == ["W2", "W7"]
    with pytest.raises(InputError, match="W99"):
        chosen(["W2", "w99"])


def test_runs_can_be_put_together() -> None:
    first = report(case("W2", {VSEK: [{"p50": 1.0}]}), case("W3", {VSEK: [{"p50": 2.0}]}))
    second = report(case("W3", {VSEK: [{"p50": 3.0}]}), case("W5", {VSEK: [{"sum": 9.0}]}))
    second.short = True
    found = results.merged([first, second])
    assert [each.workload for each in found.cases] == ["W2", "W3", "W5"]
    assert found.of("W3")[0].values(VSEK, "p50") == [3.0]
    assert found.short
    assert results.merged([first]) == first


def test_what_was_put_together_says_where_each_part_comes_from(tmp_path: Path) -> None:
    first = report(case("W2", {VSEK: [{"p50": 1.0, "p99": 2.0}]}), case("W3", {VSEK: [{}]}))
    second = report(case("W3", {VSEK: [{"p50": 3.0, "p99": 4.0}]}))
    second.machine.processor = "Another processor"
    second.began_at = "2027-01-01T00:00:00+00:00"
    file = tmp_path / "results.json"
    results.write(file, results.merged([first, second]))
    third = report(case("W5", {VSEK: [{"sum": 9.0}]}))
    found = results.merged([results.load(file), third])
    assert [o.machine.processor for o in found.origins("W3")] == ["Another processor"]
    assert len(found.origins()) == 2, "two of the three are the same machine at the same time"
    text = tables.markdown(found, chosen([]), [])
    w2, w3, w5 = (text.partition(f"**{name}**")[2] for name in ("W2", "W3", "W5"))
    for part, processor in ((w2, "Test"), (w3, "Another processor"), (w5, "Test")):
        assert part.split("Measured on 2 cores of ")[1].startswith(processor)
    alone = tables.markdown(first, chosen([]), [])
    assert alone.startswith("Measured on 2 cores of Test")
    assert alone.count("Measured on") == 1
