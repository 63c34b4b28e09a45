"""Conditions for futures: the one that somebody waits on, and the one of all that are done.

The standard `wait` and `as_completed` hold a future's condition while they look at its state. A
`threading.Condition` for each of them would cost more than the future itself.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


if TYPE_CHECKING:
    _ReentrantLock = threading.Condition
else:
    _ReentrantLock = type(threading.RLock())


class FutureCondition(_ReentrantLock):
    """A condition that is cheap to make: it is its own lock, and what `wait` needs, `wait` makes.

    Taking and releasing it are the lock's own steps, in C. The rest is borrowed from
    `threading.Condition`, which asks no more of its instance than a lock's private methods.
    """

    # Slots, and no `__init__`, which would cost more than the rest: who makes one sets them.
    __slots__ = ("future_waiters", "log", "sleepers")

    future_waiters: list[Any]  # those of the future, for `wait` and `as_completed`
    sleepers: deque[Any] | None  # the condition's own; None until somebody waits
    log: Sequence[Any]  # the future's, until it is done: there it would be a cycle

    if not TYPE_CHECKING:
        wait = threading.Condition.wait
        wait_for = threading.Condition.wait_for

        @property
        def _waiters(self) -> deque[Any]:
            if self.sleepers is None:  # only read by who holds the lock, so there is one maker
                self.sleepers = deque()
            return self.sleepers

        def notify(self, n: int = 1) -> None:
            threading.Condition.notify(self, n)
            # To the standard future's `result` this is its condition, too. One who is woken for
            # nothing sleeps on.
            for event in self.log[:]:
                release = getattr(event, "release", None)
                if release is not None and not isinstance(event, FutureCondition):
                    try:
                        release()
                    except RuntimeError:
                        pass  # released before

        def notify_all(self) -> None:
            self.notify(len(self._waiters))

    def notify_sleepers(self) -> None:
        """As `notify_all`, for those in `wait` only; for the future, which wakes others itself."""
        if self.sleepers:
            threading.Condition.notify(self, len(self.sleepers))

    if not TYPE_CHECKING:

        def _at_fork_reinit(self) -> None:
            super()._at_fork_reinit()
            self.sleepers = None


class SettledCondition:
    """The condition of every future that is done before anybody asked for one.

    Its state can no longer change, so there is nothing to exclude and nothing to wait for.
    """

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *exc_info: object) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        return predicate()

    def notify(self, n: int = 1) -> None:
        pass

    notify_all = notify

    def _at_fork_reinit(self) -> None:
        pass


SETTLED: Final = SettledCondition()


class NoWaiters(list[Any]):
    """The waiters of a future that was done before anybody asked: nobody needs to be told."""

    def append(self, waiter: Any) -> None:
        pass

    def remove(self, waiter: Any) -> None:
        pass


NO_WAITERS: Final = NoWaiters()
