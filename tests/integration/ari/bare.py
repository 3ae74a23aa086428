"""An Asterisk with ARI and next to nothing else: the client needs nothing of vsek's to work."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from string import Template

from vsek.embedded import packages
from vsek.embedded.ports import free_port
from vsek.embedded.servant import command_as, home_for, unprivileged

USER = "asterisk"
PASSWORD = "only-on-loopback"

MODULES = (
    *("app_echo", "app_stasis", "bridge_holding", "bridge_simple", "bridge_softmix"),
    *("chan_bridge_media", "chan_rtp", "codec_alaw", "codec_gsm", "codec_resample", "codec_ulaw"),
    *("format_gsm", "format_pcm", "format_wav", "func_callerid", "func_channel", "pbx_config"),
    *("res_ari", "res_ari_applications", "res_ari_asterisk", "res_ari_bridges"),
    *("res_ari_channels", "res_ari_device_states", "res_ari_endpoints", "res_ari_events"),
    *("res_ari_mailboxes", "res_ari_model", "res_ari_playbacks", "res_ari_recordings"),
    *("res_ari_sounds", "res_http_websocket", "res_musiconhold", "res_mwi_external"),
    *("res_stasis", "res_stasis_answer", "res_stasis_device_state", "res_stasis_mailbox"),
    *("res_stasis_playback", "res_stasis_recording", "res_stasis_snoop", "res_timing_timerfd"),
    "res_websocket_client",
)

FILES = {
    "asterisk.conf": """
[directories]
astetcdir => $home/etc
astmoddir => $modules
astvarlibdir => $home/lib
astdbdir => $home/lib
astkeydir => $home/lib
astdatadir => $home/data
astagidir => $home/lib
astspooldir => $home/spool
astrundir => $home/run
astlogdir => $home/log
[options]
defaultlanguage = en
""",
    "http.conf": """
[general]
enabled = yes
bindaddr = 127.0.0.1
bindport = $port
sessionlimit = 1000
""",
    "ari.conf": """
[general]
enabled = yes
websocket_write_timeout = 5000
[$user]
type = user
read_only = no
password = $password
[looker]
type = user
read_only = yes
password = $password
""",
    "extensions.conf": """
[test]
exten => wait,1,Answer()
 same => n,Wait(60)
exten => echo,1,Answer()
 same => n,Echo()
exten => _stasis-.,1,Stasis($${EXTEN:7},in)
 same => n,Hangup()
""",
    "logger.conf": """
[general]
[logfiles]
messages => notice,warning,error
""",
    "musiconhold.conf": """
[default]
mode = files
directory = $moh
""",
}
# Asterisk complains about these if they are not there.
EMPTY = (
    *("acl", "ccss", "cdr", "cel", "features", "indications", "rtp", "stasis", "udptl"),
    "websocket_client",
)


class BareAsterisk:
    """Runs as an unprivileged user below ``folder``; ends with the tests in any case."""

    def __init__(self, folder: Path) -> None:
        self.prefix = packages.ensure(["servers"])
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._account = unprivileged()
        self.home = home_for(folder / "asterisk", self._account)
        self.sounds = self.prefix.root / "usr/share/asterisk/sounds/en_US_f_Allison"
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _configure(self) -> None:
        share = self.prefix.root / "usr/share/asterisk"
        for name in ("etc", "lib", "data/sounds", "spool/recording", "run", "log"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        (self.home / "data/sounds/en").symlink_to(self.sounds)
        (self.home / "data/documentation").symlink_to(share / "documentation")
        values = {
            "home": self.home,
            "modules": self.prefix.libraries / "asterisk/modules",
            "moh": share / "moh",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
        }
        etc = self.home / "etc"
        for name, text in FILES.items():
            (etc / name).write_text(Template(text).substitute(values))
        for name in EMPTY:
            (etc / f"{name}.conf").write_text("[general]\n")
        load = [f"load => {module}.so" for module in MODULES if self.has(module)]
        preload = ["preload => res_sorcery_config.so", "preload => res_sorcery_memory.so"]
        text = "\n".join(["[modules]", "autoload = no", *preload, *load])
        (etc / "modules.conf").write_text(text + "\n")
        self.home.chmod(0o755)
        for path in ("etc", "lib", "spool", "run", "log", "data"):
            self._account.own(self.home / path)

    def has(self, module: str) -> bool:
        """Debian leaves out a few."""
        return (self.prefix.libraries / "asterisk/modules" / f"{module}.so").exists()

    def start(self) -> None:
        command = command_as(
            self._account,
            self.prefix.tool("asterisk"),
            ["-f", "-C", self.home / "etc/asterisk.conf"],
            death_signal=signal.SIGKILL,
        )
        with (self.home / "out.log").open("ab") as out:
            self._process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.url}/ari/api-docs/resources.json", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 401:  # it answers, and wants to know who asks
                    return
            except OSError:
                pass
            assert self._process.poll() is None, (self.home / "out.log").read_text()
            time.sleep(0.05)  # a process that starts up has no event to wait for
        raise AssertionError((self.home / "out.log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
