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

    from ._waiting import Waiters

T = TypeVar("T")


class ConditionMethods:
    """What makes a reentrant lock a condition that is cheap to make: it is its own lock.

    Taking and releasing it are the lock's own steps, in C. The rest is borrowed from
    `threading.Condition`, which asks no more of its instance than a lock's private methods.
    """

    # No `__init__`, which would cost more than the rest: who makes one sets these.
    __slots__ = ()

    future_waiters: Waiters  # those of the future, for `wait` and `as_completed`
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
                if release is not None and type(event) not in CONDITIONS:
                    try:
                        release()
                    except RuntimeError:
                        pass  # released before

        def notify_all(self) -> None:
            self.notify(len(self._waiters))

        def _at_fork_reinit(self) -> None:
            super()._at_fork_reinit()
            self.sleepers = None

    def notify_sleepers(self) -> None:
        """As `notify_all`, for those in `wait` only; for the future, which wakes others itself."""
        if self.sleepers:
            threading.Condition.notify(self, len(self.sleepers))  # type: ignore[arg-type]

    def close(self) -> None:
        """The future is done: what leads back to it goes."""
        self.log = ()  # type: ignore[misc]  # a slot of the classes that are made
        self.future_waiters.future = None


def _over(lock_type: type) -> Any:
    slots = {"__slots__": ("future_waiters", "log", "sleepers"), "__module__": __name__}
    return type("FutureCondition", (ConditionMethods, lock_type), slots)


if TYPE_CHECKING:

    class FutureCondition(ConditionMethods, threading.Condition):
        """A condition for a future, over the usual lock."""

else:
    FutureCondition = _over(type(threading.RLock()))

CONDITIONS: set[type] = {FutureCondition}  # all that there are, to recognise one
_others: dict[type, type[FutureCondition]] = {}  # by the type of their lock

# What `threading.RLock` is made with, and its C type. gevent and eventlet put others there, perhaps
# after we were imported, and theirs exclude green threads, too.
USUAL_RLOCK: Any = threading.RLock
USUAL_C_RLOCK: Any = threading._CRLock  # type: ignore[attr-defined]  # private


def other_condition() -> FutureCondition:
    """A condition for a future, made with another lock than `FutureCondition`."""
    kind = type(threading.RLock())
    if kind not in _others:
        _others[kind] = _over(kind)
        CONDITIONS.add(_others[kind])
    return _others[kind]()


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
