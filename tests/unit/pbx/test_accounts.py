"""What an agent's account says to Asterisk."""

from collections import Counter

from vsek.domain.ids import AgentId
from vsek.pbx.accounts import QUALIFY_S, qualify_s


def test_phones_that_register_together_fall_out_of_step() -> None:
    """With one interval for all, each of them would be asked in the same second for ever."""
    phones = Counter(qualify_s(AgentId(f"agent{number:04}")) for number in range(2000))
    asked = [
        sum(count for interval, count in phones.items() if second % interval == 0)
        for second in range(1, 600)
    ]
    assert max(asked) < 2000 / 3
    assert sum(count > 2000 / 10 for count in asked) < len(asked) / 10
    assert sum(asked) / len(asked) < 2000 / 29, "and none is asked more often for it"


def test_intervals_are_evenly_given_and_the_same_in_each_run() -> None:
    assert [qualify_s(AgentId(name)) for name in ("anna", "ben", "101")] == [33, 29, 28]
    given = Counter(qualify_s(AgentId(str(number))) for number in range(100, 1100))
    assert set(given) == set(QUALIFY_S)
    assert max(given.values()) < 2 * min(given.values())
