"""`Bell`: threads that wait until something holds, and are told to look again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Who waits enters itself first and looks then; who changes something changes it first and
    rings then. So one of them sees the other; both steps are a list's own.
    """

    def __init__(self) -> None:
        self._sleepers: list[Any] = []

    def is_watched(self) -> bool:
        """Whether anybody waits."""
        return bool(self._sleepers[:1])

    def ring(self) -> None:
        """Have all who wait look again."""
        for lock in self._sleepers[:]:
            try:
                lock.release()
            except RuntimeError:
                pass  # told already, and has not looked yet

    def wait_until(self, holds: Callable[[], bool], timeout: float | None) -> bool:
        """Sleep until `holds` says so; False if it did not within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        lock = threading.Lock()
        lock.acquire()
        self._sleepers.append(lock)
        try:
            while not holds():
                remaining: float = -1
                if deadline is not None:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        return False
                lock.acquire(True, remaining)
            return True
        finally:
            self._sleepers.remove(lock)  # locks compare by identity
