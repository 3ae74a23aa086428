"""What is heard in generated sounds: tones, noise, melodies, in several volumes and codings."""

from __future__ import annotations

import io
import math
import random
import time
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.demo import g711
from vsek.domain.outcomes import Finding
from vsek.pbx.listening import RATE_HZ, examine, samples_of

Signal = Sequence[float]


def wav_of(signal: Signal) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        clipped = [max(-32768, min(32767, round(value))) for value in signal]
        file.writeframes(array("h", clipped).tobytes())
    return buffer.getvalue()


def tone(seconds: float, *hz: float, amplitude: float = 6000) -> list[float]:
    turn = 2 * math.pi / RATE_HZ
    return [
        sum(amplitude * math.sin(turn * one * n) for one in hz)
        for n in range(round(seconds * RATE_HZ))
    ]


def rest(seconds: float) -> list[float]:
    return [0.0] * round(seconds * RATE_HZ)


def again(signal: list[float], seconds: float) -> list[float]:
    return list(islice(cycle(signal), round(seconds * RATE_HZ)))


def noise(seconds: float, level: float, seed: int = 1) -> list[float]:
    if not level:
        return rest(seconds)
    dice = random.Random(seed)
    second = [dice.gauss(0, level) for _ in range(RATE_HZ)]
    return again(second, seconds)


def hum() -> list[float]:
    return again(tone(0.02, 50, 100, 150, 200, 250, amplitude=60), 10)


def ansam() -> list[float]:
    """Answering tone with phase reversals and a slow tremolo (V.8)."""
    beat = tone(0.45, 2100)
    shaken = [v * (1 + 0.2 * math.sin(2 * math.pi * 15 * n / RATE_HZ)) for n, v in enumerate(beat)]
    return again(shaken + [-v for v in shaken], 3.6)


