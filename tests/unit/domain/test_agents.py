"""Agents' ids and secrets."""

from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from vsek.domain.agent import Agent, check_agent_id, check_secret, ha1, make_secret
from vsek.errors import InputError


@pytest.mark.parametrize("good", ["anna", "anna-schmidt", "a1", "b-2", "agent1234"])
def test_ids(good: str) -> None:
    assert check_agent_id(good) == good


@pytest.mark.parametrize(
    "bad", ["", "1001", "+4930", "030/12", "a12345", "tel-4930123", "*1", "p-4-9-3-0-1"]
)
def test_ids_that_look_like_numbers(bad: str) -> None:
    with pytest.raises(InputError) as caught:
        check_agent_id(bad)
    assert caught.value.field == "id"
    assert caught.value.remedy


@pytest.mark.parametrize("bad", ["Anna", "anna_s", "änna", "-anna", "anna\n", "a" * 41, "trunk"])
def test_unusable_ids(bad: str) -> None:
    with pytest.raises(InputError, match=r"is not usable|is reserved"):
        check_agent_id(bad)


def test_secrets() -> None:
    assert check_secret("a" * 12)
    for bad in ("a" * 11, "a" * 129, "a" * 11 + "ä", "a" * 11 + "\n"):
        with pytest.raises(InputError) as caught:
            check_secret(bad)
        assert bad not in str(caught.value)
    made = {make_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(check_secret(one) for one in made)


def test_hash() -> None:
    expected = hashlib.md5(b"anna:vsek:correct horse", usedforsecurity=False).hexdigest()
    assert ha1("anna", "correct horse") == expected
    agent = Agent(id=check_agent_id("anna"), name="Anna", ha1=expected)
    assert expected not in repr(agent)
    with pytest.raises(ValidationError, match="looks like a telephone number"):
        Agent.model_validate({"id": "4930123", "name": "x", "ha1": expected})
