"""The priority queue against a dictionary that is sorted each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vsek.acd.ordering import PriorityQueue

_ITEMS = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(_ITEMS, st.none() | st.integers(0, 9)), max_size=400))
def test_like_a_sorted_dictionary(steps: list[tuple[str, int | None]]) -> None:
    queue: PriorityQueue[tuple[float, int], str] = PriorityQueue()
    model: dict[str, tuple[float, int]] = {}
    for item, number in steps:
        if number is None:
            queue.discard(item)
            model.pop(item, None)
        else:
            key = (float(number), ord(item))
            queue.put(item, key)
            model[item] = key
        expected = min(((key, item) for item, key in model.items()), default=None)
        assert queue.first() == expected
        assert len(queue) == len(model)
        assert queue.items() == model
        assert (item in queue) == (item in model)


def test_what_was_taken_out_does_not_pile_up() -> None:
    queue: PriorityQueue[int, str] = PriorityQueue()
    for number in range(10_000):
        queue.put("a", number)
        queue.put("b", -number)
    assert len(queue._heap) < 200
    assert queue.first() == (-9_999, "b")
