"""Figures, tables, charts, studies and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from vsek.cli.main import app
from vsek.errors import InputError
from vsek.sim import bench, study
from vsek.sim.curve import BANK
from vsek.sim.house import generated, of_rules
from vsek.sim.measure import Figures
from vsek.sim.report import Chart, Section, Series, Table, draw, markdown


def test_short_abandons_count_on_neither_side() -> None:
    figures = Figures()
    figures.add(0.0, answered=True, diverted=False, within_s=20.0)
    figures.add(30.0, answered=True, diverted=False, within_s=20.0)
    figures.add(2.0, answered=False, diverted=False, within_s=20.0)
    figures.add(40.0, answered=False, diverted=False, within_s=20.0)
    figures.add(10.0, answered=False, diverted=True, within_s=20.0)
    assert figures.calls == 5
    assert figures.service_level == pytest.approx(1 / 4)
    assert figures.abandon_share == pytest.approx(1 / 4)
    assert figures.mean_s == pytest.approx(82 / 5)
    assert figures.percentiles_s((0.0, 0.5, 1.0)) == [0.0, 10.0, 40.0]


def test_nothing_is_no_fault() -> None:
    figures = Figures()
    assert (figures.mean_s, figures.service_level, figures.abandon_share) == (0.0, 1.0, 0.0)
    assert figures.percentiles_s((0.5,)) == [0.0]


def test_skills_are_spread_evenly() -> None:
    house = generated(40, skills=0.2, groups=20)
    groups = [name for agent in house.rules.agents.values() for name in agent.cleared]
    assert {len(agent.cleared) for agent in house.rules.agents.values()} == {4}
    assert {groups.count(name) for name in house.rules.groups} == {8}


def test_rules_without_clients_get_some() -> None:
    rules = generated(3, groups=2).rules
    bare = type(rules)(groups=rules.groups, agents=rules.agents)
    house = of_rules(bare, 5, clients=6)
    assert len(house.agents) == 5
    assert {own.group for own in house.rules.clients.values()} == set(rules.groups)
    assert len(of_rules(type(rules)()).agents) == 1


def test_the_curve_is_a_distribution() -> None:
    assert BANK.length_s == 14 * 3600
    moments = BANK.moments()
    assert moments[0] == (0.0, 0.0)
    assert moments[-1][0] == pytest.approx(1.0)
    assert moments[-1][1] == BANK.length_s
    stream = Random(1)
    shares = sorted(stream.random() for _ in range(1000))
    times = [BANK.quantile_s(share) for share in shares]
    assert times == sorted(times)
    before_noon = sum(time < 5 * 3600 for time in times) / len(times)
    assert before_noon == pytest.approx(sum(BANK.calls[:20]) / sum(BANK.calls), abs=0.05)
    assert BANK.quantile_s(1.0) == BANK.length_s


def test_charts_come_out_the_same(tmp_path: Path) -> None:
    bars = Chart("bars", "Bars", "x", "y", [Series("a", [0, 1], [1.0, 2.0])], ["u", "v"], 1.5, "l")
    lines = Chart("lines", "<Lines>", "x", "y", [Series("a", [0, 1], [1.0, 2.0])])
    written = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        written.append([path.read_bytes() for path in draw([bars, lines], folder)])
    assert written[0] == written[1]
    assert b"<Lines>" not in written[0][1]
    with pytest.raises(InputError, match="cannot be written"):
        draw([lines], tmp_path / "missing")


def test_a_report_as_markdown() -> None:
    chart = Chart("c", "Drawn", "", "", [])
    section = Section("Title", "Text.", [Table("T", ("a", "b"), [["1", "2"]])], [chart])
    text = markdown([section], "figures")
    assert "## Title\n\nText.\n\n**T**\n\n| a | b |\n" in text
    assert "| 1 | 2 |" in text
    assert "![Drawn](figures/c.svg)" in text


@pytest.mark.parametrize("name", ["known", "expected"])
def test_studies_run(name: str) -> None:
    section = study.conduct(name, 100)
    assert section.tables[0].rows
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    assert section.charts


def test_the_benchmark_runs() -> None:
    few = bench.run(100, decisions=1_000)
    many = bench.run(100, decisions=1_000, waiting=50)
    assert few.decisions >= 1_000
    assert few.waiting <= 1
    assert many.waiting >= 49
    results = [few, few, few, many, many]
    assert len(bench.verdicts(results)) == 4
    assert all(len(row) == len(bench.COLUMNS) for row in bench.rows(results))


def sim(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sim", *arguments])
    if isinstance(result.exception, InputError):
        return 2, result.stdout, result.exception.message
    return result.exit_code, result.stdout, result.stderr


def test_side_by_side() -> None:
    code, told, _ = sim("--calls", "500", "--agents", "5", "--groups", "2", "--again", "20")
    assert code == 0
    head = told.splitlines()[0].split()
    assert head == ["vsek", "polling", "pool", "Erlang-A"]
    for word in ("mean wait", "wait p99", "occupancy", "Groups", "reach their agent"):
        assert word in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("calls", ["1", "2", "5", "20"])
def test_a_run_of_few_calls_has_no_occupancy(calls: str) -> None:
    code, told, why = sim("--calls", calls, "--agents", "2", "--clients", "3", "--groups", "2")
    assert code == 0
    (row,) = (line.split() for line in told.splitlines() if line.startswith("occupancy"))
    assert row[:4] == ["occupancy", "-", "-", "-"]
    assert "agents were there for less time than 20 calls take (2400.0 s)" in why


def test_as_json_with_charts(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    code, told, _ = sim(
        *("--calls-per-day", "400", "--agents", "4", "--groups", "2", "--out", str(out)),
        *("--against", "leastrecent", "--json"),
    )
    assert code == 0
    side_by_side, groups, clients = json.loads(told)
    assert [row["vsek"] for row in side_by_side["rows"] if row[""] == "calls"] == ["400"]
    assert len(groups["rows"]) == 2
    assert len(clients["rows"]) == 10
    names = {path.name for path in out.iterdir()}
    assert {"report.md", "waits.svg", "occupancy.svg", "day-waits.svg"} <= names


def test_rules_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("groups:\n  law: {}\nagents:\n  anna:\n    cleared:\n      law: trained\n")
    code, told, _ = sim("--rules", str(path), "--calls", "200", "--against", "pool")
    assert code == 0
    assert "law" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--curve", "x"], "No curve"),
        (["--against", "vsek"], "Nothing to compare with"),
        (["--calls-per-day", "5", "--load", "1"], "no load of its own"),
        (["--refuse", "60", "--miss", "40"], "Nobody would ever answer"),
        (["--rules", "/nowhere"], "cannot be read"),
        (["--rules", "/nowhere", "--widen", "5"], "file of rules says"),
        (["--rules", "/nowhere", "--groups", "3"], "file of rules says"),
        (["--out", "/proc/x", "--calls", "1000000"], "Nothing can be written to /proc/x"),
        (["--out", __file__, "--calls", "1000000"], "is a file"),
        (["study", "--out", __file__], "is a file"),
        (["--talk", "nan"], "greater than or equal to 1"),
        (["--wrap-up", "inf"], "--wrap-up is not a number"),
        (["study", "x"], "No study"),
    ],
)
def test_wrong_use(arguments: list[str], message: str) -> None:
    code, _, told = sim(*arguments)
    assert code == 2
    assert message in told


def test_rules_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("groups:\n  law:\n    overflow_to: [nowhere]\n")
    code, _, told = sim("--rules", str(path))
    assert code == 2
    assert "overflow_to" in told


def test_a_study_to_the_terminal_and_to_files(tmp_path: Path) -> None:
    code, told, _ = sim("study", "known", "--calls", "100")
    assert code == 0
    assert "attainable" in told
    code, _, told = sim("study", "pooling", "--calls", "100", "--out", str(tmp_path))
    assert code == 0
    assert (tmp_path / "pooling.svg").exists()
    assert "Erlang-A" in (tmp_path / "pooling.md").read_text()
