"""When mail is tried again: pure decisions.

Two things fail in different ways, so there are two back-offs:

- **One recipient** is refused for the time being (greylisting, mailbox full), or the connection
  broke after the server had taken the envelope. Its delivery waits 15 s, 45 s, … at most an hour,
  and is given up after three days.
- **The mail server** cannot be reached or refuses everybody (no connection, login, sender). All
  mail rests, for 1 s, 2 s, … at most 30 s, then one mail is the probe. Nothing is given up for
  that: the fault is ours to mend, and the notes are still wanted.

Randomness is an argument (``jitter``, 0 to 1): it moves a delay by up to a fifth in either
direction, so that what failed together does not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import assert_never

from vsek.notify.model import DeliveryStatus


class Verdict(Enum):
    """What one attempt to send a mail to one recipient came to."""

    ACCEPTED = auto()
    REFUSED = auto()
    """For good: a 5xx reply to this recipient or to the message."""
    DEFERRED = auto()
    """For now: a 4xx reply to this recipient or message, or the connection broke there."""
    SERVER = auto()
    """The server takes no mail from us at all at present; says nothing on this recipient."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The fate of one attempt, with the server's words (or what was heard instead of them)."""

    verdict: Verdict
    code: int | None
    reply: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays in seconds."""

    first_s: float = 15.0
    factor: float = 3.0
    longest_s: float = 3600.0
    give_up_s: float = 3 * 86400.0
    server_first_s: float = 1.0
    server_longest_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Next:
    """What to write down: the delivery's status, and when it is due again if it is queued."""

    status: DeliveryStatus
    next_at: datetime


def _growing(first_s: float, factor: float, longest_s: float, count: int, jitter: float) -> float:
    # The exponent is bounded because a float's is: 3.0 ** 700 overflows.
    delay_s = min(longest_s, first_s * factor ** min(count - 1, 60))
    return delay_s * (0.8 + 0.4 * jitter)


def delay_s(policy: RetryPolicy, attempts: int, jitter: float) -> float:
    """Seconds until a recipient is tried again after ``attempts`` (≥ 1) attempts."""
    return _growing(policy.first_s, policy.factor, policy.longest_s, attempts, jitter)


def rest_s(policy: RetryPolicy, failures: int, jitter: float) -> float:
    """Seconds that all mail rests after ``failures`` (≥ 1) failures of the server in a row."""
    return _growing(policy.server_first_s, 2.0, policy.server_longest_s, failures, jitter)


def decide(
    policy: RetryPolicy,
    verdict: Verdict,
    *,
    attempts: int,
    queued_at: datetime,
    now: datetime,
    jitter: float,
) -> Next:
    """What becomes of a delivery after its attempt number ``attempts``, made at ``now``."""
    match verdict:
        case Verdict.ACCEPTED:
            return Next(DeliveryStatus.ACCEPTED, now)
        case Verdict.REFUSED:
            return Next(DeliveryStatus.BOUNCED, now)
        case Verdict.SERVER:
            # Due at once: the outbox as a whole rests.
            return Next(DeliveryStatus.QUEUED, now)
        case Verdict.DEFERRED:
            due = now + timedelta(seconds=delay_s(policy, attempts, jitter))
            if due > queued_at + timedelta(seconds=policy.give_up_s):
                return Next(DeliveryStatus.GIVEN_UP, now)
            return Next(DeliveryStatus.QUEUED, due)
        case _:
            assert_never(verdict)
