"""The process around the pools: interpreter exit and fork.

Interpreter exit. The standard library's own exit hook (`concurrent.futures.thread._python_exit`)
serves our workers too: each is entered in its table of threads, and what the table says it should
`put(None)` into wakes the pool, whose workers finish what is queued and leave; the hook joins them.
From then on a pool takes work only from threads for which the interpreter still waits (gh-148280);
it starts a worker for it, which leaves when the queue is empty. All others are refused as the
standard pool refuses them, tasks of a pool included: one that submits itself again must end.

A paused pool has no worker that the table could know; it is told before, and goes on.

Fork. In the child only the forking thread is left. Every pool known here is told, see
`Workforce.after_fork`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from concurrent.futures import thread as _thread
from concurrent.futures._base import LOGGER
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORKER_MARK = "_poolexecutor_worker"


class Resident(Protocol):
    """What is told of a fork, in the child, and of the interpreter's exit."""

    def after_fork(self) -> None: ...
    def before_exit(self) -> None: ...


# Weak references whose death removes them: set steps, safe in any finalizer.
_residents: set[weakref.ref[Resident]] = set()


def _living() -> Iterator[Resident]:
    for reference in _residents.copy():
        resident = reference()
        if resident is not None:
            yield resident


def register(resident: Resident) -> None:
    """Have `resident` told, as long as it lives."""
    _residents.add(weakref.ref(resident, _residents.discard))


def mark_as_worker(thread: threading.Thread, gone: Any) -> None:
    """Make `thread` known as a worker of a pool; `gone` is a lock held until it has left."""
    setattr(thread, _WORKER_MARK, gone)


def join_thread(thread: threading.Thread, deadline: float | None) -> None:
    """Wait for a worker, or any other thread, at most to the deadline.

    `Thread.join` alone would not do: up to Python 3.12 a Ctrl-C in it has a thread that runs
    taken for one that has ended (the cure for bpo-45274 cannot tell them apart).
    """
    gone = getattr(thread, _WORKER_MARK, None)
    if (gone is None or hold(gone, deadline)) and thread.ident is not None:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))


def hold(lock: Any, deadline: float | None) -> bool:
    """Take and release a lock; False if it could not be had up to the deadline."""
    if not lock.acquire(True, -1 if deadline is None else max(0.0, deadline - time.monotonic())):
        return False
    try:
        lock.release()
    except RuntimeError:
        pass  # a finalizer, here in between, has done so; see `Workforce._grow`
    return True


class Wakeable(Protocol):
    """What is told that the interpreter exits."""

    def wake_all(self) -> None: ...


class _ExitNotice:
    """What the exit hook puts None into. Knows no pool, which shall not outlive its users."""

    __slots__ = ("_sleepers",)

    def __init__(self, sleepers: Wakeable) -> None:
        self._sleepers = sleepers

    def put(self, item: None) -> None:
        self._sleepers.wake_all()


def enter_exit_table(thread: threading.Thread, sleepers: Wakeable, own: bool) -> None:
    """Have the exit hook call ``sleepers.wake_all()`` and join `thread`.

    Both the thread itself and its starter do so: outsiders look for the threads of a pool in the
    table, and may do it when `submit` has returned; and nobody but the hook would wait for a
    daemon thread, and it may come before such a thread has got that far.

    The table may only change under the standard library's lock, lest the hook trips over it. A
    finalizer run by the garbage collector in this thread may want the same lock, so nothing is
    allocated while it is held. A starter may hold it already, or be interrupted by a signal
    handler that wants it; so it does not wait for it, and in the main thread, where signal
    handlers run, does without: the hook runs there too, and not meanwhile.

    Args:
        thread: A worker.
        sleepers: Its pool's.
        own: Whether this is called in `thread`.
    """
    table = _thread._threads_queues
    notice = _ExitNotice(sleepers)
    key = weakref.ref(thread, table._remove)  # type: ignore[attr-defined]  # private
    lock = _thread._global_shutdown_lock  # read anew each time: gevent replaces it
    if own:
        with lock:
            if not _thread._shutdown:
                table.data[key] = notice  # type: ignore[attr-defined]  # a WeakKeyDictionary
    elif threading.current_thread() is threading.main_thread():
        if not _thread._shutdown:
            table.data[key] = notice  # type: ignore[attr-defined]  # as above
    elif lock.acquire(blocking=False):
        try:
            if not _thread._shutdown:
                table.data[key] = notice  # type: ignore[attr-defined]  # as above
        finally:
            lock.release()


def interpreter_is_closing() -> bool:
    """Whether the exit hook has begun."""
    return _thread._shutdown


def may_still_submit() -> bool:
    """Whether the interpreter still waits for the calling thread, which is not a worker."""
    thread = threading.current_thread()
    return not (
        thread is threading.main_thread()
        or thread.daemon
        or hasattr(thread, _WORKER_MARK)
        or thread in _thread._threads_queues
    )


def end_forked_child() -> None:
    """End the process orderly after a fork inside a task.

    The worker that forked is the child's main thread. Nothing of the interpreter runs after it, so
    what `multiprocessing` does at this point is done here: wait for threads, flush the streams.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    threading._shutdown()  # type: ignore[attr-defined]  # private
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # none, or closed


def _after_fork_in_child() -> None:
    # The threads in the table are the parent's; Python 3.15 clears it by itself.
    _thread._threads_queues.clear()  # type: ignore[attr-defined]  # typeshed: Mapping
    for resident in _living():
        try:
            resident.after_fork()
        except Exception:  # the others are told all the same
            LOGGER.critical("Exception in the child of a fork", exc_info=True)


def _before_exit() -> None:
    for resident in _living():
        resident.before_exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
# Called before the standard library's own hook, which was there first.
threading._register_atexit(_before_exit)  # type: ignore[attr-defined]  # private
