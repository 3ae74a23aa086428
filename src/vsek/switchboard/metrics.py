"""Metrics of the switchboard.

Theory of operation. On the way of a call only counters and histograms are touched, and only by
:class:`MeteredRecords` (between the owner and the record writer) and :meth:`Metrics.decided`. What
can be read off the live state is read when somebody asks (:class:`_Live`). Labels come from closed
lists (outcomes, stages, states); nothing of a caller becomes one.

Counters begin at 0 with the process. Records that a start replays from its journal were counted by
the process before, so counting begins with :meth:`Metrics.begin`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from vsek.acd.state import AgentState
from vsek.call.model import State
from vsek.domain.ids import CallId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, Record
from vsek.switchboard.facts import Facts
from vsek.switchboard.ports import RecordSink

LAG_EVERY_S = 0.5
_MOMENTS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_WAITS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """All metrics of a switchboard; ``registry`` is what is served."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._calls = Counter(
            "vsek_calls", "Calls that ended, by outcome", ["outcome"], registry=registry
        )
        for outcome in Outcome:
            self._calls.labels(outcome.value)
        self._arrived = Counter("vsek_calls_arrived", "Calls that came in", registry=registry)
        self._ring = _Times(
            "vsek_call_ring_seconds",
            "From a call's arrival until an agent's phone rings for it",
            _WAITS,
        )
        self._answer = _Times(
            "vsek_call_answer_seconds", "From a call's arrival until an agent answers", _WAITS
        )
        self._wait = _Times(
            "vsek_call_wait_seconds",
            "From a call's arrival until it is answered or over, of all calls that were to be put "
            "to an agent",
            _WAITS,
        )
        self._decision = _Times(
            "vsek_decision_seconds",
            "From taking an event out of the queue until its commands are sent",
            _MOMENTS,
        )
        self._lag = _Times(
            "vsek_event_loop_lag_seconds",
            "How late the event loop wakes whoever asked for it",
            _LAGS,
        )
        for times in (self._ring, self._answer, self._wait, self._decision, self._lag):
            registry.register(times)
        self.alarms = Gauge(
            "vsek_alarm", "1 while the alarm is raised", ["alarm"], registry=registry
        )
        self._received: dict[CallId, float] = {}
        self._rung: set[CallId] = set()
        self._counting = False
        self.decided: Callable[[float], None] = self._decision.observe
        """Takes the seconds that a decision took."""

    def begin(self, state: State) -> None:
        """Count from now on; ``state`` holds the calls that were there before."""
        self._counting = True
        for call in state.calls.values():
            self._received[call.call_id] = call.received_at
            if call.answered_at is not None:
                self._rung.add(call.call_id)

    def watch(self, facts: Callable[[], Facts]) -> None:
        """Serve what ``facts`` tells whenever somebody asks."""
        self.registry.register(_Live(facts))

    async def measure_lag(self) -> None:
        """Measure the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lag.observe(max(0.0, loop.time() - due))

    def count(self, records: Iterable[Record]) -> None:
        """Count what happened to calls."""
        if not self._counting:
            return
        for record in records:
            match record:
                case CallStep():
                    self._step(record)
                case CallOpened():
                    self._arrived.inc()
                    self._received[record.call_id] = record.received_at
                case CallClosed():
                    self._closed(record)
                case _:
                    pass

    def _step(self, step: CallStep) -> None:
        received_at = self._received.get(step.call_id)
        if received_at is None:
            return
        if step.kind == "agent_ringing" and step.call_id not in self._rung:
            self._rung.add(step.call_id)
            self._ring.observe(max(0.0, step.at - received_at))
        elif step.kind == "agent_answered":
            self._answer.observe(max(0.0, step.at - received_at))

    def _closed(self, closed: CallClosed) -> None:
        self._calls.labels(closed.outcome.value).inc()
        self._rung.discard(closed.call_id)
        received_at = self._received.pop(closed.call_id, None)
        if received_at is not None and closed.stage is not Stage.ANNOUNCEMENT:
            until = closed.ended_at if closed.answered_at is None else closed.answered_at
            self._wait.observe(max(0.0, until - received_at))


class _Times(Collector):
    """A histogram of seconds. The library's takes a lock and walks its bounds one by one, for each
    of the fifteen decisions of a call."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """Each bound with how many were not longer."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class MeteredRecords:
    """Counts records on their way to ``sink``."""

    def __init__(self, metrics: Metrics, sink: RecordSink) -> None:
        self._metrics = metrics
        self._sink = sink

    def put(self, records: Sequence[Record], number: int) -> None:
        """See ``RecordSink``."""
        self._metrics.count(records)
        self._sink.put(records, number)

    def unwritten(self, first: int) -> Sequence[tuple[Sequence[Record], int]]:
        """See ``RecordSink``."""
        return self._sink.unwritten(first)


