from __future__ import annotations

from pathlib import Path

import pytest

from vsek.embedded import mirrors
from vsek.errors import ServiceError


@pytest.fixture
def etc_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VSEK_DEBIAN_MIRROR", raising=False)
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_debootstraps_own_line(etc_apt: Path) -> None:
    (etc_apt / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    assert mirrors.of_this_machine(etc_apt) == [mirrors.Mirror("http://mirror.example/debian")]


def test_deb822_with_keys_and_what_is_not_wanted(etc_apt: Path) -> None:
    (etc_apt / "sources.list").write_text(
        "# deb http://commented.example/debian bookworm main\n"
        "deb-src http://source.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://vendor.example/apt stable main # ours\n"
        "deb http://security.example/debian-security bookworm-security main\n"
        "deb http://contrib.example/debian bookworm contrib\n"
        "deb cdrom:[Debian]/ bookworm main\n"
    )
    folder = etc_apt / "sources.list.d"
    folder.joinpath("debian.sources").write_text(
        "Types: deb deb-src\n# a comment\nURIs: http://one.example/debian/\n"
        " http://two.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n"
        "Types: deb\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\nEnabled: no\n"
    )
    folder.joinpath("gone.list.disabled").write_text("deb http://off.example/debian sid main\n")
    found = mirrors.of_this_machine(etc_apt)
    assert [mirror.uri for mirror in found] == [
        "http://one.example/debian/",
        "http://two.example/debian",
        "http://vendor.example/apt",
    ]
    assert found[2].signed_by == "/k.gpg"
    assert found[0].stanza("forky") == (
        "Types: deb\nURIs: http://one.example/debian/\nSuites: forky\nComponents: main\n"
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )


def test_a_named_mirror_stands_alone(etc_apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSEK_DEBIAN_MIRROR", "file:/srv/debian")
    assert [mirror.uri for mirror in mirrors.of_this_machine(etc_apt)] == ["file:/srv/debian"]


def test_no_archive_says_what_to_do(etc_apt: Path) -> None:
    with pytest.raises(ServiceError, match="VSEK_DEBIAN_MIRROR"):
        mirrors.of_this_machine(etc_apt)
