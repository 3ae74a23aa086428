"""Where settings come from, and which source wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vsek.errors import InputError
from vsek.settings import load


def test_the_named_folder_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSEK_DIR", str(tmp_path / "other"))
    settings = load(tmp_path / "mine")
    assert settings.dir == tmp_path / "mine"
    assert settings.journal_folder == tmp_path / "mine" / "journal"
    assert settings.control_socket == tmp_path / "mine" / "run" / "control.sock"


def test_environment_then_toml_then_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    stack = {"settings": {"smtp": {"host": "a", "port": 1, "sender": "a@x.org"}}}
    (tmp_path / "run" / "stack.json").write_text(json.dumps(stack))
    (tmp_path / "vsek.toml").write_text('[smtp]\nhost = "b"\nport = 2\n')
    monkeypatch.setenv("VSEK_SMTP__HOST", "c")
    smtp = load(tmp_path).smtp
    assert (smtp.host, smtp.port, smtp.sender) == ("c", 2, "a@x.org")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[smtp]\nport = 'x'\n", "smtp.port"),
        ("[smtp]\nprot = 1\n", "smtp.prot"),
        ("smpt = 1\n", "smpt"),
        ("[smtp\n", "vsek.toml"),
    ],
)
def test_a_wrong_file_names_the_place(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "vsek.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert caught.value.field == named
    assert caught.value.remedy


def told(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    error = caught.value
    return f"{error.message} | {error.field} | {error.value!r} | {error.remedy}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[ari]\ncommand_sockets = 99",
            (
                "Setting ari.command_sockets is more than 16 | ari.command_sockets | 99 | "
                "Write 16 or less. It stands in "
            ),
        ),
        (
            "[ari]\ndeadline_s = 0",
            "Setting ari.deadline_s is not more than 0 | ari.deadline_s | 0 | Write more than 0",
        ),
        (
            "[ari]\ndeadline_s = nan",
            "Setting ari.deadline_s is not a number | ari.deadline_s | nan | Write digits",
        ),
        ("[ari]\ndeadline_s = inf", "Setting ari.deadline_s is not a number"),
        ("smtp = 5", "Setting smtp is a section | smtp | 5 | Write its name as [section]"),
        (
            "[smtp]\nport = 99999999",
            "Setting smtp.port is more than 65535 | smtp.port | 99999999 | Write 65535 or less",
        ),
        ("[sounds]\nfolder = 5", "Setting sounds.folder must be text | sounds.folder | 5 | Put it"),
        (
            "default_language = 'fr'",
            (
                "Setting default_language is not allowed here | default_language | 'fr' | "
                "Write 'de' or 'en'"
            ),
        ),
        ("[alarms]\nmail = 'x'", "Setting alarms.mail is neither true nor false"),
        ("[alarms]\ntrunks = 'x'", "Setting alarms.trunks must be a list"),
        ("[alarms]\nfoo = 1", "Setting alarms.foo is unknown here | alarms.foo | 1 | Known: mail"),
        ("smpt = 1", "Setting smpt is unknown here | smpt | 1 | Known: alarms, ami"),
        ("[asterisk]\narea_code = '030'", "Setting asterisk.area_code is not an area code"),
        ("[outbound]\nendpoint = 'PJSIP/x'", "Setting outbound.endpoint is nothing that Asterisk"),
        ("[outbound]\nnumber = '030'", "Setting outbound.number is not a number in international"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "vsek.toml").write_text(text)
    said = told(tmp_path)
    assert message in said
    assert said.endswith(f"It stands in {tmp_path / 'vsek.toml'}")
    assert "nput should" not in said


def test_wrong_settings_are_told_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSEK_ARI__DEADLINE_S", "soon")
    monkeypatch.setenv("VSEK_ARI__PASSWORD", "hidden")
    (tmp_path / "vsek.toml").write_text("more = 1\n[notes]\ntoken = 12345\n[smtp]\nport = 0\n")
    said = told(tmp_path)
    assert said.startswith(
        "4 settings are wrong:\n  more is unknown here (given: 1). Known: alarms, "
    )
    assert (
        "\n  ari.deadline_s is not a number (given: 'soon'). Write digits, for example 30" in said
    )
    assert "\n  notes.token must be text. Put it between quotes" in said, "a secret stays one"
    assert "\n  smtp.port is less than 1 (given: 0). Write 1 or more" in said
    assert said.endswith(
        f"Correct them in {tmp_path / 'vsek.toml'} and the environment (VSEK_ARI__DEADLINE_S)"
    )


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "VSEK_SMTP",
            "x",
            (
                "Setting smtp is a section | VSEK_SMTP | None | Set what is in it one by one, "
                "for example VSEK_SMTP__HOST"
            ),
        ),
        (
            "VSEK_ALARMS__TRUNKS",
            "carrier",
            (
                "Setting alarms.trunks must be a list, in JSON | alarms.trunks | 'carrier' | "
                """Write VSEK_ALARMS__TRUNKS='["one", "two"]'"""
            ),
        ),
    ],
)
def test_a_variable_that_is_not_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str
) -> None:
    monkeypatch.setenv("VSEK_ARI__USERNAME", "not { JSON either, and need not be")
    monkeypatch.setenv(variable, text)
    assert told(tmp_path) == message


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below" / "it"):
        assert told(folder) == (
            f"{file} is a file, not a folder | --dir | {str(folder)!r} | Name a folder with --dir "
            "or VSEK_DIR; where there is none, one is made"
        )
    assert load(tmp_path / "new" / "one").dir == tmp_path / "new" / "one"


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 5}'])
def test_a_stack_file_that_nobody_wrote_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_text(text)
    assert "is not what 'vsek up' writes" in told(tmp_path)
