from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.notify.samples import RECEIVED_AT, english, note

from vsek.domain.note import NoteRecipient, NoteRequest
from vsek.notify.mail import Envelope, File, compose, message_id
from vsek.notify.render import Rendered, Renderer

RENDERER = Renderer("DE")
ID = "n260722-120530-k3m9pq"


def _compose(request: NoteRequest, **changes: Any) -> tuple[bytes, EmailMessage]:
    fields: dict[str, Any] = {
        "sender": "notes@vsek.example",
        "sender_name": "Büro, Telefon",
        "recipients": request.recipients,
        "message_id": message_id(ID, "notes@vsek.example"),
        "references": [],
        "date": RECEIVED_AT,
        "language": request.language,
        "urgent": False,
    }
    data = compose(Envelope(**{**fields, **changes}), RENDERER.render(request, ID))
    return data, message_from_bytes(data, policy=policy.default)


def test_a_mail_as_its_reader_gets_it() -> None:
    data, mail = _compose(note(), urgent=True)
    assert mail["From"] == '"Büro, Telefon" <notes@vsek.example>'
    assert [address.addr_spec for address in mail["To"].addresses] == [
        "weber@nord.example",
        "oeztuerk@nord.example",
    ]
    assert mail["To"].addresses[1].display_name == "Jürgen Öztürk"
    assert mail["Subject"] == "[Dringend] Anruf: Max Müller, Beispiel GmbH – RR"
    assert mail["Message-ID"] == f"<vsek.{ID}@vsek.example>"
    assert mail["Date"].datetime == RECEIVED_AT
    assert mail["Importance"] == "high"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Language"] == "de"
    assert mail["In-Reply-To"] is None
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = mail.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert html.get_content_type() == "text/html"
    assert "Heizung seit heute früh ausgefallen" in cast(EmailMessage, plain).get_content()
    assert "Heizung seit heute früh ausgefallen" in cast(EmailMessage, html).get_content()
    assert mail.defects == []
    data.decode("ascii")


def test_lines_end_as_smtp_wants_and_none_is_too_long() -> None:
    data, _ = _compose(note(text="x" * 5000, concern="y" * 500))
    assert data.count(b"\n") == data.count(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998


def test_a_thread_names_its_mails() -> None:
    chain = [
        message_id(f"n260722-1205{i:02}-abcdef", "n@" + "d" * 36 + ".example") for i in range(20)
    ]
    data, mail = _compose(english(), references=chain)
    assert mail["In-Reply-To"] == chain[-1]
    assert mail["References"].split() == chain
    # Not encoded as if it were text: mail programs look for the bare ids.
    assert all(one.encode() in data for one in chain)


@pytest.mark.parametrize("length", [1, 10, 40, 41, 60])
def test_a_message_id_fits_into_a_line_whatever_the_senders_domain(length: int) -> None:
    domain = "a" * length + ".notes.example"
    fixed = message_id(ID, f"notes@{domain}", copy=True)
    assert len(fixed) < 75
    data, mail = _compose(note(), message_id=fixed, references=[fixed])
    assert mail["Message-ID"] == fixed
    assert data.count(fixed.encode()) == 3


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=300), st.binary(max_size=300))
def test_what_is_read_is_what_was_written(text: str, html: str, data: bytes) -> None:
    envelope = Envelope("a@x.example", "", [], "<1@x>", ["<0@x>"], RECEIVED_AT, "de", urgent=True)
    files = [File(f"{n}.wav", "audio/wav", data) for n in range(2)]
    mail = message_from_bytes(
        compose(envelope, Rendered("s", text, html), files), policy=policy.default
    )
    assert mail.defects == []
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == [
        "text/plain",
        "text/html",
        "audio/wav",
        "audio/wav",
    ]
    for part, written in zip(parts, (text, html), strict=False):
        got = part.get_payload(decode=True)
        assert isinstance(got, bytes)
        assert got.splitlines() == written.encode().splitlines()
    assert [part.get_payload(decode=True) for part in parts[2:]] == [data, data]
    assert [part.get_filename() for part in parts[2:]] == ["0.wav", "1.wav"]


@settings(deadline=None)  # other work on the machine is no fault
@given(st.text(max_size=200), st.text(max_size=200))
def test_no_name_or_subject_can_forge_a_header(name: str, subject: str) -> None:
    recipient = NoteRecipient(name=name, email="a@b.example")
    envelope = Envelope(
        sender="notes@vsek.example",
        sender_name=name,
        recipients=[recipient],
        message_id="<1@x>",
        references=[],
        date=RECEIVED_AT,
        language="de",
        urgent=False,
    )
    data = compose(envelope, Rendered(subject, "text\n", "<p>text</p>"))
    mail = message_from_bytes(data, policy=policy.default)
    assert set(mail.keys()) <= {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
        "Content-Language",
    }
    assert [address.addr_spec for address in mail["To"].addresses] == ["a@b.example"]
    assert [address.addr_spec for address in mail["From"].addresses] == ["notes@vsek.example"]


_PIECES = '=? ?= = ? utf-8 q b x ü , =0d=0a =0D=0ABcc:_a@b DQpCY2M6IGFAYg== \u202e " \\'
_WORDS = st.lists(st.sampled_from([*_PIECES.split(" "), " ", "\r\n"]), max_size=12).map("".join)


@settings(deadline=None)
@given(_WORDS, _WORDS)
def test_encoded_words_bring_in_no_line_breaks(name: str, subject: str) -> None:
    envelope = Envelope(
        sender="notes@vsek.example",
        sender_name=name,
        recipients=[NoteRecipient(name=name, email="a@b.example")],
        message_id=message_id(ID, "notes@vsek.example"),
        references=[],
        date=RECEIVED_AT,
        language="de",
        urgent=False,
    )
    data = compose(envelope, Rendered(subject=f"Anruf: {subject}", text="t\n", html="<p>t</p>"))
    mail = message_from_bytes(data, policy=policy.default)
    assert mail["Bcc"] is None
    assert [name.lower() for name in mail.keys()][:3] == ["from", "to", "subject"]  # noqa: SIM118
    for header in (mail["Subject"], *(one.display_name for one in mail["To"].addresses)):
        assert "\n" not in header
        assert "\r" not in header


def test_what_looks_like_an_encoded_word_is_shown() -> None:
    data, mail = _compose(note(caller={"name": "=?utf-8?q?=0d=0aBcc:_all@x.example?="}))
    assert b"\nBcc" not in data
    assert mail["Subject"] == "[Dringend] Anruf: = ?utf-8?q?=0d=0aBcc:_all@x.example?= – RR"
