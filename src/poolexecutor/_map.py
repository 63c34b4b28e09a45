"""`map` and `map_unordered` over any `submit`: a future for each item.

The way of pools that do more for a request than a `Batch` can: a bounded queue, priorities, a
`submit` of a subclass.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from concurrent.futures import _base
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ._waiting import Futures, left_until, worker_of_this_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")


def check_buffersize(buffersize: int | None) -> None:
    """Raise TypeError or ValueError, with the standard texts, for what is no window size."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")


def deadline_of(timeout: float | None) -> float | None:
    """The time by the monotonic clock that is `timeout` seconds from now."""
    return None if timeout is None else time.monotonic() + timeout


def map_in_order(
    submitter: Callable[[], Callable[..., Future[T]] | None],
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[T]:
    """Submit `fn` for the items of `iterables` and return an iterator over the results in order.

    Args:
        submitter: Gives `submit`, called with `fn` positional and nothing but the items.
        fn: Takes as many arguments as there are iterables.
        iterables: Read to their end now, or, with `buffersize`, that far ahead of the results.
        timeout: Seconds from this call on within which each result must be there.
        buffersize: How many results may be outstanding; None, any number.
    """
    deadline = deadline_of(timeout)
    items = zip(*iterables, strict=False)
    futures: deque[Future[T]] = deque()
    _submit_all(submitter, fn, islice(items, buffersize), futures.append)
    return _results(futures, None if buffersize is None else (submitter, fn, items), deadline)


def map_as_completed(
    submitter: Callable[[], Callable[..., Future[T]] | None],
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[T]:
    """As `map_in_order`, with the results in the order in which they come."""
    deadline = deadline_of(timeout)
    items = zip(*iterables, strict=False)
    outstanding: set[Future[T]] = set()
    finished: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    awaited = Futures(shared=False)

    def add(future: Future[T]) -> None:
        outstanding.add(future)
        awaited.add(future)
        future.add_done_callback(finished.put)

    _submit_all(submitter, fn, islice(items, buffersize), add)

    def feed() -> None:
        if buffersize is not None:
            _submit_all(submitter, fn, islice(items, 1), add)

    return _results_as_completed(outstanding, partial(_next, finished, awaited), feed, deadline)


def _submit_all(
    submitter: Callable[[], Callable[..., Future[T]] | None],
    fn: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
    add: Callable[[Future[T]], object],
) -> None:
    submit = submitter()
    if submit is not None:
        for args in items:
            add(submit(fn, *args))


def _results(
    futures: deque[Future[T]],
    source: tuple[Any, Callable[..., T], Iterator[tuple[Any, ...]]] | None,
    deadline: float | None,
) -> Generator[T, None, None]:
    try:
        while futures:
            if source is not None:
                submitter, fn, items = source
                _submit_all(submitter, fn, islice(items, 1), futures.append)
            # No reference to the future may stay while the consumer has the result.
            yield _result_or_cancel(
                futures.popleft(), None if deadline is None else deadline - time.monotonic()
            )
    finally:
        for future in futures:
            future.cancel()


def _results_as_completed(
    outstanding: set[Future[T]],
    next_finished: Callable[[float | None], Future[T]],
    feed: Callable[[], None],
    deadline: float | None,
) -> Generator[T, None, None]:
    try:
        while outstanding:
            feed()
            yield _take(next_finished, outstanding, deadline)
    finally:
        for future in outstanding:
            future.cancel()


def _next(
    finished: queue.SimpleQueue[Future[T]], awaited: Futures, deadline: float | None
) -> Future[T]:
    def sleep() -> Future[T]:
        left = left_until(deadline)
        return finished.get(left != 0, left)  # up to Python 3.10, a time-out of 0 is without limit

    worker = worker_of_this_thread()
    if worker is None or not finished.empty():
        return sleep()
    return worker.wait(  # type: ignore[no-any-return]  # a Future
        sleep, deadline, awaited, lambda: not finished.empty(), worker.crew.is_small()
    )


def _take(
    next_finished: Callable[[float | None], Future[T]],
    outstanding: set[Future[T]],
    deadline: float | None,
) -> T:
    try:
        future = next_finished(deadline)
    except queue.Empty:
        raise _base.TimeoutError from None
    outstanding.discard(future)
    try:
        return future.result()
    finally:
        del future  # the traceback of what is raised holds this frame


def _result_or_cancel(future: Future[T], timeout: float | None) -> T:
    try:
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # it timed out, or this thread was interrupted
    finally:
        del future  # the traceback of what is raised holds this frame
