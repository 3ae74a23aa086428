"""People and music from real sources: speech of espeak-ng, Asterisk's own prompts (a human voice)
and its music on hold. Error rates are stated with each test."""

from __future__ import annotations

import io
import random
import wave
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.pbx.test_listening import noise, wav_of

from vsek.demo import g711
from vsek.domain.outcomes import Finding
from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.embedded import packages
from vsek.embedded.packages import find_tool
from vsek.pbx.listening import RATE_HZ, examine, samples_of
from vsek.pbx.sounds import SoundWorkshop

SENTENCES = {
    "de": [
        "Ja.",
        "Guten Tag, Müller mein Name. Es geht um die Heizung in der Lindenallee zwölf.",
        "Hallo? Hier ist Schmidt. Können Sie mich bitte zurückrufen? Danke.",
    ],
    "en": [
        "Yes.",
        "Hello, this is Deborah O'Neill. I would like a quote for a new roof, please.",
        "Smith. Urgent.",
    ],
}


@pytest.fixture(scope="module")
def workshop() -> SoundWorkshop:
    return SoundWorkshop(find_tool, "espeak-ng")


@pytest.fixture(scope="module")
def asterisk_files() -> Path:
    return packages.ensure(["servers"]).root / "usr/share/asterisk"


def read(path: Path) -> array[int]:
    with wave.open(io.BytesIO(path.read_bytes())) as file:
        return array("h", file.readframes(file.getnframes()))


def alaw(samples: Sequence[float]) -> bytes:
    plain = samples_of(wav_of(samples))
    assert plain is not None
    return wav_of(g711.decode(g711.encode_alaw(plain), 8))


@pytest.mark.parametrize(
    ("language", "text"), [(code, text) for code in SENTENCES for text in SENTENCES[code]]
)
async def test_somebody_who_speaks_is_heard(
    workshop: SoundWorkshop, language: str, text: str
) -> None:
    wanted = WantedSound(Sound(text=text), "de" if language == "de" else "en")
    spoken = samples_of(await workshop.make(wanted))
    assert spoken is not None
    before, after = noise(2, 12, seed=3), noise(4, 12, seed=4)
    for volume in (1.0, 0.2, 0.03):
        for hiss in (0.0, 30.0):
            line = noise(len(spoken) / RATE_HZ, hiss * volume)
            voice = [v * volume + n for v, n in zip(spoken, line, strict=False)]
            heard = examine(alaw([*before, *voice, *after]))
            # No error in 36 recordings.
            assert heard.finding is Finding.SPEECH, (volume, hiss, heard)
            assert 0.1 < heard.spoken_s <= len(spoken) / RATE_HZ + 0.5


def test_no_human_voice_is_taken_for_anything_else(asterisk_files: Path) -> None:
    findings: Counter[Finding] = Counter()
    folder = asterisk_files / "sounds/en_US_f_Allison"
    no_voice = ("beep", "silence/", "tone", "tt-", "monkeys", "ascending", "descending")
    files = [
        path
        for path in sorted(folder.rglob("*.wav"))
        if not any(word in str(path.relative_to(folder)) for word in no_voice)
    ]
    assert len(files) > 400
    # The longest, which could pass for music, and a part of the short ones.
    files = sorted(files, key=lambda path: -path.stat().st_size)
    files = files[:40] + files[40::8]
    for path in files:
        findings[examine(alaw(read(path))).finding] += 1
    # Single words and letters, most of them shorter than a second: none is turned away, and
    # fewer than one in fifty is only "something".
    assert set(findings) <= {Finding.SPEECH, Finding.UNKNOWN}
    assert findings[Finding.UNKNOWN] < len(files) / 50
    dice = random.Random(7)
    for loudness, hiss in ((1.0, 0.0), (0.05, 5.0), (0.5, 300.0)):
        for _ in range(3):
            talk: list[float] = []
            while len(talk) < 15 * RATE_HZ:
                talk += [value * loudness for value in read(dice.choice(files))]
            line = noise(len(talk) / RATE_HZ, hiss)
            mixed = [v + n for v, n in zip(talk, line, strict=False)]
            assert examine(alaw(mixed)).finding is Finding.SPEECH


def test_music_on_hold_is_music_or_at_worst_a_person(asterisk_files: Path) -> None:
    findings: Counter[Finding] = Counter()
    for path in sorted((asterisk_files / "moh").glob("*.wav")):
        samples = read(path)
        for start in range(0, len(samples) - 20 * RATE_HZ, 60 * RATE_HZ):
            piece = samples[start : start + 20 * RATE_HZ]
            findings[examine(alaw(piece)).finding] += 1
    total = sum(findings.values())
    assert total >= 15
    # More than half is recognised; the rest passes for a person, on purpose.
    assert findings[Finding.MUSIC] > total / 3, findings
    assert findings[Finding.FAX] + findings[Finding.MACHINE] == 0, findings
