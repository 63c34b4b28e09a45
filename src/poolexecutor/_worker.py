"""`WorkerThread`: take a request, run it, repeat, leave when told."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures._base import LOGGER
from contextlib import ExitStack
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ._future import BETWEEN, Claim
from ._lifecycle import mark_as_worker
from ._waiting import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from ._request import WorkRequest
    from ._request_queue import Request, RequestQueue
    from ._waiting import Awaited

T = TypeVar("T")
# Of the stack, in Python's frames. Up to 3.10 those of C take their part of it, too.
_USABLE = 0.75 if sys.version_info >= (3, 11) else 0.5


class Crew(Protocol):
    """What a worker asks of the workers' common affairs; see `_workforce`."""

    idle_timeout: float | None
    is_alert: bool
    errands: Any

    def hand_over(self) -> None: ...
    def is_small(self) -> bool: ...
    def prepare(self, worker: WorkerThread) -> bool: ...
    def attend(self, worker: WorkerThread) -> bool: ...
    def block(self, wait: Wait) -> None: ...
    def unblock(self, wait: Wait) -> None: ...
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


class Wait:
    """That the task of a worker waits, and for what; also the errand of a worker lent for it.

    Args:
        worker: Whose task waits.
        awaited: What it waits for.
        is_over: Whether that is there.
        deadline: When it stops waiting, by the monotonic clock; None, never.

    Attributes:
        is_served: Whether a worker was found that begins with what is awaited. True as well if
            that does not lie in the worker's queue.
    """

    __slots__ = ("_deadline", "_ended", "_is_over", "awaited", "is_served", "worker")

    def __init__(
        self,
        worker: WorkerThread,
        awaited: Awaited,
        is_over: Callable[[], bool],
        deadline: float | None,
    ) -> None:
        self.worker = worker
        self.awaited = awaited
        self.is_served = True
        self._is_over = is_over
        self._deadline = deadline
        self._ended = False

    def is_over(self) -> bool:
        """Whether the task goes on, or is about to. Asked by any thread."""
        if self._ended or self._is_over():
            return True
        return self._deadline is not None and time.monotonic() >= self._deadline

    def end(self) -> None:
        """The task goes on."""
        self._ended = True

    def run(self, worker: WorkerThread) -> None:
        """Have a worker do what is awaited, as long as the task waits."""
        worker.run_while(self.is_over, self.awaited)


