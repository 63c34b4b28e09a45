"""`Admission`: how many requests may wait at a time, and who gets the next place.

Protocol
--------
A place is an entry of `_free`. Who queues a request moves one into the request, in one step; it is
given back once, when the request leaves the queue, by whoever takes it out: the worker that begins
it, the author of its cancellation. Who finds none enters itself in `_waiting` and looks at `_free`
once more.

Who gives a place back hands it to the one that has waited for longest. If nobody waits, he puts it
into `_free` and looks at `_waiting` once more. So a place and one who waits for it never miss each
other: each side publishes, then looks, and all of these are steps under the collection's own lock.

Handing over is one step of C code, composed of C callables: the longest waiting lock is taken out
and released. When the pool ends, all who wait are released as if there were places for them; they
find it closed.

Requests that expire give their places back then. Nobody sleeps for that but those who wait for a
place: each looks at the expiry times of all requests that were here before it (`expiring`), those
included that wait themselves, and wakes up for the next one. A request that came after it cannot be
in the queue before it is, but for one that comes just as a place is given back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from ._loops import LoopSleeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIVE_UP: Final = -1.0
POLICIES: Final = ("block", "raise", "caller_runs", "discard", "discard_oldest")


class Admission:
    """The places for requests in waiting.

    Args:
        size: How many there are.
        on_full: What becomes of a request for which there is none; one of `POLICIES`.
        timeout: Seconds that ``"block"`` waits at most; None, without limit.
    """

    def __init__(self, size: int, on_full: str, timeout: float | None) -> None:
        self.on_full = on_full
        self.timeout = timeout
        self._size = size
        self.set_up(lambda request, given: None)

    def set_up(self, leave: Callable[[Any, list[None]], None]) -> None:
        """All places are free and nobody waits.

        Args:
            leave: A place: what who has it calls once, to give it back, with the request and what
                `give_back` wants.
        """
        self._leave = partial(self._give, leave, given_out := object())
        self._given_out = given_out
        self._free: list[Callable[[Any, list[None]], None]] = [leave] * self._size
        self._waiting: deque[Any] = deque()  # raw locks
        self._hand_over: Iterator[None] = map(
            methodcaller("release"), iter(self._waiting.popleft, None)
        )
        self._prepaid: list[None] = []
        # Sets in order of arrival: what is here of requests that expire, and, for
        # "discard_oldest", of all.
        self.expiring: dict[Any, None] = {}
        self.present: dict[Any, None] = {}
        self._inside: dict[Any, int] = {}  # what is about to be queued, and by which thread

    def _give(
        self,
        leave: Callable[[Any, list[None]], None],
        given_out: object,
        request: Any,
        given: list[None],
    ) -> None:
        """Of a place: give it back, unless it is one of before a fork."""
        if given_out is self._given_out:
            leave(request, given)

    # --- who is on top of whom ----------------------------------------------------------------

    def enter(self, request: Any) -> None:
        """The calling thread is about to queue `request`: it has a place, or waits for one."""
        self._inside[request] = threading.get_ident()

    def exit(self, request: Any) -> None:
        """It has queued it, or will not."""
        self._inside.pop(request, None)

    def is_below(self) -> bool:
        """Whether a frame further down in this thread has a place or waits for one."""
        me, below = threading.get_ident(), -1  # besides the one that asks
        for request, thread in list(self._inside.items()):
            if request.done():
                self._inside.pop(request, None)  # its `exit` was interrupted
            elif thread == me:
                below += 1
        return below > 0

    # --- places -------------------------------------------------------------------------------

    def try_take(self, place: list[Callable[[Any, list[None]], None]]) -> bool:
        """Move a place, if one is free, into `place`: one step of C code."""
        try:
            next(map(place.append, iter(self._free.pop, None)))
        except IndexError:
            return False
        return True

    def give_back(self, given: list[None]) -> None:
        """Give a place back: to the one that has waited for longest, or to who comes next.

        Args:
            given: Gets an entry in the same step. Interrupted before that, nothing was given.
        """
        hand_over = map(given.append, self._hand_over)
        keep = zip(map(self._free.append, (self._leave,)), map(given.append, (None,)), strict=False)
        try:
            next(hand_over)
            return
        except IndexError:
            next(keep)
        # Somebody may have entered himself between the two, after his look at `_free`.
        self._waiting.rotate(0)
        place: list[Callable[[Any, list[None]], None]] = []
        if self._waiting and self.try_take(place):
            self.give_back([])

    def take(
        self,
        place: list[Callable[[Any, list[None]], None]],
        timeout: float | None,
        look: Callable[[], float | None] = lambda: None,
    ) -> bool:
        """Wait for a place, in order of arrival; False if none came within `timeout` seconds.

        Interrupted, it leaves in `place` what it has taken, and nothing else.

        Args:
            place: Where it is put.
            timeout: Seconds to wait at most; None, without limit.
            look: Called before each sleep; after how many seconds to call it again, or None; or
                `GIVE_UP`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        lock = threading.Lock()
        lock.acquire()
        waiting = self._waiting
        try:
            waiting.append(lock)
            if not self.try_take(place) and self._sleep(lock, deadline, look):
                lock.release()  # as it was handed over
        finally:
            # Only a lock that was taken out, to hand a place over, is released.
            if not _remove(waiting, lock) and lock.acquire(True, 1):
                if place:
                    self.give_back([])  # it has found one itself
                elif waiting is self._waiting:
                    place.append(self._leave)
        if waiting is not self._waiting:  # the child of a fork: anew
            return self.take(place, timeout, look)
        return bool(place)

    async def take_in_loop(
        self,
        place: list[Callable[[Any, list[None]], None]],
        timeout: float | None,
        look: Callable[[], float | None],
    ) -> bool:
        """As `take`, in a coroutine."""
        deadline = None if timeout is None else time.monotonic() + timeout
        sleeper, waiting = _LoopSleeper(self.give_back), self._waiting
        try:
            waiting.append(sleeper)
            is_here = self.try_take(place)
            while not is_here:
                soon = look()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and (soon is None or left < soon):
                    soon = left
                is_here = await sleeper.wait(soon) or (left is not None and left <= 0)
        finally:
            # Only what was taken out, to hand a place over, is not there any more.
            if not _remove(waiting, sleeper) and sleeper.takes_over():
                if place:
                    self.give_back([])  # it has found one itself
                elif waiting is self._waiting:
                    place.append(self._leave)
        return bool(place)

    def _sleep(self, lock: Any, deadline: float | None, look: Callable[[], float | None]) -> bool:
        while True:
            soon = look()
            if soon == GIVE_UP:
                return False
            remaining = -1 if deadline is None else max(0, deadline - time.monotonic())
            if soon is None or 0 <= remaining <= soon:
                return lock.acquire(True, remaining)  # type: ignore[no-any-return]  # a lock's
            if lock.acquire(True, soon):
                return True

    def release_all(self) -> None:
        """Have all go on who wait: the pool is closed, or forked, as they will find."""
        try:
            while True:
                next(self._hand_over)
        except IndexError:
            pass

    # --- places that are paid for before the request is made ----------------------------------

    def prepay(self) -> None:
        """Lay a place, taken, aside for `WorkQueue.put`."""
        self._prepaid.append(None)

    def take_prepaid(self) -> bool:
        """Take a place that was laid aside; False if there is none."""
        try:
            self._prepaid.pop()
        except IndexError:
            return False
        return True


