"""`Batch`: the items of one `map`, from which the workers take one after the other.

A call of `map` for a million items makes one of these instead of a million requests. It lies in the
queue once for each item (a *share*; all shares are the same object), in the place that a request
for that item would have. So whatever is true of requests is true of items: their order among other
requests, what counts as queued, what `resize`, `drain` and priorities make of them. Who has a share
takes the next item, so items start in order; one after the other in each worker.

Protocol
--------
`_untaken` has the numbers of the items that nobody has taken; taking one out decides who runs it,
or sees to it that it is never run. An item is put into `_items` and its number into `_untaken`
before its share goes into the queue, so who has a share finds a number, unless the batch was
closed. Who has a number is the only one to settle it. (`_window` keeps the two together.)

In order: `_outcomes` maps numbers to outcomes. Its `setdefault` is one indivisible step, under the
GIL and, without it, under the dict's own lock. A consumer that comes before the outcome leaves a
lock there and sleeps on it; who brings the outcome finds the lock, stores the outcome and releases.
As completed: outcomes go into a `queue.SimpleQueue`.

A worker that runs an item has its number in `claim.item`; `BETWEEN` when it is settled and the
share used up; None when it runs nothing of a batch. Between taking a number and storing it there is
no call, so nothing can strike there (since Python 3.11).

A task that iterates over a map of its own pool runs the item that it waits for itself, if nobody
has taken it: it takes its number, and then a share out of the queue. Where that is not to be had at
once a share is *spent*: it lies there with no item, and whoever takes it is told so by an entry in
`_spent`, put in before the number is taken out.

The queue, the counts and `is_alert` belong to the workforce; user code runs under no lock.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, _base
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, TypeVar

from . import _lifecycle
from ._future import BETWEEN, Failed, Unretrieved, mark_cancellation
from ._request import WorkRequest
from ._stats import Tally
from ._waiting import worker_of_this_thread
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from ._future import Claim

T = TypeVar("T")

MISSING: Final = object()
_FORKED = "the process was forked; what was submitted before the fork runs in the parent only"


class Crew(Protocol):
    """What a batch asks of the workers' common affairs; see `_workforce`."""

    is_alert: bool

    def count(self, tally: Tally) -> None: ...
    def summon_somebody(self) -> None: ...


class Queue(Protocol):
    """What it asks of the queue; see `_request_queue`."""

    requests: deque[Any]

    def has_requests(self) -> bool: ...
    def remove_if_near(self, request: Any) -> bool: ...
    def put_back(self, request: Any) -> None: ...
    def add_uneven(self, batch: Any) -> None: ...


class Failure:
    """The outcome of an item that raised, or was cancelled."""

    __slots__ = ("exception", "unretrieved")

    def __init__(self, exception: BaseException, is_call: bool = True) -> None:
        self.exception: BaseException | None = exception
        self.unretrieved = Unretrieved(exception) if is_call else None

    def reraise(self) -> NoReturn:
        """Raise it, for the consumer, and forget it: its traceback holds frames that hold this."""
        exception, self.exception = self.exception, None
        assert exception is not None
        if self.unretrieved is not None:
            self.unretrieved.exception = None
        try:
            raise exception
        finally:
            del exception


