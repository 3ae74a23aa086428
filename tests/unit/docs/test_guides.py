"""What the documentation says about settings and commands is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import typer

from vsek import settings
from vsek.cli import main

ROOT = Path(__file__).resolve().parents[3]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
README = (ROOT / "README.md").read_text()


def _commands() -> set[str]:
    program = typer.main.get_command(main.app)
    found = set()
    for noun, group in getattr(program, "commands", {}).items():
        found.add(noun)
        found |= {f"{noun} {verb}" for verb in getattr(group, "commands", {})}
    return found


def test_the_settings_shown_are_all_there_are(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", OPERATIONS, re.DOTALL)
    assert block is not None
    (tmp_path / "vsek.toml").write_text(block[1])
    loaded = settings.load(tmp_path)
    assert loaded.smtp.tls == "starttls"
    shown = tomllib.loads(block[1])
    not_shown = {"dir", "control"}
    assert set(shown) == set(settings.Settings.model_fields) - not_shown


def test_commands_named_in_the_docs_exist() -> None:
    known = _commands()
    groups = {name.partition(" ")[0] for name in known if " " in name}
    named = re.findall(
        r"(?:`|^ {4}|bin/)vsek ([a-z]+)(?: ([a-z]+))?", README + OPERATIONS, re.MULTILINE
    )
    assert len(named) > 20
    for noun, verb in named:
        assert noun in known, noun
        assert noun not in groups or not verb or f"{noun} {verb}" in known, (noun, verb)


def test_every_command_stands_in_the_readme() -> None:
    table = README[README.index("## Commands") : README.index("## Further reading")]
    for command in _commands():
        noun, _, verb = command.partition(" ")
        assert f"`vsek {noun}" in table
        assert verb in table


def test_targets_named_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^ {4})make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere() -> None:
    for folder, text in ((ROOT, README), (ROOT / "docs", OPERATIONS)):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (folder / link).exists(), link
