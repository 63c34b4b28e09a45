"""`Ranked`: things in the order of their ranks, equal ones in order of arrival.

A heap, and a step on a heap is several steps on a list. So each is made under a lock: taking the
lock, the step and letting go are one step of C code, composed of C callables. No signal handler, no
finalizer and no other bytecode of the same thread comes between them, so whoever holds the lock
goes on at once, and nobody waits for it in vain. While it is held nothing is allocated that the
garbage collector counts; up to Python 3.11 that would start a collection, which runs finalizers.
"""

from __future__ import annotations

import itertools
import threading
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
Entry = tuple[float, int, int, T]

_THING: Final = itemgetter(3)


def entry_of(thing: T, rank: float, number: int) -> Entry[T]:
    """What is put in: rank, number of arrival, identity (where there is no GIL, two threads may
    draw the same number), thing.
    """
    return rank, number, id(thing), thing


class Ranked(Generic[T]):
    """Things with their ranks, numbers that compare with each other. Thread-safe."""

    def __init__(self) -> None:
        self._heap: list[Entry[T]] = []
        self._lock = threading.Lock()
        self._next_number = itertools.count().__next__

    def next_number(self) -> int:
        """The number of an arrival."""
        return self._next_number()

    def push(self, entry: Entry[T], after: Iterator[Any] | None = None) -> None:
        """Put a thing in: O(log n).

        Args:
            entry: Made by `entry_of`.
            after: Of which `next` is called in the same step, after it.
        """
        self._locked(map(heappush, (self._heap,), (entry,)), after)

    def pop_into(self, slot: list[T]) -> None:
        """Append the thing with the lowest rank to `slot`, in one step with taking it: O(log n).

        Raises:
            IndexError: There is none.
        """
        hand: list[Any] = []
        self._locked(
            map(hand.append, map(heappop, (self._heap,))),
            map(slot.append, map(_THING, map(hand.pop, (0,)))),
        )

    def remove(self, entry: Entry[T]) -> bool:
        """Take a certain one out, wherever it is: O(n). False if it is not in."""
        heap, both = self._heap, []  # type: ignore[var-annotated]  # of None
        step = zip(map(heap.remove, (entry,)), map(heapify, (heap,)), strict=False)
        try:
            self._locked(map(both.append, step))
        except ValueError:
            return False
        return True

    def things(self) -> list[T]:
        """All that are in, in no order."""
        entries: list[Entry[T]] = []
        self._locked(map(entries.extend, (self._heap,)))
        return [entry[3] for entry in entries]

    def _locked(self, step: Iterator[Any], after: Iterator[Any] | None = None) -> None:
        """Make a step under the lock, and another one, in the same breath, after it."""
        held: list[Any] = []  # one entry while the lock is held
        steps = zip(
            # Neither gives what it is compared with, so both go on.
            map(held.append, iter(self._lock.acquire, None)),
            step,
            map(held.append, iter(self._lock.release, 0)),
            after or (None,),
            strict=False,
        )
        try:
            next(steps)
        except BaseException:
            if len(held) == 1:
                self._lock.release()
            raise

    def after_fork(self) -> None:
        """In the child: who held the lock is gone. One who waits for it here goes on."""
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]  # a lock has it
