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
