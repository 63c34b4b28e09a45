"""`RequestQueue`: requests in waiting, and the workers that wait for them.

Protocol of the hand-over
-------------------------
Two collections, and nothing else, decide:

- `requests`, a deque. Who has a request appends it; who can run one takes the leftmost.
- `idle`, a list of raw locks, one for each thread that is parked or about to park, last in, first
  out. An entry is put there by its thread. It is taken out once: by its thread, which then goes on
  looking for work, or by a waker, who releases it in the same indivisible step.

The giver:   1. append the request     2. look whether anybody is idle; if so, wake one
The taker:   1. append its lock        2. look whether there is a request; if so, take the lock
                                          out again and take the request; if not, sleep

If the giver sees nobody idle and the taker sees no request, then the giver looked at `idle` before
the taker's append, and the taker looked at `requests` before the giver's; each looked after its own
append; so each append would have come before itself. For this to be a proof without the GIL too,
both looks must be steps under the lock of the list and the deque: `len` and truth are not, slicing
a list and rotating a deque (by nothing) are.

A thread that takes out its own lock owes nothing. One whose lock was taken by a waker has been
*called*: it must look for work once more, or, if it cannot, call another (`Workforce.depart`).
This is why an entry is never left behind by a thread that has found work: a giver would call
it, and its request would wait for a thread that is busy.

`take`, `wake_one` and `call` are single steps of C code, composed of C callables, so that no
signal handler and no asynchronous exception can come between the taking and the keeping.
"""

from __future__ import annotations

from collections import deque
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Protocol

from ._future import cancellation_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._future import Claim
    from ._stats import Tally


class Lock(Protocol):
    """What is asked of a raw lock."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


class Request(Protocol):
    """What is asked of a thing in the queue; see `_request`."""

    def _run(self, claim: Claim) -> None: ...
    def _abandon(self, claim: Claim, error: BaseException) -> bool: ...
    def _fail(self, error: BaseException) -> None: ...
    def _orphan(self, error: BaseException) -> None: ...
    def _has_ended(self) -> bool: ...
    def _tally(self) -> Tally: ...
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...


class RequestQueue:
    """Requests in their order of arrival, and the idle threads, the latest first."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.idle: list[Lock] = []
        self.in_hand: dict[int, list[Request]] = {}  # what `settle_all` has taken out
        self._no_cancelled_since: object = None  # the mark of the time when none was in the queue
        self.append = self.requests.append
        # None is in neither collection, so these iterators never end.
        release = methodcaller("release")
        self._wake: Iterator[None] = map(release, iter(self.idle.pop, None))

    def taker(self, slot: list[Request]) -> Iterator[None]:
        """An iterator whose `next` moves the first request into `slot`; IndexError if none."""
        return map(slot.append, iter(self.requests.popleft, None))

    def has_requests(self) -> bool:
        """Whether a request waits. Ordered against every append: see the proof above."""
        self.requests.rotate(0)
        return bool(self.requests)

    def count_waiting(self) -> tuple[int, int]:
        """How many requests wait that have not been cancelled, and how many that have.

        They are only looked through if any future has been cancelled since none was found here.
        """
        mark = cancellation_mark()
        if mark is self._no_cancelled_since:
            return len(self.requests), 0
        for _ in range(100):
            try:
                waiting = self.requests.copy()
            except RuntimeError:
                continue  # changed meanwhile: without the GIL, a copy is not one step
            cancelled = sum(request.cancelled() for request in waiting)
            if not cancelled:
                self._no_cancelled_since = mark
            return len(waiting) - cancelled, cancelled
        return len(self.requests), 0

    def has_idle(self) -> bool:
        """Whether a thread is parked. Ordered against every append: see the proof above."""
        return bool(self.idle[-1:])

    def wake_one(self) -> bool:
        """Call the thread that parked last; False if none is parked."""
        try:
            next(self._wake)
        except IndexError:
            return False
        return True

    def call(self, lock: Any) -> bool:
        """Call the thread that is parked on `lock`; False if it is not any more."""
        # Taken out, then released; `__exit__` is a release that takes arguments.
        steps = map(lock.__exit__, map(self.idle.remove, (lock,)), (None,), (None,))
        try:
            next(steps)
        except ValueError:
            return False
        return True

    def wake_all(self) -> None:
        """Call every parked thread."""
        while self.wake_one():
            pass

    def park(self, lock: Lock, must_look: Callable[[], bool], timeout: float | None = None) -> bool:
        """Sleep until called; not at all if there is a request, or `must_look` says so.

        Args:
            lock: The calling thread's own, held.
            must_look: Asked after the lock is in `idle`, so that what it tells about and
                whoever calls `wake_all` after changing it cannot miss each other.
            timeout: Seconds to sleep at most; None, without limit.

        Returns:
            True if nobody has called within `timeout`.
        """
        self.idle.append(lock)
        if self.has_requests() or must_look():
            if self.unpark(lock):
                return False
        elif timeout is not None:
            if lock.acquire(True, max(timeout, 0)):
                return False
            if self.unpark(lock):
                return True
        lock.acquire()
        return False

    def unpark(self, lock: Lock) -> bool:
        """Take `lock` out of `idle`; False if a waker was faster."""
        try:
            self.idle.remove(lock)  # locks compare by identity
        except ValueError:
            return False
        return True

    def settle_all(self, settle: Callable[[Request], object]) -> None:
        """Take out all requests and call `settle` for each. Runs done-callbacks."""
        slot: list[Request] = []
        take = self.taker(slot)
        self.in_hand[id(slot)] = slot
        try:
            while True:
                try:
                    next(take)
                except IndexError:
                    return
                settle(slot[0])
                slot.clear()
        finally:
            self.requests.extendleft(slot)  # interrupted: it keeps its place
            self.in_hand.pop(id(slot), None)
