"""`Bell`: threads that wait until something holds, and are told to look again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from ._loops import LoopSleeper

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Who waits enters itself first and looks then; who changes something changes it first and
    rings then. So one of them sees the other; both steps are a list's own.
    """

    def __init__(self) -> None:
        self._sleepers: list[Any] = []
        self.followers: list[Bell] = []  # rung with this one

    def is_watched(self) -> bool:
        """Whether anybody waits."""
        return bool(self._sleepers[:1] or self.followers[:1])

    def ring(self) -> None:
        """Have all who wait look again."""
        for lock in self._sleepers[:]:
            _tell(lock)
        for follower in self.followers[:]:
            follower.ring()

    def ring_once(self) -> None:
        """Have one who waits look again, the longest first: for what only one can have."""
        for lock in self._sleepers[:]:
            # One who has gone meanwhile has not heard it; one who goes after this passes it on.
            # A coroutine may not come to it for long, if its loop does other things, or never.
            if _tell(lock) and lock in self._sleepers[:] and type(lock) is not LoopSleeper:
                return

    def after_fork(self) -> None:
        """In the child: those who sleep are gone, but for one on top of whom the fork was made."""
        sleepers = self._sleepers[:]
        self._sleepers.clear()
        self.followers.clear()
        for lock in sleepers:
            _tell(lock)

    def wait_until(self, holds: Callable[[], Any], timeout: float | None) -> bool:
        """Sleep until `holds` says so; False if it did not within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        lock = threading.Lock()
        lock.acquire()
        found = False
        try:
            self._sleepers.append(lock)
            while not holds():
                remaining: float = -1
                if deadline is not None:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        return False
                lock.acquire(True, remaining)
                if lock not in self._sleepers[:]:
                    self._sleepers.append(lock)  # after a fork, see below
            found = True
            return True
        finally:
            try:
                self._sleepers.remove(lock)  # locks compare by identity
            except ValueError:
                pass
            if not found or lock.acquire(False):
                self.ring_once()  # it may have been told what another one can use

    async def wait_in_loop(self, holds: Callable[[], Any]) -> None:
        """As `wait_until`, in a coroutine."""
        sleeper = LoopSleeper()
        found = False
        try:
            self._sleepers.append(sleeper)
            while not holds():
                await sleeper.wait()
            found = True
        finally:
            if sleeper in self._sleepers[:]:
                self._sleepers.remove(sleeper)
            if not found or sleeper.was_told():
                self.ring_once()


def _tell(lock: Any) -> bool:
    try:
        lock.release()
    except RuntimeError:
        return False  # told already, and has not looked yet
    return True
