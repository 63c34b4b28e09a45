"""All workers of one pool: start, call, replace, close.

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
                                                PARKED; finds none and the pool or the
                                                interpreter closes, or is hit by an exception
                                                from outside -> GONE
RUNNING    `workers`, request in `slot`         the request is settled -> SEARCHING
PARKED     `workers`, lock in `requests.idle`   it is called -> SEARCHING
GONE       `threads`, if it left in the end
=========  ===================================  =================================================

Who touches what: `workers` grows under `_starting` only, so it never exceeds `max_workers`; a
worker takes itself out in `depart`, *before* it looks at the queue for the last time. Who queues a
request looks at `workers` after that. So either the one counts the worker as gone and starts
another, or the other sees the request and does (the order of `_request_queue`, once more).

Who wants a thread does not wait for `_starting`, since it could be a signal handler or a finalizer
on top of its owner. It leaves a ticket first and then tries the lock. If that is taken, its owner
looks for tickets after releasing it, and finds this one. Only `join` waits for it, if its own
thread does not have it: who waits for all workers waits for those that are just being started.

A pool is open, then `closing`, `broken` or `retired`, for good. `is_open` says so to `submit`,
which looks before and after queueing: the first look refuses, the second finds out that the last
worker may have left in between, and takes the request back.

No lock is held while user code runs, but for `_starting`, during `Thread.start`.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from concurrent.futures._base import LOGGER
from typing import TYPE_CHECKING, Any

from . import _lifecycle
from ._request_queue import Request, RequestQueue
from ._worker import WorkerThread
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

INITIALIZER_FAILED = "A thread initializer failed, the thread pool is not usable anymore"
_FORKED = "the process was forked; what was submitted before the fork runs in the parent only"


def start_thread(worker: WorkerThread) -> None:
    """Start the worker's thread; returns when it runs."""
    worker.thread.start()