class _Live(Collector):
    """Reads the facts at the moment of the question."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask for facts that are not there yet."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All metrics that are read off."""
        facts = self._facts()
        yield from _calls_and_agents(facts)
        yield from _journal_and_asterisk(facts)
        yield from _notes(facts)
        yield from _machine(facts)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _calls_and_agents(facts: Facts) -> Iterable[Metric]:
    live = GaugeMetricFamily("vsek_live_calls", "Live calls by stage", labels=["stage"])
    for stage in Stage:
        if stage is not Stage.ENDED:
            live.add_metric([stage.value], facts.calls.get(stage, 0))
    yield live
    agents = GaugeMetricFamily("vsek_agents", "Agents by state", labels=["state"])
    for state in AgentState:
        agents.add_metric([state.value], facts.agents.get(state, 0))
    yield agents
    yield _gauge(
        "vsek_callers_waiting", "Callers who wait for an agent to answer", facts.callers_waiting
    )
    yield _gauge(
        "vsek_longest_wait_seconds", "How long the first of them waits", facts.longest_wait_s
    )


def _journal_and_asterisk(facts: Facts) -> Iterable[Metric]:
    yield _counter("vsek_journal_entries", "Entries of the journal", facts.journal_entries)
    yield _gauge("vsek_journal_broken", "1 while it cannot be written", facts.journal_broken)
    yield _gauge(
        "vsek_records_waiting",
        "Journal entries whose records wait for the database",
        facts.records_waiting,
    )
    yield _gauge("vsek_asterisk_connected", "1 while calls are served", facts.asterisk_up)
    if facts.pulse_age_s is not None:
        yield _gauge(
            "vsek_asterisk_pulse_age_seconds",
            "Since Asterisk last showed that its events flow",
            facts.pulse_age_s,
        )
    commands = facts.commands
    yield _counter("vsek_commands_sent", "Commands to Asterisk", commands.sent)
    yield _counter("vsek_commands_failed", "Commands that Asterisk refused", commands.failed)
    yield _counter(
        "vsek_commands_timeouts", "Commands without an answer in time", commands.timeouts
    )
    yield _counter(
        "vsek_commands_late_replies", "Answers after the time was over", commands.late_replies
    )
    yield _counter(
        "vsek_commands_dropped", "Commands without a connection to send them", commands.dropped
    )
    yield _gauge(
        "vsek_legs_waiting", "Agents' legs that wait for those before them", commands.legs_waiting
    )
    if facts.trunks:
        trunks = GaugeMetricFamily("vsek_trunks", "Trunks by state", labels=["state"])
        up = sum(trunk.up for trunk in facts.trunks)
        trunks.add_metric(["up"], up)
        trunks.add_metric(["down"], len(facts.trunks) - up)
        yield trunks


def _notes(facts: Facts) -> Iterable[Metric]:
    database = facts.database
    if database is not None:
        yield _gauge("vsek_database_up", "1 while PostgreSQL answers", not database.error)
        if not database.error:
            yield _gauge("vsek_database_answer_seconds", "Its last answer took", database.took_s)
            yield _gauge(
                "vsek_notes_due", "Notes that wait for the note service", database.notes_due
            )
            yield _gauge(
                "vsek_notes_oldest_due_seconds",
                "How long the oldest of them has been due",
                database.notes_oldest_s,
            )
    service = facts.note_service
    if service is not None:
        yield _gauge("vsek_note_service_up", "1 while it answers", not service.error)


def _machine(facts: Facts) -> Iterable[Metric]:
    free = GaugeMetricFamily("vsek_disk_free_bytes", "Free space", labels=["folder"])
    size = GaugeMetricFamily("vsek_disk_size_bytes", "Size of the file system", labels=["folder"])
    for disk in facts.disks:
        free.add_metric([disk.name], disk.free_bytes)
        size.add_metric([disk.name], disk.size_bytes)
    yield free
    yield size
    yield _gauge("vsek_tasks", "Tasks of the event loop", facts.tasks)
    yield _gauge("vsek_timers", "Armed deadlines of calls and agents", facts.timers)
