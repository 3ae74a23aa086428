"""A bare Asterisk with nothing of vsek in it, for the drivers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from vsek.demo import g711
from vsek.embedded import packages
from vsek.embedded.ports import free_port

_UNWANTED = "res_config_pgsql cdr_pgsql cel_pgsql chan_iax2 chan_unistim chan_mobile pbx_dundi"

_CONF = {
    "asterisk.conf": """\
[directories]
astetcdir => {folder}/etc
astmoddir => {modules}
astvarlibdir => {folder}/lib
astdbdir => {folder}/lib
astkeydir => {folder}/lib
astdatadir => {data}
astspooldir => {folder}/spool
astrundir => {folder}/run
astlogdir => {folder}/log
""",
    "modules.conf": "[modules]\nautoload=yes\n"
    + "".join(f"noload={name}.so\n" for name in _UNWANTED.split()),
    "logger.conf": "[logfiles]\nfull => notice,warning,error\n",
    "rtp.conf": "[general]\nrtpstart=20000\nrtpend=31999\n",
    "pjsip.conf": """\
[global]
type=global
endpoint_identifier_order=username,ip
[udp]
type=transport
protocol=udp
bind=127.0.0.1:{port}
[phone](!)
type=endpoint
transport=udp
context=public
disallow=all
allow=alaw
direct_media=no
[auth](!)
type=auth
auth_type=userpass
password=secret-secret
[aor](!)
type=aor
max_contacts=1
remove_existing=yes
[anna](phone)
auth=anna
aors=anna
[anna](auth)
username=anna
[anna](aor)
[ben](phone)
auth=ben
aors=ben
[ben](auth)
username=ben
[ben](aor)
[trunk](phone)
[trunk]
type=identify
endpoint=trunk
match=127.0.0.1
""",
    "extensions.conf": """\
[public]
exten => anna,1,Dial(PJSIP/anna)
exten => ben,1,Dial(PJSIP/ben)
exten => play,1,Answer()
 same => n,Playback({folder}/melody)
exten => ring,1,Ringing()
 same => n,Wait(60)
exten => echo,1,Answer()
 same => n,Echo()
exten => headers,1,Set(second=${{PJSIP_HEADER(read,Diversion,2)}})
 same => n,Set(got=${{MD5(${{CALLERID(name)}})}}${{MD5(${{second}})}})
 same => n,GotoIf($["${{got}}" = "{wanted}"]?good)
 same => n,Hangup(1)
 same => n(good),Answer()
 same => n,Wait(1)
""",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a running Asterisk; ``melody(500)`` is what extension ``play`` plays."""
    folder = tmp_path_factory.mktemp("asterisk")
    program = packages.find_tool("asterisk")
    root = program.parent.parent.parent
    port = free_port()
    for part in ("etc", "lib", "spool", "run", "log"):
        (folder / part).mkdir()
    modules = next(root.glob("usr/lib/*/asterisk/modules"))
    # Compared as hashes: the dialplan would choke on the quotes and semicolons.
    # Of a quoted name Asterisk keeps the backslashes.
    name = 'Müller \\"&\\" Söhne'
    second = "<sip:+4930111@forwarder.invalid>;reason=unconditional;counter=1"
    for file, text in _CONF.items():
        filled = text.format(
            folder=folder,
            modules=modules,
            data=root / "usr/share/asterisk",
            port=port,
            wanted="".join(md5(text.encode()).hexdigest() for text in (name, second)),
        )
        (folder / "etc" / file).write_text(filled)
    g711.write_wav(folder / "melody.wav", g711.melody(500))
    command = [str(program), "-C", str(folder / "etc/asterisk.conf")]
    with (folder / "out").open("w") as log:
        process = subprocess.Popen(
            [*command, "-f"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while (
            "fully booted"
            not in subprocess.run(
                [*command, "-rx", "core waitfullybooted"],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
        ):
            assert process.poll() is None, (folder / "out").read_text()[-2000:]
            assert time.monotonic() < deadline, "Asterisk did not start"
            time.sleep(0.1)
        yield "127.0.0.1", port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """What a softphone says."""
    path = tmp_path / "voice.wav"
    g711.write_wav(path, g711.melody(900, 20.0))
    return path
