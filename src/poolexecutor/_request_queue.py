"""`RequestQueue`: requests in waiting, and the workers that wait for them.

Protocol of the hand-over
-------------------------
Two collections, and nothing else, decide:

- `requests`, a deque. Who has a request appends it; who can run one takes the leftmost. (What has a
  priority is below.)
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

A request with a priority other than 0 lies in a heap of its own kind, `urgent` or `late`, and for
each there is a `Turn`: the right to take the first one of that heap. It is put in *after* the
request, so who has one finds a request. Those of `urgent` are put before the leftmost request, so
the workers come upon them as they come upon any request; those of `late` lie in `late_turns`, which
counts as the far end of `requests`: it is looked at where that is empty.

`take`, `wake_one` and `call` are single steps of C code, composed of C callables, so that no
signal handler and no asynchronous exception can come between the taking and the keeping.
"""

from __future__ import annotations

import sysconfig
import weakref
from collections import deque
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._future import cancellation_mark
from ._ranked import Ranked, entry_of
from ._stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._future import Claim


_NEAR: Final = 50  # requests, through which one is looked for in 1 or 2 µs
_FREE_THREADED: Final = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class Lock(Protocol):
    """What is asked of a raw lock."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


class Request(Protocol):
    """What is asked of a thing in the queue; see `_request`."""

    def _run(self, claim: Claim) -> bool | None: ...
    def _abandon(self, claim: Claim, error: BaseException) -> bool: ...
    def _fail(self, error: BaseException) -> None: ...
    def _orphan(self, error: BaseException) -> None: ...
    def _has_ended(self) -> bool: ...
    def _tally(self) -> Tally: ...
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def _has_expired(self) -> bool: ...
    def _is_helped(self) -> bool: ...


class Uneven(Protocol):
    """What is asked of a batch of which not each share is one request; see `_chunks`, `_batch`."""

    def surplus(self) -> int: ...
    def count_spent(self) -> int: ...
    def stop(self) -> None: ...


class Turn:
    """In the place of a request that has a priority: whose turn it is is found out when taken."""

    __slots__ = ("_ranked",)

    def __init__(self, ranked: Ranked[Request]) -> None:
        self._ranked = ranked

    def replace(self, slot: list[Request]) -> bool:
        """Have `slot`, in which this is, have the request instead; False if there is none.

        There is one, unless an interrupt has put a turn back that had been used.
        """
        try:
            self._ranked.pop_into(slot)
        except IndexError:
            return False
        del slot[0]
        return True

    def _run(self, claim: Claim) -> bool:
        return self.replace(claim.slot)

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        return len(claim.slot) > 1  # with the request behind it, it is used up

    def _has_ended(self) -> bool:
        return True

    def _orphan(self, error: BaseException) -> None:
        pass  # what it stands for is in the heap


class RequestQueue:
    """Requests in their order, and the idle threads, the latest first."""

    def __init__(self) -> None:
        # As what it has in it is used; turns are made into requests where it matters.
        self.requests: deque[Any] = deque()
        self.urgent: Ranked[Request] = Ranked()
        self.late: Ranked[Request] = Ranked()
        self.late_turns: deque[Any] = deque()
        self._turns = Turn(self.urgent), Turn(self.late)
        self.idle: list[Lock] = []
        self.in_hand: dict[int, list[Request]] = {}  # what `settle_all` has taken out
        self._uneven: set[weakref.ref[Uneven]] = set()
        self._no_cancelled_since: object = None  # the mark of the time when none was in the queue
        self.append = self.requests.append
        # None is in neither collection, so these iterators never end.
        release = methodcaller("release")
        self._wake: Iterator[None] = map(release, iter(self.idle.pop, None))

    def put(self, request: Any) -> None:
        """Queue a request: the lowest priority comes first.

        It and its turn are put in in one step, so none is left without the other.
        """
        priority = request._pe_priority
        if not priority:
            self.append(request)
            return
        ranked, put_turn, turn = self._place(priority)
        if request._pe_number is None:  # else it has been in before
            request._pe_number = ranked.next_number()
        ranked.push(entry_of(request, priority, request._pe_number), map(put_turn, (turn,)))

    def _place(self, priority: float) -> tuple[Ranked[Any], Callable[[Any], None], Turn]:
        urgent, late = self._turns
        if priority < 0:
            return self.urgent, self.requests.appendleft, urgent
        return self.late, self.late_turns.append, late

    def put_back(self, request: Any) -> None:
        """Queue a request, or a turn, again that was taken and not run: it comes first."""
        if getattr(request, "_pe_priority", 0):
            self.put(request)
        elif request is self._turns[1]:
            self.late_turns.appendleft(request)
        else:
            self.requests.appendleft(request)

    def remove(self, request: Any) -> bool:
        """Take a certain request out; False if it is not there, or just being taken."""
        priority = getattr(request, "_pe_priority", 0)
        if not priority:
            return _remove(self.requests, request)
        ranked, put_turn, turn = self._place(priority)
        if request._pe_number is None:
            return False
        # Its right first: whoever has a turn finds a request.
        if not _remove(self.requests if priority < 0 else self.late_turns, turn):
            return False
        removed = False
        try:
            removed = ranked.remove(entry_of(request, priority, request._pe_number))
        finally:
            if not removed:
                put_turn(turn)
                self.wake_one()  # somebody may have looked meanwhile
        return removed

    def remove_if_near(self, request: Any) -> bool:
        """As `remove`, unless it lies so far from the ends that it would take long."""
        if self.count() <= 2 * _NEAR:
            return self.remove(request)
        if getattr(request, "_pe_priority", 0):
            return False
        # What a task waits for has mostly come late, or is the next one anyway.
        return self._remove_among(request, -_NEAR) or self._remove_among(request, 0, _NEAR)

    def _remove_among(self, request: Any, *bounds: int) -> bool:
        """Take it out if it is within these bounds.

        Found and taken out in one step of C code, which the GIL makes indivisible; without it, it
        is not looked for here.
        """
        if _FREE_THREADED:
            return False
        requests = self.requests
        step = map(
            requests.__delitem__, map(requests.index, (request,), *((bound,) for bound in bounds))
        )
        try:
            next(step)
        except ValueError:
            return False
        return True

    def tell_homes(self) -> None:
        """Have each request that waits here know that it does."""
        waiting: list[Any] = self.waiting() or []
        for request in waiting:
            if hasattr(request, "_pe_home"):
                request._pe_home = self

    def taker(self, slot: list[Request]) -> Iterator[None]:
        """An iterator whose `next` moves the first request into `slot`; IndexError if none.

        But for those that are `late`.
        """
        return map(slot.append, iter(self.requests.popleft, None))

    def late_taker(self, slot: list[Request]) -> Iterator[None]:
        """The same for those that are `late`."""
        return map(slot.append, iter(self.late_turns.popleft, None))

    def take(self, slot: list[Request]) -> bool:
        """Move the first request of all into `slot`; False if there is none."""
        for taker in (self.taker, self.late_taker):
            try:
                while True:
                    next(taker(slot))
                    # A turn, or a share of a batch, is made into a request.
                    replace = getattr(slot[0], "replace", None)
                    if replace is None or replace(slot):
                        return True
                    slot.clear()
            except IndexError:
                pass
        return False

    def has_requests(self) -> bool:
        """Whether a request waits. Ordered against every append: see the proof above."""
        self.requests.rotate(0)
        self.late_turns.rotate(0)
        return bool(self.requests or self.late_turns)

    def count(self) -> int:
        """How many requests wait, those included that have been cancelled or have expired."""
        return len(self.requests) + len(self.late_turns)

    def waiting(self) -> list[Request] | None:
        """All that wait; None if they change faster than they can be copied."""
        for _ in range(100):
            try:
                requests = self.requests.copy()
            except RuntimeError:
                continue  # changed meanwhile: without the GIL, a copy is not one step
            found = [request for request in requests if type(request) is not Turn]
            return found + self.urgent.things() + self.late.things()
        return None

    def count_waiting(self) -> tuple[int, Tally]:
        """How many requests wait that can still be run, and how the others have ended.

        They are only looked through if any future has been cancelled, has expired, or was run by
        one who waited for it, since no such one was found here.
        """
        mark = cancellation_mark()
        if mark is self._no_cancelled_since:
            return max(0, self.count() + self._surplus()), Tally()
        waiting = self.waiting()
        if waiting is None:
            return self.count(), Tally()
        cancelled = sum(request.cancelled() for request in waiting)
        # Shares of closed batches for which there is no item, see `_batch`.
        cancelled -= sum(batch.count_spent() for batch in self._living_uneven())
        expired = sum(request._has_expired() for request in waiting)
        helped = sum(request._is_helped() for request in waiting)
        if not cancelled and not expired and not helped:
            self._no_cancelled_since = mark
        ended = Tally(cancelled=cancelled, expired=expired)
        # No snapshot, so it may be off while things move.
        return max(0, len(waiting) - cancelled - expired - helped + self._surplus()), ended

    # --- batches ------------------------------------------------------------------------------

    def add_uneven(self, batch: Uneven) -> None:
        """Make a batch known of which not each share is one request."""
        self._uneven.add(weakref.ref(batch, self._uneven.discard))

    def _surplus(self) -> int:
        return sum(batch.surplus() for batch in self._living_uneven())

    def stop_chunks(self) -> None:
        """Have the workers start nothing more of the chunks that they run."""
        for batch in self._living_uneven():
            batch.stop()

    def _living_uneven(self) -> list[Uneven]:
        return [batch for known in self._uneven.copy() if (batch := known()) is not None]

    # --- the idle -----------------------------------------------------------------------------

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
        self.in_hand[id(slot)] = slot
        try:
            while self.take(slot):
                settle(slot[0])
                slot.clear()
        finally:
            for request in slot[
                -1:
            ]:  # interrupted: it keeps its place; a turn before it is used up
                self.put_back(request)
            self.in_hand.pop(id(slot), None)

    def after_fork(self) -> list[Request]:
        """In the child: forget all that was here, and give what waited."""
        for ranked in (self.urgent, self.late):
            ranked.after_fork()
        waiting = self.waiting() or []
        for slot in list(self.in_hand.values()):
            waiting += [request for request in slot if not isinstance(request, Turn)]
        self.requests.clear()
        self.late_turns.clear()
        self.idle.clear()
        return waiting


def _remove(queue: deque[Any], thing: Any) -> bool:
    try:
        queue.remove(thing)  # they compare by identity
    except (ValueError, IndexError):  # not there, or changed meanwhile
        return False
    return True
