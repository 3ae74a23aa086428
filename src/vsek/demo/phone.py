"""A softphone in the terminal, for whoever has no other at hand: ``python -m vsek.demo.phone``.

It is baresip (from the PATH or from vsek's private packages) with a configuration for loopback,
written into a temporary folder. As an agent it registers and rings; as a caller it dials. Enter
answers, ``b`` hangs up, ``q`` quits. Without a sound card it beeps and keeps what it heard in
``heard-USER.wav`` in the current folder.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

from vsek.demo import g711
from vsek.demo.processes import free_port
from vsek.demo.tools import baresip
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
audio_alert aufile,{alert}
audio_path {folder}"""

_BEEPS_S = 120
_SAFE = re.compile(r"[A-Za-z0-9_.~+-]+\Z")


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
    if any(Path("/dev/snd").glob("pcm*p")):
        sound = _CARD
    else:
        voice = folder / "voice.wav"
        g711.write_wav(voice, _beeps())
        heard, alert = Path.cwd() / f"heard-{given.user}.wav", folder / "alert.wav"
        sound = _NO_CARD.format(voice=voice, heard=heard, alert=alert, folder=folder)
    (folder / "config").write_text(_CONFIG.format(port=free_port(), modules=modules, sound=sound))
    register = f";auth_pass={given.secret};regint=60" if given.secret else ";regint=0"
    mode = "auto" if given.answer else "manual"
    accounts = folder / "accounts"
    accounts.touch(mode=0o600)
    accounts.write_text(f"<sip:{given.user}@{given.server}>{register};answermode={mode}\n")
    (folder / "contacts").touch()


def _beeps() -> array[int]:
    """Half a second of tone every two seconds."""
    step = 2 * math.pi * 440 / g711.RATE
    second = g711.RATE
    return array(
        "h",
        [
            int(6000 * math.sin(step * i)) if i % (2 * second) < second // 2 else 0
            for i in range(_BEEPS_S * second)
        ],
    )


def main() -> int:
    """Runs the softphone until it quits; returns the exit code."""
    given = _arguments()
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
            return subprocess.run(command, check=False).returncode
    except VsekError as error:
        print(f"phone: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
