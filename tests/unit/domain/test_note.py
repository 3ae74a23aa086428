"""Notes and drafts: what is refused, and what is cleaned."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vsek.domain.note import NoteDraft, NoteRequest, auto_key, is_email, thread_of


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
