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
from operator import length_hint
from typing import TYPE_CHECKING, Any, TypeVar

from ._batch import Batch, Failure, outcome_of
from ._future import BETWEEN
from ._request import WorkRequest
from ._stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ._future import Claim

T = TypeVar("T")


class ChunkedBatch(Batch[T]):
    """As a `Batch`; its items are lists, its outcomes pairs of a list of outcomes and whether there
    is a `Failure` among them.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sizes: list[int] = []  # of the chunks, which may be emptied

    def cut(self, items: Sequence[Any], size: int) -> int:
        """Take chunks of `size` items; how many. Their shares are for the caller to queue."""
        chunks = [list(items[at : at + size]) for at in range(0, len(items), size)]
        self._sizes.extend(map(len, chunks))
        return self.add_all(chunks)

    def add(self, item: Any) -> int:
        """One chunk more, likewise."""
        self._sizes.append(len(item))
        return super().add(item)

    def surplus(self) -> int:
        """How many more items wait than shares do."""
        try:
            first, last = self._numbers[0], self._numbers[-1]
        except IndexError:
            return super().surplus()
        sizes = self._sizes[first : last + 1]
        return sum(sizes) - len(sizes) + super().surplus()

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
        self._crew.count(Tally(cancelled=self._sizes[number] - 1))
        super()._drop(number)

    def _run(self, claim: Claim) -> bool:
        """Run the items of the chunk whose share the worker has."""
        outcomes: list[Any] = []
        settled: tuple[list[Any], bool] | None = None
        put = None if self._finished is None else self._finished.put
        number = BETWEEN
        try:
            for number in map(deque.popleft, (self._numbers,)):
                claim.item = number
                size = self._sizes[number]
                try:
                    failed = run_chunk(self._fn, self._spread, self._items[number], outcomes, size)
                except BaseException as error:
                    self._settle_struck(claim, number, outcomes, error)
                    raise
                ran = len(outcomes)
                _fill_up(outcomes, size)
                self._take(number)
                settled = outcomes, failed > 0 or ran < size
                claim.item = BETWEEN
                claim.completed += ran - failed
                claim.failed += failed
                claim.cancelled += size - ran
                if put is not None:
                    put(settled)
                else:
                    self._settle(number, settled)
        except IndexError:
            claim.item = BETWEEN
            if not self._is_spent():
                claim.cancelled += 1  # closed
        except BaseException:
            # Raised into this thread; it can strike where calls begin and return.
            if claim.item == BETWEEN and settled is not None and put is None:
                self._settle(number, settled)
            raise
        finally:
            # The traceback of what an item raised holds this frame.
            del self, outcomes, settled, put
        claim.item = None
        return False

    def _settle_struck(
        self, claim: Claim, number: int, outcomes: list[Any], error: BaseException
    ) -> None:
        """Raised into this thread, between items: the chunk ends here."""
        claim.item = BETWEEN
        ran, size = len(outcomes), self._sizes[number]
        failed = sum(type(outcome) is Failure for outcome in outcomes)
        claim.completed += ran - failed
        claim.failed += failed
        claim.cancelled += size - ran
        if ran < size:
            outcomes.append(Failure(error))
        _fill_up(outcomes, size)
        self._settle(number, (outcomes, ran < size or failed > 0))

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        number = claim.item
        if number is not None and number != BETWEEN:
            claim.failed += self._sizes[number] - 1
        return super()._abandon(claim, error)

    def _let_go_of(self, number: int) -> None:
        pass  # `stop` looks for it there while it is run

    def _request_to_help(self, number: int) -> WorkRequest[Any]:
        return self._request(number, counts=True)

    def _request(self, number: int, counts: bool = False) -> WorkRequest[Any]:
        chunk, size, ran = self._items[number], self._sizes[number], []
        ended: list[int] = []

        def run() -> Any:
            ran.append(True)
            outcomes: list[Any] = []
            failed = run_chunk(self._fn, self._spread, chunk, outcomes, size)
            missing = size - len(outcomes)
            _fill_up(outcomes, size)
            ended.extend((failed, missing))
            return outcomes, failed + missing > 0

        def settle(request: Any) -> None:
            if request.cancelled():
                self._crew.count(Tally(cancelled=size - 1))
            elif not ran:
                self._crew.count(Tally(failed=size - 1))
            elif counts and ended:  # it counts as one that was completed, so far
                failed, missing = ended
                self._crew.count(Tally(size - failed - missing - 1, failed, missing))
            self._take(number)
            self._settle(number, outcome_of(request))

        request: WorkRequest[Any] = WorkRequest(run, (), {})
        request.add_done_callback(settle)
        return request


def run_chunk(
    fn: Callable[..., Any], spread: bool, chunk: list[Any], outcomes: list[Any], size: int
) -> int:
    """Append to `outcomes` what becomes of each item of `chunk`; how many have failed.

    Ends early if `chunk`, of `size` items at first, is emptied meanwhile. What is raised into this
    thread, and is no item's, is raised.
    """
    items = iter(chunk)
    calls: Iterator[Any] = starmap(fn, items) if spread else map(fn, items)
    failed = 0
    try:
        while True:
            try:
                outcomes.extend(calls)  # what was appended stays if it raises
                if len(outcomes) >= size - length_hint(items) or not chunk:
                    return failed
                # It takes a StopIteration, raised by an item, for the end.
                raise StopIteration
            except BaseException as error:
                if len(outcomes) >= size - length_hint(items):
                    raise  # no item was taken for it
                outcomes.append(Failure(error))
                failed += 1
    finally:
        del outcomes, chunk, calls, items  # the traceback of what an item raised holds this frame


def _fill_up(outcomes: list[Any], size: int) -> None:
    missing = size - len(outcomes)
    outcomes.extend(Failure(CancelledError(), is_call=False) for _ in range(missing))


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