class _LoopSleeper(LoopSleeper):
    """Whoever hands a place over must not fail.

    Attributes:
        owed: Has an entry; who pops it may have, or has to give back, the place handed over.
    """

    def __init__(self, give_back: Callable[[list[None]], None]) -> None:
        super().__init__()
        self.owed: list[None] = [None]
        self._give_back = give_back

    def release(self) -> None:
        try:
            super().release()
        except RuntimeError:
            if self.takes_over():  # its loop is closed
                self._give_back([])

    def takes_over(self) -> bool:
        """Whether the caller has popped the entry."""
        try:
            self.owed.pop()
        except IndexError:
            return False
        return True


class Applicant:
    """In the stead of a request that a coroutine will submit when it has a place.

    Args:
        expires: Seconds after which that is not to be run; None, never.
    """

    def __init__(self, expires: float | None) -> None:
        self._pe_deadline = None if expires is None else time.monotonic() + expires

    def seconds_left(self) -> float | None:
        """Until its deadline; None if it has none."""
        deadline = self._pe_deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def done(self) -> bool:
        """No: see `Admission.is_below`."""
        return False

    def _is_overdue(self) -> bool:
        return self.seconds_left() == 0

    def _expire(self) -> None:
        pass  # the request will


def _remove(waiting: deque[Any], lock: Any) -> bool:
    """Take it out of those who wait; False if it has been given a place."""
    try:
        waiting.remove(lock)  # locks compare by identity
    except ValueError:
        return False
    return True
