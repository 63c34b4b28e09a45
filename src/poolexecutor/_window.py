"""`Window`: a batch whose items come as its outcomes are taken, so many ahead and no more.

It is read, queued and taken from all the time, so all that a worker needs of an item lies in one
place: `_untaken` has pairs of its number and the item.

Protocol, beyond that of a `Batch`
----------------------------------
Who adds an item calls an idle worker, or starts one, only if no earlier item waits to be taken. If
one does, whoever takes that looks at the queue after it: a worker that comes to the batch anew
calls or starts another one if more waits, and so does an outsider. So each request that waits while
anybody is idle has a worker that was called, and has not looked yet, for itself or for an item
before it. (One that is in the midst of the batch calls nobody: the worker called for the item that
it takes is on its way, and finds the next one. If none was called, since nobody was idle, nobody
became idle either while that item's share lay in the queue; and between taking the share and taking
the item nothing happens. Where that is not so, without the GIL and before Python 3.11, all who take
call.) Each side publishes before it looks: the item, then `_untaken`; the taking, then the queue.
"""

from __future__ import annotations

import concurrent.futures.thread as _thread
import queue
import sys
import sysconfig
from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ._batch import MISSING, Batch, Failure
from ._future import BETWEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ._future import Claim
    from ._request import WorkRequest

T = TypeVar("T")

# Whether another thread may run between the taking of a share and that of an item.
_EACH_CALLS: Final = sys.version_info < (3, 11) or bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class Pool(Protocol):
    """What is asked of the pool by who feeds a window; see `_workforce`, `_request_queue`."""

    is_open: bool
    requests: Any
    active: set[Any]
    bounds: Any

    def summon(self) -> None: ...


class Owner(Protocol):
    """What is asked of the executor, where the hot path ends."""

    def _pe_feed(self, window: Window[Any], items: Iterator[Any]) -> None: ...
    def _pe_look_again(self, batch: Batch[Any]) -> None: ...


class Window(Batch[T]):
    """As a `Batch`."""

    def add(self, item: Any) -> int:
        """One item more; its number. Its share is for the caller to queue."""
        number = self.fed
        self.fed = number + 1
        self._untaken.append((number, item))
        return number

    def _run(self, claim: Claim) -> bool:
        """As of a `Batch`, which see: the worker's slot, and what ends it, are the same here.

        Written out a second time, since a step that is left to each of the two costs each item.
        """
        fn, spread, crew = self._fn, self._spread, self._crew
        settle = self._outcomes.setdefault
        put = None if self._finished is None else self._finished.put
        shares = map(deque.popleft, repeat(self._requests))
        items = map(deque.popleft, repeat(self._untaken))
        item, result, number = None, MISSING, BETWEEN
        must_call = True
        try:
            for share in chain((self,), shares):
                if share is not self:
                    claim.slot[0] = share
                    claim.item = None
                    return True
                try:
                    for number, item in items:
                        claim.item = number
                        if must_call:
                            must_call = _EACH_CALLS
                            self._call_another()
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
            del self, fn, crew, settle, put, shares, items, item, result
            share = None
        claim.item = None
        return False

    def _call_another(self) -> None:
        """For the items behind the one that was taken, see the protocol."""
        if self._queue.has_requests():
            self._crew.summon_somebody()

    # --- what is in `_untaken`, to a `Batch` ----------------------------------------------------

    def _number_of(self, untaken: Any) -> int:
        return untaken[0]  # type: ignore[no-any-return]  # an int

    def _find(self, number: int) -> Any:
        for _ in range(100):
            try:
                untaken = self._untaken.copy()
            except RuntimeError:
                continue  # changed meanwhile: without the GIL, a copy is not one step
            # No two have the same number, so no item is ever compared with another one.
            return next((pair for pair in untaken if pair[0] == number), None)
        return None

    def _let_go_of(self, untaken: Any) -> None:
        pass  # it went with its taking

    def _request(self, untaken: Any) -> WorkRequest[Any]:
        return self._request_for(*untaken)

    def _has_requested(self, untaken: Any) -> None:
        self._call_another()


def window_results(
    window: Window[T],
    items: Iterator[Any],
    pool: Pool,
    owner: Callable[[], Owner | None],
    deadline: float | None,
) -> Generator[T, None, None]:
    """The results of a window; before each of them one item more is read and queued.

    What an item raised is raised in its place. The hot path: no reference to an item or a result
    may stay while the consumer has the result.

    Args:
        window: Fed before as far as it may be ahead. Closed when the iterator ends.
        items: To be read.
        pool: The pool's workforce.
        owner: A weak reference to the executor: its iterators do not keep it alive.
        deadline: By the monotonic clock.
    """
    outcomes, failures, untaken = window._outcomes, window._failures, window._untaken
    take, enter, finished = outcomes.pop, untaken.append, window._finished
    number, fed = 0, window.fed
    item: Any = None
    pair: Any = None
    try:
        while True:
            if not pool.is_open:
                # It is shut down, or its user has forgotten it.
                if (executor := owner()) is not None:
                    executor._pe_feed(window, items)
                executor, fed = None, window.fed
            elif (item := next(items, MISSING)) is not MISSING:
                pair = fed, item
                enter(pair)
                requests = pool.requests
                requests.append(window)
                fed = window.fed = fed + 1
                # Whoever takes an earlier item calls somebody for this one, see `Window._run`.
                try:
                    is_next = untaken[0] is pair
                except IndexError:
                    is_next = False  # taken
                item = pair = None
                if is_next and requests.idle[-1:]:
                    pool.summon()
                elif not requests.idle and len(pool.active) < pool.bounds.limit:
                    _start_worker(pool, window)
                if not pool.is_open or _thread._shutdown:
                    _look_again(owner, window)
            if number == fed:
                return
            if finished is not None:
                yield _next_finished(window, finished, deadline)
            else:
                # As in `results`: who finds an outcome finds that it is a failure, too.
                if number not in outcomes or failures:
                    window.await_outcome(number, deadline)
                yield take(number)
            number += 1
    finally:
        item = pair = executor = None
        window.close()


def _next_finished(
    window: Window[T], finished: queue.SimpleQueue[Any], deadline: float | None
) -> T:
    found: Any = MISSING
    try:
        try:
            found = finished.get_nowait()
        except queue.Empty:
            pass  # whatever is run while this waits is not to find itself in a handler
        if found is MISSING:
            found = window.next_outcome(deadline)
        if type(found) is Failure:
            found.reraise()
        return found  # type: ignore[no-any-return]  # a T
    finally:
        del found  # the traceback of what is raised holds this frame


def _start_worker(pool: Pool, window: Window[Any]) -> None:
    try:
        pool.summon()
    except BaseException as error:
        if window.take_back(1) or not isinstance(error, RuntimeError):
            raise


def _look_again(owner: Callable[[], Owner | None], window: Window[Any]) -> None:
    executor = owner()
    if executor is None:
        return
    try:
        executor._pe_look_again(window)
    except RuntimeError:
        if window.take_back(1):
            raise
