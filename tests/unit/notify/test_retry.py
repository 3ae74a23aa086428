from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsek.notify.model import DeliveryStatus
from vsek.notify.retry import RetryPolicy, Verdict, decide, delay_s, rest_s

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
POLICY = RetryPolicy()


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 15), (2, 45), (3, 135), (4, 405), (5, 1215), (6, 3600), (7, 3600)]
)
def test_a_recipient_waits_longer_each_time_up_to_an_hour(attempts: int, seconds: float) -> None:
    assert delay_s(POLICY, attempts, 0.5) == pytest.approx(seconds)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (5, 16), (6, 30), (50, 30)])
def test_all_mail_rests_up_to_half_a_minute(failures: int, seconds: float) -> None:
    assert rest_s(POLICY, failures, 0.5) == pytest.approx(seconds)


@settings(deadline=None)  # other work on the machine is no fault
@given(st.integers(1, 10**9), st.floats(0, 1))
def test_delays_stay_within_a_fifth_of_their_bounds(count: int, jitter: float) -> None:
    assert 11.99 < delay_s(POLICY, count, jitter) < 3600 * 1.201
    assert 0.79 < rest_s(POLICY, count, jitter) < 30 * 1.201


@pytest.mark.parametrize(
    ("verdict", "age", "status", "delay"),
    [
        (Verdict.ACCEPTED, timedelta(), DeliveryStatus.ACCEPTED, 0),
        (Verdict.REFUSED, timedelta(), DeliveryStatus.BOUNCED, 0),
        (Verdict.SERVER, timedelta(days=30), DeliveryStatus.QUEUED, 0),
        (Verdict.DEFERRED, timedelta(), DeliveryStatus.QUEUED, 135),
        (Verdict.DEFERRED, timedelta(days=3) - timedelta(minutes=3), DeliveryStatus.QUEUED, 135),
        (Verdict.DEFERRED, timedelta(days=3) - timedelta(minutes=2), DeliveryStatus.GIVEN_UP, 0),
    ],
)
def test_what_becomes_of_a_delivery(
    verdict: Verdict, age: timedelta, status: DeliveryStatus, delay: float
) -> None:
    following = decide(POLICY, verdict, attempts=3, queued_at=NOW - age, now=NOW, jitter=0.5)
    assert following.status is status
    assert following.next_at == NOW + timedelta(seconds=delay)


@settings(deadline=None)  # other work on the machine is no fault
@given(st.floats(0, 1))
def test_a_recipient_that_never_takes_it_is_given_up_after_three_days(jitter: float) -> None:
    now, attempts = NOW, 0
    while True:
        attempts += 1
        following = decide(
            POLICY, Verdict.DEFERRED, attempts=attempts, queued_at=NOW, now=now, jitter=jitter
        )
        if following.status is DeliveryStatus.GIVEN_UP:
            break
        assert following.next_at > now
        now = following.next_at
    assert timedelta(days=2, hours=22) < now - NOW <= timedelta(days=3)
    assert attempts < 120
