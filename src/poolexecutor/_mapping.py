"""`map` and `map_unordered` in batches: reads the inputs and queues the shares of the items.

The way of pools that do for an item of a map nothing but to run it; `_map` has the other one.
"""

from __future__ import annotations

import concurrent.futures.thread as _thread
import weakref
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import _window
from ._batch import Batch, results, results_as_completed
from ._chunks import ChunkedBatch, ChunkedResults
from ._map import deadline_of
from ._window import Window, window_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._workforce import Workforce

# Reading these runs no code of others, so they are read to their end first.
_SEQUENCES = frozenset([list, tuple, range])
_WHOLE = _SEQUENCES | frozenset([str, bytes, bytearray, dict, set, frozenset])


class Owner(_window.Owner, Protocol):
    """What is asked of the executor; a weak reference to it is kept."""

    def _adjust_thread_count(self) -> None: ...
    def _pe_refuse(self) -> None: ...


class Call(NamedTuple):
    """What `map` was called with; see there."""

    fn: Callable[..., Any]
    iterables: tuple[Iterable[Any], ...]
    timeout: float | None
    chunksize: int
    buffersize: int | None

    def is_whole(self) -> bool:
        """Whether all inputs can be read to their end at once."""
        return all(type(iterable) in _WHOLE for iterable in self.iterables)

    def is_chunked(self) -> bool:
        """Whether items are to be taken several at a time.

        The standard pool takes anything for `chunksize`, and does not look at it.
        """
        return isinstance(self.chunksize, int) and self.chunksize > 1


def map_in_batches(
    owner: Owner, workforce: Workforce, call: Call, *, ordered: bool
) -> Iterator[Any]:
    """Queue the items of a `map` and return an iterator over the results.

    Args:
        owner: The executor.
        workforce: Its own.
        call: What is to be mapped.
        ordered: Whether the results are wanted in order, or as they come.
    """
    deadline = deadline_of(call.timeout)
    spread = len(call.iterables) != 1
    items: Iterable[Any] = zip(*call.iterables, strict=False) if spread else call.iterables[0]
    parts = call.fn, spread, ordered, workforce.requests, workforce
    take = results if ordered else results_as_completed
    if call.buffersize is not None:
        items = iter(items)
        window: Window[Any] = Window(*parts)
        feed(owner, workforce, window, islice(items, call.buffersize))
        return window_results(window, items, workforce, weakref.ref(owner), deadline)
    if call.is_chunked():
        chunks: ChunkedBatch[Any] = ChunkedBatch(*parts)
        workforce.requests.add_uneven(chunks)
        _feed_chunks(owner, workforce, chunks, items, call)
        return ChunkedResults(chunks, take(chunks, range(chunks.fed), deadline))
    batch: Batch[Any] = Batch(*parts)
    if call.is_whole():
        _offer(owner, workforce, batch, batch.add_all(list(items)))
    else:
        feed(owner, workforce, batch, items)
    return take(batch, range(batch.fed), deadline)


def feed(owner: Owner, workforce: Workforce, batch: Batch[Any], items: Iterable[Any]) -> None:
    """Queue items one by one: what their iterator does between two may take long."""
    for item in items:
        batch.add(item)
        _offer(owner, workforce, batch, 1)


def _feed_chunks(
    owner: Owner,
    workforce: Workforce,
    batch: ChunkedBatch[Any],
    items: Iterable[Any],
    call: Call,
) -> None:
    size = call.chunksize
    if call.is_whole():
        sequence: Any = items if type(items) in _SEQUENCES else list(items)
        _offer(owner, workforce, batch, batch.cut(sequence, size))
    else:
        items = iter(items)
        while chunk := list(islice(items, size)):
            feed(owner, workforce, batch, [chunk])


def _offer(owner: Owner, workforce: Workforce, batch: Batch[Any], count: int) -> None:
    """Queue the shares of the last `count` items of the batch, and call workers for them.

    Raises:
        RuntimeError: As `submit`; none of them is run then.
    """
    if not count:
        return
    try:
        if not workforce.is_open or _thread._shutdown:
            owner._pe_refuse()
        requests = workforce.requests
        requests.requests.extend(repeat(batch, count))
        for _ in range(count):
            if not batch.has_items():
                break
            if not requests.idle[-1:] and len(workforce.active) >= workforce.bounds.limit:
                break
            owner._adjust_thread_count()
        if not workforce.is_open or _thread._shutdown:
            owner._pe_look_again(batch)
    except BaseException as error:
        if batch.take_back(count) or not isinstance(error, RuntimeError):
            raise