def tune() -> list[float]:
    """Notes of three harmonics each, struck and fading."""
    dice, notes = random.Random(5), list[float]()
    for _ in range(20):
        hz = 220 * 2 ** (dice.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        struck = tone(0.4, hz, 1.5 * hz, 2 * hz, amplitude=2000)
        notes += [v * (0.3 + 0.7 * math.exp(-n / 4000)) for n, v in enumerate(struck)]
    return notes


def variants(signal: Signal) -> Iterator[bytes]:
    """Loud, soft and very soft; clean and over a noisy line; as it is and through A-law."""
    for volume in (1.0, 0.3, 0.05):
        for hiss in (0.0, 60.0):
            line = noise(len(signal) / RATE_HZ, hiss * min(1, volume * 3))
            mixed = [value * volume + n for value, n in zip(signal, line, strict=True)]
            wav = wav_of(mixed)
            yield wav
            plain = samples_of(wav)
            assert plain is not None
            yield wav_of(g711.decode(g711.encode_alaw(plain), 8))


SOUNDS: dict[str, tuple[Callable[[], Signal], Finding]] = {
    "nothing": (lambda: rest(10), Finding.SILENCE),
    "comfort noise": (lambda: noise(10, 60), Finding.SILENCE),
    "noisy line": (lambda: noise(10, 500), Finding.SILENCE),
    "hum": (hum, Finding.SILENCE),
    "dial tone": (lambda: tone(8, 425), Finding.MACHINE),
    "busy": (lambda: again(tone(0.48, 425) + rest(0.48), 8), Finding.MACHINE),
    "congestion": (lambda: again(tone(0.24, 425) + rest(0.24), 8), Finding.MACHINE),
    "ringback": (lambda: again(tone(1, 425) + rest(4), 15), Finding.MACHINE),
    "American dial tone": (lambda: tone(8, 350, 440), Finding.MACHINE),
    "American busy": (lambda: again(tone(0.5, 480, 620) + rest(0.5), 8), Finding.MACHINE),
    "British ringback": (
        lambda: again(tone(0.4, 400, 450) + rest(0.2) + tone(0.4, 400, 450) + rest(2), 15),
        Finding.MACHINE,
    ),
    "special information": (
        lambda: rest(1) + tone(0.33, 950) + tone(0.33, 1400) + tone(0.33, 1800) + rest(2),
        Finding.MACHINE,
    ),
    "fax calling": (lambda: again(rest(1.5) + tone(0.5, 1100) + rest(1.5), 15), Finding.FAX),
    "fax calling once": (lambda: rest(0.7) + tone(0.5, 1100) + rest(2), Finding.FAX),
    "fax answering": (lambda: rest(1) + tone(3, 2100) + rest(1), Finding.FAX),
    "modem calling": (lambda: again(tone(0.6, 1300) + rest(2), 10), Finding.FAX),
    "modem answering": (ansam, Finding.FAX),
    "tune": (tune, Finding.MUSIC),
    **{
        f"melody around {hz} Hz": (lambda hz=hz: g711.melody(hz, 6), Finding.MUSIC)  # type: ignore[misc]
        for hz in (300, 440, 700, 1500)
    },
    "knocks": (lambda: again(noise(0.1, 3000) + rest(0.9), 8), Finding.UNKNOWN),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_what_it_is_however_it_comes(name: str) -> None:
    make, finding = SOUNDS[name]
    heard = [examine(wav) for wav in variants(make())]
    # 12 ways each, no error among them.
    assert [one.finding for one in heard] == [finding] * len(heard), set(heard)


def test_keys_pressed_are_no_machine() -> None:
    keys = [(697, 1209), (770, 1336), (852, 1477), (941, 1336)]
    dialled = [v for key in keys for v in tone(0.12, *key) + rest(0.12)]
    for signal in (rest(1) + dialled + rest(2), rest(1) + tone(0.2, 697, 1209) + rest(1)):
        assert examine(wav_of(signal)).finding in (Finding.SPEECH, Finding.UNKNOWN)


def test_loud_steady_noise_may_be_a_person_in_a_machine_hall() -> None:
    assert examine(wav_of(noise(10, 2000))).finding is Finding.UNKNOWN


def test_length_and_peak_are_told() -> None:
    heard = examine(wav_of(rest(1) + tone(1, 425) + rest(0.5)))
    assert heard.duration_s == 2.5
    assert 5990 <= heard.peak <= 6000
    assert heard.spoken_s == 0


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_a_header_that_nobody_finished_is_passed_over() -> None:
    # As Asterisk leaves a file when it dies while it records.
    wav = bytearray(wav_of(tone(3, 425)))
    wav[4:8] = wav[40:44] = bytes(4)
    heard = examine(bytes(wav))
    assert (heard.finding, heard.duration_s) == (Finding.MACHINE, 3.0)


def test_other_chunks_are_passed_over() -> None:
    wav = wav_of(tone(3, 425))
    assert examine(wav[:12] + b"LIST\5\0\0\0abcde\0" + wav[12:]).finding is Finding.MACHINE


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd",
        wav_of([]),
        wav_of([1.0]),
        b"ID3" + bytes(1000),
        wav_of(tone(1, 425))[:22] + b"\2\0" + wav_of(tone(1, 425))[24:],
    ],
    ids=["empty", "short", "no chunks", "no form", "no samples", "a sample", "mp3", "stereo"],
)
def test_broken_files_are_unknown(broken: bytes) -> None:
    heard = examine(broken)
    assert (heard.finding, heard.duration_s, heard.spoken_s) == (Finding.UNKNOWN, 0.0, 0.0)


@given(st.binary(max_size=3000), st.booleans())
def test_no_file_raises(data: bytes, is_wav: bool) -> None:
    examine(wav_of([])[:44] + data if is_wav else data)


def test_twenty_seconds_take_less_than_a_ring() -> None:
    dice = random.Random(2)
    # The dearest case: sound all the time that is neither held nor a sine.
    busy = [
        dice.gauss(0, 3000) * (1 + math.sin(n / 900)) + 4000 * math.sin(n / 5)
        for n in range(20 * RATE_HZ)
    ]
    wav = wav_of(busy)
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        examine(wav)
        best = min(best, time.process_time() - start)
    # Some 70 ms where nothing else runs; the limit is for machines that do much else.
    assert best < 0.25