class Batch(Generic[T]):
    """The items of one `map` and their outcomes.

    Args:
        fn: Called for each item.
        spread: Whether an item is a tuple of arguments.
        ordered: Whether the outcomes are wanted in order, or as they come.
        requests: The pool's queue.
        crew: The pool's workforce.
    """

    def __init__(
        self,
        fn: Callable[..., T],
        spread: bool,
        ordered: bool,
        requests: Queue,
        crew: Crew,
    ) -> None:
        self.fed = 0  # how many items there have been
        self._fn = fn
        self._spread = spread
        self._queue = requests
        self._requests = requests.requests
        self._crew = crew
        self._items: list[Any] = []
        self._untaken: deque[Any] = deque()
        self._outcomes: dict[int, Any] = {}
        self._failures: list[int] = []  # entered before the outcome is there
        self._finished: queue.SimpleQueue[Any] | None = None if ordered else queue.SimpleQueue()
        self._is_closed = False
        self._is_orphaned = False
        self._left_behind: deque[Any] | None = None
        self._spent: list[None] = []  # an entry for each share that will find no item
        self._sleeper: Any = None  # the lock of a consumer that waits
        _lifecycle.register(self)

    # --- in -----------------------------------------------------------------------------------

    def add_all(self, items: Sequence[Any]) -> int:
        """Items to be run; how many. Their shares are for the caller to queue."""
        self._items.extend(items)
        self.fed = len(self._items)
        self._untaken.extend(range(self.fed))
        return self.fed

    def add(self, item: Any) -> int:
        """One item more; its number. Its share is for the caller to queue."""
        number = self.fed
        self._items.append(item)
        self.fed = number + 1
        self._untaken.append(number)
        return number

    def take_back(self, count: int) -> int:
        """Of the last items, whose submission raises, have none run; how many nobody has taken."""
        taken_back = 0
        try:
            for _ in range(count):
                self._drop(self._untaken.pop())
                taken_back += 1
        except IndexError:
            pass
        return taken_back

    def has_items(self) -> bool:
        """Whether there are items that nobody has taken."""
        return bool(self._untaken)

    # --- out ----------------------------------------------------------------------------------

    def await_outcome(self, number: int, deadline: float | None) -> None:
        """Wait until it is known what an item gave; raise what it raised.

        Raises:
            TimeoutError: It was not there at the deadline.
        """
        worker = worker_of_this_thread()
        sleep = partial(self._await_outcome, number, deadline)
        if worker is None:
            sleep()
        else:
            worker.wait(sleep, deadline, _Item(self, number), partial(self._is_there, number))

    def _is_there(self, number: int) -> bool:
        return number in self._outcomes and self._outcomes.get(number) is not self._sleeper

    def _await_outcome(self, number: int, deadline: float | None) -> None:
        sleeper = threading.Lock()
        sleeper.acquire()
        self._sleeper = sleeper
        if self._outcomes.setdefault(number, sleeper) is sleeper and not self._is_orphaned:
            remaining = -1 if deadline is None else max(0.0, deadline - time.monotonic())
            if not sleeper.acquire(True, remaining):
                raise _base.TimeoutError
        found = self._outcomes[number]
        if found is sleeper:
            _orphaned().reraise()
        if type(found) is Failure:
            self._outcomes.pop(number).reraise()

    def next_outcome(self, deadline: float | None) -> Any:
        """The outcome that came first of those not yet taken, likewise."""
        finished = self._finished
        assert finished is not None
        worker = worker_of_this_thread()
        if worker is None:
            return self._next_outcome(deadline)
        sleep = partial(self._next_outcome, deadline)
        return worker.wait(
            sleep, deadline, self, lambda: not finished.empty(), worker.crew.is_small()
        )

    def _next_outcome(self, deadline: float | None) -> Any:
        assert self._finished is not None
        if deadline is None:
            return self._finished.get()
        left = max(0.0, deadline - time.monotonic())
        try:
            return self._finished.get(left > 0, left)  # up to Python 3.10, 0 is without limit
        except queue.Empty:
            raise _base.TimeoutError from None

    def close(self) -> None:
        """Nobody wants what is left: what has not started is not run."""
        self._is_closed = True
        try:
            while True:
                self._drop(self._untaken.popleft())
                mark_cancellation()
        except IndexError:
            pass

    def _drop(self, untaken: Any) -> None:
        """It will not be run."""
        self._let_go_of(untaken)

    def _let_go_of(self, untaken: Any) -> None:
        """Nobody needs the item any more."""
        self._items[untaken] = None

    # --- what the queue asks of a request; see `_request` --------------------------------------

    def _run(self, claim: Claim) -> bool:
        """Run the item whose share the worker has, and those whose shares come next.

        The worker's slot is left as it is while the next request in the queue is a share of this
        batch again. True if it is another one; the slot has it then.
        """
        fn, spread, items, crew = self._fn, self._spread, self._items, self._crew
        settle = self._outcomes.setdefault
        put = None if self._finished is None else self._finished.put
        # No call to `popleft` itself, see the protocol. Both end by IndexError only.
        shares = map(deque.popleft, repeat(self._requests))
        numbers = map(deque.popleft, repeat(self._untaken))
        item, result, number = None, MISSING, BETWEEN
        try:
            for share in chain((self,), shares):
                if share is not self:
                    claim.slot[0] = share
                    claim.item = None
                    return True
                try:
                    for number in numbers:
                        claim.item = number
                        item = items[number]
                        items[number] = None
                        try:
                            result = fn(*item) if spread else fn(item)
                        except BaseException as error:
                            result = Failure(error)
                            claim.item = BETWEEN
                            claim.failed += 1
                            if put is None:
                                self._failures.append(number)
                        else:
                            claim.item = BETWEEN
                            claim.completed += 1
                        if put is not None:
                            put(result)
                        elif settle(number, result) is not result:
                            self._wake(number, result)
                        break
                except IndexError:
                    claim.item = BETWEEN
                    if not self._is_spent():
                        claim.cancelled += 1  # closed
                item, result = None, MISSING
                if crew.is_alert:
                    break
        except IndexError:
            pass  # the queue is empty
        except BaseException:
            # Raised into this thread; it can strike where calls return.
            if result is not MISSING and put is None:
                self._settle(number, result)
            raise
        finally:
            # The traceback of what an item raised holds this frame.
            del self, fn, items, crew, settle, put, shares, numbers, item, result
            share = None
        claim.item = None
        return False

    def _wake(self, number: int, outcome: Any) -> None:
        """The consumer was there before the outcome."""
        sleeper = self._outcomes[number]
        self._outcomes[number] = outcome
        sleeper.release()

    def _settle(self, number: int, outcome: Any) -> None:
        if type(outcome) is Failure:
            self._failures.append(number)
        if self._finished is not None:
            self._finished.put(outcome)
        elif self._outcomes.setdefault(number, outcome) is not outcome:
            self._wake(number, outcome)

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        number, claim.item = claim.item, None
        if number is None:
            return False
        if number != BETWEEN:
            claim.failed += 1
            self._settle(number, Failure(error))
        return True

    def replace(self, slot: list[Any]) -> bool:
        """Have `slot`, in which a share is, have a request for an item instead.

        False if the share is spent.
        """
        hand: list[Any] = []  # what was taken, in one step with taking it
        try:
            for _ in map(hand.append, map(deque.popleft, (self._untaken,))):
                slot[0] = self._request(hand[0])
                break  # forward: at a jump back to the loop's head something could strike
        except IndexError:
            if self._is_spent():
                return False
            closed: WorkRequest[T] = WorkRequest(self._fn, (), {})
            closed.cancel()
            slot[0] = closed
        except BaseException:
            if hand and slot[0] is self:
                self._untaken.appendleft(hand[0])  # interrupted: it keeps its turn
            raise
        else:
            self._has_requested(hand[0])
        return True

    def _request(self, untaken: Any) -> WorkRequest[Any]:
        return self._request_for(untaken, self._items[untaken])

    def _request_for(self, number: int, item: Any) -> WorkRequest[Any]:
        request: WorkRequest[Any] = WorkRequest(self._fn, item if self._spread else (item,), {})
        request.add_done_callback(lambda future: self._settle(number, outcome_of(future)))
        return request

    def _has_requested(self, untaken: Any) -> None:
        """A request has been made of it, which was taken."""
        self._let_go_of(untaken)

    # --- what a worker asks of it whose task waits for it; see `_waiting.Awaited` ----------------

    def _waits_in(self, requests: Any) -> bool:
        return self._queue is requests and bool(self._untaken)

    def _next_in(self, requests: Any) -> WorkRequest[Any] | None:
        return self.take_awaited(requests, None)

    def has_not_begun(self, number: int) -> bool:
        """Whether nobody has taken this item, which has not been taken back either."""
        try:
            return self._number_of(self._untaken[0]) <= number
        except IndexError:
            return False

    def _number_of(self, untaken: Any) -> int:
        return untaken  # type: ignore[no-any-return]  # an int

    def _find(self, number: int) -> Any:
        """What `_untaken` has, or had, for an item."""
        return number

    def take_awaited(self, requests: Any, number: int | None) -> WorkRequest[Any] | None:
        """Take this item, or the next one if None, for the caller to run it."""
        if self._queue is not requests:
            return None
        untaken, hand = self._untaken, []  # type: ignore[var-annotated]  # of what was taken
        # It stays in `hand` in one step with its taking; or None, if it was known before.
        found = None if number is None else self._find(number)
        taking = (
            map(deque.popleft, (untaken,))
            if number is None
            else map(deque.remove, (untaken,), (found,))
        )
        self._spent.append(None)
        request: WorkRequest[Any] | None = None
        try:
            for _ in map(hand.append, taking):
                found = hand[0] if number is None else found
                request = self._request_to_help(found)
                break  # as above
        except (IndexError, ValueError):
            self._unspend()
            return None
        except BaseException:
            if hand and request is None:
                untaken.appendleft(hand[0] if number is None else found)  # interrupted
                self._unspend()
            raise
        try:
            self._spend_share()
            self._has_requested(found)
        except BaseException as error:
            self._settle(self._number_of(found), Failure(error))  # raised into this thread
            self._crew.count(Tally(failed=1))
            raise
        return request

    def _spend_share(self) -> None:
        """For an item that was taken without one."""
        if not self._queue.remove_if_near(self):
            self._queue.add_uneven(self)
        elif not self._is_spent():
            # Somebody has come upon the spent one already; this is another item's.
            self._queue.put_back(self)
            self._crew.summon_somebody()

    def _request_to_help(self, untaken: Any) -> WorkRequest[Any]:
        return self._request(untaken)

    def _is_spent(self) -> bool:
        """For one who has a share and finds no item: whether that was to be expected."""
        try:
            self._spent.pop()
        except IndexError:
            return False
        return True

    def _unspend(self) -> None:
        if not self._is_spent():
            # Somebody whose item was dropped has taken it for this one.
            self._crew.count(Tally(cancelled=1))

    def surplus(self) -> int:
        """How many more items wait than shares do."""
        return -len(self._spent)

    def count_spent(self) -> int:
        """How many of the shares that count as cancelled are none."""
        return len(self._spent) if self._is_closed else 0

    def stop(self) -> None:
        """Start nothing more of what a worker has: nothing, but for chunks."""

    def _has_ended(self) -> bool:
        return True  # `claim.item` tells

    def _is_helped(self) -> bool:
        return False  # `surplus` tells

    def cancelled(self) -> bool:
        return self._is_closed

    def _has_expired(self) -> bool:
        return False

    def _fail(self, error: BaseException) -> None:
        """The pool is broken: what nobody has taken is not run."""
        try:
            while True:
                number = self._number_of(self._untaken.popleft())
                self._settle(number, Failure(error, is_call=False))
        except IndexError:
            pass

    def _orphan(self, error: BaseException) -> None:
        """In the child of a fork: see `after_fork`."""

    # --- the process around -------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: no outcome will come any more."""
        self._is_orphaned = True
        # Kept: what goes here has its finalizers run in the midst of the fork.
        self._left_behind = self._untaken.copy()
        self._untaken.clear()
        if self._finished is not None:
            self._finished.put(_orphaned())
        elif self._sleeper is not None:
            try:
                self._sleeper.release()  # a signal handler may have forked on top of it
            except RuntimeError:
                pass

    def before_exit(self) -> None:
        """Nothing: the pool finishes what is queued."""


