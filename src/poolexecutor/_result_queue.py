"""`ResultQueue`: finished futures in the order in which they finished, of any executor.

Protocol
--------
Three collections, of which every step is one of their own, indivisible:

- `_outstanding` has an entry for each future that was submitted and not yet taken. It is put there
  before the submission and taken out after the future was taken, so where it is empty, nothing is
  on its way, and nothing lies in `_finished`.
- `_finished` has the finished futures. A done-callback puts one there, once.
- `_credits`, if there is a bound, has an entry for each future that may still be submitted.

Who takes out of one and finds nothing sleeps on its bell; who puts something in rings it after.
The done-callback, which runs in a worker, waits for nobody.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ._bell import Bell
from ._sizing import checked_count, checked_seconds
from .errors import NoResultsPending, NoWorkersAvailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

P = ParamSpec("P")
T = TypeVar("T")


class ResultQueue(Generic[T]):
    """Finished futures of an executor in the order in which they finish.

    Any number of threads may submit and take. Works over any `concurrent.futures.Executor`, and
    what has the same `submit`. Failed and cancelled futures come like any other.

    Args:
        executor: Runs what is submitted here.
        maxsize: How many futures may be submitted and not yet taken; 0, any number.

    Raises:
        TypeError, ValueError: `maxsize` is no integer from 0 on.
    """

    def __init__(self, executor: Executor, maxsize: int = 0) -> None:
        maxsize = checked_count("maxsize", maxsize)
        self._executor = executor
        self._outstanding: list[None] = []
        self._finished: deque[Future[T]] = deque()
        self._credits: list[None] | None = [None] * maxsize if maxsize else None
        self._room = Bell()
        self._news = Bell()

    # --- in -----------------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit ``fn(*args, **kwargs)`` to the executor; wait for room before, if there is none.

        Returns:
            Its future, which `get` will give when it is done.

        Raises:
            RuntimeError, BrokenExecutor: From the executor, which does not take it.
        """
        self._take_credit()
        arrival: list[None] = [None]  # emptied when the future has arrived in `_finished`
        future: Future[T] | None = None
        self._outstanding.append(None)
        try:
            future = self._executor.submit(fn, *args, **kwargs)
            future.add_done_callback(partial(self._arrive, arrival))
        except BaseException:
            if future is None:
                self._settle_account()
            else:
                # Interrupted: it runs, so it is to arrive. Twice added, it arrives once.
                future.add_done_callback(partial(self._arrive, arrival))
            raise
        return future

    def _take_credit(self) -> None:
        credits = self._credits
        while credits is not None:
            try:
                credits.pop()
            except IndexError:
                self._room.wait_until(lambda: credits[:1], None)
            else:
                return

    def _arrive(self, arrival: list[None], future: Future[T]) -> None:
        try:
            arrival.pop()
        except IndexError:
            return
        self._finished.append(future)
        self._news.ring_once()

    # --- out ----------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Future[T]:
        """Take the future that has finished first.

        Args:
            block: Wait for one if none has finished.
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            NoResultsPending: None is outstanding: all that were submitted have been taken.
            NoWorkersAvailable: None will finish: the executor is paused (`PoolExecutor.resize`).
            queue.Empty: None has finished, or not in time.
            TypeError, ValueError: `timeout` is no time.
        """
        timeout = checked_seconds("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                future = self._finished.popleft()
            except IndexError:
                pass
            else:
                self._settle_account()
                return future
            if not self._outstanding[:1]:
                raise NoResultsPending("all that were submitted have been taken")
            if not block:
                raise queue.Empty
            if not self._wait(None if deadline is None else deadline - time.monotonic()):
                raise queue.Empty

    def get_nowait(self) -> Future[T]:
        """As ``get(block=False)``."""
        return self.get(block=False)

    def __iter__(self) -> Iterator[Future[T]]:
        """The futures as they finish; ends when none is outstanding."""
        while True:
            try:
                future = self.get()
            except NoResultsPending:
                return
            yield future
            del future  # not to be kept while the next one is waited for

    def _settle_account(self) -> None:
        """One that was outstanding is not so any more."""
        self._outstanding.pop()
        if not self._outstanding[:1]:
            self._news.ring()  # whoever waits waits for nothing
        if self._credits is not None:
            self._credits.append(None)
            self._room.ring_once()

    def _wait(self, timeout: float | None) -> bool:
        stalls: Any = getattr(self._executor, "_pe_stalls", None)
        if stalls is None:
            return self._news.wait_until(self._has_news, timeout)
        changes, is_stalled = stalls()

        def look() -> bool:
            if self._has_news():
                return True
            if is_stalled() and not self._has_news():
                raise NoWorkersAvailable("the pool is paused with work queued; resize it first")
            return False

        changes.followers.append(self._news)
        try:
            return self._news.wait_until(look, timeout)
        finally:
            changes.followers.remove(self._news)

    def _has_news(self) -> bool:
        # A step under the collection's lock each, after this thread has entered itself.
        self._finished.rotate(0)
        return bool(self._finished) or not self._outstanding[:1]
