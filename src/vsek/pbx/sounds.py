"""Sounds: from a text or an audio file to what Asterisk plays, and their files.

Everything that callers hear from vsek is WAV, 8 kHz, mono, 16 bit, named by the SHA-256 of the
file. Programs (sox, espeak-ng) get text through stdin and files of our own naming, never a shell.

Other speech engines come as packages: an entry point in the group ``vsek.speech`` names a callable
that takes the tool finder and gives a :class:`SpeechEngine`. The setting ``sounds.speech`` chooses:
``auto`` (an installed engine that is ready, else espeak-ng), a name, or ``none``.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import tempfile
import wave
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import structlog

from vsek.domain.note import Language
from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.errors import InputError, ServiceError
from vsek.pbx.announcements import ANNOUNCEMENTS, TONE, tone

_log = structlog.get_logger(__name__)

ENTRY_POINTS = "vsek.speech"
RATE_HZ = 8000
MAX_FILE_BYTES = 200_000_000
MAX_SOUND_S = 1800
"""Longer sounds are cut."""
PROGRAM_TIMEOUT_S = 120.0
_LOOK_AGAIN_S = 300.0
# Raised when the conversion changes, so that sounds are made anew.
_CONVERSION = "1"
_FILE_TYPES = frozenset(
    {".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"}
)

ToolFinder = Callable[[str], Path]
"""Finds a program by name; may take long the first time. Raises ``ServiceError``."""


class SpeechEngine(Protocol):
    """Speaks texts."""

    @property
    def name(self) -> str:
        """Name and version: equal names give equal speech for equal texts."""

    async def ready(self) -> bool:
        """Whether it can speak now."""

    async def speak(self, text: str, language: Language) -> bytes:
        """``text`` as WAV of any rate. Raises ``ServiceError``."""


# ── programs ─────────────────────────────────────────────────────────────────────────────────


async def _run(program: Path, arguments: Sequence[str | Path], stdin: bytes = b"") -> None:
    """Run a program to its end. Raises ``ServiceError`` with the last line that it wrote."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            # A pipe for nothing may be closed, by a quick program, before it is written to.
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ServiceError(f"{program} does not start: {error.strerror}") from None
    try:
        async with asyncio.timeout(PROGRAM_TIMEOUT_S):
            _, complaints = await process.communicate(stdin or None)
    except TimeoutError:
        raise ServiceError(f"{program.name} took more than {PROGRAM_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = complaints.decode(errors="replace").strip().splitlines()
        what = lines[-1] if lines else f"exit code {process.returncode}"
        raise ServiceError(f"{program.name} failed: {what}")


class EspeakNg:
    """The built-in engine: understandable everywhere, beautiful nowhere."""

    name = "espeak-ng"
    _VOICES: Mapping[Language, str] = {"de": "de", "en": "en-gb"}
    _WORDS_PER_MINUTE = 150

    def __init__(self, find_tool: ToolFinder) -> None:
        self._find_tool = find_tool

    async def ready(self) -> bool:
        """Whether espeak-ng can be had."""
        try:
            await asyncio.to_thread(self._find_tool, "espeak-ng")
        except (ServiceError, InputError):
            return False
        return True

    async def speak(self, text: str, language: Language) -> bytes:
        """``text`` as WAV."""
        program = await asyncio.to_thread(self._find_tool, "espeak-ng")
        with tempfile.TemporaryDirectory(prefix="vsek-speech-") as folder:
            spoken = Path(folder) / "spoken.wav"
            arguments = ["-v", self._VOICES[language], "-s", str(self._WORDS_PER_MINUTE)]
            await _run(
                program,
                [*arguments, "-b", "1", "--stdin", "-w", spoken],
                (text.strip() + "\n").encode(),
            )
            return await asyncio.to_thread(spoken.read_bytes)


def engine(wanted: str, find_tool: ToolFinder) -> Callable[[], Sequence[SpeechEngine]]:
    """The engines that the setting ``wanted`` allows, best first; loaded when asked for."""

    def load() -> Sequence[SpeechEngine]:
        if wanted == "none":
            return []
        if wanted == EspeakNg.name:
            return [EspeakNg(find_tool)]
        installed = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
        if wanted == "auto":
            return [*(point.load()(find_tool) for point in installed), EspeakNg(find_tool)]
        chosen = [point.load()(find_tool) for point in installed if point.name == wanted]
        if not chosen:
            names = ["auto", "none", EspeakNg.name, *(point.name for point in installed)]
            raise InputError(
                f"There is no speech engine {wanted!r}",
                field="sounds.speech",
                value=wanted,
                remedy="Known: " + ", ".join(names),
            )
        return chosen

    return load


# ── making ───────────────────────────────────────────────────────────────────────────────────


class SoundWorkshop:
    """Makes sounds from texts and files; implements the port of ``vsek.store.audio``."""

    def __init__(self, find_tool: ToolFinder, speech: str = "auto") -> None:
        self._find_tool = find_tool
        self._load = engine(speech, find_tool)
        self._engine: SpeechEngine | None = None
        self._look_again_at = 0.0

    async def source(self, wanted: WantedSound) -> str:
        """What ``wanted`` is made from, in a line: equal lines give equal sounds.

        Raises ``InputError`` when the file cannot be read or nothing can speak.
        """
        if wanted.sound.text is not None:
            speech = await self._speech()
            text = hashlib.sha256(wanted.sound.text.encode()).hexdigest()
            return f"speech/{_CONVERSION}/{speech.name}/{wanted.language}/{text}"
        data = await asyncio.to_thread(_read, _path(wanted))
        return f"file/{_CONVERSION}/{hashlib.sha256(data).hexdigest()}"

    async def make(self, wanted: WantedSound) -> bytes:
        """``wanted`` as Asterisk plays it.

        Raises ``InputError`` for a file that is no audio, ``ServiceError`` when a program fails.
        """
        if wanted.sound.text is not None:
            speech = await self._speech()
            spoken = await speech.speak(wanted.sound.text, wanted.language)
            return await self.to_telephone(spoken, ".wav")
        path = _path(wanted)
        data = await asyncio.to_thread(_read, path)
        try:
            return await self.to_telephone(data, path.suffix.lower())
        except ServiceError as error:
            raise InputError(
                f"{path} cannot be converted: {error.message}",
                field="file",
                value=str(path),
                remedy="Give an audio file, best WAV",
                error_id="sound_file",
            ) from None

    async def to_telephone(self, data: bytes, suffix: str) -> bytes:
        """Audio of the type ``suffix`` (``.wav``, …) as WAV, 8 kHz, mono, 16 bit.

        Raises ``ServiceError`` when sox cannot be had or cannot convert it.
        """
        try:
            return await self._converted(data, suffix)
        except OSError as error:
            raise ServiceError(f"No room for temporary files: {error.strerror}") from None

    async def _converted(self, data: bytes, suffix: str) -> bytes:
        sox = await asyncio.to_thread(self._find_tool, "sox")
        with tempfile.TemporaryDirectory(prefix="vsek-sound-") as folder:
            given, converted = Path(folder) / f"given{suffix}", Path(folder) / "converted.wav"
            await asyncio.to_thread(given.write_bytes, data)
            # -D: no dither, which would make equal sounds unequal. -G: no clipping.
            output = ["-r", str(RATE_HZ), "-c", "1", "-b", "16", "-e", "signed-integer"]
            cut = ["trim", "0", str(MAX_SOUND_S)]
            await _run(sox, ["-V1", "-D", "-G", given, *output, converted, *cut])
            pcm = await asyncio.to_thread(_samples, converted)
        if not pcm:
            raise ServiceError("it holds no sound")
        return _wav(pcm)

    async def _speech(self) -> SpeechEngine:
        now = asyncio.get_running_loop().time()
        if self._engine is None and now >= self._look_again_at:
            # Looking may mean downloading: not before every sound while the network is away.
            self._look_again_at = now + _LOOK_AGAIN_S
            for candidate in self._load():
                if await candidate.ready():
                    self._engine = candidate
                    break
        if self._engine is None:
            raise InputError(
                "No speech engine can speak the text",
                field="text",
                remedy="Name an audio file instead, or set sounds.speech to an installed engine",
                error_id="no_speech",
            )
        return self._engine


def _path(wanted: WantedSound) -> Path:
    path = wanted.base / (wanted.sound.file or "")
    if path.suffix.lower() not in _FILE_TYPES:
        raise InputError(
            f"{path} is no audio file of a known type",
            field="file",
            value=wanted.sound.file,
            remedy="Known: " + ", ".join(sorted(_FILE_TYPES)),
            error_id="sound_file",
        )
    return path


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}",
            field="file",
            value=str(path),
            remedy="Name an audio file; relative ones are meant from the folder of the YAML file",
            error_id="sound_file",
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{path} is too large",
            field="file",
            value=str(path),
            remedy=f"Use at most {MAX_FILE_BYTES // 1_000_000} MB",
            error_id="sound_file",
        )
    return data


