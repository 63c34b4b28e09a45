"""What a pool tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Tally(NamedTuple):
    """How many requests have ended, and how."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    expired: int = 0
    helped: int = 0  # of the first two, by workers that waited for them

    @property
    def accepted(self) -> int:
        """Those that were not refused."""
        return self.completed + self.failed + self.cancelled + self.expired

    def taken_back(self) -> Tally:
        """To be added to take these out of the sum again."""
        return Tally(*(-count for count in self))

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.completed + other.completed,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
            self.refused + other.refused,
            self.expired + other.expired,
            self.helped + other.helped,
        )


@dataclass(frozen=True)
class PoolStats:
    """The state of a pool at one time, as `PoolExecutor.stats` gives it.

    Exact whenever the pool is at rest. While it moves, what moves may be missing: a count is then
    too small, never too large. What others take out of `_work_queue` to run it is not the pool's.

    Attributes:
        workers: Threads that there are.
        idle: Those that wait for work.
        busy: Those that run a task, but for `blocked`.
        queued: Requests that wait for a worker.
        max_workers: How many threads there may be; 0 while the pool is paused.
        min_workers: How many are kept though idle.
        largest_workers: The most threads that there have been at a time.
        submitted: Requests accepted so far.
        completed: Those whose call has returned.
        failed: Those whose call has raised, or could not be made.
        cancelled: Those that were cancelled.
        expired: Those that were not started in time, and so not at all.
        refused: Calls of `submit` that raised, because the pool was shut down, broken, or without
            a thread, or its bounded queue full.
        blocked: Workers whose task waits for other work. They do not count against the limit.
        lent: Workers beyond the limit that run other tasks meanwhile.
        helped: Requests that were run by the worker whose task waited for them.
    """

    workers: int
    idle: int
    busy: int
    queued: int
    max_workers: int
    min_workers: int
    largest_workers: int
    submitted: int
    completed: int
    failed: int
    cancelled: int
    expired: int
    refused: int
    blocked: int = 0
    lent: int = 0
    helped: int = 0


class Ledger:
    """The sum of the tallies of workers that have left, and of what ended without one.

    Kept in a list of one entry. Who adds takes an entry out and puts the sum in: two steps that
    need no lock. Whoever finds no entry, because another thread is between the two, leaves one of
    his own; the next one to add folds both.
    """

    def __init__(self) -> None:
        self._entries: list[Tally] = []

    def add(self, tally: Tally) -> None:
        """Add to the sum. Interrupted, it has lost nothing of what was there."""
        taken: list[Tally] = []
        take = map(taken.append, iter(self._entries.pop, None))  # out of the one, into the other
        try:
            for _ in range(2):
                next(take)
        except IndexError:
            pass
        except BaseException:
            self._entries.extend([*taken, tally])
            raise
        for other in taken:
            tally = tally.plus(other)
        self._entries.append(tally)

    def total(self) -> Tally:
        """The sum; without what is just being added."""
        total = Tally()
        for tally in self._entries[:]:
            total = total.plus(tally)
        return total