class Workforce:
    """The workers of one pool and the queue that they serve.

    Args:
        initializer: Called with `initargs` in each new worker, or None.
        broken_type: Of the exception that a failing initializer leaves in futures.
        start: Starts a worker; tests step workers instead.
    """

    def __init__(
        self,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        broken_type: type[Exception] = BrokenThreadPool,
        start: Callable[[WorkerThread], None] = start_thread,
    ) -> None:
        self.max_workers = 0  # how many there may be at a time; set when known
        self.name_prefix = ""  # of the threads' names; set when known
        self.requests = RequestQueue()
        self.workers: set[WorkerThread] = set()
        self.threads: set[threading.Thread] = set()  # the executor's _threads
        self.is_open = True
        self.closing = False
        self.retired = False  # somebody else serves the executor; what is queued here is finished
        self.broken: str | bool = False
        self._next_number = itertools.count().__next__
        self.initializer = initializer
        self.initargs = initargs
        self._broken_type = broken_type
        self._start = start
        self._tickets: list[None] = []
        self._starting = threading.RLock()
        self._joining_inside: set[threading.Thread] = set()
        _lifecycle.tell_of_forks(self)

    # --- more workers -------------------------------------------------------------------------

    def summon(self) -> None:
        """See to it that a worker looks at the queue after this call began.

        Raises:
            RuntimeError: No worker is left and none can be started; all requests have failed.
        """
        if not self.requests.wake_one() and len(self.workers) < self.max_workers:
            self._grow()

    def _grow(self) -> None:
        tickets, starting = self._tickets, self._starting
        tickets.append(None)
        failure: BaseException | None = None
        if starting._is_owned():  # type: ignore[attr-defined]  # private, and Condition's
            if self._is_growing_below():
                return  # that frame will see the ticket
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
        if failure is not None:
            try:
                self._report(failure)
            finally:
                failure = None  # its traceback holds this frame

    def _report(self, failure: BaseException) -> None:
        """Raise what kept a worker from being started, if that matters to the caller."""
        if isinstance(failure, Exception):
            if self.workers:
                return  # they will do the work
            self.requests.settle_all(functools.partial(_fail, failure))
        try:
            raise failure
        finally:
            del failure

    @staticmethod
    def _is_growing_below() -> bool:
        """Whether a signal handler or finalizer has interrupted `_grow` in this very thread."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code is _GROW_CODE:
                return True
            frame = frame.f_back  # type: ignore[assignment]  # None ends it
        return False

    def _serve_ticket(self) -> None:
        try:
            self._tickets.pop()
        except IndexError:
            return
        if not self.requests.wake_one() and len(self.workers) < self.max_workers:
            self._start_worker()

    def _start_worker(self) -> None:
        worker = WorkerThread(
            self.requests,
            prepare=self._prepare,
            must_leave=self._must_leave,
            depart=self.depart,
            name=f"{self.name_prefix}_{self._next_number()}",
        )
        try:
            self.workers.add(worker)
            self._start(worker)
        except BaseException:
            # Whether its thread was started is for `birth` to say: who pops it decides.
            try:
                worker.birth.pop()
            except IndexError:
                pass  # it lives
            else:
                self.workers.discard(worker)
                worker.let_go()
            raise
        if worker in self.workers:  # else it has left already, or this is the child of a fork
            self._list(worker)
            if worker.thread.daemon:
                # Nobody but the exit hook would wait for it, and that may come first.
                _lifecycle.try_to_enter_exit_table(worker.thread, self.requests)

    def _list(self, worker: WorkerThread) -> None:
        if not worker.is_listed:  # outsiders may take threads out, and mean it
            self.threads.add(worker.thread)
            worker.is_listed = True

    def set_max_workers(self, limit: int) -> None:
        """Change how many workers there may be; start those that what is queued can use.

        Raises:
            RuntimeError: No worker is left and none can be started; all requests have failed.
        """
        self.max_workers = limit
        if self.is_open:  # else they come as needed
            for _ in range(min(limit - len(self.workers), len(self.requests.requests))):
                self.summon()

    # --- called by the workers ----------------------------------------------------------------

    def _prepare(self, worker: WorkerThread) -> bool:
        """First thing in a new worker: False if its initializer failed."""
        self._list(worker)  # its starter may have been interrupted before it could
        _lifecycle.enter_exit_table(worker.thread, self.requests)
        if self.initializer is None:
            return True
        try:
            self.initializer(*self.initargs)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self.break_down(INITIALIZER_FAILED)
            return False
        return True

    def _must_leave(self) -> bool:
        return self.closing or self.retired or _lifecycle.interpreter_is_closing()

    def depart(self, worker: WorkerThread) -> None:
        """Last thing in a worker, however it ends."""
        self.workers.discard(worker)
        if self.is_open and not self._must_leave():
            self.threads.discard(worker.thread)  # it dies; those that leave in the end are joined
        if not self.requests.has_requests():
            return
        # Called after its last look, or dying: somebody else has to look.
        if self.broken:
            self._fail_all()
        else:
            self._summon_somebody()

    def _summon_somebody(self) -> None:
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
        self.requests.wake_all()
        if self.requests.has_requests() and not self.workers:
            self._summon_somebody()

    def close(self, cancel_futures: bool = False) -> None:
        """Take no more requests; workers leave when the queue is empty. Never blocks."""
        # In this order: a worker that leaves because of `closing` takes its last look after any
        # submit that found `is_open` has queued its request.
        self.is_open = False
        self.closing = True
        if cancel_futures:
            self.requests.settle_all(_cancel)
        self.requests.wake_all()
        if self.requests.has_requests() and not self.workers:
            self._summon_somebody()  # an interrupt kept them from getting a worker

    def break_down(self, reason: str) -> None:
        """Fail what is queued and whatever comes."""
        self.broken = reason
        self.is_open = False
        self._fail_all()

    def _fail_all(self) -> None:
        self.requests.settle_all(self.fail)

    def fail(self, request: Request) -> None:
        """Settle a request of a broken pool, if it has not started."""
        request._fail(self._broken_type(self.broken))

    def join(self) -> None:
        """Wait until all workers have left.

        In a worker of this pool it waits for the others only, and not for those that wait here
        themselves: of any number of workers that wait for each other, the last one to say so sees
        that all others have, and waits for none of them.
        """
        me = threading.current_thread()
        if me in self.threads:
            self._joining_inside.add(me)
        try:
            joined = {me}
            while self._join_one(joined):
                pass
        finally:
            self._joining_inside.discard(me)

    def _join_one(self, joined: set[threading.Thread]) -> bool:
        """Wait for one more worker; False if there is none to wait for."""
        if others := self.threads.copy() - joined:
            thread = others.pop()
            joined.add(thread)
            if thread not in self._joining_inside.copy():
                thread.join()
            return True
        if self._starting._is_owned():  # type: ignore[attr-defined]  # as in _grow
            return False  # called on top of a start, which cannot go on before this returns
        # Another thread may be about to start a worker, for a request of ours too.
        for worker in self._unlisted(joined):
            with worker.gone:
                return True
        if not self.requests.has_requests():
            return False
        with self._starting:
            pass
        if not self.workers and self.requests.has_requests():
            self._summon_somebody()
        # True again only for somebody new: the worker that asks cannot wait for itself.
        return bool(self.threads.copy() - joined or self._unlisted(joined))

    def _unlisted(self, joined: set[threading.Thread]) -> list[WorkerThread]:
        """Workers just being started. One whose thread an outsider took out is not waited for."""
        return [
            worker
            for worker in self.workers.copy()
            if not worker.is_listed and worker.thread not in joined
        ]

    # --- fork ---------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: begin anew, without workers or requests.

        Only the forking thread is left. Its state is that of the moment of the fork: it may be a
        worker in the middle of a task, or be anywhere in `submit`. All other threads are gone, with
        what they held, so every lock and every collection that they shared is replaced.
        """
        me = threading.current_thread()
        orphans = list(self.requests.requests.copy())
        for worker in self.workers.copy():
            if worker.thread is me:
                worker.disown(_lifecycle.end_forked_child)
            else:
                orphans += worker.slot
                # A signal handler may have forked on top of one who waits for either.
                worker.begun.set()
                worker.let_go()
        for slot in self.requests.in_hand:
            orphans += slot
        self.requests.requests.clear()
        self.requests.idle.clear()
        self.requests = RequestQueue()
        self.workers.clear()
        self.threads.clear()
        self._joining_inside.clear()
        self._tickets.clear()
        self._starting = threading.RLock()
        for request in orphans:
            request._orphan(BrokenThreadPool(_FORKED))


_GROW_CODE = Workforce._grow.__code__


def _fail(error: BaseException, request: Request) -> None:
    request._fail(error)


def _cancel(request: Request) -> None:
    request.cancel()
