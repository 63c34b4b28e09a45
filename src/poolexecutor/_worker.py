"""`WorkerThread`: take a request, run it, repeat, leave when told."""

from __future__ import annotations

import threading
from concurrent.futures._base import LOGGER
from typing import TYPE_CHECKING

from ._future import Claim
from ._lifecycle import mark_as_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._request_queue import Request, RequestQueue


class _Begun:
    """The event on which `Thread.start` waits, proof against interrupts.

    A signal handler that raises in `threading.Event.wait` may leave the event's lock behind,
    held; the new thread, which must take it to say that it runs, then hangs for ever. Here the
    new thread takes no lock. It has the methods that `threading.Thread` calls.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # set before

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._lock.acquire()  # by the starter alone
        return True

    def _at_fork_reinit(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()


class WorkerThread:
    """One thread of a pool. Its states are told in `_workforce`.

    Touched by its own thread alone, but for: `birth`, popped once, by the thread when it begins or
    by the starter when it gives up; `is_listed`, set by both; `_lock`, released by whoever calls
    the worker; `slot`, read by the child after a fork.
    """

    def __init__(
        self,
        requests: RequestQueue,
        prepare: Callable[[WorkerThread], bool],
        must_leave: Callable[[], bool],
        depart: Callable[[WorkerThread], None],
        name: str,
    ) -> None:
        self.claim = Claim()
        self.slot: list[Request] = []  # the request that it runs
        self.birth = [self]
        self.is_listed = False  # in the executor's _threads; it may have been taken out there
        self._requests = requests
        self._take = requests.taker(self.slot)
        self._prepare = prepare
        self._must_leave = must_leave
        self._depart = depart
        self._lock = threading.Lock()
        self._lock.acquire()
        self.gone = threading.Lock()  # held until its thread has departed, or was given up
        self.gone.acquire()
        self.thread = threading.Thread(name=name, target=self.run)
        self.begun = self.thread._started = _Begun()  # type: ignore[attr-defined]  # private
        mark_as_worker(self.thread)

    def disown(self, at_end: Callable[[], None]) -> None:
        """In the child of a fork in this worker's task: leave after it, then call `at_end`."""
        self._must_leave = lambda: True
        self._depart = lambda worker: at_end()

    def run(self) -> None:
        """The thread's life."""
        struck: BaseException | None = None
        given_up = False
        try:
            try:
                given_up = not self._is_wanted()
                if not given_up and self._prepare(self):
                    self._work()
            except BaseException as error:
                # Raised into this thread from outside: tasks and callbacks cannot get here.
                struck = error
                self._hand_back(error)
        finally:
            try:
                if not given_up:
                    self._depart(self)
            finally:
                self.let_go()
        if struck is not None:  # last, since logging runs user code
            LOGGER.critical("Exception in worker", exc_info=struck)

    def _is_wanted(self) -> bool:
        """Whether its starter has not given it up."""
        try:
            self.birth.pop()
        except IndexError:
            return False
        return True

    def let_go(self) -> None:
        """Release those who wait for `gone`."""
        try:
            self.gone.release()
        except RuntimeError:
            pass  # released before

    def _work(self) -> None:
        take, slot, claim = self._take, self.slot, self.claim
        while True:
            try:
                next(take)
            except IndexError:
                pass  # parking here would keep the exception and its frames
            else:
                slot[0]._run(claim)
                slot.clear()
                continue
            if self._must_leave():
                return
            self._requests.park(self._lock, self._must_leave)

    def _hand_back(self, error: BaseException) -> None:
        """Leave nothing behind: neither a lock among the idle nor a request in the slot."""
        self._requests.unpark(self._lock)
        for request in self.slot[:]:
            if not request._abandon(self.claim, error):
                self._requests.requests.appendleft(request)
        self.slot.clear()
