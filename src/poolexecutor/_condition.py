"""Conditions for futures: the one that somebody waits on, and the one of all that are done.

The standard `wait` and `as_completed` hold a future's condition while they look at its state. A
`threading.Condition` for each of them would cost more than the future itself.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class FutureCondition(threading.Condition):
    """A condition that is cheap to make: what only `wait` needs is made by `wait`."""

    def __init__(self) -> None:
        # Not super().__init__(): it makes a 760-byte deque and binds five methods.
        lock = threading.RLock()
        self._lock = lock
        self.future_waiters: list[Any] = []  # those of the future, for `wait` and `as_completed`
        self.acquire = lock.acquire  # type: ignore[method-assign]  # as the base class does
        self.release = lock.release  # type: ignore[method-assign]

    @property
    def _waiters(self) -> deque[Any]:
        return self.__dict__.setdefault("_sleepers", deque())  # type: ignore[no-any-return]

    def notify_all(self) -> None:
        if "_sleepers" in self.__dict__:
            super().notify_all()

    def _release_save(self) -> Any:
        return self._lock._release_save()  # type: ignore[attr-defined]  # as the base class does

    def _acquire_restore(self, state: Any) -> None:
        self._lock._acquire_restore(state)  # type: ignore[attr-defined]

    def _is_owned(self) -> bool:
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]
        self.__dict__.pop("_sleepers", None)


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
