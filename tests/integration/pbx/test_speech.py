"""Greetings made by the real programs: speech, conversion, and files that are no audio."""

from __future__ import annotations

import asyncio
import io
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.embedded.packages import find_tool
from vsek.errors import InputError, ServiceError
from vsek.pbx import sounds
from vsek.pbx.announcements import ANNOUNCEMENTS
from vsek.pbx.sounds import SoundWorkshop


@pytest.fixture(scope="module")
def workshop() -> SoundWorkshop:
    return SoundWorkshop(find_tool, "espeak-ng")


def samples(wav: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def tone_file(path: Path, *, rate: int = 44100, channels: int = 2, hz: float = 440.0) -> None:
    signal = (20000 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(signal, channels).tobytes())


async def test_texts_are_spoken(workshop: SoundWorkshop) -> None:
    heard = {}
    for (name, language), text in ANNOUNCEMENTS.items():
        wav = await workshop.make(WantedSound(Sound(text=text), language))
        signal = samples(wav)
        shortest = 0.3 if name.startswith("digit_") else 1.2
        assert shortest < len(signal) / 8000 < 15
        assert np.abs(signal).max() > 3000
        heard[name, language] = wav
    assert len(set(heard.values())) == len(ANNOUNCEMENTS)


async def test_the_same_text_is_the_same_file(workshop: SoundWorkshop) -> None:
    # No markup, no options, no voice tricks: text is text.
    wanted = WantedSound(Sound(text="--version <b>Grüße</b> [[x]]; $(id)\n- zweite Zeile"), "de")
    assert await workshop.make(wanted) == await workshop.make(wanted)
    assert await workshop.source(wanted) == await workshop.source(wanted)


async def test_longer_texts_take_longer(workshop: SoundWorkshop) -> None:
    one = await workshop.make(WantedSound(Sound(text="Guten Tag."), "de"))
    two = await workshop.make(WantedSound(Sound(text="Guten Tag.\nGuten Tag."), "de"))
    assert len(two) > 1.5 * len(one)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".aiff"])
async def test_files_are_converted(workshop: SoundWorkshop, tmp_path: Path, suffix: str) -> None:
    tone_file(tmp_path / "tone.wav")
    path = tmp_path / f"it's a tone {suffix}"
    if suffix == ".wav":
        (tmp_path / "tone.wav").rename(path)
    else:
        command = [find_tool("sox"), tmp_path / "tone.wav", path]
        await asyncio.to_thread(subprocess.run, command, check=True)
    wav = await workshop.make(WantedSound(Sound(file=path.name), "de", tmp_path))
    signal = samples(wav)
    assert len(signal) == pytest.approx(8000, rel=0.1)
    strongest = np.abs(np.fft.rfft(signal[:8000], 8000)).argmax()
    assert strongest == pytest.approx(440, abs=2)


async def test_what_is_no_audio_is_refused(workshop: SoundWorkshop, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(InputError, match=r"text\.wav cannot be converted: sox failed") as caught:
        await workshop.make(WantedSound(Sound(file="text.wav"), "de", tmp_path))
    assert caught.value.remedy

    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    with pytest.raises(InputError, match="holds no sound"):
        await workshop.make(WantedSound(Sound(file="empty.wav"), "de", tmp_path))


async def test_a_program_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds, "PROGRAM_TIMEOUT_S", 0.05)
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    with pytest.raises(ServiceError, match="took more than"):
        await SoundWorkshop(lambda _: stuck).to_telephone(b"x", ".wav")
