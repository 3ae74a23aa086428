from __future__ import annotations

import json
from pathlib import Path

import pytest

from vsek.embedded import packages
from vsek.errors import InputError, ServiceError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VSEK_CACHE", str(tmp_path))
    return tmp_path


def _built(cache: Path, **changes: object) -> Path:
    root = cache / "peers-abc"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/sipp").touch()
    index = {"format": packages.FORMAT, "root": str(root), "versions": {"sip-tester": "3.8"}}
    (cache / "peers.json").write_text(json.dumps(index | changes))
    return root


@pytest.mark.parametrize(
    ("version", "suitable"),
    [
        ("1:22.10.1+dfsg+~cs6.17-1", True),
        ("Asterisk 22.11.0", True),
        ("22.10.0", False),
        ("1:20.6.0~dfsg-2", False),
        ("23.1.0", False),
        ("(none)", False),
    ],
)
def test_versions_of_asterisk(version: str, suitable: bool) -> None:
    assert packages.asterisk_is_suitable(version) is suitable


def test_a_built_prefix_needs_no_network(cache: Path) -> None:
    root = _built(cache)
    prefix = packages.ensure(["peers"])
    assert prefix.tool("sipp") == root / "usr/bin/sipp"
    assert prefix.versions == {"sip-tester": "3.8"}
    with pytest.raises(ServiceError, match="no program 'baresip'"):
        prefix.tool("baresip")


def test_programs_on_the_path_come_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _built(cache)
    own = cache / "sipp"
    own.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(cache))
    assert packages.find_tool("sipp") == own
    monkeypatch.setenv("PATH", "/nowhere")
    assert packages.find_tool("sipp") == root / "usr/bin/sipp"


@pytest.mark.parametrize("changes", [{"format": -1}, {"root": "/elsewhere/peers-abc"}])
def test_a_stale_or_moved_prefix_is_built_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    _built(cache, **changes)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServiceError, match="no apt"):
        packages.ensure(["peers"])


def test_unknown_names(cache: Path) -> None:
    with pytest.raises(InputError, match="servers, speech, peers"):
        packages.ensure(["server"])
    with pytest.raises(InputError):
        packages.find_tool("rm")


def test_the_cache_of_root_can_be_entered_by_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSEK_CACHE", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert packages.cache_folder() == Path("/var/cache/vsek")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/a/c")
    assert packages.cache_folder() == Path("/home/a/c/vsek")
