"""`ChunkedBatch`: a batch of which a worker takes several items at a time, as its user asked for.

A share is one chunk then. Its items are run one after the other by a loop in C, between two of
which nothing is looked at; who closes the batch, or cancels what it has left, empties the chunk
instead. Whatever counts requests counts items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from itertools import chain, repeat, starmap
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
        self._is_stopped = False

    def cut(self, items: Sequence[Any], size: int) -> int:
        """Take chunks of `size` items; how many. Their shares are for the caller to queue.

        Args:
            items: A list, tuple or range.
            size: Above 0.
        """
        # A range makes its numbers when they are asked for: that is for the worker to do, in
        # whose core's cache they are wanted.
        chunks: list[Any] = [items[at : at + size] for at in range(0, len(items), size)]
        self._sizes.extend(map(len, chunks))
        return self.add_all(chunks)

    def add(self, item: Any) -> int:
        """One chunk more, likewise."""
        self._sizes.append(len(item))
        return super().add(item)

    def surplus(self) -> int:
        """How many more items wait than shares do."""
        try:
            first, last = self._untaken[0], self._untaken[-1]
        except IndexError:
            return super().surplus()
        sizes = self._sizes[first : last + 1]
        return sum(sizes) - len(sizes) + super().surplus()

    def stop(self) -> None:
        """Have the chunks that are being run end after the item that is being run."""
        self._is_stopped = True
        for chunk in self._items[:]:
            if type(chunk) is list:
                chunk.clear()

    def _open(self, number: int) -> list[Any]:
        """A chunk, as the list that is to be run; empty if nothing is to be started any more."""
        chunk: Any = self._items[number]
        if type(chunk) is not list:
            chunk = self._items[number] = list(chunk)
            if self._is_stopped:  # looked at after the list is there, as `stop` does
                chunk.clear()
        return chunk  # type: ignore[no-any-return]  # a list

    def close(self) -> None:
        """As of a `Batch`."""
        super().close()
        self.stop()

    def _drop(self, untaken: Any) -> None:
        # Who meets the share counts one.
        self._crew.count(Tally(cancelled=self._sizes[untaken] - 1))
        super()._drop(untaken)

    def _run(self, claim: Claim) -> bool:
        """Run the items of the chunk whose share the worker has, and those whose shares come next.

        As of a `Batch`; but None is in `claim.item` until the number of the chunk is, since there
        is a call between the taking of the two: who is struck there has a share in hand.
        """
        crew = self._crew
        try:
            for share in chain((self,), map(deque.popleft, repeat(self._requests))):
                claim.item = None
                if share is not self:
                    claim.slot[0] = share
                    return True
                self._run_next(claim)
                if crew.is_alert:
                    break
        except IndexError:
            pass  # the queue is empty
        finally:
            # The traceback of what an item raised holds this frame.
            del self, crew
            share = None
        claim.item = None
        return False

    def _run_next(self, claim: Claim) -> None:
        outcomes: list[Any] = []
        settled: tuple[list[Any], bool] | None = None
        put = None if self._finished is None else self._finished.put
        number = BETWEEN
        try:
            for number in map(deque.popleft, (self._untaken,)):
                claim.item = number
                size = self._sizes[number]
                try:
                    chunk = self._open(number)
                    failed = run_chunk(self._fn, self._spread, chunk, outcomes)
                except BaseException as error:
                    self._settle_struck(claim, number, outcomes, error)
                    raise
                finally:
                    chunk = None  # type: ignore[assignment]  # as below
                ran = len(outcomes)
                if ran < size:
                    _fill_up(outcomes, size)
                self._items[number] = None
                settled = outcomes, failed > 0 or ran < size
                claim.item = BETWEEN
                claim.completed += ran - failed
                if failed or ran < size:
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
            del self, outcomes, settled, put  # as above

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

    def _has_requested(self, untaken: Any) -> None:
        pass  # `stop` looks for it there while it is run

    def _request_to_help(self, untaken: Any) -> WorkRequest[Any]:
        return self._request(untaken, counts=True)

    def _request(self, untaken: Any, counts: bool = False) -> WorkRequest[Any]:
        number: int = untaken
        size, ran = self._sizes[number], []
        ended: list[int] = []

        def run() -> Any:
            ran.append(True)
            outcomes: list[Any] = []
            failed = run_chunk(self._fn, self._spread, self._open(number), outcomes)
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
            self._let_go_of(number)
            self._settle(number, outcome_of(request))

        request: WorkRequest[Any] = WorkRequest(run, (), {})
        request.add_done_callback(settle)
        return request


def run_chunk(fn: Callable[..., Any], spread: bool, chunk: list[Any], outcomes: list[Any]) -> int:
    """Append to `outcomes` what becomes of each item of `chunk`; how many have failed.

    Ends early if `chunk` is emptied meanwhile. What is raised into this thread, and is no item's,
    is raised.
    """
    items = iter(chunk)
    calls: Iterator[Any] = starmap(fn, items) if spread else map(fn, items)
    failed = 0
    try:
        while True:
            try:
                outcomes.extend(calls)  # what was appended stays if it raises
                if _taken(items) is None:
                    return failed
                # It takes a StopIteration, raised by an item, for the end.
                raise StopIteration
            except BaseException as error:
                if len(outcomes) == _taken(items, len(outcomes)):
                    raise  # no item was taken for it
                outcomes.append(Failure(error))
                failed += 1
    finally:
        del outcomes, chunk, calls, items  # the traceback of what an item raised holds this frame


def _taken(items: Iterator[Any], at_end: int | None = None) -> int | None:
    """How many items have been taken from the iterator of a list; `at_end`, if it has ended."""
    state = items.__reduce__()  # its position is the third, while it has one
    return state[2] if len(state) > 2 else at_end  # type: ignore[return-value]  # an int


def _fill_up(outcomes: list[Any], size: int) -> None:
    missing = size - len(outcomes)
    outcomes.extend(Failure(CancelledError(), is_call=False) for _ in range(missing))


# --- the consumer's side ------------------------------------------------------------------------


class ChunkedResults(Iterator[T]):
    """The results of a `ChunkedBatch`, one by one; what an item raised is raised in its place.

    Args:
        batch: Closed when the iterator ends.
        outcomes: Of its chunks, see `_batch`.
    """

    def __init__(self, batch: ChunkedBatch[T], outcomes: Generator[Any, None, None]) -> None:
        self._pieces = _pieces(batch, outcomes)
        self._results: Iterator[T] = chain.from_iterable(self._pieces)

    def __iter__(self) -> Iterator[T]:
        return self._results  # a loop in C, to those that take them all

    def __next__(self) -> T:
        return next(self._results)

    def close(self) -> None:
        """Give no more, and run no more."""
        self._pieces.close()


def _pieces(
    batch: ChunkedBatch[Any], outcomes: Generator[Any, None, None]
) -> Generator[list[Any], None, None]:
    """The results of each chunk, which are let go together."""
    results: list[Any] = []
    try:
        for outcome in outcomes:
            results, has_failures = outcome
            del outcome
            if has_failures:
                failure = _cut_at_failure(results)
                yield results
                failure.reraise()
            yield results
    finally:
        results.clear()  # closed: who iterates over it is at its end
        outcomes.close()
        batch.close()  # it may have been interrupted before it began


def _cut_at_failure(outcomes: list[Any]) -> Failure:
    """Drop the first failure of them and what is behind it; that failure."""
    for at, outcome in enumerate(outcomes):
        if type(outcome) is Failure:
            del outcomes[at:]
            return outcome
    raise AssertionError("there is a failure among them")
