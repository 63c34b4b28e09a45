"""`WorkQueue`: the pool's requests with the face of `queue.SimpleQueue`.

It is what `_work_queue` shows to the standard `submit` body, which tracing libraries wrap and run
on our pool, and to programs that look at the queue's length or take work out of it. `IdleCount` is
the same for `_idle_semaphore`.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from ._future import Claim, mark_cancellation
from ._lifecycle import interpreter_is_closing
from ._request import ForeignRequest, WorkRequest, leave_queue
from ._stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._request_queue import Request
    from ._workforce import Workforce


class TakenItem:
    """A request that was taken out of the queue, as a work item of the standard pool."""

    def __init__(self, request: WorkRequest[Any]) -> None:
        self.future = request
        self.fn, self.args, self.kwargs = request._pe_fn, request._pe_args, request._pe_kwargs or {}
        self.task = (self.fn, self.args, self.kwargs)  # Python 3.14 has it so

    def run(self, *context: Any) -> None:
        """Make the call in this thread, if it is still to be made."""
        self.future._run(Claim())


class Nothing:
    """None in the queue: the standard workers look whether they must leave when they get one."""

    __slots__ = ()

    def _run(self, claim: Claim) -> None:
        pass  # ours look each time that they find nothing to do

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        return True

    def _fail(self, error: BaseException) -> None:
        pass

    _orphan = _fail

    def _has_ended(self) -> bool:
        return True

    def _tally(self) -> Tally:
        return Tally()

    def cancel(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    _has_expired = _is_helped = cancelled


class WorkQueue:
    """What is queued, for those who expect a `queue.SimpleQueue`. Thread-safe.

    The standard `_worker` can take its work from here, in a thread that a program has made itself.
    """

    def __init__(self, workforce: Workforce, create_context: Callable[[], Any] | None) -> None:
        self._workforce = workforce
        self._create_context = create_context
        # By threads: what takes the items that the thread puts in. See `PoolExecutor`.
        self.captors: dict[int, Callable[[Any], object] | None] = {}

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Queue a work item for the workers; None has one of them look whether it must leave."""
        request: Request
        captor = self.captors.get(threading.get_ident()) if self.captors else None
        if captor is not None and item is not None:
            captor(item)
            return
        if item is None:
            if self._is_over():
                self._workforce.requests.wake_all()
                return  # as if it were there: see `get`
            request = Nothing()
        elif isinstance(item, TakenItem):
            request = item.future
        else:
            # Since Python 3.14 a work item is run in a context.
            context = () if self._create_context is None else (self._create_context(),)
            request = ForeignRequest(item, context)
            self._place(request)
            mark_cancellation()  # nobody will when its future is cancelled
        self._workforce.requests.append(request)
        self._workforce.requests.wake_one()

    def _place(self, request: ForeignRequest) -> None:
        """In a bounded queue it has the place that its submitter laid aside, or a free one."""
        admission = self._workforce.admission
        if admission is None or not (admission.take_prepaid() or admission.try_take([])):
            return
        request._pe_leave.append(lambda request, given: admission.give_back(given))
        future = getattr(request.item, "future", None)
        if future is not None:  # cancelled, it gives its place back at once
            future.add_done_callback(lambda future: leave_queue(request, request._pe_leave))

    def put_nowait(self, item: Any) -> None:
        """As `put`, which never blocks."""
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first work item out, for good: no worker will see it.

        Gives None if that was put there, or if the pool is shut down and nothing is queued.

        Args:
            block: Wait for one if there is none.
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            queue.Empty: There is none, or none came in time.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        slot: list[Request] = []
        try:
            if not self._take(slot, block, timeout):
                return None
            [request] = slot
            leave_queue(request, getattr(request, "_pe_leave", []))
            self._workforce.changes.ring()  # the queue may be empty now
            return _as_item(request)
        except queue.Empty:
            raise
        except BaseException:
            if slot:  # interrupted: it keeps its turn
                self._workforce.requests.put_back(slot[-1])
                self._workforce.requests.wake_one()
            elif self._workforce.requests.has_requests():
                self._workforce.summon_somebody()  # it may have been called
            raise

    def _take(self, slot: list[Request], block: bool, timeout: float | None) -> bool:
        """Move the first request into `slot`; False if none will come."""
        requests = self._workforce.requests
        deadline = None if timeout is None else time.monotonic() + timeout
        lock = threading.Lock()
        lock.acquire()
        while True:
            if requests.take(slot):
                return True
            remaining = None if deadline is None else deadline - time.monotonic()
            if not block or (remaining is not None and remaining <= 0):
                raise queue.Empty
            if self._is_over() and not requests.has_requests():
                return False
            self._park(lock, remaining)

    def _is_over(self) -> bool:
        return self._workforce.closing or interpreter_is_closing()

    def _park(self, lock: Any, timeout: float | None) -> None:
        """Sleep until called. Interrupted, it leaves no lock behind and passes a call on."""
        requests = self._workforce.requests
        try:
            requests.park(lock, self._is_over, timeout)
        except BaseException:
            if not requests.unpark(lock) and requests.has_requests():
                self._workforce.summon()
            raise

    def get_nowait(self) -> Any:
        """As ``get(block=False)``."""
        return self.get(block=False)

    def qsize(self) -> int:
        """How many requests wait; cancelled ones count until a worker meets them."""
        return self._workforce.requests.count()

    def empty(self) -> bool:
        """Whether no request waits."""
        return not self._workforce.requests.count()


def _as_item(request: Request) -> Any:
    if isinstance(request, Nothing):
        return None
    return request.item if isinstance(request, ForeignRequest) else TakenItem(request)  # type: ignore[arg-type]


def call_of(item: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a work item of the standard pool calls."""
    fn, args, kwargs = getattr(item, "task", None) or (item.fn, item.args, item.kwargs)
    return fn, args, kwargs


class IdleCount:
    """The idle workers with the face of the semaphore that counts them in the standard pool.

    `_value` is how many there are. Acquiring is calling one of them to look at the queue, as the
    standard `_adjust_thread_count` does; releasing is nothing: who is idle says so by waiting.
    """

    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce

    @property
    def _value(self) -> int:
        return len(self._workforce.requests.idle)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Call an idle worker; False if there is none. Does not wait for one."""
        return self._workforce.requests.wake_one()

    def release(self, n: int = 1) -> None:
        """Nothing: who waits for work is idle."""
