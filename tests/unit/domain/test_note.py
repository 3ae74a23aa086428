"""Notes and drafts: what is refused, and what is cleaned."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from vsek.domain.note import (
    MAX_ATTACHED_BYTES,
    NoteAttachment,
    NoteDraft,
    NoteRequest,
    attachment_name,
    auto_key,
    is_email,
    thread_of,
)


@pytest.mark.parametrize("good", ["a@localhost", "eva.sommer+x@praxis-sommer.example"])
def test_addresses(good: str) -> None:
    assert is_email(good)


@pytest.mark.parametrize(
    "bad",
    ["", "x", "a@", "@b", "a b@c", "a@b..c", ".a@b", "a.@b", "a@b\n", "a@-b", "ä@b", "a@b,c@d"],
)
def test_no_addresses(bad: str) -> None:
    assert not is_email(bad)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipients": []},
        {"recipients": [{"email": "a@b\r\nBcc: c@d"}]},
        {"recipients": [{"email": "a@b"}, {"email": "A@b"}]},
        {"timezone": "../etc/passwd"},
        {"timezone": ""},
        {"language": "fr"},
        {"corrects": "a\nb"},
        {"unknown": 1},
        {"fields": {str(n): "x" for n in range(51)}},
        {"call": {"id": "c", "received_at": "2026-01-01T00:00:00"}},
    ],
)
def test_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NoteRequest.model_validate({"recipients": [{"email": "a@b"}]} | wrong)


def test_drafts_are_cleaned() -> None:
    draft = NoteDraft(caller_name="a\u202eb\nc", text="x\r\n\x00y", fields={" ": "1", "N\n": "2"})
    assert draft.caller_name == "ab c"
    assert draft.text == "x\ny"
    assert draft.fields == {"N": "2"}
    assert NoteDraft.model_validate_json(draft.model_dump_json()) == draft
    assert NoteDraft(caller_name="\u202e").is_empty


def test_keys_and_threads() -> None:
    assert auto_key("c1") == "call:c1:auto"
    assert auto_key("c1", 3) == "call:c1:auto:3"
    assert thread_of("a", "+49301") == "a/+49301"
    assert thread_of("a", " ") == ""


@pytest.mark.parametrize(
    ("call_id", "number", "name"),
    [
        ("260722-120311-abc234", 1, "260722-120311-abc234.wav"),
        ("260722-120311-abc234", 2, "260722-120311-abc234-2.wav"),
        ("../../etc/pass wd\r\n", 1, "etc-pass-wd.wav"),
        ("\u202e", 1, "call.wav"),
        ("x" * 500, 3, "x" * 80 + "-3.wav"),
    ],
)
def test_a_recordings_file_name_is_safe(call_id: str, number: int, name: str) -> None:
    assert attachment_name(call_id, number) == name
    assert NoteAttachment(name=name, content="UklGRg==").name == name


def test_an_attachment_knows_its_hash() -> None:
    attachment = NoteAttachment(name="c.wav", content=base64.b64encode(b"abc").decode())
    assert attachment.sha256 == hashlib.sha256(b"abc").hexdigest()
    bare = attachment.holding(None)
    assert (bare.content, bare.data, bare.sha256) == ("", b"", attachment.sha256)
    assert NoteAttachment.model_validate_json(bare.model_dump_json()) == bare
    assert bare.holding(b"abc") == attachment
    assert "YWJj" not in repr(attachment)


def test_attachments_are_bounded_and_differ_by_name() -> None:
    files = [{"name": f"{n}.wav", "content": "UklGRg=="} for n in range(6)]
    base = {"recipients": [{"email": "a@b.example"}]}
    assert len(NoteRequest.model_validate({**base, "attachments": files[:5]}).attachments) == 5
    with pytest.raises(ValidationError, match="at most 5"):
        NoteRequest.model_validate({**base, "attachments": files})
    twice = [files[0], {**files[0], "name": "0.wav"}]
    with pytest.raises(ValidationError, match="two have the same name"):
        NoteRequest.model_validate({**base, "attachments": twice})
    large = base64.b64encode(bytes(MAX_ATTACHED_BYTES)).decode()
    [kept] = NoteRequest.model_validate(
        {**base, "attachments": [{"name": "c.wav", "content": large}]}
    ).attachments
    assert len(kept.data) == MAX_ATTACHED_BYTES
    with pytest.raises(ValidationError, match="at most 3,000,000 are taken"):
        NoteRequest.model_validate(
            {**base, "attachments": [{"name": "c.wav", "content": large}, files[0], files[1]]}
        )