class _Item:
    """One item of a batch, to a task that waits for it."""

    __slots__ = ("_batch", "_number")

    def __init__(self, batch: Batch[Any], number: int) -> None:
        self._batch = batch
        self._number = number

    def _waits_in(self, requests: Any) -> bool:
        return self._batch._waits_in(requests) and self._batch.has_not_begun(self._number)

    def _next_in(self, requests: Any) -> WorkRequest[Any] | None:
        return self._batch.take_awaited(requests, self._number)


def outcome_of(future: Any) -> Any:
    """Of a request that is done. Nothing is raised: a traceback would hold the future."""
    if future.cancelled():
        return Failure(CancelledError(), is_call=False)
    error = future.exception()
    if error is None:
        return future.result()
    return Failure(error, is_call=type(future._fold()[1]) is not Failed)


def _orphaned() -> Failure:
    return Failure(BrokenThreadPool(_FORKED), is_call=False)


# --- the consumer's side ------------------------------------------------------------------------


def results(
    batch: Batch[T], numbers: Iterable[int], deadline: float | None
) -> Generator[T, None, None]:
    """The results of a batch in order; what an item raised is raised in its place.

    Args:
        batch: Closed when the iterator ends.
        numbers: Of the items, as they are wanted.
        deadline: By the monotonic clock.
    """
    # As batch.outcome, without the call. No reference to a result may stay while the consumer has
    # it. Whoever finds an outcome there finds that it is a failure, too: that was entered before.
    outcomes, failures = batch._outcomes, batch._failures
    take = outcomes.pop
    try:
        for number in numbers:
            if number not in outcomes or failures:
                batch.await_outcome(number, deadline)
            yield take(number)
    finally:
        batch.close()


def results_as_completed(
    batch: Batch[T], numbers: Iterable[int], deadline: float | None
) -> Generator[T, None, None]:
    """The results of a batch as they come, likewise."""
    assert batch._finished is not None
    take = batch._finished.get_nowait
    found: Any = MISSING
    try:
        for _ in numbers:
            try:
                found = take()
            except queue.Empty:
                pass  # whatever is run while this waits is not to find itself in a handler
            if found is MISSING:
                found = batch.next_outcome(deadline)
            if type(found) is Failure:
                found.reraise()
            yield (found, found := MISSING)[0]
    finally:
        found = None
        batch.close()
