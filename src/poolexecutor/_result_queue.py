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
The done-callback, which runs in a worker, waits for nobody. What must change together, a credit and
the entry in `_outstanding`, a finished future and that entry, changes in one step of C code: an
interrupt finds both or neither.

Fork. What a `PoolExecutor` had accepted is settled in the child, where its done-callbacks are not
called; but ours are (`Arrival`), so the child gets the futures of what it will not run.
"""

from __future__ import annotations

import queue
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from . import _lifecycle
from ._bell import Bell
from ._future import Arrival
from ._sizing import checked_count, checked_seconds
from ._waiting import (
    Futures,
    deadline_after,
    left_until,
    wait_here,
    while_waiting,
    worker_of_this_thread,
)
from .errors import NoResultsPending, NoWorkersAvailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

P = ParamSpec("P")
T = TypeVar("T")
_ONE: Final = (None,)
_LAST: Final = (-1,)


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
        # For a task that waits for one of its own pool.
        self._submitted_in_tasks = Futures(shared=True)
        _lifecycle.register(self)

    # --- in -----------------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit ``fn(*args, **kwargs)`` to the executor; wait for room before, if there is none.

        Returns:
            Its future, which `get` will give when it is done.

        Raises:
            RuntimeError, BrokenExecutor: From the executor, which does not take it.
        """
        arrival = Arrival(self._finished.append, self._news.ring_once)
        taken = False  # whether it has an entry in `_outstanding`, and a credit
        future: Future[T] | None = None
        try:
            while not taken:
                try:
                    # A loop, since nothing can strike between its step and the storing.
                    for _ in map(self._outstanding.append, self._credit()):
                        taken = True
                except IndexError:
                    wait_here(partial(self._room.wait_until, self._has_room, None))
            future = self._executor.submit(fn, *args, **kwargs)
            future.add_done_callback(arrival)
            if worker_of_this_thread() is not None:
                self._submitted_in_tasks.add(future)
            if future.done():
                arrival(future)  # an interrupt in a callback is logged, and this one not called
        except BaseException:
            if future is not None:
                # Interrupted: it runs, so it is to arrive. Twice added, it arrives once.
                future.add_done_callback(arrival)
            elif taken:
                self._settle_account()
            raise
        return future

    def _credit(self) -> Iterable[None]:
        """Of which the first is a credit; IndexError if there is none."""
        return _ONE if self._credits is None else map(self._credits.pop, _LAST)

    def _has_room(self) -> list[None]:
        assert self._credits is not None
        return self._credits[:1]

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
        deadline = deadline_after(timeout)
        while True:
            try:
                return self._take_finished()
            except IndexError:
                pass
            if not self._outstanding[:1]:
                raise NoResultsPending("all that were submitted have been taken")
            if not block:
                raise queue.Empty
            if not self._wait(deadline):
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

    def __aiter__(self) -> AsyncIterator[Future[T]]:
        """As iteration, in a coroutine of asyncio: its event loop is not blocked."""
        return _InLoop(self)

    async def _next_in_loop(self) -> Future[T]:
        while True:
            try:
                return self.get_nowait()
            except NoResultsPending:
                raise StopAsyncIteration from None
            except queue.Empty:
                with (
                    while_waiting(self._submitted_in_tasks, bool),
                    self._looking() as look,
                ):
                    await self._news.wait_in_loop(look)

    def _take_finished(self) -> Future[T]:
        """The first of those that have finished, with its entry in `_outstanding`.

        Raises:
            IndexError: There is none.
        """
        outstanding, credits = self._outstanding, self._credits
        finished: Iterator[Future[T]] = map(deque.popleft, (self._finished,))
        entries: Iterator[None] = map(outstanding.pop, _LAST)
        if credits is not None:
            entries = map(credits.append, entries)
        future: Future[T] | None = None
        try:
            for future, _ in zip(finished, entries, strict=False):  # noqa: B007  # see submit
                if credits is not None or not outstanding[:1]:
                    self._tell()
        except BaseException:
            if future is not None:  # interrupted: it is there for the next one
                self._put_back(future)
            raise
        return future  # type: ignore[return-value]  # else IndexError

    def _put_back(self, future: Future[T]) -> None:
        self._outstanding.append(None)
        self._finished.appendleft(future)
        try:
            if self._credits is not None:
                self._credits.pop()
        except IndexError:
            pass  # somebody has used it: one more is on its way than there should be
        self._news.ring_once()

    def _settle_account(self) -> None:
        """Of a submission that raises."""
        entry = map(self._outstanding.pop, _LAST)
        for _ in entry if self._credits is None else map(self._credits.append, entry):
            self._tell()

    def _tell(self) -> None:
        """One that was outstanding is not so any more."""
        try:
            if not self._outstanding[:1]:
                self._news.ring()  # whoever waits waits for nothing
        finally:
            if self._credits is not None:
                self._room.ring_once()

    def _wait(self, deadline: float | None) -> bool:
        worker = worker_of_this_thread()
        if worker is None or left_until(deadline) == 0:
            return self._sleep(deadline)
        sleep, awaited = partial(self._sleep, deadline), self._submitted_in_tasks
        helps = len(self._outstanding) == 1 or worker.crew.is_small()
        return worker.wait(sleep, deadline, awaited, self._has_news, helps, lasts=False)  # type: ignore[no-any-return]  # a bool

    def _sleep(self, deadline: float | None) -> bool:
        with self._looking() as look:
            return self._news.wait_until(look, left_until(deadline))

    @contextmanager
    def _looking(self) -> Iterator[Callable[[], bool]]:
        """For one who sleeps on `_news`: what tells whether there are any.

        It raises NoWorkersAvailable if there will be none; what changes that rings, too.
        """
        stalls: Any = getattr(self._executor, "_pe_stalls", None)
        if stalls is None:
            yield self._has_news
            return
        changes, is_stalled = stalls()

        def look() -> bool:
            if self._has_news():
                return True
            if is_stalled() and not self._has_news():
                raise NoWorkersAvailable("the pool is paused with work queued; resize it first")
            return False

        changes.followers.append(self._news)
        try:
            yield look
        finally:
            try:
                changes.followers.remove(self._news)
            except ValueError:
                pass  # forked meanwhile

    def _has_news(self) -> bool:
        # A step under the collection's lock each, after this thread has entered itself.
        self._finished.rotate(0)
        return bool(self._finished) or not self._outstanding[:1]

    # --- the process around -------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: the threads that slept here are gone."""
        self._news.after_fork()
        self._room.after_fork()

    def before_exit(self) -> None:
        """Nothing."""


class _InLoop(Generic[T]):
    """No generator, which a time-out of one step would end."""

    def __init__(self, results: ResultQueue[T]) -> None:
        self._results = results

    def __aiter__(self) -> _InLoop[T]:
        return self

    async def __anext__(self) -> Future[T]:
        return await self._results._next_in_loop()
