"""A priority queue from which things can be taken out of the middle.

Theory of operation: a binary heap of ``(key, item)`` whose entries are not removed when their item
is discarded. ``_keys`` says which item is in with which key; an entry that disagrees with it is
dead and is thrown away when it comes to the top. When dead entries outnumber the living ones the
heap is made anew. Every operation is O(log n) amortised; the order depends on the keys alone, so
that a queue that was filled again after a restart gives the same answers.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=str)
Key = TypeVar("Key", int, tuple[float, int])

_SLACK = 64


class PriorityQueue(Generic[Key, Item]):
    """Items with keys, the smallest key first. Keys are unique among the items."""

    __slots__ = ("_heap", "_keys")

    def __init__(self) -> None:
        self._keys: dict[Item, Key] = {}
        self._heap: list[tuple[Key, Item]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, item: Item) -> bool:
        return item in self._keys

    def key(self, item: Item) -> Key:
        """The key of an item that is in; raises ``KeyError`` for another."""
        return self._keys[item]

    def items(self) -> dict[Item, Key]:
        """All items with their keys, in no particular order."""
        return dict(self._keys)

    def put(self, item: Item, key: Key) -> None:
        """Put ``item`` in, or give it another key."""
        if self._keys.get(item) == key:
            return
        self._keys[item] = key
        heapq.heappush(self._heap, (key, item))
        if len(self._heap) > 2 * len(self._keys) + _SLACK:
            self._heap = [(key, item) for item, key in self._keys.items()]
            heapq.heapify(self._heap)

    def discard(self, item: Item) -> None:
        """Take ``item`` out if it is in."""
        self._keys.pop(item, None)

    def first(self) -> tuple[Key, Item] | None:
        """The item with the smallest key, or ``None`` when empty."""
        while self._heap:
            key, item = self._heap[0]
            if self._keys.get(item) == key:
                return key, item
            heapq.heappop(self._heap)
        return None
