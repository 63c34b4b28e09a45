"""`WorkQueue`: the pool's requests with the face of `queue.SimpleQueue`.

It is what `_work_queue` shows to the standard `submit` body, which tracing libraries wrap and run
on our pool, and to programs that look at the queue's length or take work out of it.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from ._future import Claim
from ._request import ForeignRequest, WorkRequest

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


class WorkQueue:
    """What is queued, for those who expect a `queue.SimpleQueue`. Thread-safe."""

    def __init__(self, workforce: Workforce, create_context: Callable[[], Any] | None) -> None:
        self._workforce = workforce
        self._create_context = create_context

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Queue a work item for the workers; None has them look whether they must leave."""
        if item is None:
            self._workforce.requests.wake_all()
            return
        if isinstance(item, TakenItem):
            request: Request = item.future
        else:
            # Since Python 3.14 a work item is run in a context.
            context = () if self._create_context is None else (self._create_context(),)
            request = ForeignRequest(item, context)
        self._workforce.requests.append(request)
        self._workforce.requests.wake_one()

    def put_nowait(self, item: Any) -> None:
        """As `put`, which never blocks."""
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first work item out, for good: no worker will see it.

        Args:
            block: Wait for one if there is none.
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            queue.Empty: There is none, or none came in time.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        slot: list[Request] = []
        take = self._workforce.requests.taker(slot)
        deadline = None if timeout is None else time.monotonic() + timeout
        lock = threading.Lock()
        lock.acquire()
        while True:
            try:
                next(take)
            except IndexError:
                remaining = None if deadline is None else deadline - time.monotonic()
                if not block or (remaining is not None and remaining <= 0):
                    raise queue.Empty from None
                self._park(lock, remaining)
            else:
                break
        request = slot.pop()
        return request.item if isinstance(request, ForeignRequest) else TakenItem(request)  # type: ignore[arg-type]

    def _park(self, lock: Any, timeout: float | None) -> None:
        """Sleep until called. Interrupted, it leaves no lock behind and passes a call on."""
        requests = self._workforce.requests
        try:
            requests.park(lock, lambda: False, timeout)
        except BaseException:
            if not requests.unpark(lock) and requests.has_requests():
                self._workforce.summon()
            raise

    def get_nowait(self) -> Any:
        """As ``get(block=False)``."""
        return self.get(block=False)

    def qsize(self) -> int:
        """How many requests wait; cancelled ones count until a worker meets them."""
        return len(self._workforce.requests.requests)

    def empty(self) -> bool:
        """Whether no request waits."""
        return not self._workforce.requests.requests
