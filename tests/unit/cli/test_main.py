"""Folders, exit codes and error texts of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vsek.cli import main, processes
from vsek.errors import InputError, ServiceError, VsekError
from vsek.settings import Settings


@pytest.fixture(autouse=True)
def _no_folder_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSEK_DIR", raising=False)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs the program in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["vsek", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main.main()
    assert isinstance(exit_.value.code, int | None)
    return exit_.value.code or 0


@pytest.mark.parametrize(
    ("env", "arguments", "expected"),
    [
        (None, ["agent", "list"], "cwd/run"),
        ("from-env", ["agent", "list"], "cwd/from-env"),
        (None, ["--dir", "a", "agent", "list"], "cwd/a"),
        (None, ["agent", "--dir", "b", "list"], "cwd/b"),
        (None, ["agent", "list", "--dir", "c"], "cwd/c"),
        ("from-env", ["--dir", "a", "agent", "list"], "cwd/a"),
        ("from-env", ["--dir", "a", "agent", "--dir", "b", "list"], "cwd/b"),
        ("from-env", ["--dir", "a", "agent", "list", "--dir=c"], "cwd/c"),
        ("from-env", ["health"], "cwd/from-env"),
        ("from-env", ["--dir", "a", "health"], "cwd/a"),
    ],
)
def test_dir_may_stand_anywhere_and_the_innermost_wins(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    env: str | None,
    arguments: list[str],
    expected: str,
) -> None:
    seen: list[Path] = []

    def load(folder: Path) -> Settings:
        seen.append(folder)
        raise ServiceError("stop here")

    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    if env is not None:
        monkeypatch.setenv("VSEK_DIR", env)
    monkeypatch.setattr("vsek.settings.load", load)
    assert run_main(monkeypatch, *arguments) == 1
    assert seen == [tmp_path / expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo"], None),
        (["demo", "--dir", "a"], "a"),
        (["--dir", "b", "demo"], "b"),
        (["--dir", "b", "demo", "--dir", "a"], "a"),
    ],
)
def test_the_demo_does_not_play_in_the_operators_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: str | None
) -> None:
    seen: list[Path] = []

    async def run_demo(folder: Path, *, json_out: bool) -> int:
        assert json_out is False
        seen.append(folder)
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VSEK_DIR", str(tmp_path / "operators"))
    monkeypatch.setattr("vsek.demo.run.run_demo", run_demo)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path / f"{prefix}new"))
    assert run_main(monkeypatch, *arguments) == 0
    assert seen == [tmp_path / (expected or "vsek-demo-new")]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            InputError("No such agent", field="agent", value="a\x1bb", remedy="See the list"),
            2,
            "vsek: No such agent\n  field:  agent\n  value:  a b\n  remedy: See the list\n",
        ),
        (
            ServiceError("It is away", remedy="Start it"),
            1,
            "vsek: It is away\n  remedy: Start it\n",
        ),
        (VsekError("Something"), 1, "vsek: Something\n"),
    ],
)
def test_errors_are_texts_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: VsekError,
    code: int,
    text: str,
) -> None:
    def load(folder: Path) -> Settings:
        raise error

    monkeypatch.setattr("vsek.settings.load", load)
    assert run_main(monkeypatch, "call", "list") == code
    assert capsys.readouterr() == ("", text)


def test_a_long_value_is_cut_and_the_remedy_stays_in_sight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(folder: Path) -> Settings:
        raise InputError("Too long", field="reason", value="x" * 5000, remedy="Shorten it")

    monkeypatch.setattr("vsek.settings.load", load)
    assert run_main(monkeypatch, "call", "list") == 2
    text = capsys.readouterr().err
    assert f"  value:  {'x' * 200}… (5000 letters)\n  remedy: Shorten it\n" in text


def test_what_the_system_refuses_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(folder: Path) -> Settings:
        (Path("/proc") / "vsek-none").mkdir()
        raise AssertionError

    monkeypatch.setattr("vsek.settings.load", load)
    assert run_main(monkeypatch, "call", "list") == 1
    text = capsys.readouterr().err
    assert text.startswith("vsek: /proc/vsek-none: No such file or directory\n  remedy: See that")
    assert "fault of vsek" not in text


def test_a_fault_of_ours_shows_no_traceback_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(folder: Path) -> Settings:
        raise RuntimeError("a bug")

    monkeypatch.setattr("vsek.settings.load", load)
    assert run_main(monkeypatch, "call", "list") == 1
    text = capsys.readouterr().err
    assert text.startswith("vsek: RuntimeError: a bug\n")
    assert "Traceback" not in text
    monkeypatch.setenv("VSEK_TRACEBACK", "1")
    assert run_main(monkeypatch, "call", "list") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["call", "show"],
        ["call", "list", "--limit", "0"],
        ["call", "list", "--outcome", "lost"],
        ["agent", "add", "anna"],
        ["up", "--sip-port", "99999"],
        ["note", "write", "c1", "--action", "XY"],
        ["note", "write", "c1", "--field", "no sign"],
    ],
)
def test_wrong_use_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vsek.toml").write_text("[calls]\nring_timeout_s = -3\n")
    assert run_main(monkeypatch, "agent", "list", "--dir", tmp_path) == 2
    text = capsys.readouterr().err
    assert "field:  calls.ring_timeout_s" in text
    assert "value:  -3" in text
    assert "vsek.toml" in text


def test_without_a_stack_the_remedy_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VSEK_DATABASE__DSN", "postgresql://vsek@127.0.0.1:1/vsek")
    assert run_main(monkeypatch, "client", "list", "--dir", tmp_path) == 1
    assert f"vsek up --dir {tmp_path}" in capsys.readouterr().err
    assert run_main(monkeypatch, "agent", "ready", "anna", "--dir", tmp_path) == 1
    assert str(tmp_path / "run" / "control.sock") in capsys.readouterr().err


def test_every_command_takes_dir_and_lists_take_json() -> None:
    import typer

    program = typer.main.get_command(main.app)
    commands = getattr(program, "commands", {})
    leaves = {
        (noun, verb): leaf
        for noun, group in commands.items()
        for verb, leaf in getattr(group, "commands", {"": group}).items()
    }
    assert {noun for noun, _ in leaves} >= {"up", "serve", "notes", "demo", "doctor"}
    for (noun, verb), leaf in leaves.items():
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert "--dir" in options or noun in ("sim", "bench"), (noun, verb)  # no run folder
        if verb in ("list", "show"):
            assert "--json" in options, (noun, verb)
    assert processes.add_to.__doc__