class WorkerThread:
    """One thread of a pool. Its states are told in `_workforce`.

    Touched by its own thread alone, but for: `birth`, popped once, by the thread when it begins
    or by the starter when it gives up; `listing`, emptied by either; `lock`, released by whoever
    calls the worker; `slot`, `wakes` and the claim's counts, read by others.
    """

    def __init__(self, requests: RequestQueue, crew: Crew, name: str, daemon: bool | None) -> None:
        # The request that it runs; behind it those that it runs because that one, and so on,
        # waits for them.
        self.slot: list[Request] = []
        self.claim = Claim(self.slot, counts=True)
        # Another one for what it has not taken out of the queue: it may meet that there later.
        self.helping = Claim(self.slot, counts=True)
        self.birth = [self]
        self.listing = [None]  # emptied by who enters its thread in the executor's _threads
        self.wakes = 0  # how often it was called, or expired; counted before it looks for work
        self.context: Any = None  # what `worker_context` gave
        self.lock = threading.Lock()
        self.lock.acquire()
        self.gone = threading.Lock()  # held until its thread has departed, or was given up
        self.gone.acquire()
        self.requests = requests
        self.is_ready = False  # from its first task on, until it has decided to leave
        self.serving: WorkerThread | None = None  # for whose task it runs what that awaits
        self.chained: Any = None  # what a loop in its task awaits, see `_chained`
        self._base: Context | None = None  # as it was before its first task
        self._callers: list[Generator[None, Any, None]] = []  # that are idle
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

    def is_searching(self) -> bool:
        """Whether it has no request; unless it is parked, it is about to take one."""
        return self.is_ready and not self.slot[:1]

    def count_running(self) -> int:
        """How many requests, or items of batches, it has that have not ended."""
        item = self.claim.item
        running = sum(not request._has_ended() for request in self.slot[:])
        return running + (item is not None and item != BETWEEN)

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
                    workers[threading.get_ident()] = self
                    if self._crew.prepare(self):
                        self._base = copy_context()
                        self.is_ready = True
                        self._work()
                        self.is_ready = False
                        self._crew.hand_over()
            except BaseException as error:
                # Raised into this thread from outside: tasks and callbacks cannot get here.
                struck = error
                self._hand_back(error)
        finally:
            try:
                self._leave_context()
            finally:
                workers.pop(threading.get_ident(), None)
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
        called = True  # perhaps for an errand
        while True:
            if crew.is_alert or called:
                called = False
                if (crew.is_alert or crew.errands) and crew.attend(self):
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
                expired = self.requests.park(self.lock, crew.must_look_though_refused)
            else:
                expired = self.requests.park(self.lock, crew.must_look, crew.idle_timeout)
            self.wakes += 1
            called = True

    # --- waiting in a task --------------------------------------------------------------------

    def wait(
        self,
        sleep: Callable[[], T],
        deadline: float | None,
        awaited: Awaited,
        is_over: Callable[[], bool],
        helps: bool = True,
        lasts: bool = True,
    ) -> T:
        """Have the task of this worker wait. See `Workforce.block`.

        Args:
            sleep: Sleeps until what is awaited is there, or the deadline has passed, and returns
                what is to be returned.
            deadline: By the monotonic clock; None, without limit.
            awaited: What is awaited.
            is_over: Whether it is there. Asked by other threads, too.
            helps: Whether this worker itself may run what is awaited.
            lasts: Whether `is_over` stays true until the task goes on: no other one takes it away.
        """
        if deadline is None and (not self.is_ready or (helps and self._has_room())):
            # As run_while, without the call: the stack is short.
            while not is_over() and (request := awaited._next_in(self.requests)) is not None:
                self.run_awaited(request)
                del request  # what it raised may be raised here, and hold this frame
        if is_over():
            return sleep()
        wait = self.begin_wait(awaited, is_over if lasts else bool, deadline)
        try:
            return sleep()
        finally:
            self.end_wait(wait)

    def begin_wait(
        self, awaited: Awaited, is_over: Callable[[], bool], deadline: float | None
    ) -> Wait:
        """The task waits from now on, and this worker does not count as one that runs."""
        wait = Wait(self, awaited, is_over, deadline)
        try:
            self._crew.block(wait)
            # Not in another thread, see `_chained`: there the loop's own has to go without.
            mine = workers.get(threading.get_ident()) is self
            if not wait.is_served and deadline is None and mine:
                wait.run(self)
        except BaseException:
            self._crew.unblock(wait)
            raise
        return wait

    def end_wait(self, wait: Wait) -> None:
        """The task goes on. Called by any thread, where a coroutine waited."""
        self._crew.unblock(wait)

    def _has_room(self) -> bool:
        """Whether another task can be run on top of the one that runs in this thread.

        Not in the midst of an event loop, since a task may start its own. Nor where that one has
        used up much of the stack, for the other one may do so, too: a quarter, or, where tasks are
        nested, what tasks of that kind use.
        """
        events = sys.modules.get("asyncio.events")
        if events is not None and events._get_running_loop() is not None:
            return False
        limit = sys.getrecursionlimit()
        try:
            sys._getframe(int(min(limit * _USABLE, limit / 4 + 10 * len(self.slot))))
        except ValueError:
            return True
        return False

    def run_while(self, is_over: Callable[[], bool], awaited: Awaited) -> None:
        """Run what is awaited, as far as it lies in the own queue."""
        while not is_over() and (request := awaited._next_in(self.requests)) is not None:
            self.run_awaited(request)

    def run_awaited(self, request: WorkRequest[Any]) -> None:
        """Run a request of the own queue now, wherever it lies there, unless another one has it.

        In a copy of the context that this worker began with: what the waiting task has changed in
        its own is not for others, and the other way round.
        """
        slot, claim = self.slot, self.helping
        waits = bool(slot)
        context = copy_context() if self._base is None else self._base.copy()
        try:
            slot.append(request)
            if request._claim_awaited(claim):
                caller = self._callers.pop() if self._callers else _caller()
                next(caller)
                caller.send((context, request, claim))
                self._callers.append(caller)
        except BaseException as error:
            # Raised into this thread from outside: tasks and callbacks cannot get here.
            if not request._abandon(claim, error):
                self.requests.put_back(request)
            raise
        finally:
            if slot[-1:] == [request]:
                slot.pop()
        if waits and request._fold()[0] is claim:
            claim.helped += 1

    def _hand_back(self, error: BaseException) -> None:
        """Leave nothing behind: neither a lock among the idle nor a request in the slot."""
        self.requests.unpark(self.lock)
        for request in self.slot[:]:
            if not request._abandon(self.claim, error):
                self.requests.put_back(request)
        self.slot.clear()


def _caller() -> Generator[None, tuple[Context, WorkRequest[Any], Claim], None]:
    """Run the request that is sent. To be started anew, by `next`, for each.

    A generator that is suspended has no caller. So the traceback of what a task raised that was
    run here does not lead to the frames of the task that waited, and keep alive what they hold.
    """
    while True:
        context, request, claim = yield
        context.run(request._run, claim)
        del context, request, claim
        yield


class _Nobody:
    """The crew of a worker that is alone in the child of a fork."""

    idle_timeout: float | None = None
    is_alert = False
    errands = ()

    def __init__(self, at_end: Callable[[], None]) -> None:
        self._at_end = at_end

    def prepare(self, worker: WorkerThread) -> bool:
        return False

    def must_leave(self) -> bool:
        return True

    must_look = must_look_though_refused = must_leave

    def may_leave(self, worker: WorkerThread, expired: bool) -> bool:
        return True

    def hand_over(self) -> None:
        pass

    def is_small(self) -> bool:
        return True

    def attend(self, worker: WorkerThread) -> bool:
        return True

    def block(self, wait: Wait) -> None:
        pass

    unblock = block

    def depart(self, worker: WorkerThread) -> None:
        self._at_end()


def forget_other_workers() -> None:
    """In the child of a fork, where identifiers of threads that are gone come again."""
    me = threading.get_ident()
    for ident in list(workers):
        if ident != me:
            workers.pop(ident, None)
