"""The parts of the drivers that need no server."""

from __future__ import annotations

import asyncio
import wave
from array import array
from email.message import EmailMessage
from pathlib import Path
from xml.etree import ElementTree as ET

import aiosmtplib
import numpy as np
import pytest

from vsek.demo import audio, g711, phone
from vsek.demo.events import EventLog, eventually
from vsek.demo.mailbox import Mailbox
from vsek.demo.processes import Program
from vsek.demo.rtp import RtpSession
from vsek.demo.sipmessage import Dial, Message, audio_address, sdp, tag_of, uri_of
from vsek.demo.sipp import Plan, scenario
from vsek.demo.stack import address
from vsek.errors import InputError, ServiceError


def test_alaw_keeps_every_code_and_is_near_for_every_sample() -> None:
    every = bytes(range(256))
    assert g711.encode_alaw(g711.decode(every, 8)) == every
    samples = array("h", range(-32000, 32000, 7))
    for sample, back in zip(samples, g711.decode(g711.encode_alaw(samples), 8), strict=True):
        assert abs(sample - back) <= max(8, abs(sample) / 30)


def test_known_codes() -> None:
    assert list(g711.decode(bytes([0xD5, 0x55, 0xAA, 0x2A]), 8)) == [8, -8, 32256, -32256]
    assert list(g711.decode(bytes([0xFF, 0x7F, 0x80, 0x00]), 0)) == [0, 0, 32124, -32124]


def test_wav_files_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    g711.write_wav(path, array("h", [1, 2, 3]))
    assert list(g711.read_wav(path)) == [1, 2, 3]
    path.write_bytes(b"no wav")
    with pytest.raises(InputError, match="no WAV"):
        g711.read_wav(path)


def test_a_sound_is_found_where_it_is_and_not_elsewhere() -> None:
    needle = audio.signal(g711.melody(700, 1.0))
    other = audio.signal(g711.melody(410, 4.0))
    quiet = audio.signal(array("h", bytes(2 * 12000)))
    haystack = np.concatenate([quiet, needle * 0.3, other])
    match = audio.find(haystack, needle)
    assert match.score > 0.99
    assert match.at_s == pytest.approx(1.5)
    assert audio.find(other, needle).score < 0.4
    assert audio.find(quiet, needle).score < 0.1
    sounds = {"needle": needle, "other": other}
    found = audio.segments(haystack, sounds)
    assert [s.name for s in found] == ["silence", "needle", "other"]
    assert audio.heard_in_order(found) == ["needle", "other"]


def test_an_unknown_sound_gets_no_name() -> None:
    found = audio.segments(
        audio.signal(g711.melody(700, 2.0)), {"x": audio.signal(g711.melody(410, 4.0))}
    )
    assert [s.name for s in found] == ["unknown"]


def test_messages_are_read_as_they_are_written() -> None:
    message = Message(
        method="INVITE",
        uri="sip:1@127.0.0.1",
        headers=[("Via", "a"), ("Via", "b"), ("CSeq", "1 INVITE")],
        body=sdp(4000),
    )
    back = Message.parse(message.encode())
    assert back is not None
    assert back.method == "INVITE"
    assert back.all("via") == ["a", "b"]
    assert back.sequence == (1, "INVITE")
    assert audio_address(back.body) == ("127.0.0.1", 4000)
    folded = Message.parse(b"SIP/2.0 180 Ringing\r\nv: x\r\n  y\r\nt: <sip:a@b>;tag=q\r\n\r\n")
    assert folded is not None
    assert folded.status == 180
    assert folded.first("via") == "x y"
    assert tag_of(folded.first("to")) == "q"
    assert uri_of(folded.first("to")) == "sip:a@b"
    assert Message.parse(b"\r\n\r\n") is None


def test_a_forwarded_call_says_so() -> None:
    dial = Dial("1", diversion=("+492", "+493"), history=("+493", "+492"), privacy="id")
    headers = dial.extra_headers()
    diversions = [value for name, value in headers if name == "Diversion"]
    assert [uri_of(value) for value in diversions] == [
        "sip:+492@forwarder.invalid",
        "sip:+493@forwarder.invalid",
    ]
    history = [value for name, value in headers if name == "History-Info"]
    assert history[0].endswith(";index=1")
    assert history[1].endswith(";index=1.1")
    assert ("Privacy", "id") in headers
    with pytest.raises(InputError, match="line break"):
        Dial("1", name="x\r\nEvil: 1")