def _samples(path: Path) -> bytes:
    try:
        with wave.open(str(path)) as file:
            return bytes(file.readframes(file.getnframes()))
    except (OSError, EOFError, wave.Error) as error:
        raise ServiceError(f"sox wrote no WAV: {error}") from None


def _wav(pcm: bytes) -> bytes:
    """Samples with the plainest header: equal samples make equal files."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)
    return buffer.getvalue()


# ── files for Asterisk ───────────────────────────────────────────────────────────────────────


def file_of(folder: Path, sha256: str) -> Path:
    """The file of a sound; Asterisk is told the same path without ``.wav``."""
    return folder / f"{sha256}.wav"


def media_of(folder_in_asterisk: Path, sha256: str) -> str:
    """The media URI of a sound for ARI; ``folder_in_asterisk`` is absolute."""
    return f"sound:{folder_in_asterisk / sha256}"


def absent(folder: Path, hashes: Collection[str]) -> set[str]:
    """Those of ``hashes`` that have no file yet."""
    return {sha256 for sha256 in hashes if not file_of(folder, sha256).is_file()}


def materialise(folder: Path, sounds: Mapping[str, bytes]) -> None:
    """Write sounds (hash → WAV) as files that Asterisk may read. Each appears complete or not at
    all. Raises ``ServiceError`` when the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sha256, wav in sounds.items():
            path = file_of(folder, sha256)
            if path.is_file() and path.stat().st_size == len(wav):
                continue
            fresh = path.with_suffix(f".new-{os.getpid()}")
            fresh.write_bytes(wav)
            fresh.chmod(0o644)
            fresh.rename(path)
    except OSError as error:
        raise ServiceError(
            f"Sounds cannot be written to {folder}: {error.strerror}",
            remedy="Let vsek's user write there, or set sounds.folder",
            error_id="sounds_folder",
        ) from None


