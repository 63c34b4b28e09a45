"""`ChunkedBatch`: a batch of which a worker takes several items at a time, as its user asked for.

A share is one chunk then. Its items are run one after the other by a loop in C, between two of
which nothing is looked at; who closes the batch, or cancels what it has left, empties the chunk
instead. Whatever counts requests counts items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any, TypeVar

from ._batch import Batch, Failure
from ._future import BETWEEN
from ._request import WorkRequest
from ._stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from concurrent.futures import Future

    from ._future import Claim

T = TypeVar("T")


class ChunkedBatch(Batch[T]):
    """As a `Batch`; its items are lists, its outcomes pairs of a list of outcomes and whether there
    is a `Failure` among them.
    """

    def cut(self, items: Sequence[Any], size: int) -> int:
        """Take chunks of `size` items; how many. Their shares are for the caller to queue."""
        return self.add_all([items[at : at + size] for at in range(0, len(items), size)])

    def surplus(self) -> int:
        """How many more items wait than shares do."""
        chunks = [self._items[number] for number in self._numbers.copy()]
        return sum(len(chunk) - 1 for chunk in chunks if chunk)

    def stop(self) -> None:
        """Have the chunks that are being run end after the item that is being run."""
        for chunk in self._items[:]:
            if chunk is not None:
                chunk.clear()

    def close(self) -> None:
        """As of a `Batch`."""
        super().close()
        self.stop()

    def _drop(self, number: int) -> None:
        # Who meets the share counts one.
        self._crew.count(Tally(cancelled=len(self._items[number]) - 1))
        super()._drop(number)

    def _run(self, claim: Claim) -> bool:
        """Run the items of the chunk whose share the worker has."""
        try:
            for number in map(deque.popleft, (self._numbers,)):
                claim.item = number
                outcomes, failed, missing = self._run_chunk(self._items[number])
                self._take(number)
                claim.item = BETWEEN
                claim.completed += len(outcomes) - failed - missing
                claim.failed += failed
                claim.cancelled += missing
                self._settle(number, (outcomes, failed + missing > 0))
        except IndexError:
            claim.cancelled += 1  # closed
        finally:
            # The traceback of what an item raised holds this frame.
            outcomes = []
            del self
        claim.item = None
        return False

    def _run_chunk(self, chunk: list[Any]) -> tuple[list[Any], int, int]:
        """Outcomes of its items; how many have failed; how many were not run."""
        size = len(chunk)
        outcomes: list[Any] = []
        try:
            failed = run_chunk(self._fn, self._spread, chunk, outcomes)
            missing = size - len(outcomes)
            outcomes.extend(Failure(CancelledError(), is_call=False) for _ in range(missing))
            return outcomes, failed, missing
        finally:
            del outcomes, chunk, self

    def _request(self, number: int) -> WorkRequest[Any]:
        chunk = self._items[number]
        size = len(chunk)

        def run() -> Any:
            outcomes, failed, missing = self._run_chunk(chunk)
            self._take(number)
            return outcomes, failed + missing > 0

        def count(future: Future[Any]) -> None:
            if future.cancelled():
                self._crew.count(Tally(cancelled=size - 1))

        request: WorkRequest[Any] = WorkRequest(run, (), {})
        request.add_done_callback(count)
        return request


def run_chunk(fn: Callable[..., Any], spread: bool, chunk: list[Any], outcomes: list[Any]) -> int:
    """Append to `outcomes` what becomes of each item of `chunk`; how many have failed.

    Ends early if `chunk` is emptied meanwhile.
    """
    size, failed = len(chunk), 0
    calls: Iterator[Any] = starmap(fn, chunk) if spread else map(fn, chunk)
    try:
        while True:
            try:
                outcomes.extend(calls)  # what was appended stays if it raises
                if len(outcomes) == size or not chunk:
                    return failed
                # It takes a StopIteration, raised by an item, for the end.
                raise StopIteration
            except BaseException as error:
                outcomes.append(Failure(error))
                failed += 1
    finally:
        del outcomes, chunk, calls  # the traceback of what an item raised holds this frame


# --- the consumer's side ------------------------------------------------------------------------


class ChunkedResults(Iterator[T]):
    """The results of a `ChunkedBatch`, one by one; what an item raised is raised in its place.

    Args:
        batch: Closed when the iterator ends.
        next_chunk: Gives the next outcome of the batch; called `count` times.
        count: How many there are.
    """

    def __init__(self, batch: ChunkedBatch[T], next_chunk: Callable[[], Any], count: int) -> None:
        self._pieces = _pieces(batch, next_chunk, count)
        self._results: Iterator[T] = chain.from_iterable(self._pieces)

    def __iter__(self) -> Iterator[T]:
        return self._results  # a loop in C, to those that take them all

    def __next__(self) -> T:
        return next(self._results)

    def close(self) -> None:
        """Give no more, and run no more."""
        self._pieces.close()


def _pieces(
    batch: ChunkedBatch[T], next_chunk: Callable[[], Any], count: int
) -> Generator[list[T], None, None]:
    """The results of each chunk, which are let go together."""
    results: list[Any] = []
    try:
        for _ in range(count):
            chunk = next_chunk()
            if type(chunk) is Failure:
                chunk.reraise()
            results, has_failures = chunk
            del chunk
            if has_failures:
                failure = _cut_at_failure(results)
                yield results
                failure.reraise()
            yield results
    finally:
        results.clear()  # closed: who iterates over it is at its end
        batch.close()


def _cut_at_failure(outcomes: list[Any]) -> Failure:
    """Drop the first failure of them and what is behind it; that failure."""
    for at, outcome in enumerate(outcomes):
        if type(outcome) is Failure:
            del outcomes[at:]
            return outcome
    raise AssertionError("there is a failure among them")
