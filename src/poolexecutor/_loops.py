"""Waiting in a coroutine of asyncio. Imports asyncio only where one runs."""

from __future__ import annotations

from typing import Any


class LoopSleeper:
    """A coroutine that sleeps, in the place of the lock on which a thread would.

    Made and awaited in the loop's thread; released from any. The entry of `_untold` is what is
    released: whoever takes it out wakes the coroutine up, so that is done once for each `wait`.
    """

    def __init__(self) -> None:
        from asyncio import get_running_loop

        self._loop = get_running_loop()
        self._waker: Any = None
        self._untold: list[None] = [None]

    def release(self) -> None:
        """Wake it up.

        Raises:
            RuntimeError: Somebody has done so already, or its loop is closed.
        """
        try:
            self._untold.pop()
        except IndexError:
            raise RuntimeError("release unlocked lock") from None
        self._loop.call_soon_threadsafe(self._wake)

    def wake(self, _: object = None) -> None:
        """As `release`, for those who do not mind. A done-callback."""
        try:
            self.release()
        except RuntimeError:
            pass  # there is nobody to be woken

    def was_told(self) -> bool:
        """Whether it was released since the last `wait`; then it can be again."""
        told = not self._untold[:]
        if told:
            self._untold.append(None)
        return told

    async def wait(self, timeout: float | None = None) -> bool:
        """Sleep until released; False if it was not within `timeout` seconds."""
        self._waker = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(timeout, self._wake)
        try:
            if self._untold[:]:  # else it was released before
                await self._waker
        finally:
            self._waker = None
            if timer is not None:
                timer.cancel()
        return self.was_told()

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
