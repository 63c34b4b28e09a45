"""Waiting in a task: what a worker does whose task waits for other work.

Everything of ours that waits asks `worker_of_this_thread` first. In a worker it does not just
sleep, but has the worker `wait` (`WorkerThread.wait`): that runs what it waits for itself, or has
the pool lend another worker meanwhile. `Workforce.block` has the protocol.

Here is what both sides share, and what the standard `wait` and `as_completed` need, which know
nothing of this: they append an object with an event to `_waiters` of each future and sleep on that
event. In a worker it gets an event of ours then.
"""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Awaited(Protocol):
    """What a task waits for: one request, or several of which any will do."""

    def _waits_in(self, requests: Any) -> bool:
        """Whether something of it lies in this queue, not started."""
        ...

    def _next_in(self, requests: Any) -> Any:
        """One request of it that lies there, to be run by the caller; None if there is none."""
        ...


class Waiter(Protocol):
    """A worker, to what waits in its task."""

    def wait(
        self,
        sleep: Callable[[], T],
        deadline: float | None,
        awaited: Awaited,
        is_over: Callable[[], bool],
        helps: bool = True,
        lasts: bool = True,
    ) -> T: ...


# The worker of each thread that is one, by the thread's identifier. A thread enters and removes
# itself; each of that is one step of the dict.
workers: dict[int, Any] = {}


def worker_of_this_thread() -> Any:
    """The worker that runs the calling code; None in a thread of no pool."""
    return workers.get(threading.get_ident())


def deadline_after(timeout: float | None) -> float | None:
    """The time by the monotonic clock that is `timeout` seconds from now; None, never."""
    return None if timeout is None else time.monotonic() + timeout


def left_until(deadline: float | None) -> float | None:
    """How many seconds are left up to it."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class Nothing:
    """What does not lie in the queue of any pool that we know of."""

    def _waits_in(self, requests: Any) -> bool:
        return False

    def _next_in(self, requests: Any) -> None:
        return None


NOTHING: Final = Nothing()


def wait_here(sleep: Callable[[], T], pool: Any = None) -> T:
    """Call `sleep`, which waits for something else than work of the own pool.

    Args:
        sleep: Sleeps.
        pool: The crew of those who wait for themselves then: nothing is lent to them.
    """
    worker = worker_of_this_thread()
    if worker is None or worker.crew is pool:
        return sleep()
    return worker.wait(sleep, None, NOTHING, bool, helps=False)  # type: ignore[no-any-return]  # a T


@contextmanager
def while_waiting(awaited: Awaited, is_over: Callable[[], bool]) -> Iterator[None]:
    """For a coroutine that waits: if its loop runs in a task, as of a task that does.

    Other coroutines of the same loop may go on meanwhile; that the task counts as waiting then is
    better than that what is awaited waits for it.
    """
    worker = worker_of_this_thread()
    if worker is None:
        yield
        return
    wait = worker.begin_wait(awaited, is_over, None)
    try:
        yield
    finally:
        worker.end_wait(wait)


_TRIES: Final = 20  # of futures that are not in the queue, though they have not begun


class Futures:
    """Futures, of which any will do. Does not keep them alive. Thread-safe.

    Args:
        shared: Whether several wait for these, perhaps workers of other pools.
    """

    __slots__ = ("_references", "_shared")

    def __init__(self, shared: bool) -> None:
        self._references: list[weakref.ref[Any]] = []
        self._shared = shared

    def add(self, future: Any) -> None:
        """One future more. Forgets some of those that are done, so there are never many."""
        for _ in range(2):
            if not self._drop_first_if_done():
                break
        self._references.append(weakref.ref(future))

    def _drop_first_if_done(self) -> bool:
        """Whether there was one to be forgotten, and there are more."""
        try:
            reference = self._references[0]
            future = reference()
            if future is not None and not future.done():
                return False
            self._references.remove(reference)
        except (IndexError, ValueError):
            pass  # another thread has taken it
        return bool(self._references)

    def _waits_in(self, requests: Any) -> bool:
        while self._drop_first_if_done():
            pass
        for reference in self._references[:]:
            future: Any = reference()
            if _is_ours(future) and future._waits_in(requests):
                return True
        return False

    def _next_in(self, requests: Any) -> Any:
        tries = 0
        for reference in self._references[:]:
            future: Any = reference()
            request = future._next_in(requests) if _is_ours(future) else None
            if request is None and self._shared and future is not None and not future.done():
                tries += 1  # it may be another pool's, whose worker waits for it, too
                if tries == _TRIES:
                    break
                continue
            try:
                self._references.remove(reference)
            except ValueError:
                pass  # another thread has done so; the queue, or its log, decides who runs it
            if request is not None:
                return request
        return None


def _is_ours(future: Any) -> bool:
    """Whether it is of a pool of ours, and there."""
    return hasattr(future, "_waits_in")


class TaskEvent:
    """In the place of the event on which the standard `wait` or `as_completed` sleeps in a task.

    Args:
        event: That event.
    """

    def __init__(self, event: Any) -> None:
        self._event = event
        self.awaited = Futures(shared=False)
        self.set, self.clear, self.is_set = event.set, event.clear, event.is_set

    def wait(self, timeout: float | None = None) -> bool:
        """As of the event."""
        worker = worker_of_this_thread()
        if worker is None or self.is_set() or (timeout is not None and timeout <= 0):
            return self._event.wait(timeout)  # type: ignore[no-any-return]  # a bool
        deadline = deadline_after(timeout)

        def sleep() -> bool:
            return self._event.wait(left_until(deadline))  # type: ignore[no-any-return]  # a bool

        # It may be over before all of what it waits for is done, so the worker itself must not
        # begin with any of that.
        return worker.wait(sleep, deadline, self.awaited, self.is_set, helps=False)  # type: ignore[no-any-return]  # a bool

    def _at_fork_reinit(self) -> None:
        self._event._at_fork_reinit()


class Waiters(list[Any]):
    """`_waiters` of a future: what `wait` and `as_completed` have told.

    Attributes:
        future: Whose they are; None when it is done, so that the two are no cycle.
    """

    __slots__ = ("future",)

    future: Any

    def append(self, waiter: Any) -> None:
        """Its event gets to know the future, if this is a worker."""
        if threading.get_ident() in workers:
            event = getattr(waiter, "event", None)
            if event is not None and type(event) is not TaskEvent:
                event = waiter.event = TaskEvent(event)
            if event is not None and self.future is not None:
                event.awaited.add(self.future)
        list.append(self, waiter)
