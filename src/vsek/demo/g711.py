"""G.711 A-law and µ-law to and from 16-bit samples, and telephone WAV files.

A sample is an ``array("h")`` element; everything here is mono at 8,000 samples a second.
"""

from __future__ import annotations

import math
import wave
from array import array
from pathlib import Path

from vsek.errors import InputError

RATE = 8000
ALAW_SILENCE = 0xD5


def _alaw_sample(code: int) -> int:
    """ITU-T G.711, table 1a: even bits inverted, sign, three bits of segment, four of step."""
    code ^= 0x55
    segment = (code >> 4) & 7
    value = ((code & 0x0F) << 4) + 8
    if segment:
        value = (value + 0x100) << (segment - 1)
    return value if code & 0x80 else -value


def _ulaw_sample(code: int) -> int:
    """ITU-T G.711, table 2a: all bits inverted, bias of 33 (132 at 16 bits)."""
    code = ~code & 0xFF
    value = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return -value if code & 0x80 else value


_ALAW = [_alaw_sample(code) for code in range(256)]
_ULAW = [_ulaw_sample(code) for code in range(256)]


def _nearest(table: list[int]) -> bytes:
    """For each 16-bit sample (shifted to 0…65535) the code whose value is nearest to it."""
    ordered = sorted((value, code) for code, value in enumerate(table))
    codes = bytearray()
    place = 0
    for sample in range(-32768, 32768):
        while place + 1 < len(ordered) and abs(ordered[place + 1][0] - sample) <= abs(
            ordered[place][0] - sample
        ):
            place += 1
        codes.append(ordered[place][1])
    return bytes(codes)


_TO_ALAW: bytes = b""


def decode(payload: bytes, payload_type: int) -> array[int]:
    """Samples of an RTP payload; ``payload_type`` is 8 (A-law) or 0 (µ-law)."""
    table = _ALAW if payload_type == 8 else _ULAW
    return array("h", [table[code] for code in payload])


def encode_alaw(samples: array[int]) -> bytes:
    """A-law codes of samples."""
    global _TO_ALAW  # noqa: PLW0603 (a table that takes 30 ms to make, made once)
    if not _TO_ALAW:
        _TO_ALAW = _nearest(_ALAW)
    table = _TO_ALAW
    return bytes([table[sample + 32768] for sample in samples])


def read_wav(path: Path) -> array[int]:
    """Samples of a WAV file. Raises ``InputError`` unless it is 8 kHz, mono, 16 bit."""
    try:
        with wave.open(str(path)) as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(f"{path} is no WAV file: {error}", field="file", value=str(path)) from None
    if form != (RATE, 1, 2):
        raise InputError(
            f"{path} has {form[0]} Hz, {form[1]} channel(s), {8 * form[2]} bits",
            field="file",
            value=str(path),
            remedy="Convert it to 8000 Hz, mono, 16 bits",
        )
    return array("h", frames)


def write_wav(path: Path, samples: array[int]) -> None:
    """Writes samples as an 8 kHz mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setframerate(RATE)
        file.setnchannels(1)
        file.setsampwidth(2)
        file.writeframes(samples.tobytes())


def melody(pitch_hz: float, seconds: float = 3.0) -> array[int]:
    """A sound that can be told from others, and whose places can be told from each other."""
    turn = 2 * math.pi / RATE
    return array(
        "h",
        [
            int(7000 * math.sin(turn * (pitch_hz + 90 * math.sin(i / 2400)) * i))
            for i in range(int(seconds * RATE))
        ],
    )
