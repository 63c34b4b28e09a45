"""`WorkerThread`: take a request, run it, repeat, leave when told."""

from __future__ import annotations

import threading
from concurrent.futures._base import LOGGER
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from ._future import BETWEEN, Claim
from ._lifecycle import mark_as_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ._request_queue import Request, RequestQueue


class Crew(Protocol):
    """What a worker asks of the workers' common affairs; see `_workforce`."""

    idle_timeout: float | None
    is_shrinking: bool

    def prepare(self, worker: WorkerThread) -> bool: ...
    def must_leave(self) -> bool: ...
    def must_look(self) -> bool: ...
    def must_look_though_refused(self) -> bool: ...
    def may_leave(self, worker: WorkerThread, expired: bool) -> bool: ...
    def depart(self, worker: WorkerThread) -> None: ...


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


# The worker of each thread that is one, by the thread's identifier.
_current: dict[int, WorkerThread] = {}


class WorkerThread:
    """One thread of a pool. Its states are told in `_workforce`.

    Touched by its own thread alone, but for: `birth`, popped once, by the thread when it begins
    or by the starter when it gives up; `listing`, emptied by either; `lock`, released by whoever
    calls the worker; `slot`, `wakes` and the claim's counts, read by others.
    """

    def __init__(self, requests: RequestQueue, crew: Crew, name: str, daemon: bool | None) -> None:
        self.slot: list[Request] = []  # the request that it runs
        self.claim = Claim(self.slot)
        self.birth = [self]
        self.listing = [None]  # emptied by who enters its thread in the executor's _threads
        self.wakes = 0  # how often it was called, or expired; counted before it looks for work
        self.context: Any = None  # what `worker_context` gave
        self.lock = threading.Lock()
        self.lock.acquire()
        self.gone = threading.Lock()  # held until its thread has departed, or was given up
        self.gone.acquire()
        self._requests = requests
        self._take = requests.taker(self.slot)
        self._take_late = requests.late_taker(self.slot)
        self._crew = crew
        self._entered = ExitStack()  # the worker's context
        self._parents: ExitStack | None = None  # that of the parent, in the child of a fork
        self.thread = threading.Thread(name=name, target=self.run, daemon=daemon)
        self.begun = self.thread._started = _Begun()  # type: ignore[attr-defined]  # private
        mark_as_worker(self.thread, self.gone)

    @property
    def crew(self) -> Crew:
        """The workforce that it belongs to."""
        return self._crew

    def is_running(self) -> bool:
        """Whether it has a request that has not ended, or an item of a batch."""
        item = self.claim.item
        return (item is not None and item != BETWEEN) or any(
            not request._has_ended() for request in self.slot[:]
        )

    def disown(self, at_end: Callable[[], None]) -> None:
        """In the child of a fork in this worker's task: leave after it, then call `at_end`."""
        # What was entered is the parent's; kept, lest the garbage collector closes it here.
        self._parents, self._entered = self._entered, ExitStack()
        self._crew = _Nobody(at_end)

    def enter(self, manager: AbstractContextManager[Any]) -> None:
        """Enter the worker's context, to be left when the worker leaves."""
        self.context = self._entered.enter_context(manager)

    def run(self) -> None:
        """The thread's life."""
        struck: BaseException | None = None
        given_up = False
        try:
            try:
                given_up = not self._is_wanted()
                if not given_up:
                    _current[threading.get_ident()] = self
                    if self._crew.prepare(self):
                        self._work()
            except BaseException as error:
                # Raised into this thread from outside: tasks and callbacks cannot get here.
                struck = error
                self._hand_back(error)
        finally:
            try:
                self._leave_context()
            finally:
                _current.pop(threading.get_ident(), None)
                try:
                    if not given_up:
                        self._crew.depart(self)
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

    def _leave_context(self) -> None:
        try:
            self._entered.close()
        except BaseException:
            LOGGER.exception("exception on leaving the context of a worker")

    def let_go(self) -> None:
        """Release those who wait for `gone`."""
        try:
            self.gone.release()
        except RuntimeError:
            pass  # released before

    def _work(self) -> None:
        take, late, slot = self._take, self._take_late, self.slot
        claim, crew = self.claim, self._crew
        expired = False  # whether it has just been idle for too long
        while True:
            if crew.is_shrinking and crew.may_leave(self, expired=False):
                return
            try:
                next(take)
            except IndexError:
                try:
                    next(late)
                except IndexError:
                    pass  # parking here would keep the exception and its frames
            if slot:
                while slot[0]._run(claim):
                    pass  # a turn has left a request in its place, a batch what came behind it
                slot.clear()
                expired = False
                continue
            crew = self._crew  # another one after a fork
            if crew.must_leave() or (expired and crew.may_leave(self, expired=True)):
                return
            if expired:  # refused: no need to ask again until something changes
                expired = self._requests.park(self.lock, crew.must_look_though_refused)
            else:
                expired = self._requests.park(self.lock, crew.must_look, crew.idle_timeout)
            self.wakes += 1

    def _hand_back(self, error: BaseException) -> None:
        """Leave nothing behind: neither a lock among the idle nor a request in the slot."""
        self._requests.unpark(self.lock)
        for request in self.slot[:]:
            if not request._abandon(self.claim, error):
                self._requests.put_back(request)
        self.slot.clear()


class _Nobody:
    """The crew of a worker that is alone in the child of a fork."""

    idle_timeout: float | None = None
    is_shrinking = False

    def __init__(self, at_end: Callable[[], None]) -> None:
        self._at_end = at_end

    def prepare(self, worker: WorkerThread) -> bool:
        return False

    def must_leave(self) -> bool:
        return True

    must_look = must_look_though_refused = must_leave

    def may_leave(self, worker: WorkerThread, expired: bool) -> bool:
        return True

    def depart(self, worker: WorkerThread) -> None:
        self._at_end()


def worker_of_this_thread() -> WorkerThread | None:
    """The worker that runs the calling code; None in a thread of no pool."""
    return _current.get(threading.get_ident())


def forget_other_workers() -> None:
    """In the child of a fork, where identifiers of threads that are gone come again."""
    me = threading.get_ident()
    for ident in list(_current):
        if ident != me:
            _current.pop(ident, None)
