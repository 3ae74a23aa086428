"""What is written for the private Asterisk, and what every PBX gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vsek.embedded import resources
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.embedded.packages import Prefix
from vsek.errors import ServiceError
from vsek.pbx.doctor_asterisk import MODULES

_CONF = resources.folder("asterisk-conf")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    root = tmp_path / "prefix"
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (root / "usr/lib/x86_64-linux-gnu/libc.so.6").touch()
    server = PrivateAsterisk(
        tmp_path / "asterisk", extra={"extensions": "[more]\n", "rtp": "x=1\n"}
    )
    server.home = tmp_path / "asterisk"
    server.home.mkdir()
    server.sounds = tmp_path / "sounds"
    server.sounds.mkdir()
    server.sip_port, server.http_port, server.ami_port = 5060, 8088, 5038
    server._render(Prefix(root, {}))
    return server.home / "etc"


def test_shared_files_are_taken_as_they_are(etc: Path) -> None:
    for file in _CONF.glob("*.conf"):
        if file.name != "asterisk.conf":
            assert (etc / file.name).read_bytes() == file.read_bytes()
    assert (etc / "asterisk.conf").read_text().endswith((_CONF / "asterisk.conf").read_text())
    assert (etc / "vsek-sounds" / "technical-fault-de.wav").exists()


def test_local_differences(etc: Path) -> None:
    local = etc / "vsek-local"
    assert "bind = 127.0.0.1:5060" in (local / "pjsip.conf").read_text()
    assert (local / "http.conf").read_text() == "bindport = 8088\n"
    assert (local / "extensions.conf").read_text().endswith("[more]\n")
    assert (local / "rtp.conf").read_text() == "x=1\n"
    assert not list(local.glob("*.example"))
    assert etc.stat().st_mode & 0o077 == 0, "secrets stand in there"


def test_secrets_are_kept_over_a_restart(etc: Path) -> None:
    server = PrivateAsterisk(etc.parent)
    server.home = etc.parent
    server._load_secrets()
    assert f"password = {server.ari_password}\n" == (etc / "vsek-local/ari.conf").read_text()
    assert len(server.ari_password) > 20
    assert server.ari_password != server.ami_secret


def test_every_local_file_is_included_by_a_shared_one(etc: Path) -> None:
    included = {
        name
        for file in _CONF.glob("*.conf")
        for name in re.findall(
            r"^#(?:try)?include vsek-local/(\S+)", file.read_text(), re.MULTILINE
        )
    }
    assert {file.name for file in (etc / "vsek-local").glob("*.conf")} <= included


def test_modules_that_the_doctor_asks_for_are_loaded() -> None:
    loaded = set(
        re.findall(r"^(?:pre)?load = (\w+)\.so", (_CONF / "modules.conf").read_text(), re.MULTILINE)
    )
    assert set(MODULES) <= loaded


def test_nothing_of_ours_listens_to_strangers() -> None:
    for name in ("http.conf", "manager.conf"):
        text = (_CONF / name).read_text()
        assert re.findall(r"^bindaddr = (.*)$", text, re.MULTILINE) == ["127.0.0.1"]
    for name in ("ari.conf", "manager.conf"):
        text = (_CONF / name).read_text()
        assert not re.search(r"^(password|secret)\s*=", text, re.MULTILINE)
        assert re.search(r"^deny = 0.0.0.0/0.0.0.0", text, re.MULTILINE)
    assert "live_dangerously = no" in (_CONF / "asterisk.conf").read_text()


def test_a_missing_folder_is_told() -> None:
    with pytest.raises(ServiceError, match="has no nonsense"):
        resources.folder("nonsense")
