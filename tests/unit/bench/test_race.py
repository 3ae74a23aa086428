"""The race of ARI clients, without the others: how it counts, and how ours takes part."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.unit.bench.reports import VSEK, report

from vsek.bench.fakeari import Server
from vsek.bench.lagprobe import Answer, LagProbe, waited_ms, whole
from vsek.bench.results import Case, Competitor, Run
from vsek.bench.rivals import ours, race
from vsek.bench.tables import columns, rows
from vsek.bench.workloads import ALL
from vsek.bench.workloads.lag import summary

EVENTS = [f"{kind}, {how}" for kind in race.COMMANDS for how in ("singly", "at once")]


def plan(url: str, sockets: int) -> race.Plan:
    return race.Plan(
        client="vsek",
        url=url,
        user="vsek",
        password="any",
        app="race",
        channel="1700000000.1",
        seconds=0.01,
        try_s=0.001,
        sockets=sockets,
    )


@pytest.mark.parametrize("sockets", [0, 1, 4])
async def test_our_client_runs_all_events(sockets: int) -> None:
    server = Server()
    server.world._make("1700000000.1", "Local/s@from-trunk-1", "Down")
    port = await server.listen()
    try:
        found = await race.measure(plan(f"http://127.0.0.1:{port}", sockets), ours.Ours.connect)
    finally:
        await server.close()
    assert list(found) == EVENTS
    assert all(values["per_s"] > 0 and values["p99"] >= values["p50"] for values in found.values())
    assert server.world.strange == []
    assert server.world._bridges == {}


class Slow:
    """A client whose tasks take as long as they are told to."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.numbers: list[str] = []

    async def task(self, kind: str, number: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.numbers.append(number)
        await asyncio.sleep(0)
        self.now -= 1

    async def close(self) -> None: ...


async def test_no_two_tasks_have_the_same_number() -> None:
    client = Slow()
    made = race.Race(client, plan("http://127.0.0.1:1", 1))
    found = await made.at_once("bridge", 0.01, 16)
    assert client.most == 16
    assert len(set(client.numbers)) == len(client.numbers)
    assert found["window"] == 16


def test_what_a_refused_command_becomes() -> None:
    from vsek.ari.protocol import Reply

    with pytest.raises(RuntimeError, match="404"):
        ours._checked(Reply(status=404, body={"message": "no channel"}))


def _case(name: str, rates: dict[Competitor, float]) -> Case:
    runs = [
        Run(
            competitor=who,
            round=0,
            calls=0,
            failed=0,
            values={"per_s": rate, "p50": 0.1234, "p99": 123.456},
            others=0.77,
        )
        for who, rate in rates.items()
    ]
    return Case(workload="W6", name=name, agents=0, queues=0, rate=0.0, runs=runs)


def test_ours_is_compared_with_the_best_of_the_others() -> None:
    rates = {
        VSEK: 30_000.0,
        Competitor.FOUR_SOCKETS: 31_000.0,
        Competitor.ASYNCARI: 500.0,
        Competitor.ARI_CLIENT: 1_000.0,
        Competitor.AIOARI: 4_000.0,
    }
    made = report(_case("ping, at once", rates))
    goals = {goal.what: goal for goal in ALL["W6"].goals(made)}
    kept = goals["ping at once, times the rate of asyncari, ari-client"]
    assert (kept.found, kept.met) == ("30", True)
    old = goals["ping at once, times the rate of aioari (of 2020)"]
    assert (old.found, old.met) == ("7.5", False)
    assert goals["bridge at once, times the rate of asyncari, ari-client"].met is None


def test_its_table_fits_a_terminal() -> None:
    everybody = dict.fromkeys([who for who in Competitor if who.label[-1] != ")"], 53078.4)
    lines = [columns(ALL["W6"]), *rows(ALL["W6"], [_case(name, everybody) for name in EVENTS])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80


@pytest.mark.parametrize(
    ("heard", "over"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_an_answer_is_read_to_its_end(heard: bytes, over: bool) -> None:
    assert whole(heard) is over


def test_a_line_that_was_closed_is_opened_again(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "control.sock"))
        server.listen()
        with LagProbe(tmp_path / "control.sock", os.getpid(), every_s=0.001) as probe:
            for _ in range(2):
                line, _ = server.accept()
                with line:
                    line.recv(4096)
                    line.sendall(answer)
            line, _ = server.accept()
            with line:
                line.recv(4096)
                line.sendall(answer)
                probe._over.set()
                line.recv(4096)
    assert probe.failed == ""
    assert len(probe.answers) >= 3


def test_lag_is_told_with_and_without_waiting_for_a_core() -> None:
    answers = [Answer(0.0, 1.0, 0.5)] * 99 + [Answer(0.0, 90.0, 4.0)]
    assert summary(answers) == {
        "p50": 1.0,
        "p99": 1.0,
        "max": 90.0,
        "own_p99": 0.5,
        "own_max": 4.0,
    }
    assert waited_ms(1, 999_999_999) == 0.0