def music_conf(classes: Mapping[str, Path]) -> str:
    """``musiconhold.conf`` with these classes; the paths are Asterisk's, without suffix."""
    head = "; Written by vsek; changes are lost.\n"
    return head + "".join(
        f"\n[{name}]\nmode=playlist\nentry={path}\n" for name, path in sorted(classes.items())
    )


def write_music_conf(path: Path, classes: Mapping[str, Path]) -> bool:
    """Write the music classes; whether anything changed (then Asterisk must reload its music on
    hold). Raises ``ServiceError`` when the file cannot be written."""
    text = music_conf(classes)
    try:
        if path.is_file() and path.read_text() == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".new-{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(path)
    except OSError as error:
        raise ServiceError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Let vsek's user write there, or set sounds.music_conf",
            error_id="music_conf",
        ) from None
    return True


# ── the folder that Asterisk plays from ──────────────────────────────────────────────────────


class SoundFolder:
    """The folder of sounds that Asterisk plays from, kept equal to what calls need.

    ``fetch`` gets sounds by hash, ``ensure`` has sounds made and stored and returns their hashes,
    ``reload_music`` makes Asterisk read its music classes again.
    """

    def __init__(
        self,
        folder: Path,
        folder_in_asterisk: Path,
        *,
        music_conf: Path | None,
        fetch: Callable[[frozenset[str]], Awaitable[Mapping[str, bytes]]],
        ensure: Callable[[Sequence[WantedSound]], Awaitable[Sequence[str]]],
        reload_music: Callable[[], Awaitable[None]],
    ) -> None:
        self._folder = folder
        self._folder_in_asterisk = folder_in_asterisk
        self._music_conf = music_conf
        self._fetch = fetch
        self._ensure = ensure
        self._reload_music = reload_music
        self._announcements: dict[str, str] | None = None
        self._reload_owed = False

    def media(self, sound: str) -> str:
        """The media URI of a sound for ARI."""
        return media_of(self._folder_in_asterisk, sound)

    async def bring(self, hashes: frozenset[str]) -> None:
        """Have the files of these sounds in place.

        Raises ``ServiceError`` when the database or the folder refuses. A sound that nobody has
        any more is logged: a call that would play it goes on without.
        """
        missing = await asyncio.to_thread(absent, self._folder, hashes)
        if not missing:
            return
        found = await self._fetch(frozenset(missing))
        for sound in sorted(missing - set(found)):
            _log.error("sound_missing", sound=sound)
        await asyncio.to_thread(materialise, self._folder, found)

    async def announcements(self) -> dict[str, str]:
        """The service's own announcements, ``closed.de`` → hash; only the tone where nothing can
        speak.

        Made once, tried again when asked again. Raises ``ServiceError`` when a part fails.
        """
        if self._announcements is None:
            wanted = [
                WantedSound(Sound(text=text), language)
                for (_, language), text in ANNOUNCEMENTS.items()
            ]
            try:
                hashes = await self._ensure(wanted)
            except InputError as error:
                _log.error("no_announcements", error=str(error))
                return await self._with_tone({})
            names = [f"{name}.{language}" for name, language in ANNOUNCEMENTS]
            self._announcements = await self._with_tone(dict(zip(names, hashes, strict=True)))
        return self._announcements

    async def _with_tone(self, made: dict[str, str]) -> dict[str, str]:
        samples = tone(RATE_HZ)
        if sys.byteorder == "big":
            samples.byteswap()
        wav = _wav(samples.tobytes())
        name = hashlib.sha256(wav).hexdigest()
        await asyncio.to_thread(materialise, self._folder, {name: wav})
        return {**made, TONE: name}

    async def set_music(self, classes: Mapping[str, str]) -> None:
        """Make Asterisk's music classes equal to ``classes`` (name → sound's hash)."""
        if self._music_conf is None:
            if classes:
                _log.error(
                    "music_not_written",
                    classes=sorted(classes),
                    remedy="Set sounds.music_conf to the file that Asterisk's "
                    "musiconhold.conf includes",
                )
            return
        paths = {name: self._folder_in_asterisk / sound for name, sound in classes.items()}
        changed = await asyncio.to_thread(write_music_conf, self._music_conf, paths)
        # Owed until it worked: the file is already the new one when the reload fails.
        self._reload_owed = self._reload_owed or changed
        if self._reload_owed:
            await self._reload_music()
            self._reload_owed = False
