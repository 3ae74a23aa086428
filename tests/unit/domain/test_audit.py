"""Each kind of difference between the three books, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vsek.domain.audit import Episodes, compare_call, episode_without_call
from vsek.domain.books import (
    REMEDIES,
    CallEntry,
    Counts,
    DeliveryEntry,
    Difference,
    DueEntry,
    Episode,
    Kind,
    NoteEntry,
    Report,
    Rules,
)
from vsek.domain.ledger import Served
from vsek.domain.outcomes import FOUND_GONE, Outcome
from vsek.notify.retry import RetryPolicy

DAY = 86400.0
NOON = 1_700_000_000.0
RULES = Rules(since=NOON - DAY, until=NOON, now=NOON)
BEGAN = NOON - 3600.0
CHANNEL = f"{BEGAN:.0f}.7"


def mail(
    status: str = "accepted", *, to: str = "a@alder.example", copy: bool = False, age_s: float = 0.0
) -> DeliveryEntry:
    return DeliveryEntry(to, is_copy=copy, status=status, queued_at=NOON - age_s)


def note(*mails: DeliveryEntry, key: str = "call:c1:auto", note_id: str = "n1") -> NoteEntry:
    return NoteEntry(note_id, key, mails or (mail(),))


DUE = DueEntry(
    key="call:c1:auto",
    due_at=BEGAN + 90.0,
    acked=True,
    note_id="n1",
    last_error="",
    recipients=("a@alder.example",),
)
CALL = CallEntry(
    call_id="c1",
    channel=CHANNEL,
    received_at=BEGAN + 0.4,
    answered_at=BEGAN + 5.0,
    ended_at=BEGAN + 60.0,
    outcome=Outcome.ANSWERED,
    reason="caller_hangup",
    due=(DUE,),
    notes=(note(),),
)
LIVE = replace(CALL, answered_at=None, ended_at=None, outcome=None, reason="", due=(), notes=())
EPISODE = Episode(CHANNEL, BEGAN, BEGAN + 60.0, Served.VSEK, entered=True, call_id="c1")


def kinds(found: list[Difference]) -> list[Kind]:
    return [difference.kind for difference in found]


def compared(call: CallEntry, episode: Episode | None = EPISODE, **more: bool) -> list[Kind]:
    return kinds(compare_call(call, episode, RULES, **more))


def line(kind: str, channel: str, began: float, **more: object) -> str:
    at = more.pop("at", began)
    pairs = {"v": 1, "kind": kind, "channel": channel, "at": f"{at:.0f}"}
    if kind == "out":
        pairs |= {"began": f"{began:.0f}", "cause": 16, "served": "vsek", "heard": 0, **more}
    return ",".join(f"{name}={value}" for name, value in {**pairs, "did": "%2B49"}.items())


def episodes(*lines: str) -> Episodes:
    read = Episodes(RULES)
    for number, text in enumerate(lines, 1):
        read.add(text, f"20231114.log line {number}")
    read.find_restarts()
    return read


def test_three_books_that_tell_the_same() -> None:
    assert compared(CALL) == []


@pytest.mark.parametrize(
    ("call", "episode", "kind"),
    [
        (CALL, None, Kind.NOT_IN_LEDGER),
        (CALL, replace(EPISODE, entered=False), Kind.NOT_IN_LEDGER),
        (CALL, replace(EPISODE, call_id="c0"), Kind.TWICE_IN_DATABASE),
        (LIVE, EPISODE, Kind.NO_OUTCOME),
        (replace(CALL, ends=2), EPISODE, Kind.TWO_OUTCOMES),
        (CALL, replace(EPISODE, ended_at=None), Kind.NO_END_IN_LEDGER),
        (CALL, replace(EPISODE, ended_at=BEGAN + 600.0), Kind.TIMES),
        (CALL, replace(EPISODE, ended_at=BEGAN - 1000.0), Kind.TIMES),
        (replace(CALL, answered_at=BEGAN - 1.0), EPISODE, Kind.TIMES),
        (replace(CALL, answered_at=BEGAN + 61.0), EPISODE, Kind.TIMES),
        (replace(CALL, answered_at=None), EPISODE, Kind.TIMES),
        (CALL, replace(EPISODE, message="vsek/c1-fb"), Kind.MESSAGE_LOST),
        (CALL, replace(EPISODE, served=Served.FALLBACK), Kind.SERVED),
        (replace(CALL, due=(), notes=()), EPISODE, Kind.NO_NOTE),
        (replace(CALL, due=(replace(DUE, acked=False, note_id=""),)), EPISODE, Kind.NOTE_LATE),
        (replace(CALL, notes=()), EPISODE, Kind.NOTE_UNKNOWN),
        (replace(CALL, notes=(note(note_id="n2"),)), EPISODE, Kind.NOTE_UNKNOWN),
        (replace(CALL, notes=(note(), note(key="call:c1:auto:9"))), EPISODE, Kind.NOTE_STRAY),
        (replace(CALL, notes=(note(mail(to="b@x.example")),)), EPISODE, Kind.RECIPIENT_MISSING),
        (
            replace(CALL, notes=(note(mail("queued", age_s=4 * DAY)),)),
            EPISODE,
            Kind.DELIVERY_LATE,
        ),
        (replace(CALL, notes=(note(mail("bounced")),)), EPISODE, Kind.NO_COPY),
        (replace(CALL, notes=(note(mail("given_up")),)), EPISODE, Kind.NO_COPY),
        (
            replace(CALL, notes=(note(mail("bounced"), mail("bounced", copy=True)),)),
            EPISODE,
            Kind.NO_COPY,
        ),
    ],
)
def test_each_difference_is_told_once(call: CallEntry, episode: Episode | None, kind: Kind) -> None:
    [difference] = compare_call(call, episode, RULES)
    assert difference.kind is kind
    assert (difference.call_id, difference.channel) == ("c1", CHANNEL)
    assert difference.what
    assert difference.remedy


def test_a_blocked_call_may_be_told_of_in_the_note_of_another() -> None:
    folded = replace(DUE, folded=True, note_id="n0", recipients=())
    assert compared(replace(CALL, due=(folded,), notes=())) == []


def test_every_kind_says_what_to_do() -> None:
    assert set(REMEDIES) == set(Kind)


@pytest.mark.parametrize(
    ("call", "episode"),
    [
        pytest.param(LIVE, replace(EPISODE, ended_at=None), id="goes on"),
        pytest.param(LIVE, replace(EPISODE, ended_at=NOON - 5.0), id="ended just now"),
        pytest.param(replace(CALL, received_at=NOON - 5.0), None, id="came in just now"),
        pytest.param(
            replace(CALL, ended_at=NOON - 5.0, due=(), notes=()),
            replace(EPISODE, ended_at=None),
            id="closed just now",
        ),
        pytest.param(CALL, replace(EPISODE, ended_at=None, cut_off=True), id="Asterisk died"),
        pytest.param(
            replace(CALL, reason=FOUND_GONE), replace(EPISODE, ended_at=None), id="found gone"
        ),
        pytest.param(
            replace(CALL, reason=FOUND_GONE, ended_at=NOON - 600.0), EPISODE, id="found gone late"
        ),
        pytest.param(
            replace(CALL, due=(replace(DUE, acked=False, due_at=NOON - 60.0),), notes=()),
            EPISODE,
            id="note within its time",
        ),
        pytest.param(
            replace(CALL, notes=(note(mail("queued", age_s=2 * DAY)),)), EPISODE, id="mail waits"
        ),
        pytest.param(
            replace(CALL, notes=(note(mail("bounced"), mail(copy=True)),)), EPISODE, id="copied"
        ),
        pytest.param(
            replace(CALL, notes=(note(mail("bounced", to="b@x.example"), mail()),)),
            EPISODE,
            id="one of two got it",
        ),
        pytest.param(
            replace(CALL, outcome=Outcome.VOICEMAIL, answered_at=None),
            replace(EPISODE, served=Served.FALLBACK, message="vsek/m"),
            id="voicemail",
        ),
    ],
)
def test_what_is_no_difference(call: CallEntry, episode: Episode | None) -> None:
    assert compared(call, episode) == []


def test_a_call_that_never_ends() -> None:
    since = replace(RULES, since=NOON - 3 * DAY)
    call = replace(LIVE, received_at=NOON - 2 * DAY)
    episode = Episode(CHANNEL, NOON - 2 * DAY, entered=True, call_id="c1")
    assert kinds(compare_call(call, episode, since)) == [Kind.NO_OUTCOME]


def test_a_call_of_the_future_and_one_that_is_too_long() -> None:
    assert Kind.TIMES in compared(replace(CALL, ended_at=NOON + 600.0))
    assert Kind.TIMES in compared(replace(CALL, received_at=BEGAN - 2 * DAY, answered_at=BEGAN))


def test_without_a_ledger_the_other_books_are_compared() -> None:
    assert compared(CALL, None, ledger_read=False) == []
    assert compared(replace(CALL, due=()), None, ledger_read=False) == [
        Kind.NO_NOTE,
        Kind.NOTE_STRAY,
    ]


def test_without_the_note_service_calls_are_compared() -> None:
    assert compared(replace(CALL, notes=()), notes_read=False) == []
    late = replace(CALL, due=(replace(DUE, acked=False),), notes=())
    assert compared(late, notes_read=False) == [Kind.NOTE_LATE]


def test_ledger_lines_become_episodes() -> None:
    read = episodes(
        line("in", "1700000000.1", BEGAN),
        line("out", "1700000000.1", BEGAN, at=BEGAN + 30, served="fallback", message="vsek/m"),
    )
    [episode] = read
    assert (episode.began_at, episode.ended_at) == (BEGAN, BEGAN + 30)
    assert (episode.served, episode.message) == (Served.FALLBACK, "vsek/m")
    assert read.differences == []


def test_an_episode_is_found_by_channel_and_time() -> None:
    read = episodes(
        line("in", "a.1", BEGAN),
        line("out", "a.1", BEGAN, at=BEGAN + 30),
        # Asterisk was started anew, its clock was set back: the same id again.
        line("in", "a.1", BEGAN + 1800),
        line("out", "a.1", BEGAN + 1800, at=BEGAN + 1900),
    )
    first, second = read.of_call("a.1", BEGAN + 1), read.of_call("a.1", BEGAN + 1801)
    assert first is not None
    assert second is not None
    assert (first.began_at, second.began_at) == (BEGAN, BEGAN + 1800)
    assert read.of_call("a.1", BEGAN - 1000) is None
    assert read.of_call("a.1", BEGAN + 3500) is None
    assert read.of_call("a.2", BEGAN) is None
    assert read.differences == []


def test_the_same_line_twice() -> None:
    entered, ended = line("in", "a.1", BEGAN), line("out", "a.1", BEGAN, at=BEGAN + 30)
    read = episodes(entered, entered, ended, ended)
    assert kinds(read.differences) == [Kind.TWICE_IN_LEDGER] * 2
    assert len(list(read)) == 1


@pytest.mark.parametrize("text", ["", "v=2,kind=in", "\x00\x1b[31m", "x" * 10_000])
def test_a_line_that_nobody_can_read(text: str) -> None:
    [difference] = episodes(text).differences
    assert difference.kind is Kind.UNREADABLE_LINE
    assert "20231114.log line 1" in difference.what
    assert difference.what.isprintable()


def test_lines_of_another_time_are_left_out() -> None:
    assert list(episodes(line("in", "a.1", BEGAN - 3 * DAY), line("in", "a.2", NOON + DAY))) == []


def test_a_restart_of_asterisk_explains_calls_without_an_end() -> None:
    read = episodes(
        line("in", "pbx-100.41", BEGAN),
        line("in", "other-100.5", BEGAN + 1),
        line("in", "pbx-100.42", BEGAN + 2),
        line("out", "pbx-100.42", BEGAN + 2, at=BEGAN + 5),
        line("in", "pbx-200.1", BEGAN + 60),
        line("in", "odd", BEGAN + 61),
        line("in", "pbx-200.4", BEGAN + 62),
    )
    cut = {episode.channel: episode.cut_off for episode in read}
    assert cut == {
        "pbx-100.41": True,
        "other-100.5": False,
        "pbx-100.42": False,
        "pbx-200.1": False,
        "odd": False,
        "pbx-200.4": False,
    }


@pytest.mark.parametrize(
    ("episode", "told"),
    [
        (Episode("c", BEGAN, BEGAN + 9, entered=True), True),
        (Episode("c", BEGAN, BEGAN + 9, Served.FALLBACK, "vsek/m", entered=True), True),
        (Episode("c", BEGAN, entered=True), True),
        (Episode("c", NOON - 300, entered=True), False),
        (Episode("c", NOON - 300, entered=True, cut_off=True), True),
        (Episode("c", NOON - 300, NOON - 10, entered=True), False),
        (Episode("c", NOON - 10, NOON - 9, entered=True), False),
    ],
)
def test_a_call_that_only_asterisk_knows(episode: Episode, told: bool) -> None:
    found = episode_without_call(episode, RULES)
    assert kinds(found) == [Kind.NOT_IN_DATABASE] * told
    if episode.message:
        assert episode.message in found[0].what


def test_strangers_are_those_of_the_time_without_a_call() -> None:
    read = episodes(line("in", "a.1", BEGAN), line("in", "a.2", BEGAN), line("in", "a.3", NOON + 5))
    met = read.of_call("a.2", BEGAN)
    assert met is not None
    met.call_id = "c1"
    assert [episode.channel for episode in read.strangers()] == ["a.1"]


def test_counts() -> None:
    counts = Counts()
    counts.count_ledger([EPISODE, Episode("x", BEGAN), Episode("y", NOON + 1)], RULES)
    copied = replace(CALL, notes=(note(mail("bounced"), mail(copy=True)),))
    for call in (CALL, LIVE, copied):
        counts.count_call(call)
    assert (counts.ledger_calls, counts.ledger_open) == (2, 1)
    assert (counts.calls, counts.live, counts.outcomes) == (3, 1, {"answered": 2})
    assert (counts.due, counts.acknowledged, counts.notes, counts.copies) == (2, 2, 2, 1)
    assert dict(counts.deliveries) == {"accepted": 1, "bounced": 1}


def test_a_report_lists_a_bounded_number() -> None:
    report = Report(RULES)
    assert report.equal
    report.add(Difference(Kind.NO_NOTE, "x", BEGAN) for _ in range(Report.LISTED + 5))
    assert (len(report.differences), report.omitted) == (Report.LISTED, 5)
    assert not report.equal


def test_the_note_services_time_to_give_up_is_the_same() -> None:
    assert RULES.give_up_s == RetryPolicy().give_up_s
    assert RULES.delivery_s > RetryPolicy().longest_s
