"""Metrics: what is counted, what is read off, and that nothing of a caller gets in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vsek.acd.state import AgentState
from vsek.call.model import Call, new_state
from vsek.demo.events import eventually
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, Record
from vsek.health.disks import Disk
from vsek.switchboard.facts import Commands, Database, Facts, NoteService, Trunk
from vsek.switchboard.metrics import MeteredRecords, Metrics


class Kept:
    def __init__(self) -> None:
        self.got: list[tuple[Sequence[Record], int]] = []

    def put(self, records: Sequence[Record], number: int) -> None:
        self.got.append((records, number))

    def unwritten(self, first: int) -> list[tuple[Sequence[Record], int]]:
        return [(records, number) for records, number in self.got if number >= first]


def _values(metrics: Metrics) -> dict[str, float]:
    text = generate_latest(metrics.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def _opened(number: int, at: float) -> CallOpened:
    return CallOpened(
        CallId(f"call{number}"),
        None,
        at,
        "+49301234567",
        "Secret Caller",
        False,
        "+4930999",
        (),
        "",
        "",
        f"channel{number}",
    )


def _step(number: int, at: float, kind: str) -> CallStep:
    return CallStep(CallId(f"call{number}"), 1, at, kind, {"agent": "anna"})


def _closed(
    number: int, at: float, outcome: Outcome, *, stage: Stage, answered_at: float | None = None
) -> CallClosed:
    return CallClosed(
        CallId(f"call{number}"), at, outcome, stage, "r", AgentId("anna"), answered_at, at
    )


def test_calls_are_counted_and_timed() -> None:
    metrics, sink = Metrics(), Kept()
    records = MeteredRecords(metrics, sink)
    metrics.begin(new_state())
    records.put([_opened(1, 100.0), _step(1, 100.2, "agent_ringing")], 1)
    records.put([_step(1, 103.0, "agent_ringing"), _step(1, 104.0, "agent_answered")], 2)
    answered = _closed(1, 160.0, Outcome.ANSWERED, stage=Stage.TALKING, answered_at=104.0)
    records.put([answered], 3)
    records.put([_opened(2, 200.0), _closed(2, 207.0, Outcome.ABANDONED, stage=Stage.WAITING)], 4)
    closed = _closed(3, 309.0, Outcome.UNKNOWN_NUMBER, stage=Stage.ANNOUNCEMENT)
    records.put([_opened(3, 300.0), closed], 5)
    assert [number for _, number in sink.got] == [1, 2, 3, 4, 5]
    assert records.unwritten(5) == sink.got[-1:]
    seen = _values(metrics)
    assert seen["vsek_calls_arrived_total"] == 3
    assert seen["vsek_calls_total{outcome=answered}"] == 1
    assert seen["vsek_calls_total{outcome=abandoned}"] == 1
    assert seen["vsek_calls_total{outcome=unknown_number}"] == 1
    assert seen["vsek_calls_total{outcome=failed}"] == 0
    assert seen["vsek_call_ring_seconds_count"] == 1
    assert round(seen["vsek_call_ring_seconds_sum"], 3) == 0.2
    assert round(seen["vsek_call_answer_seconds_sum"], 3) == 4.0
    # The one who heard that the number is unknown waited for nobody.
    assert seen["vsek_call_wait_seconds_count"] == 2
    assert round(seen["vsek_call_wait_seconds_sum"], 3) == 11.0


def test_what_a_start_replays_was_counted_before() -> None:
    metrics, sink = Metrics(), Kept()
    records = MeteredRecords(metrics, sink)
    records.put([_opened(1, 100.0)], 1)
    state = new_state()
    state.calls[CallId("call1")] = Call(
        CallId("call1"), ChannelId("channel1"), None, 100.0, "", "", answered_at=101.0
    )
    metrics.begin(state)
    records.put([_closed(1, 150.0, Outcome.ANSWERED, stage=Stage.TALKING, answered_at=101.0)], 2)
    seen = _values(metrics)
    assert len(sink.got) == 2
    assert seen["vsek_calls_arrived_total"] == 0
    assert seen["vsek_calls_total{outcome=answered}"] == 1
    assert seen["vsek_call_wait_seconds_sum"] == 1.0


def test_what_is_read_off() -> None:
    metrics = Metrics()
    metrics.watch(
        lambda: Facts(
            at=0.0,
            asterisk_up=True,
            pulse_age_s=0.4,
            calls={Stage.TALKING: 2, Stage.WAITING: 1},
            callers_waiting=1,
            longest_wait_s=12.5,
            agents={AgentState.READY: 3, AgentState.TALKING: 2},
            journal_entries=77,
            journal_broken=True,
            records_waiting=4,
            database=Database(took_s=0.01, notes_due=5, notes_oldest_s=61.0),
            note_service=NoteService(),
            disks=(Disk("the run folder", "/srv/x", 10, 100),),
            trunks=(Trunk("a", True, ""), Trunk("b", False, "")),
            commands=Commands(10, 1, 2, 3, 4, 6),
        )
    )
    seen = _values(metrics)
    assert seen["vsek_live_calls{stage=talking}"] == 2
    assert seen["vsek_live_calls{stage=greeting}"] == 0
    assert seen["vsek_agents{state=ready}"] == 3
    assert seen["vsek_callers_waiting"] == 1
    assert seen["vsek_longest_wait_seconds"] == 12.5
    assert seen["vsek_journal_entries_total"] == 77
    assert seen["vsek_journal_broken"] == 1
    assert seen["vsek_records_waiting"] == 4
    assert seen["vsek_asterisk_pulse_age_seconds"] == 0.4
    assert seen["vsek_notes_due"] == 5
    assert seen["vsek_notes_oldest_due_seconds"] == 61.0
    assert seen["vsek_trunks{state=down}"] == 1
    assert seen["vsek_disk_free_bytes{folder=the run folder}"] == 10
    commands = ("sent", "failed", "timeouts", "late_replies", "dropped")
    assert [seen[f"vsek_commands_{name}_total"] for name in commands] == [10, 1, 2, 3, 4]
    assert seen["vsek_legs_waiting"] == 6


def test_a_database_that_is_away_has_no_figures() -> None:
    metrics = Metrics()
    metrics.watch(lambda: Facts(at=0.0, database=Database(error="frozen")))
    seen = _values(metrics)
    assert seen["vsek_database_up"] == 0
    assert "vsek_notes_due" not in seen


def test_labels_come_from_closed_lists() -> None:
    metrics = Metrics()
    records = MeteredRecords(metrics, Kept())
    metrics.begin(new_state())
    before = set(_values(metrics))
    for number in range(50):
        records.put([_opened(number, 1.0), _step(number, 2.0, "agent_ringing")], number)
        records.put([_closed(number, 3.0, Outcome.ABANDONED, stage=Stage.WAITING)], number)
    assert set(_values(metrics)) == before
    assert "Secret" not in generate_latest(metrics.registry).decode()


async def test_the_lag_of_the_event_loop_is_measured() -> None:
    metrics = Metrics()
    task = asyncio.create_task(metrics.measure_lag())

    async def measured() -> bool | None:
        return bool(_values(metrics)["vsek_event_loop_lag_seconds_count"]) or None

    await eventually(measured, "a measurement")
    task.cancel()
