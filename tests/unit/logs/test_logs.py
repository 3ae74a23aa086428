"""The shape of log lines, for programs and for people."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from vsek import logs
from vsek.domain.ids import CallId


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_json_line_has_event_logger_level_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.get_logger("switchboard").info("offer_made", call_id="c1", agent_id="anna")
    (line,) = _lines(capsys)
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "logger": "vsek.switchboard",
        "event": "offer_made",
        "call_id": "c1",
        "agent_id": "anna",
    }


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    logs.get_logger("x").info("quiet")
    logging.getLogger("some.library").info("quiet")
    assert _lines(capsys) == []


async def test_call_context_reaches_libraries_and_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")

    async def work() -> None:
        logging.getLogger("some.library").warning("from %s", "afar", extra={"peer": "p"})

    with logs.call_context(CallId("c7")):
        task = asyncio.create_task(work())
    await task
    logs.get_logger("x").error("outside")  # takes what waits along
    inside, outside = _lines(capsys)
    assert inside["call_id"] == "c7"
    assert inside["event"] == "from afar"
    assert inside["peer"] == "p"
    assert "call_id" not in outside


def test_text_cannot_be_forged_by_a_caller(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text")
    logs.get_logger("x").info(
        "call_opened", name="Eve\n2026-01-01 error vsek.x fake\x1b[31m", did="+4930123"
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line
    assert r"name='Eve\n2026-01-01 error vsek.x fake\x1b[31m'" in line
    assert line.endswith(" did=+4930123")


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_exceptions_show_their_trace_without_locals(
    capsys: pytest.CaptureFixture[str], fmt: logs.Format
) -> None:
    logs.configure("info", fmt)
    secret = f"hunter-{len(fmt)}"
    try:
        raise ValueError("broken")
    except ValueError:
        logs.get_logger("x").exception("went_wrong", call_id="c1")
    text = capsys.readouterr().err
    assert "ValueError" in text
    assert "broken" in text
    assert secret not in text
    if fmt == "text":
        head, *trace = text.splitlines()
        assert head.endswith("call_id=c1")
        assert all(line.startswith("    ") for line in trace)


def test_talkative_libraries_are_quiet_unless_something_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "json")
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("aiohttp.access").error("bad")
    assert [line["event"] for line in _lines(capsys)] == ["bad"]


class _FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_stream_that_refuses_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _FullDisk())
    logs.configure("info", "json")
    logs.get_logger("x").info("unheard")


def test_lines_of_both_ways_keep_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    for number in range(3):
        logs.get_logger("x").info("ours", number=number)
        logging.getLogger("library").warning("theirs", extra={"number": number})
    assert [(line["event"], line["number"]) for line in _lines(capsys)] == [
        (name, number) for number in range(3) for name in ("ours", "theirs")
    ]


class Writes(io.StringIO):
    """Notes down what is written with one call."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[list[str]] = []
        self.more = threading.Semaphore(0)

    def write(self, text: str) -> int:
        self.each.append([json.loads(line)["event"] for line in text.splitlines()])
        self.more.release()
        return len(text)


async def test_the_loop_does_not_wait_for_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """They leave together after a moment; an error takes those before it along at once."""
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "json")
    log = logs.get_logger("x")
    log.info("one")
    logging.getLogger("some.library").warning("two")
    assert stream.each == []
    await asyncio.to_thread(stream.more.acquire)
    assert stream.each == [["one", "two"]]
    log.info("three")
    log.error("four")
    assert stream.each[1:] == [["three", "four"]]
    log.info("five")
    await asyncio.to_thread(log.info, "six")
    assert stream.each[2:] == [["five", "six"]]


def test_another_loop_writes_its_lines_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one before it ended with lines that wait."""
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "json")

    async def work(name: str, *, wait: bool) -> None:
        logs.get_logger("x").info(name)
        if wait:
            await asyncio.to_thread(stream.more.acquire)

    asyncio.run(work("first", wait=False))
    asyncio.run(work("second", wait=True))
    assert stream.each == [["first", "second"]]


def test_lines_of_a_loop_that_ended_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "json")

    async def work() -> None:
        logs.get_logger("x").info("last")

    asyncio.run(work())
    logs.get_logger("x").info("afterwards")
    assert [event for each in stream.each for event in each] == ["last", "afterwards"]


def test_what_cannot_be_encoded_is_told_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.get_logger("x").info("odd", name="half \ud800 pair")
    (line,) = _lines(capsys)
    assert (line["event"], line["name"]) == ("odd", "half \\ud800 pair")
