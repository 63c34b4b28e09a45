"""`Executor.map` with `buffersize`, as since Python 3.14, over any `submit`."""

from __future__ import annotations

import time
import weakref
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future

T = TypeVar("T")


def check_buffersize(buffersize: int | None) -> None:
    """Raise TypeError or ValueError, with the standard texts, for what is no window size."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")


def map_in_order(
    executor: Executor,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[T]:
    """Submit `fn` for the items of `iterables` and return an iterator over the results in order.

    Args:
        executor: Whose `submit` is called, with `fn` positional and nothing but the items.
        fn: Takes as many arguments as there are iterables.
        iterables: Read to their end now, or, with `buffersize`, that far ahead of the results.
        timeout: Seconds from this call on within which each result must be there.
        buffersize: How many results may be outstanding; None, any number.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    items = zip(*iterables, strict=False)
    submit = executor.submit
    futures = deque([submit(fn, *args) for args in islice(items, buffersize)])
    del submit  # only the generator's weak reference shall stay
    # A pool that its user has forgotten is collected though the iterator lives on.
    source = None if buffersize is None else (weakref.ref(executor), fn, items)
    return _results(futures, source, deadline)


def _results(
    futures: deque[Future[T]],
    source: tuple[weakref.ref[Executor], Callable[..., T], Iterator[tuple[Any, ...]]] | None,
    deadline: float | None,
) -> Generator[T, None, None]:
    try:
        while futures:
            if source is not None:
                _submit_next(futures, *source)
            # No reference to the future may stay while the consumer has the result.
            yield _result_or_cancel(
                futures.popleft(), None if deadline is None else deadline - time.monotonic()
            )
    finally:
        for future in futures:
            future.cancel()


def _submit_next(
    futures: deque[Future[T]],
    reference: weakref.ref[Executor],
    fn: Callable[..., T],
    items: Iterator[tuple[Any, ...]],
) -> None:
    executor = reference()
    if executor is not None:
        for args in islice(items, 1):
            futures.append(executor.submit(fn, *args))


def _result_or_cancel(future: Future[T], timeout: float | None) -> T:
    try:
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # it timed out, or this thread was interrupted
    finally:
        del future  # the traceback of what is raised holds this frame
