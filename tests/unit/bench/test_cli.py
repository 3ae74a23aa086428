from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.bench.reports import whole
from typer.testing import CliRunner

from vsek.bench import results, tables
from vsek.bench.workloads import ALL
from vsek.cli.main import app
from vsek.errors import InputError


def bench(*words: str | Path) -> str:
    ran = CliRunner().invoke(app, ["bench", *map(str, words)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "results.json"
    results.write(made, whole())
    return made


def test_what_can_be_measured_is_listed() -> None:
    lines = bench("--list").splitlines()
    assert [line.split()[0] for line in lines] == list(ALL)
    assert max(map(len, lines)) <= 80


def test_an_earlier_result_is_shown(file: Path) -> None:
    told = bench("--from", file)
    for case in whole().cases:
        assert ALL[case.workload].title in told
    assert "not measured" in told
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_one_workload_of_it_is_shown(file: Path) -> None:
    told = bench("w2", "--from", file)
    assert ALL["W2"].title in told
    assert ALL["W1"].title not in told


def test_json_is_all_there_is(file: Path) -> None:
    assert json.loads(bench("--from", file, "--json"))["machine"]["asterisk"] == "22.10"


def test_charts_and_document_are_made(file: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs" / "performance.md"
    docs.parent.mkdir()
    docs.write_text(f"{tables._BEGIN}\n{tables._END}\n")
    bench("--from", file, "--out", tmp_path / "docs" / "benchmark", "--docs", docs)
    assert "](benchmark/cost.svg)" in docs.read_text()
    assert (tmp_path / "docs" / "benchmark" / "cost.svg").is_file()
    assert bench("--from", tmp_path / "docs" / "benchmark" / "results.json") == bench(
        "--from", file
    )


def test_the_guard_decides_the_exit_code(file: Path, tmp_path: Path) -> None:
    limits = tmp_path / "guard.json"
    one = {"workload": "W2", "value": "p50", "versus": "queue", "most": 0.01}
    limits.write_text(json.dumps({"limits": [one]}))
    bench("W2", "--from", file, "--guard", limits)
    limits.write_text(json.dumps({"limits": [{**one, "most": 0.001}]}))
    ran = CliRunner().invoke(app, ["bench", "W2", "--from", str(file), "--guard", str(limits)])
    assert ran.exit_code == 1
    assert "slower than allowed" in ran.output


@pytest.mark.parametrize(
    "words", [["W99"], ["--from", "/none.json"], ["--guard", "/none.json", "--list", "W0"]]
)
def test_wrong_words_are_told(words: list[str]) -> None:
    with pytest.raises(InputError):
        CliRunner().invoke(app, ["bench", *words], catch_exceptions=False)


def test_without_matplotlib_the_figures_are_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsek.sim.report.find_spec", lambda _: None)
    ran = CliRunner().invoke(
        app, ["bench", "--from", str(file), "--out", str(tmp_path / "out")], catch_exceptions=False
    )
    assert ran.exit_code == 0
    assert "No charts: Charts need matplotlib" in ran.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]
