"""Files of sounds and music classes, and how engines are chosen; no program runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from vsek.domain.note import Language
from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.errors import InputError, ServiceError
from vsek.pbx import sounds
from vsek.pbx.announcements import Announcement
from vsek.pbx.sounds import SoundFolder, SoundWorkshop

A, B = "a" * 64, "b" * 64


def no_tools(name: str) -> Path:
    raise ServiceError(f"no {name} here")


class Parts:
    """The database and Asterisk of a sound folder."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {A: b"AAAA"}
        self.fetched: list[frozenset[str]] = []
        self.reloads = 0
        self.trouble: Exception | None = None

    async def fetch(self, hashes: frozenset[str]) -> Mapping[str, bytes]:
        self.fetched.append(hashes)
        return {sha: wav for sha, wav in self.stored.items() if sha in hashes}

    async def ensure(self, wanted: Sequence[WantedSound]) -> Sequence[str]:
        if self.trouble:
            raise self.trouble
        return [f"{n:064}" for n, _ in enumerate(wanted)]

    async def reload(self) -> None:
        self.reloads += 1
        if self.trouble:
            raise self.trouble


def folder_with(parts: Parts, path: Path, music_conf: Path | None) -> SoundFolder:
    return SoundFolder(
        path / "sounds",
        Path("/as/asterisk/sees/it"),
        music_conf=music_conf,
        fetch=parts.fetch,
        ensure=parts.ensure,
        reload_music=parts.reload,
    )


async def test_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    parts = Parts()
    folder = folder_with(parts, tmp_path, None)
    await folder.bring(frozenset({A, B}))
    assert (tmp_path / "sounds" / f"{A}.wav").read_bytes() == b"AAAA"
    assert [path.name for path in (tmp_path / "sounds").iterdir()] == [f"{A}.wav"]
    await folder.bring(frozenset({A}))
    assert parts.fetched == [frozenset({A, B})]
    assert folder.media(A) == f"sound:/as/asterisk/sees/it/{A}"


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "sounds").write_text("a file")
    with pytest.raises(ServiceError, match="Sounds cannot be written"):
        await folder_with(Parts(), tmp_path, None).bring(frozenset({A}))


async def test_music_classes_are_reloaded_until_it_worked(tmp_path: Path) -> None:
    parts = Parts()
    conf = tmp_path / "etc" / "music.conf"
    folder = folder_with(parts, tmp_path, conf)
    parts.trouble = ServiceError("away")
    with pytest.raises(ServiceError):
        await folder.set_music({"client-a": A})
    parts.trouble = None
    await folder.set_music({"client-a": A})
    await folder.set_music({"client-a": A})
    assert parts.reloads == 2
    assert f"[client-a]\nmode=playlist\nentry=/as/asterisk/sees/it/{A}\n" in conf.read_text()
    await folder.set_music({})
    assert parts.reloads == 3
    assert "client-a" not in conf.read_text()


async def test_without_a_music_file_nothing_is_reloaded(tmp_path: Path) -> None:
    parts = Parts()
    await folder_with(parts, tmp_path, None).set_music({"client-a": A})
    assert parts.reloads == 0


async def test_announcements(tmp_path: Path) -> None:
    parts = Parts()
    folder = folder_with(parts, tmp_path, None)
    parts.trouble = InputError("nothing can speak")
    assert set(await folder.announcements()) == {"tone"}
    parts.trouble = None
    made = await folder.announcements()
    names = {f"{name}.{language}" for name in Announcement for language in ("de", "en")}
    assert set(made) == names | {"tone"}
    assert len(set(made.values())) == len(made)


class Engine:
    """A speech engine as another package brings it."""

    name = "better-1"

    def __init__(self, find_tool: sounds.ToolFinder) -> None:
        self.find_tool = find_tool

    async def ready(self) -> bool:
        return True

    async def speak(self, text: str, language: Language) -> bytes:
        return f"{language}:{text}".encode()


class Point:
    """An installed entry point."""

    name = "better"

    def load(self) -> type[Engine]:
        return Engine


@pytest.mark.parametrize("setting", ["auto", "better"])
async def test_an_installed_engine_is_preferred(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds, "entry_points", lambda group: [Point()])
    workshop = SoundWorkshop(no_tools, setting)
    source = await workshop.source(WantedSound(Sound(text="Hallo"), "de"))
    assert source.startswith("speech/1/better-1/de/")


@pytest.mark.parametrize("setting", ["auto", "none", "espeak-ng"])
async def test_nothing_can_speak(setting: str) -> None:
    workshop = SoundWorkshop(no_tools, setting)
    for _ in range(2):
        with pytest.raises(InputError, match="No speech engine") as caught:
            await workshop.source(WantedSound(Sound(text="Hallo"), "de"))
        assert "audio file" in caught.value.remedy


async def test_an_engine_that_is_not_installed() -> None:
    with pytest.raises(InputError, match="no speech engine 'robo'") as caught:
        await SoundWorkshop(no_tools, "robo").source(WantedSound(Sound(text="Hallo"), "de"))
    assert "espeak-ng" in caught.value.remedy


@pytest.mark.parametrize("name", ["|id", "http://x/y", "/etc/passwd", "x.m3u", "x", ""])
async def test_names_that_are_no_audio_files(name: str, tmp_path: Path) -> None:
    wanted = WantedSound(Sound.model_construct(text=None, file=name, audio=None), "de", tmp_path)
    with pytest.raises(InputError, match="no audio file of a known type"):
        await SoundWorkshop(no_tools).source(wanted)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    wanted = WantedSound(Sound(file="none.wav"), "de", tmp_path)
    with pytest.raises(InputError, match=r"none\.wav cannot be read: No such file"):
        await SoundWorkshop(no_tools).make(wanted)
