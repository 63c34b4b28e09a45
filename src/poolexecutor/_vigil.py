"""`Vigil`: waits for the workers of a pool: until they have left, are as few as they shall be, or
have nothing to do.

It decides nothing and changes nothing; it looks at the workforce again whenever that rings its
`changes`. A task that waits here for its own pool is not waited for by others that do.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Protocol

from . import _lifecycle, _sizing
from ._waiting import deadline_after, wait_here, worker_of_this_thread
from .errors import NoWorkersAvailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._bell import Bell
    from ._entrance import Entrance
    from ._request_queue import RequestQueue
    from ._sizing import Bounds
    from ._worker import WorkerThread


class Crew(Protocol):
    """What is looked at; see `_workforce`."""

    active: set[WorkerThread]
    bounds: Bounds
    changes: Bell
    closing: bool
    entrance: Entrance | None
    is_open: bool
    last_threads: set[threading.Thread]
    requests: RequestQueue
    threads: set[threading.Thread]
    workers: set[WorkerThread]

    def counted(self) -> set[WorkerThread]: ...
    def hold_start(self, deadline: float | None) -> bool: ...
    def is_starting_here(self) -> bool: ...
    def summon_somebody(self) -> None: ...


class Insiders:
    """Those that wait in a task for their own pool.

    Attributes:
        workers: All of them.
        joining: The threads of those that wait until the others have left.
    """

    def __init__(self) -> None:
        self.workers: list[WorkerThread] = []
        self.joining: set[threading.Thread] = set()


class Vigil:
    """Waits for the workers of one pool. Made anew for each wait, lest the two hold each other.

    Args:
        crew: Its workforce.
        insiders: The pool's.
    """

    def __init__(self, crew: Crew, insiders: Insiders) -> None:
        self._crew = crew
        self._inside = insiders.workers
        self._joining_inside = insiders.joining

    def wait_for_size(self, timeout: float | None) -> bool:
        """Wait until no worker is left that has to leave; False if `timeout` seconds are up.

        In a worker of this pool: no other. It can leave only after its task.
        """
        crew = self._crew
        before = crew.workers.copy()
        deadline = deadline_after(timeout)
        with _Inside(crew, self._inside) as inside:
            has_its_size = functools.partial(self._has_its_size, inside)
            wait = functools.partial(crew.changes.wait_until, has_its_size, timeout)
            if not wait_here(wait, crew):
                return False
        for worker in before - crew.workers.copy():
            if worker.thread is not threading.current_thread():
                _lifecycle.join_thread(worker.thread, deadline)
                if worker.thread.is_alive():
                    return False
        return True

    def _has_its_size(self, inside: list[WorkerThread]) -> bool:
        workers = self._crew.counted() - self._excepted(inside)
        return _sizing.surplus(self._crew.bounds, len(workers)) == 0

    def _excepted(self, inside: list[WorkerThread]) -> set[WorkerThread]:
        """Workers that one who waits must not wait for: each that waits itself in a task, and,
        on top of a start, the one that cannot begin before that goes on.
        """
        excepted = set(inside[:])
        if self._crew.is_starting_here():
            excepted.update(worker for worker in self._crew.workers.copy() if worker.birth)
        return excepted

    def drain(self, timeout: float | None) -> bool:
        """Wait until nothing is queued or running; False if `timeout` seconds are up.

        Raises:
            NoWorkersAvailable: The pool is paused, and what is queued will not be run.
        """
        crew = self._crew
        if crew.requests.has_requests():
            crew.summon_somebody()  # a signal handler may be on top of who was about to
        with _Inside(crew, self._inside) as inside:
            is_drained = functools.partial(self._is_drained, inside)
            return wait_here(functools.partial(crew.changes.wait_until, is_drained, timeout), crew)

    def _is_drained(self, inside: list[WorkerThread]) -> bool:
        crew = self._crew
        workers, excepted = crew.workers.copy(), self._excepted(inside)
        if not workers - excepted:  # else some have not left yet, if it is paused
            waiting = crew.requests.count_waiting()[0]
            if crew.bounds.limit == 0 and crew.is_open:
                if waiting:
                    raise NoWorkersAvailable("the pool is paused with work queued; resize it first")
                return True
            if waiting and len(crew.active) >= crew.bounds.limit:
                raise NoWorkersAvailable("all workers wait for their own pool, with work queued")
            if waiting and crew.is_starting_here():
                raise NoWorkersAvailable("called on top of a worker's start, which waits for this")
        return self._is_at_rest(inside)

    def is_stalled(self) -> bool:
        """Whether nothing that is queued will be run: the pool is paused, and nobody is at it."""
        crew = self._crew
        if crew.bounds.limit or not crew.is_open or crew.closing:
            return False
        return crew.workers.copy() <= {worker_of_this_thread()}

    def _is_at_rest(self, inside: list[WorkerThread]) -> bool:
        """Whether there was a moment in this call at which nothing was queued or running.

        All requests gone, then all workers parked, then all requests gone, and no worker called in
        between, who counts that before it looks for work: so none has taken what came meanwhile.

        Args:
            inside: Workers whose tasks do not count, since they ask this.
        """
        crew, requests, excepted = self._crew, self._crew.requests, self._excepted(inside)
        before = {worker: worker.wakes for worker in crew.workers.copy() - excepted}
        if requests.has_requests() or requests.in_hand:
            return False
        if crew.entrance is not None and crew.entrance.running:
            return False
        idle = set(map(id, requests.idle[:]))
        if not all(id(worker.lock) in idle for worker in before):
            return False
        if requests.has_requests():
            return False
        return before == {worker: worker.wakes for worker in crew.workers.copy() - excepted}

    def join(self, timeout: float | None = None, besides: Iterable[threading.Thread] = ()) -> None:
        """Wait until all workers have left, and the threads `besides`.

        In a worker of this pool it waits for the others only, and not for those that wait here
        themselves: of any number of workers that wait for each other, the last one to say so sees
        that all others have, and waits for none of them.

        Raises:
            TimeoutError: They have not within `timeout` seconds.
        """
        wait_here(functools.partial(self._join, deadline_after(timeout), besides), self._crew)

    def _join(self, deadline: float | None, besides: Iterable[threading.Thread]) -> None:
        crew = self._crew
        me = threading.current_thread()
        with _Inside(crew, self._inside):
            worker = worker_of_this_thread()
            if me in crew.threads or (worker is not None and worker.crew is crew):
                self._joining_inside.add(me)
            try:
                joined = {me}
                seen = 0
                for thread in set(besides) - joined:
                    _lifecycle.join_thread(thread, deadline)
                    if thread.is_alive():
                        raise TimeoutError("not all workers have left in time")
                while self._join_one(joined, deadline):
                    late = deadline is not None and time.monotonic() >= deadline
                    if late and len(joined) == seen:
                        raise TimeoutError("not all workers have left in time")
                    seen = len(joined)
            finally:
                self._joining_inside.discard(me)

    def _join_one(self, joined: set[threading.Thread], deadline: float | None) -> bool:
        """Wait for one more worker, at most to the deadline; False if there is none to wait for."""
        crew = self._crew
        if others := (crew.threads.copy() | crew.last_threads.copy()) - joined:
            thread = others.pop()
            if thread not in self._joining_inside.copy():
                _lifecycle.join_thread(thread, deadline)
                if thread.is_alive():
                    return True  # the deadline
            joined.add(thread)
            return True
        if crew.is_starting_here():
            return False  # called on top of a start, which cannot go on before this returns
        # Another thread may be about to start a worker, for a request of ours too.
        for worker in self._unlisted(joined):
            _lifecycle.hold(worker.gone, deadline)
            return True
        if not crew.requests.has_requests():
            return False
        if not crew.hold_start(deadline):
            return True  # the deadline
        if not crew.workers and crew.requests.has_requests():
            crew.summon_somebody()
        # True again only for somebody new: the worker that asks cannot wait for itself.
        return bool(crew.threads.copy() - joined or self._unlisted(joined))

    def _unlisted(self, joined: set[threading.Thread]) -> list[WorkerThread]:
        """Workers just being started. One whose thread an outsider took out is not waited for."""
        return [
            worker
            for worker in self._crew.workers.copy()
            if worker.listing and worker.thread not in joined | self._joining_inside.copy()
        ]


class _Inside:
    """Has a worker that waits for its own pool entered in a list meanwhile.

    Gives that list, or an empty one to a thread that is no worker: it waits for all workers, one
    that waits for its pool only for those that do not.

    Args:
        crew: The pool's workforce.
        waiting: The list.
    """

    def __init__(self, crew: Crew, waiting: list[WorkerThread]) -> None:
        worker = worker_of_this_thread()
        self._crew = crew
        self._waiting = waiting
        self._mine = [worker] if worker is not None and worker.crew is crew else []

    def __enter__(self) -> list[WorkerThread]:
        self._waiting.extend(self._mine)
        if self._mine:
            self._crew.changes.ring()  # others that wait do not wait for this one any more
        return self._waiting if self._mine else []

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._mine:
            self._waiting.remove(worker)
