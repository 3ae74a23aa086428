"""A softphone in the terminal, for whoever has no other at hand: ``python -m vsek.demo.phone``.

It is baresip (from the PATH or from vsek's private packages) with a configuration for loopback,
written into a temporary folder. As an agent it registers and rings; as a caller it dials. ``a``
answers, ``b`` hangs up, ``q`` quits. Without a sound card it beeps and keeps what it heard in
``heard-USER.wav`` in the current folder.

Theory of operation. baresip has the terminal's keyboard; what it prints passes through us, so that
the keys can be told once it is registered. Our signals go on to it: it hangs up, unregisters and
ends, and only then the temporary folder, which has the secret in it, is deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from vsek.demo import g711
from vsek.demo.tools import baresip
from vsek.embedded.ports import free_port
from vsek.errors import InputError, VsekError

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
net_interface 127.0.0.1
call_max_calls 2
statmode_default off
rtp_ports 20000-31999
ausrc_format s16
auplay_format s16
audio_path {sounds}
module_path {modules}
module stdio.so
module g711.so
{sound}
module_tmp account.so
module_app menu.so
"""
_CARD = """\
module alsa.so
audio_source alsa,default
audio_player alsa,default
audio_alert alsa,default"""
_NO_CARD = """\
module aufile.so
audio_source aufile,{voice}
audio_player aufile,{heard}
audio_alert aufile,{alert}"""

_BEEPS_S = 120
_VOICE_S = 3 * 3600
"""baresip hangs up when its voice ends, and holds all of it in memory (16 kB a second)."""
_RINGS = ("ring", "ringback", "busy", "callwaiting", "error", "notfound", "message", "autoanswer")
_GRACE_S = 5.0
_SAFE = re.compile(r"[A-Za-z0-9_.~+-]+\Z")
_SERVER = re.compile(r"(?P<host>[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})\Z")
_REGISTERED = re.compile(rb"200 OK [^\n]*binding")
_KEYS = "a picks up, b hangs up, q quits"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m vsek.demo.phone", description="A softphone in the terminal."
    )
    parser.add_argument("user", help="agent's id, or the number that a caller shows")
    parser.add_argument("secret", nargs="?", default="", help="agent's secret; a caller has none")
    parser.add_argument("--server", default="127.0.0.1:5060", metavar="HOST:PORT")
    parser.add_argument("--dial", metavar="NUMBER", help="call this number at once")
    parser.add_argument("--answer", action="store_true", help="pick up every call by itself")
    parser.add_argument("--seconds", type=int, metavar="N", help="quit after N seconds")
    return parser.parse_args()


def _write(folder: Path, given: argparse.Namespace, modules: Path) -> None:
    for name in ("user", "secret", "dial"):
        text = getattr(given, name)
        if text and not _SAFE.match(text):
            raise InputError(
                f"{name} has letters, digits and _ . ~ + - only", field=name, value=text
            )
    server = _SERVER.match(given.server)
    if server is None or not 0 < int(server["port"]) < 65536:
        raise InputError(
            f"--server {given.server!r} is not HOST:PORT",
            field="server",
            value=given.server,
            remedy='Take the address that vsek up prints as "sip", such as 127.0.0.1:5060',
        )
    if any(Path("/dev/snd").glob("pcm*p")):
        sound = _CARD
    else:
        voice = folder / "voice.wav"
        _write_voice(voice)
        heard, alert = Path.cwd() / f"heard-{given.user}.wav", folder / "alert.wav"
        sound = _NO_CARD.format(voice=voice, heard=heard, alert=alert)
    # baresip looks for its sounds where its package would be installed, and complains in red.
    for ring in _RINGS:
        g711.write_wav(folder / f"{ring}.wav", _tone(1.0))
    (folder / "config").write_text(
        _CONFIG.format(port=free_port(), modules=modules, sound=sound, sounds=folder)
    )
    register = f";auth_pass={given.secret};regint=60" if given.secret else ";regint=0"
    mode = "auto" if given.answer else "manual"
    accounts = folder / "accounts"
    accounts.touch(mode=0o600)
    accounts.write_text(f"<sip:{given.user}@{given.server}>{register};answermode={mode}\n")
    (folder / "contacts").touch()


def _tone(seconds: float) -> array[int]:
    step = 2 * math.pi * 440 / g711.RATE
    return array("h", [int(6000 * math.sin(step * i)) for i in range(int(seconds * g711.RATE))])


def _write_voice(path: Path) -> None:
    """Half a second of tone every two seconds, then silence for hours that takes no space."""
    pause = array("h", bytes(2 * (2 * g711.RATE - g711.RATE // 2)))
    g711.write_wav(path, (_tone(0.5) + pause) * (_BEEPS_S // 2))
    data = 2 * g711.RATE * _VOICE_S
    with path.open("r+b") as file:
        for place, size in ((4, data + 36), (40, data)):  # RIFF chunk, data chunk
            file.seek(place)
            file.write(size.to_bytes(4, "little"))
        file.truncate(data + 44)


def _die_with_parent() -> None:
    """In the child before exec: be told to end when we were killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class _Ended(BaseException):
    """A signal told us to end."""


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _Ended


@contextlib.contextmanager
def _running(command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """baresip; at the end it hangs up and unregisters, however the end came."""
    program = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (there are no threads)
    )
    try:
        yield program
    except KeyboardInterrupt:
        # Ctrl-C reaches baresip too, and a second signal would stop it from unregistering.
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.communicate(timeout=1.0)
        raise
    finally:
        if program.poll() is None:
            program.terminate()
        try:
            program.communicate(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()


def _show(program: subprocess.Popen[bytes], agent: bool) -> None:
    """Prints what baresip prints, and the keys when it is registered, until it ends."""
    assert program.stdout is not None
    seen = b""
    if not agent:
        print(f"phone: {_KEYS}; it stays open after the call", flush=True)
    while part := os.read(program.stdout.fileno(), 4096):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        if agent:
            seen = (seen + part)[-2000:]
            if _REGISTERED.search(seen):
                print(f"\nphone: registered, waiting for a call: {_KEYS}", flush=True)
                agent = False


def main() -> int:
    """Runs the softphone until it quits; returns the exit code."""
    given = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        tool, modules = baresip()
        with tempfile.TemporaryDirectory(prefix="vsek-phone-") as name:
            folder = Path(name)
            _write(folder, given, modules)
            command: list[str | Path] = [*tool, "-f", folder]
            if given.dial:
                command += ["-e", f"/dial sip:{given.dial}@{given.server}"]
            if given.seconds:
                command += ["-t", str(given.seconds)]
            with _running(command) as program:
                _show(program, agent=bool(given.secret))
            return program.returncode
    except VsekError as error:
        print(f"phone: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except (KeyboardInterrupt, _Ended):
        return 1


if __name__ == "__main__":
    sys.exit(main())