@pytest.mark.parametrize(
    "plan", [Plan(), Plan(hang_up_after_s=1), Plan(cancel_after_s=1), Plan(1.0, 1.0)]
)
def test_scenarios_are_xml_and_lead_nowhere_unknown(plan: Plan) -> None:
    root = ET.fromstring(scenario(Dial("1", name="A & B <c>"), plan, 4000))
    labels = {e.get("id") for e in root.iter("label")}
    wanted = {e.get(key) for e in root.iter() for key in ("next", "ontimeout") if e.get(key)}
    assert wanted <= labels
    with pytest.raises(InputError, match="brackets"):
        scenario(Dial("1", name="[x]"), plan, 4000)


async def test_events_are_found_before_and_after_somebody_waits() -> None:
    log: EventLog[int] = EventLog("numbers")
    log.append(1)
    assert await log.wait(lambda n: n == 1, "one") == 1
    waiting = asyncio.create_task(log.wait(lambda n: n == 2, "two", after=1))
    await asyncio.sleep(0)
    log.append(2)
    assert await waiting == 2
    with pytest.raises(ServiceError, match=r"three did not come within 0\.01 s; last events: 1; 2"):
        await log.wait(lambda n: n == 3, "three", timeout_s=0.01)
    log.close("over")
    with pytest.raises(ServiceError, match="over"):
        await log.wait(lambda n: n == 3, "three")


async def test_asking_again_ends_at_its_deadline() -> None:
    answers = iter([None, None, "yes"])

    async def probe() -> str | None:
        return next(answers)

    async def never() -> None:
        return None

    assert await eventually(probe, "an answer", every_s=0.0) == "yes"
    with pytest.raises(ServiceError, match="nothing did not come about"):
        await eventually(never, "nothing", timeout_s=0.0)


async def test_two_rtp_sessions_hear_each_other() -> None:
    one, two = await RtpSession.open(), await RtpSession.open()
    try:
        one.connect("127.0.0.1", two.port)
        await one.play(g711.melody(600, 0.5))
        await two.wait_sound()
        heard = audio.find(audio.signal(two.recording()), audio.signal(g711.melody(600, 0.3)))
        assert heard.score > 0.95
    finally:
        await one.close()
        await two.close()


async def test_the_mailbox_keeps_what_it_gets(tmp_path: Path) -> None:
    box = Mailbox(tmp_path)
    await box.start()
    try:
        message = EmailMessage()
        message["From"], message["To"] = "a@example.com", "b@example.com"
        message["Subject"] = "Anruf: Müller"
        message.set_content("Bitte zurückrufen")
        await aiosmtplib.send(message, hostname="127.0.0.1", port=box.port)
        mail = await box.wait_for("b@example.com")
        assert mail.subject == "Anruf: Müller"
        assert mail.text.strip() == "Bitte zurückrufen"
        assert mail.file.read_bytes().startswith(b"From: a@example.com")
    finally:
        await box.stop()


@pytest.mark.parametrize("text", ["127.0.0.1:5060", "sip:127.0.0.1:5060", "http://127.0.0.1:5060/"])
def test_addresses(text: str) -> None:
    assert address(text) == ("127.0.0.1", 5060)


def test_the_terminal_phones_voice_lasts_for_hours_and_takes_no_space(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    phone._write_voice(path)
    with wave.open(str(path)) as file:
        assert file.getnframes() == phone._VOICE_S * g711.RATE
        assert any(file.readframes(g711.RATE // 2))
        file.setpos(file.getnframes() - g711.RATE)
        assert file.readframes(g711.RATE) == bytes(2 * g711.RATE)
    assert path.stat().st_blocks * 512 < 5_000_000


@pytest.mark.parametrize("server", ["", "127.0.0.1", "127.0.0.1:", "a:0", "a:65536", "a:5060;x=y"])
def test_the_terminal_phone_names_a_wrong_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: str
) -> None:
    monkeypatch.setattr("sys.argv", ["phone", "anna", "secret", f"--server={server}"])
    monkeypatch.setattr(phone, "baresip", lambda: ([Path("/bin/false")], Path("/")))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert phone.main() == 2
    assert f"--server {server!r} is not HOST:PORT" in capsys.readouterr().err


async def test_programs_do_not_get_the_settings_of_whoever_runs_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VSEK_SMTP__HOST", "mail.example")
    monkeypatch.setenv("VSEK_DIR", "/srv/vsek")
    monkeypatch.setenv("VSEK_CACHE", "/srv/cache")
    log = tmp_path / "log"
    own = {"VSEK_CALLS__WRAP_UP_S": "3"}
    program = await Program.start("env", ["env"], folder=tmp_path, log=log, environment=own)
    assert await program.wait() == 0
    seen = {line for line in log.read_text().splitlines() if line.startswith("VSEK_")}
    assert seen == {"VSEK_CACHE=/srv/cache", "VSEK_CALLS__WRAP_UP_S=3"}
