"""All workers of one pool: start, call, replace, resize, expire, close.

Protocol
--------
A worker (`_worker.WorkerThread`) is in one of these states; `_request_queue` has the proof of the
hand-over between the middle three:

=========  ===================================  =================================================
state      it is found in                       leaves it when
=========  ===================================  =================================================
STARTING   `workers`                            its thread pops `birth` -> SEARCHING; or its
                                                starter does: the start failed -> GONE
SEARCHING  `workers`                            it takes a request -> RUNNING; finds none ->
                                                PARKED; may leave -> LEAVING; is hit by an
                                                exception from outside -> GONE
RUNNING    `workers`, request in `slot`         the request is settled -> SEARCHING; its task
                                                waits for other work -> BLOCKED
BLOCKED    `workers`, not `active`, its         what the task waits for is there, or its time
           `Wait` in `_blocked`                 is up -> RUNNING
PARKED     `workers`, lock in `requests.idle`   it is called, or has been idle for too long
                                                -> SEARCHING
LEAVING    `workers`, `leaving` if by size      it has left its context -> GONE
GONE       `threads`, if it left in the end
=========  ===================================  =================================================

`workers` grows under `_starting` only, so it never exceeds the limit; a worker takes itself out in
`depart`, *before* it looks at the queue for the last time. Who queues a request looks at `workers`
after that: one counts the worker as gone, or the other sees the request.

A worker leaves for size only if `may_leave` says so: it enters `leaving` and counts those before
it there as gone. Of any two, one counts the other, so no more leave than may. Who takes himself
out of `leaving` looks whether there are still too many, for those who counted him in vain.

Who wants a thread does not wait for `_starting`, since it could be a signal handler or a finalizer
on top of its owner. It leaves a ticket first and then tries the lock. If that is taken, its owner
looks for tickets after releasing it. Only `join` waits for it, if its own thread does not have it,
and, for some seconds at most, who brings a worker for an errand.

A BLOCKED worker does not count: `active` are the others, and there may be as many of those as the
limit says. Its task waits for something that is *awaited*. If that lies in our queue the wait is
put into `errands` and a worker is brought for it: an idle one is called, or one started, if need
be beyond the limit, since others may be stuck behind a lock that the waiting task holds. Every
worker looks for errands before it looks at the queue, and an errand is one wait, taken out once. So
for each a worker is on its way, if it is not the one that was brought, and begins with what is
awaited. (Nobody is brought if for each request in the queue a worker is on its way already.)

Whoever finds a wait to be over counts its worker again, though that has not got so far itself
(`counted`). So a worker that has just settled what was awaited finds itself to be one too many
before it takes anything else, and leaves; and as many run as may, but for one that has something in
hand just as the waiting task goes on. Each side publishes before it looks: who ends what is awaited
does that and looks at `counted` then; who goes on enters `active` and looks for too many then.

`is_alert` is set after what it tells about is there, and cleared by who then looks again.

`resize` replaces `bounds`, one object; `is_alert` says that some workers have to leave, or
that the tasks of some wait (`block`). A pool
is open (paused, if the limit is 0), then `closing`, `broken` or `retired`, for good. `is_open` says
so to `submit`, which looks before and after queueing: the first look refuses, the second finds out
that the last worker may have left in between, and takes the request back. No lock is held while
user code runs, but for `_starting`, during `Thread.start`.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import time
from concurrent.futures._base import LOGGER
from typing import TYPE_CHECKING, Any, Protocol

from . import _lifecycle, _sizing
from ._bell import Bell
from ._entrance import Entrance
from ._future import Claim
from ._request_queue import Request, RequestQueue
from ._sizing import Bounds
from ._stats import Ledger, PoolStats, Tally
from ._vigil import Insiders, Vigil
from ._waiting import worker_of_this_thread
from ._worker import Wait, WorkerThread, forget_other_workers
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ._admission import Admission


class Failable(Protocol):
    """A request, or a batch."""

    def _fail(self, error: BaseException) -> None: ...


INITIALIZER_FAILED = "A thread initializer failed, the thread pool is not usable anymore"
_FORKED = "the process was forked; what was submitted before the fork runs in the parent only"


def start_thread(worker: WorkerThread) -> None:
    """Start the worker's thread; returns when it runs.

    An interrupt may strike where `Thread.start` has just taken the lock of `threading`'s tables, or
    is about to give it back. It would stay held then, and every new thread wait for it.
    """
    lock: Any = getattr(threading, "_active_limbo_lock", None)  # an RLock
    is_mine = getattr(lock, "_is_owned", bool)
    was_mine = is_mine()
    try:
        worker.thread.start()
    except BaseException:
        if is_mine() and not was_mine:
            lock.release()
        raise


class Workforce:
    """The workers of one pool and the queue that they serve.

    Args:
        initializer: Called with `initargs` in each new worker, or None.
        initargs: Its arguments.
        broken_type: Of the exception that a failing initializer leaves in futures.
        worker_context: Called in each new worker; gives the context manager to be entered.
        idle_timeout: Seconds after which a worker above the minimum leaves, or None.
        daemon: Whether the threads are daemons; None, as the thread that starts them.
        admission: The places of a bounded queue, or None.
        start: Starts a worker; tests step workers instead.
    """

    def __init__(
        self,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        broken_type: type[Exception] = BrokenThreadPool,
        *,
        worker_context: Callable[[], AbstractContextManager[Any]] | None = None,
        idle_timeout: float | None = None,
        daemon: bool | None = None,
        admission: Admission | None = None,
        start: Callable[[WorkerThread], None] = start_thread,
    ) -> None:
        self.bounds = Bounds(1)  # replaced when known
        self.name_prefix = ""  # of the threads' names; set when known
        self.executor: Callable[[], Any] = lambda: None  # a weak reference, set when known
        self.requests = RequestQueue()
        self.workers: set[WorkerThread] = set()
        self.active: set[WorkerThread] = set()  # those that count against the limit
        self.threads: set[threading.Thread] = set()  # the executor's _threads
        self.is_open = True
        self.is_alert = False  # a worker that has no request in hand is to `attend`
        self.closing = False
        self.retired = False  # somebody else serves the executor; what is queued here is finished
        self.broken: str | bool = False
        self.initializer = initializer
        self.initargs = initargs
        self.idle_timeout = idle_timeout
        self.admission = admission
        self.largest = 0
        self._worker_context = worker_context
        self._daemon = daemon
        self._next_number = itertools.count().__next__
        self._broken_type = broken_type
        self._start = start
        self._tickets: list[Wait | None] = []  # with the errand, if it is for one
        self._last_failure: object = None  # of a start; another one after each
        self._starting = threading.RLock()
        self._resizing = threading.RLock()
        self._leaving: list[WorkerThread] = []
        self._blocked: list[Wait] = []
        self.errands: list[Wait] = []  # that no worker has begun
        self._departing: list[WorkerThread] = []  # on their way from `workers` to the ledger
        self._last_departure: object = None  # another one after each
        self.last_threads: set[threading.Thread] = set()  # of workers that have departed
        self.changes = Bell()  # rung when a worker parks, leaves, or may have to
        self._insiders = Insiders()
        self.entrance = None if admission is None else Entrance(admission, self)
        self._ledger = Ledger()
        _lifecycle.register(self)

    # --- more workers -------------------------------------------------------------------------

    def summon(self) -> None:
        """See to it that a worker looks at the queue after this call began.

        Raises:
            RuntimeError: No worker is left and none can be started; all requests have failed.
        """
        if self.requests.wake_one():
            if len(self.workers) < self._floor():
                self._replace()  # it could not be started before
        elif len(self.active) < self.bounds.limit:
            failure = self._grow()
            try:
                if failure is not None:
                    self._report(failure)
            finally:
                failure = None  # its traceback holds this frame

    def _floor(self) -> int:
        """How many workers there shall be, idle or not."""
        return self.bounds.floor if self.is_open and not self.must_leave() else 0

    def _grow(self, errand: Wait | None = None) -> BaseException | None:
        """Start a worker, if one is wanted; returns what has kept it from being started."""
        self._tickets.append(errand)
        return self._serve_tickets()

    def _serve_tickets(self) -> BaseException | None:
        tickets, starting = self._tickets, self._starting
        failure: BaseException | None = None
        if self.is_starting_here():
            if self._is_growing_below():
                return None  # that frame will see the ticket
            starting.release()  # an interrupt struck just where that frame was to release it
        while tickets[-1:]:
            try:
                if not starting.acquire(blocking=False):
                    break
                self._serve_ticket()
            except Exception as error:
                failure = error
            except BaseException as error:
                # An interrupt, meant for the caller. What others are owed is served all the same.
                if failure is None:
                    tickets.append(None)
                failure = error
            finally:
                try:
                    starting.release()
                except RuntimeError:
                    pass  # not acquired
        try:
            return failure
        finally:
            failure = None  # its traceback holds this frame

    def _report(self, failure: BaseException) -> None:
        """Raise what kept a worker from being started, if that matters to the caller."""
        if isinstance(failure, Exception):
            if self.workers:
                return  # they will do the work
            self._settle_all(functools.partial(_fail, failure))
        try:
            raise failure
        finally:
            del failure

    def is_starting_here(self) -> bool:
        """Whether the caller is on top of a worker's start, in this very thread."""
        return self._starting._is_owned()  # type: ignore[attr-defined, no-any-return]  # private

    def hold_start(self, deadline: float | None) -> bool:
        """Wait until no other thread is starting a worker; False at the deadline."""
        return _lifecycle.hold(self._starting, deadline)

    @staticmethod
    def _is_growing_below() -> bool:
        """Whether a signal handler or finalizer has interrupted that in this very thread."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code is _GROW_CODE:
                return True
            frame = frame.f_back  # type: ignore[assignment]  # None ends it
        return False

    def _serve_ticket(self) -> None:
        try:
            errand = self._tickets.pop()
        except IndexError:
            return
        if errand is not None:
            if errand in self.errands[:] and not self._call_own():
                self._start_worker()  # whatever the limit
            return
        if len(self.workers) >= self._floor() and self.requests.wake_one():
            return
        # If the one that is about to go on did not count, those that leave for it would ask for
        # others, without end.
        if len(self.counted()) < self.bounds.limit:
            self._start_worker()
            if len(self.workers) < self._floor():
                self._tickets.append(None)  # one by one up to the minimum

    def _start_worker(self) -> None:
        name = f"{self.name_prefix}_{self._next_number()}"
        worker = WorkerThread(self.requests, self, name, self._daemon)
        try:
            self.workers.add(worker)
            self.active.add(worker)
            self._shrink()  # the limit may have fallen since it was looked at
            count = len(self.workers)
            self._start(worker)
            self.largest = max(self.largest, count)
        except BaseException:
            self._last_failure = object()
            # Whether its thread was started is for `birth` to say: who pops it decides.
            try:
                worker.birth.pop()
            except IndexError:
                pass  # it lives
            else:
                self.workers.discard(worker)
                self.active.discard(worker)
                worker.let_go()
                self.changes.ring()
            raise
        self._list(worker)

    def _list(self, worker: WorkerThread) -> None:
        """Make its thread known before the starter returns. Not again: outsiders take threads out,
        and mean it.
        """
        if worker not in self.workers:
            return  # it has left already, or this is the child of a fork
        if not self._daemon:
            _lifecycle.enter_exit_table(worker.thread, self.requests, own=False)
        self.threads.add(worker.thread)
        worker.listing.clear()
        if worker not in self.workers and self.is_open:
            self.threads.discard(worker.thread)  # as `depart` would have

    def start_minimum(self) -> None:
        """Start workers up to the minimum.

        Raises:
            RuntimeError: The system has no thread to give.
        """
        if len(self.workers) < self._floor():
            failure = self._grow()
            if failure is not None:
                try:
                    raise failure
                finally:
                    del failure

    # --- another size -------------------------------------------------------------------------

    def resize(self, change: Callable[[Bounds], Bounds]) -> None:
        """Change the bounds: start the workers that are wanted, call surplus ones.

        Raises:
            RuntimeError: No worker is left and none can be started. Requests stay queued.
        """
        with self._resizing:  # two at once, and one change would be lost; nothing else is done here
            self.bounds = change(self.bounds)
        self._shrink()
        if self.idle_timeout is not None:
            self.requests.wake_all()  # another minimum may let those leave that were refused
        if self.is_open:
            self._start_wanted()
        else:  # workers come as needed; closed meanwhile, it shall not be paused
            self._resume()
        self.changes.ring()

    def _start_wanted(self) -> None:
        requests = self.requests
        waiting, idle = requests.count(), len(requests.idle)
        for _ in range(_sizing.to_start(self.bounds, len(self.active), idle, waiting)):
            failure = self._grow()
            try:
                if failure is not None and (not self.workers or not isinstance(failure, Exception)):
                    raise failure
            finally:
                failure = None  # its traceback holds this frame

    def _shrink(self) -> None:
        """If there are too many workers, say so, and call those that have been idle for longest.

        `is_alert` is cleared by a worker that finds not too many, and looks again after that;
        both stores are to this object, so they have one order.
        """
        too_many = self._count_surplus()
        if too_many or self._blocked[:1]:
            self.is_alert = True
        if too_many:
            for lock in self._own_idle()[:too_many]:
                self.requests.call(lock)

    def _count_surplus(self) -> int:
        return _sizing.surplus(self.bounds, self._count_staying())

    def _own_idle(self) -> list[Any]:
        """The locks of idle workers: not of outsiders' threads, which wait at the same queue."""
        ours = {id(worker.lock) for worker in self.workers.copy()}
        return [lock for lock in self.requests.idle[:] if id(lock) in ours]

    def may_leave(self, worker: WorkerThread, expired: bool) -> bool:
        """Whether a worker that has no request in hand may leave, for there are others enough."""
        self._leaving.append(worker)
        ahead = self._leaving[:]
        workers = self.counted()
        # One ahead that is off already must not be counted twice.
        leaving = len(workers.intersection(ahead[: ahead.index(worker)]))
        if _sizing.may_leave(self.bounds, len(workers), leaving, expired):
            return True
        self._stop_leaving(worker)
        return False

    def _count_staying(self) -> int:
        return len(self.counted().difference(self._leaving[:]))

    def _stop_leaving(self, worker: WorkerThread) -> None:
        """The worker has left, or may not; those who counted it as leaving are to look again."""
        self._leaving.remove(worker)
        self._look_again()

    @property
    def vigil(self) -> Vigil:
        """For who waits for the workers."""
        return Vigil(self, self._insiders)

    # --- the books ----------------------------------------------------------------------------

    def count(self, tally: Tally) -> None:
        """Count requests that ended without a worker."""
        self._ledger.add(tally)

    def stats(self) -> PoolStats:
        """Counts of workers and requests; see `PoolStats`."""
        for _ in range(100):  # while a worker departs, its counts are nowhere
            departure, departing = self._last_departure, self._departing[:]
            stats = self._count()
            if not departing and not self._departing[:] and departure is self._last_departure:
                return stats
            time.sleep(0)  # its turn
        return self._count()

    def _count(self) -> PoolStats:
        # In the order against that of a request's way: what moves is missed, not counted twice.
        ended = self._ledger.total()
        workers = self.workers.copy()
        for worker in workers:
            ended = ended.plus(_tally(worker))
        blocked = {wait.worker for wait in self._blocked[:] if not wait.is_over()} & workers
        running = {worker: worker.count_running() for worker in workers}
        busy = sum(running[worker] > 0 for worker in workers - blocked)
        queued, ended_in_queue = self.requests.count_waiting()
        ended = ended.plus(ended_in_queue)
        return PoolStats(
            workers=len(workers),
            idle=min(len(self.requests.idle), len(workers) - len(blocked) - busy),
            busy=busy,
            queued=queued,
            max_workers=self.bounds.limit,
            min_workers=self.bounds.minimum,
            largest_workers=self.largest,
            submitted=ended.accepted + sum(running.values()) + queued,
            completed=ended.completed,
            failed=ended.failed,
            cancelled=ended.cancelled,
            expired=ended.expired,
            refused=ended.refused,
            blocked=len(blocked),
            lent=min(len(blocked), max(0, len(workers) - self.bounds.limit)),
            helped=ended.helped,
        )

    # --- workers whose task waits -------------------------------------------------------------

    def block(self, wait: Wait) -> None:
        """A worker's task waits from now on; see to it that what it waits for is done.

        The caller calls `unblock` in any case.
        """
        if not wait.worker.is_ready:
            wait.is_served = False
            return  # its initializer waits; another worker would begin with that, too
        self._blocked.append(wait)
        self._settle_active(wait.worker)
        self.is_alert = True
        if not self.requests.has_requests():
            return
        if wait.awaited._waits_in(self.requests):
            self.errands.append(wait)
            wait.is_served = self._is_each_fetched() or self._bring(wait)
        elif not self._is_each_fetched():
            self.summon_somebody()

    def _is_each_fetched(self) -> bool:
        """Whether for each request in the queue a worker is on its way.

        The requests are counted first: who takes one meanwhile is not seen to come.
        """
        waiting = self.requests.count()
        searching = {worker for worker in self.active.copy() if worker.is_searching()}
        idle = set(map(id, self.requests.idle[:]))
        coming = sum(id(worker.lock) not in idle for worker in searching)
        return waiting <= coming

    def unblock(self, wait: Wait) -> None:
        """It waits no more. Workers that are too many now leave, see `attend`."""
        wait.end()
        try:
            self.errands.remove(wait)
        except ValueError:
            pass  # somebody sees to it, or has done so
        if wait not in self._blocked[:]:
            return  # forked meanwhile
        self._forget_wait(wait)
        waits_still = not self._settle_active(wait.worker)
        self._look_again()
        if waits_still and self.requests.has_requests():
            self.summon_somebody()

    def _settle_active(self, worker: WorkerThread) -> bool:
        """Have `active` say whether a worker counts; whether it does.

        Waits of one worker may begin and end in several threads, those of an event loop in its
        task. Each looks once more after what it did; so the last one to do something has seen the
        waits as they were after that.
        """
        while True:
            counts = self._is_to_count(worker)
            if counts:
                self.active.add(worker)
            else:
                self.active.discard(worker)
            if self._is_to_count(worker) == counts:
                return counts

    def _is_to_count(self, worker: WorkerThread) -> bool:
        waits = any(wait.worker is worker for wait in self._blocked[:])
        return not waits and worker in self.workers

    def _forget_wait(self, wait: Wait) -> None:
        try:
            self._blocked.remove(wait)
        except ValueError:
            pass  # forgotten before

    def _look_again(self) -> None:
        """Fewer may be too many now; `is_alert` tells whether that is to be looked at."""
        if not self._blocked[:1]:
            self.is_alert = False
        self._shrink()

    def counted(self) -> set[WorkerThread]:
        """Workers that count against the limit, those included that are about to go on."""
        waits = [(wait.worker, wait.is_over()) for wait in self._blocked[:]]
        # Several at a time, if an event loop runs in its task: then it goes on after the last.
        over = {worker for worker, is_over in waits if is_over}
        over -= {worker for worker, is_over in waits if not is_over}
        return self.active.copy().union(self.workers.intersection(over))

    def _call_own(self) -> bool:
        """Call the worker that parked last; False if none is parked."""
        return any(self.requests.call(lock) for lock in reversed(self._own_idle()))

    def _bring(self, wait: Wait) -> bool:
        """See to it that a worker comes for this errand; False if none can be started.

        None is lent beyond the limit if one is at work on what the same task has awaited before,
        and given up: then it would be more with each time-out. That one sees to this after it.
        """
        if self._call_own():
            return True
        if len(self.counted()) >= self.bounds.limit and any(
            worker.serving is wait.worker for worker in self.active.copy()
        ):
            return True
        last_failure = self._last_failure
        failure = self._grow(wait)
        try:
            if failure is not None and not isinstance(failure, Exception):
                raise failure
            # Another thread may be seeing to it, and fail. It is not waited for without end: a
            # signal handler may be on top of it.
            came = _lifecycle.hold(self._starting, time.monotonic() + 5)
            failure = failure or self._serve_tickets()  # of those who came while it was held here
            return came and failure is None and self._last_failure is last_failure
        finally:
            failure = None  # its traceback holds this frame

    def is_small(self) -> bool:
        """Whether a task may begin with any of those of which it waits for the first.

        That one may wait, in its own way, for what the task does when another one is there. Then
        the standard pool would hang, too, if there are not two workers besides.
        """
        return self.bounds.maximum <= 2

    def hand_over(self) -> None:
        """For a worker that has taken its last look: somebody else has to see to errands."""
        for wait in self.errands[:]:
            self._bring(wait)

    def attend(self, worker: WorkerThread) -> bool:
        """For a worker that has no request in hand: do what is more urgent than the next one.

        Returns:
            Whether it shall leave.
        """
        if self._blocked[:1]:
            # If its task has ended and yet is said to wait, `unblock` was struck from outside.
            self._forget_waits_of(worker)
            self._settle_active(worker)
        while self.errands:
            try:
                errand = self.errands.pop(0)
            except IndexError:
                break  # another worker was faster
            self._serve(worker, errand)
        if self._count_surplus() and self.may_leave(worker, expired=False):
            return True
        if not self._blocked[:1]:
            self._look_again()
        return False

    def _forget_waits_of(self, worker: WorkerThread) -> None:
        for wait in self._blocked[:]:
            if wait.worker is worker:
                wait.end()
                self._forget_wait(wait)

    def _serve(self, worker: WorkerThread, wait: Wait) -> None:
        worker.serving = wait.worker
        try:
            wait.run(worker)
        except BaseException:
            self.errands.insert(0, wait)  # raised into this thread; it is handed over
            raise
        finally:
            worker.serving = None

    def is_mine(self) -> bool:
        """Whether the calling thread is one of its workers."""
        worker = worker_of_this_thread()
        return worker is not None and worker.crew is self

    # --- called by the workers ----------------------------------------------------------------

    def prepare(self, worker: WorkerThread) -> bool:
        """First thing in a new worker: False if its initializer or its context failed."""
        if not self._daemon:
            _lifecycle.enter_exit_table(worker.thread, self.requests, own=True)
        if worker.listing[:]:  # its starter has not come that far, or was interrupted
            self.threads.add(worker.thread)
            worker.listing.clear()
        try:
            if self.initializer is not None:
                self.initializer(*self.initargs)
            if self._worker_context is not None:
                worker.enter(self._worker_context())
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self.break_down(INITIALIZER_FAILED)
            return False
        return True

    def must_leave(self) -> bool:
        """Whether a worker that finds no request shall leave."""
        return self.closing or self.retired or _lifecycle.interpreter_is_closing()

    def must_look(self) -> bool:
        """For a worker that is about to sleep, and can be called already: whether it must not."""
        if self.changes.is_watched():
            self.changes.ring()
        if self.errands or (self.is_alert and self._count_surplus()):
            return True
        return self.must_leave()

    def must_look_though_refused(self) -> bool:
        """As `must_look`, for one that may not leave though idle for too long: nothing but a
        change of the number or the minimum makes it ask again.
        """
        return self.must_look() or self._count_staying() > self.bounds.floor

    def depart(self, worker: WorkerThread) -> None:
        """Last thing in a worker, however it ends."""
        self._departing.append(worker)
        self.workers.discard(worker)
        self.active.discard(worker)
        if self._blocked[:1]:
            self._forget_waits_of(worker)  # it has died in the midst of one
        self._ledger.add(_tally(worker))
        self._last_departure = worker.claim
        self._departing.remove(worker)
        if worker in self._leaving[:]:
            self._stop_leaving(worker)
        if self.is_open and not self.must_leave():
            gone = [thread for thread in self.last_threads.copy() if not thread.is_alive()]
            self.last_threads.difference_update(gone)
            self.last_threads.add(worker.thread)
            self.threads.discard(worker.thread)  # those that leave in the end are joined
            if len(self.workers) < self._floor():
                self._replace()
        if self.errands:
            self.hand_over()
        if self.requests.has_requests():
            # Called after its last look, or dying: somebody else has to look.
            if self.broken:
                self._fail_all()
            else:
                self.summon_somebody()
        if self.changes.is_watched():
            self.changes.ring()

    def _replace(self) -> None:
        failure = self._grow()
        try:
            if isinstance(failure, Exception):
                LOGGER.critical("No thread for a worker of the minimum", exc_info=failure)
            elif failure is not None:
                raise failure  # an interrupt, meant for the caller
        finally:
            failure = None  # its traceback holds this frame

    def summon_somebody(self) -> None:
        """As `summon`, for those to whom the failure of others' requests is no error."""
        try:
            self.summon()
        except Exception:
            LOGGER.critical("No thread left to run what is queued", exc_info=True)

    # --- the end ------------------------------------------------------------------------------

    def retire(self) -> None:
        """Have the workers finish what is queued and leave. The executor stays open."""
        self.is_open = False
        self.retired = True
        self._finish()

    def close(self, cancel_futures: bool = False) -> None:
        """Take no more requests; workers leave when the queue is empty. Never blocks."""
        # In this order: a worker that leaves because of `closing` takes its last look after any
        # submit that found `is_open` has queued its request.
        self.is_open = False
        self.closing = True
        if cancel_futures:
            self._settle_all(_cancel)
            self.requests.stop_chunks()
        self._finish()

    def _finish(self) -> None:
        """See to it that what is queued is run, and that workers leave then."""
        self._resume()
        self.requests.wake_all()
        if self.admission is not None:
            self.admission.release_all()
        if self.requests.has_requests() and not self.workers:
            self.summon_somebody()  # an interrupt kept them from getting a worker

    def _resume(self) -> None:
        if self.bounds.limit == 0:
            self.bounds = Bounds(self.bounds.maximum, self.bounds.minimum)
            # The minimum is for those that idle.
            waiting = self.requests.count()
            for _ in range(_sizing.to_start(Bounds(self.bounds.maximum), 0, 0, waiting)):
                self.summon_somebody()

    def before_exit(self) -> None:
        """The interpreter is about to go: what a paused pool has queued is run before."""
        if self.requests.has_requests():
            self._resume()

    def break_down(self, reason: str) -> None:
        """Fail what is queued and whatever comes."""
        self.broken = reason
        self.is_open = False
        self._fail_all()
        if self.admission is not None:
            self.admission.release_all()

    def _fail_all(self) -> None:
        self._settle_all(self.fail)

    def _settle_all(self, settle: Callable[[Request], object]) -> None:
        def settle_and_count(request: Request) -> None:
            settle(request)
            self._ledger.add(request._tally())

        self.requests.settle_all(settle_and_count)
        self.changes.ring()

    def disclaim(self, request: Any) -> None:
        """Take a request out of the books whose `submit` raises; it has been withdrawn."""
        self.refuse()
        if not self.requests.remove(request) and _was_queued(request):
            # Somebody has met it and counted it.
            self._ledger.add(request._tally().taken_back())
        self.changes.ring()

    def refuse(self) -> None:
        """Count a call of `submit` that raises."""
        self._ledger.add(Tally(refused=1))

    def fail(self, request: Failable) -> None:
        """Settle a request of a broken pool, if it has not started."""
        request._fail(self._broken_type(self.broken))

    # --- fork ---------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: begin anew, without workers or requests.

        Only the forking thread is left. Its state is that of the moment of the fork: it may be a
        worker in the middle of a task, or be anywhere in `submit`. All other threads are gone, with
        what they held, so every lock and every collection that they shared is replaced.
        """
        me = threading.current_thread()
        orphans = self.requests.after_fork()
        for worker in self.workers.copy():
            if worker.thread is me:
                worker.disown(_lifecycle.end_forked_child)
            else:
                orphans += worker.slot
                # A signal handler may have forked on top of one who waits for either.
                worker.begun.set()
                worker.let_go()
        forget_other_workers()
        self.requests = RequestQueue()
        self.workers.clear()
        self.active.clear()
        self.threads.clear()
        self._tickets.clear()
        self._starting = threading.RLock()
        self._resizing = threading.RLock()
        self._insiders = Insiders()
        if self.entrance is not None:
            self.entrance.forget_running()
        self._leaving, self._departing = [], []
        self._blocked, self.errands = [], []
        self.last_threads = set()
        self.is_alert = False
        self.changes.after_fork()
        for request in orphans:
            request._orphan(BrokenThreadPool(_FORKED))
        if self.entrance is not None:
            self.entrance.after_fork()


_GROW_CODE = Workforce._serve_tickets.__code__


def _was_queued(request: Any) -> bool:
    """Of a request that has ended and is in the queue no more."""
    has_met = any(type(event) is Claim for event in request._pe_log[:])
    return has_met or getattr(request, "_pe_is_queued", True)


def _fail(error: BaseException, request: Request) -> None:
    request._fail(error)


def _cancel(request: Request) -> None:
    request.cancel()


def _tally(worker: WorkerThread) -> Tally:
    return worker.claim.tally().plus(worker.helping.tally())
