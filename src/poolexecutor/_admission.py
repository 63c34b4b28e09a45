"""`Admission`: how many requests may wait at a time, and who gets the next place.

Protocol
--------
A place is an entry of `_free`. Who queues a request takes one out; it is given back once, when the
request leaves the queue, by whoever takes it out: the worker that begins it, the author of its
cancellation. Who finds none enters itself in `_waiting` and looks at `_free` once more.

Who gives a place back hands it to the one that has waited for longest. If nobody waits, he puts it
into `_free` and looks at `_waiting` once more. So a place and one who waits for it never miss each
other: each side publishes, then looks, and all of these are steps under the collection's own lock.

Handing over is one step of C code, composed of C callables: the longest waiting lock is taken out
and released. When the pool ends, all who wait are released as if there were places for them; they
find it closed.
"""

from __future__ import annotations

import threading
from collections import deque
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self.reset()

    def reset(self) -> None:
        """All places are free and nobody waits: in the child of a fork, where the queue is new."""
        self._free: list[None] = [None] * self._size
        self._waiting: deque[Any] = deque()  # raw locks
        self._hand_over: Iterator[None] = map(
            methodcaller("release"), iter(self._waiting.popleft, None)
        )
        self._prepaid: list[None] = []

    def try_take(self) -> bool:
        """Take a place if one is free."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def give_back(self) -> None:
        """Give a place back: to the one that has waited for longest, or to who comes next."""
        while True:
            try:
                next(self._hand_over)
            except IndexError:
                pass
            else:
                return
            self._free.append(None)
            # Somebody may have entered himself between the two, after his look at `_free`.
            self._waiting.rotate(0)
            if not self._waiting or not self.try_take():
                return

    def take(self) -> bool:
        """Wait for a place, in order of arrival; False if none came in time.

        Interrupted, it leaves no place taken.
        """
        lock = threading.Lock()
        lock.acquire()
        entered = False
        try:
            self._waiting.append(lock)
            entered = True
            if self.try_take():
                self._pass_on(lock)  # it may have been given another one meanwhile
                return True
            timeout = -1 if self.timeout is None else self.timeout
            return lock.acquire(True, timeout) or not self._withdraw(lock)
        except BaseException:
            if entered:
                self._pass_on(lock)
            else:
                self._withdraw(lock)
            raise

    def release_all(self) -> None:
        """Have all go on who wait: the pool is closed, as they will find."""
        try:
            while True:
                next(self._hand_over)
        except IndexError:
            pass

    def _withdraw(self, lock: Any) -> bool:
        """Take it out of those who wait; False if it has been given a place."""
        try:
            self._waiting.remove(lock)  # locks compare by identity
        except ValueError:
            return False
        return True

    def _pass_on(self, lock: Any) -> None:
        """It wants no place, or has one: what it was given is for the next one."""
        if not self._withdraw(lock):
            self.give_back()

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
