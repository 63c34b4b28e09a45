"""`PoolExecutor`: wires the parts, decides nothing itself."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import thread as _thread
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from ._admission import POLICIES, Admission
from ._lifecycle import may_still_submit
from ._map import check_buffersize, map_in_order
from ._request import BoundedRequest, WorkRequest
from ._sizing import Bounds, checked_count, checked_maximum, checked_seconds
from ._standard import StandardExecutor, Verdict, starts_threads_its_own_way
from ._work_queue import IdleCount, WorkQueue
from ._worker import worker_of_this_thread
from ._workforce import INITIALIZER_FAILED, Workforce
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from ._bell import Bell
    from ._future import PoolFuture
    from ._stats import PoolStats

P = ParamSpec("P")
T = TypeVar("T")


class _Owner:
    """Goes when the executor goes, and closes its workforce; workers know only the latter."""

    __slots__ = ("_workforce",)

    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce

    def __del__(self) -> None:
        self._workforce.close()


class CurrentWorker(NamedTuple):
    """The worker that runs the calling task, as `current_worker` gives it.

    Attributes:
        name: Its thread's.
        pool: The executor; None if its user has let go of it.
        context: What `worker_context` gave; None without it.
    """

    name: str
    pool: PoolExecutor | None
    context: Any


def current_worker() -> CurrentWorker | None:
    """The worker that runs the calling code; None outside of a pool's tasks.

    Also in an initializer and in `worker_context`.
    """
    worker = worker_of_this_thread()
    if worker is None:
        return None
    workforce = worker.crew
    pool = workforce.executor() if isinstance(workforce, Workforce) else None
    return CurrentWorker(worker.thread.name, pool, worker.context)


class PoolExecutor(StandardExecutor):
    """A thread pool to be used wherever `concurrent.futures.ThreadPoolExecutor` is.

    Same constructor, same methods, same exceptions. All methods may be called from any thread,
    also from tasks, done-callbacks, signal handlers and finalizers.

    Args:
        max_workers: How many threads there may be; by default as many as in the standard pool of
            the running Python.
        thread_name_prefix: Of the threads' names.
        initializer: Called in each worker before its first task. If it raises, the pool is broken.
        initargs: Its arguments.
        min_workers: How many threads are started at once and kept though idle.
        idle_timeout: Seconds without work after which a worker above the minimum leaves, the one
            that has been idle for longest first; None, never.
        max_queue_size: How many requests may wait for a worker; 0, any number.
        on_full: What `submit` does when that many wait: ``"block"`` waits for a place, in order of
            arrival, for up to `queue_timeout`, then raises `queue.Full`; ``"raise"`` raises it at
            once; ``"caller_runs"`` runs the call itself; ``"discard"`` returns a cancelled future;
            ``"discard_oldest"`` cancels what has waited for longest. In a task of the same pool
            ``"block"`` runs the call itself, so it never waits for itself.
        queue_timeout: Seconds that ``"block"`` waits at most; None, without limit.
        worker_context: Called in each worker after the initializer; the context manager that it
            returns is entered before the first task, and left when the worker leaves.
            `current_worker().context` is what it gave. If it raises, the pool is broken; what it
            raises on leaving is logged.
        daemon: Interpreter exit does not wait for tasks that still run.
        cancel_on_interrupt: A `with` block that ends by Ctrl-C (KeyboardInterrupt), or is
            interrupted while it waits at its end, cancels what has not started and waits for what
            runs. By default it finishes all that is queued, as the standard pool's does.
        ctxkwargs: For `prepare_context` of a subclass, since Python 3.14.

    Raises:
        ValueError: `max_workers` is not above 0, or another number does not fit.
        TypeError: `initializer` or `worker_context` cannot be called, or a number is none.
        RuntimeError: The system has no thread for `min_workers`.
    """

    __threads: set[threading.Thread]

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        min_workers: int = 0,
        idle_timeout: float | None = None,
        max_queue_size: int = 0,
        on_full: str = "block",
        queue_timeout: float | None = None,
        worker_context: Callable[[], AbstractContextManager[Any]] | None = None,
        daemon: bool = False,
        cancel_on_interrupt: bool = False,
        **ctxkwargs: Any,
    ) -> None:
        min_workers = checked_count("min_workers", min_workers)
        if worker_context is not None and not callable(worker_context):
            raise TypeError("worker_context must be a callable")
        # First of all, since the base class sets what the properties below keep in it.
        workforce = self.__workforce = Workforce(
            initializer,
            initargs,
            getattr(self, "BROKEN", BrokenThreadPool),
            worker_context=worker_context,
            idle_timeout=checked_seconds("idle_timeout", idle_timeout),
            daemon=True if daemon else None,
            admission=_admission(max_queue_size, on_full, queue_timeout),
        )
        super().__init__(max_workers, thread_name_prefix, initializer, initargs, **ctxkwargs)
        workforce.bounds = workforce.bounds.resized(None, min_workers)
        workforce.executor = weakref.ref(self)
        self.__cancels_on_interrupt = bool(cancel_on_interrupt)
        self.__is_standard = _overrides_workers(type(self))
        if self.__is_standard:
            workforce.is_open = False
            if (
                min_workers
                or daemon
                or worker_context
                or idle_timeout is not None
                or max_queue_size
            ):
                raise ValueError(
                    f"{type(self).__name__} makes its workers itself, so it cannot have"
                    " min_workers, idle_timeout, max_queue_size, worker_context or daemon"
                )
        else:
            self.__dict__["_work_queue"] = WorkQueue(
                workforce, getattr(self, "_create_worker_context", None)
            )
            self.__dict__["_idle_semaphore"] = IdleCount(workforce)
            self.__owner = _Owner(workforce)
            workforce.start_minimum()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> PoolFuture[T]:
        """Have ``fn(*args, **kwargs)`` called in a worker.

        Returns:
            The future of its result.

        Raises:
            BrokenThreadPool: A worker's initializer has failed.
            RuntimeError: The pool or the interpreter is shut down, or no thread can be started
                and none is there. The call will not be made then.
            queue.Full: The queue is bounded and has no place, see `on_full`.
        """
        standard = StandardExecutor.submit
        if (
            standard is not Verdict.submit or standard.__code__ is not Verdict.code
        ) and not Verdict.renew():
            return self.__submit_patched(fn, args, kwargs)  # type: ignore[return-value]  # its Future
        workforce = self.__workforce
        if not workforce.is_open or _thread._shutdown:
            if self.__is_standard:
                return super().submit(fn, *args, **kwargs)  # type: ignore[return-value]  # its Future
            try:
                self.__refuse()
            except RuntimeError:
                workforce.refuse()
                raise
        if workforce.admission is not None:
            return self.__submit_bounded(fn, args, kwargs)
        request = WorkRequest(fn, args, kwargs)
        try:
            requests = workforce.requests
            requests.append(request)
            # As requests.has_idle() and summon(), without the calls.
            if requests.idle[-1:] or len(workforce.workers) < workforce.bounds.limit:
                self._adjust_thread_count()
            if not workforce.is_open or _thread._shutdown:
                self.__look_again(request)
        except BaseException as error:
            if self.__withdraw(request) or not isinstance(error, RuntimeError):
                del request  # it may hold the error, whose traceback holds this frame
                raise
        return request

    def __submit_bounded(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> PoolFuture[T]:
        """As the end of `submit`, with a place in the queue to be found before."""
        workforce = self.__workforce
        request = BoundedRequest(fn, args, kwargs)
        assert workforce.admission is not None
        with workforce.admission:
            try:
                if not workforce.admit(request):
                    return request
                workforce.requests.append(request)
                request._pe_is_queued = True
                self._adjust_thread_count()
                if not workforce.is_open or _thread._shutdown:
                    self.__look_again(request)
            except BaseException as error:
                if self.__withdraw(request) or not isinstance(error, RuntimeError):
                    del request  # it may hold the error, whose traceback holds this frame
                    raise
        return request

    def __withdraw(self, request: WorkRequest[Any]) -> bool:
        """For a `submit` that raises; False if a worker was faster: accepted, then."""
        withdrawn = request._withdraw()
        if withdrawn:
            self.__workforce.disclaim(request)
        return withdrawn

    def __submit_patched(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        """Through the standard `submit`, which somebody has replaced."""
        admission = self.__workforce.admission
        if admission is None or not self.__workforce.is_open:
            return super().submit(fn, *args, **kwargs)
        # It queues while it holds locks, so the place is found before.
        request = BoundedRequest(fn, args, kwargs)
        with admission:
            try:
                if not self.__workforce.admit(request):
                    return request
            except BaseException:
                self.__workforce.refuse()
                request._withdraw()
                raise
            request._pe_leave.clear()
            admission.prepay()
            try:
                return super().submit(fn, *args, **kwargs)
            except BaseException:
                if admission.take_prepaid():
                    admission.give_back()
                raise

    def __refuse(self) -> None:
        """Raise what the standard pool raises in this state, unless work is still taken."""
        workforce = self.__workforce
        if workforce.broken:
            raise getattr(self, "BROKEN", BrokenThreadPool)(workforce.broken)
        if workforce.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _thread._shutdown and not may_still_submit():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def __look_again(self, request: WorkRequest[Any]) -> None:
        """For a request that was queued while the pool closed: the last worker may have left."""
        workforce = self.__workforce
        if workforce.broken:
            workforce.fail(request)  # accepted before, as the standard pool's lock would have it
        else:
            self.__refuse()
            if workforce.retired:
                workforce.summon()  # the base class looks at its own queue only

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator over ``fn(*items)`` for the items of `iterables`, in their order.

        Args:
            fn: Takes as many arguments as there are iterables.
            iterables: Read to their end at once, unless `buffersize` is given.
            timeout: Seconds from this call on within which each result must be there.
            chunksize: No effect, as in the standard pool: threads need no chunks.
            buffersize: How many results may be outstanding; the iterables are read as the
                results are taken. As since Python 3.14, on every Python.

        Raises:
            TypeError, ValueError: `buffersize` is neither None nor an int above 0.
            TimeoutError: From the iterator: a result was not there in time.
            Exception: From the iterator: whatever the call raised, in its place.
        """
        check_buffersize(buffersize)
        return map_in_order(self, fn, iterables, timeout, buffersize)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None
    ) -> None:
        """Take no more calls; finish what is queued. May be called again.

        Args:
            wait: Return when all workers have left. In a worker of this pool, when all others
                have, but for those that wait here themselves.
            cancel_futures: Cancel what has not started.
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            TimeoutError: The workers have not left in time. They go on; call again to wait again.
            ValueError: `timeout` is negative, or given without `wait`.
        """
        timeout = checked_seconds("timeout", timeout)
        if timeout is not None and not wait:
            raise ValueError("timeout is for wait=True")
        if self.__is_standard:
            super().shutdown(wait and timeout is None, cancel_futures=cancel_futures)
        # Also of one that the base class serves: it may have had workers of ours before.
        self.__workforce.close(cancel_futures)
        if wait:
            self.__workforce.join(timeout, self.__threads if self.__is_standard else ())

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        """Shut down and wait, see `cancel_on_interrupt`; exceptions go on."""
        if not self.__cancels_on_interrupt:
            super().__exit__(kind, value, traceback)
            return
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        try:
            self.shutdown(wait=True, cancel_futures=interrupted)
        except KeyboardInterrupt:
            self.shutdown(wait=True, cancel_futures=True)
            raise

    # --- workers ------------------------------------------------------------------------------

    def resize(
        self,
        max_workers: int | None = None,
        *,
        min_workers: int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Change how many workers there may be, and how many are kept. Takes effect at once.

        More: workers are started for what is queued. Fewer: idle workers leave at once, those
        that were idle for longest first, busy ones after their task; no task is interrupted.

        Args:
            max_workers: The new limit; 0 pauses the pool: what is queued waits for the next
                `resize`. None leaves it.
            min_workers: The new minimum; None leaves it.
            wait: Return when all that have to leave have left; in a task, all others.
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            TypeError, ValueError: A value does not fit. Nothing is changed then.
            TimeoutError: They have not left in time. They will.
            RuntimeError: The pool is shut down or broken, or its workers are not its own; or no
                worker is left and the system has no thread to give: what is queued stays queued.
        """
        if max_workers is None and min_workers is None:
            raise TypeError("resize needs max_workers, min_workers, or both")
        if max_workers is not None:
            max_workers = checked_count("max_workers", max_workers)
        if min_workers is not None:
            min_workers = checked_count("min_workers", min_workers)
        timeout = checked_seconds("timeout", timeout)
        if timeout is not None and not wait:
            raise ValueError("timeout is for wait=True")
        workforce = self.__own_workforce("resize")
        workforce.bounds.resized(max_workers, min_workers)  # or it raises
        if workforce.broken:
            raise getattr(self, "BROKEN", BrokenThreadPool)(workforce.broken)
        if workforce.closing:
            raise RuntimeError("cannot resize after shutdown")
        workforce.resize(lambda bounds: bounds.resized(max_workers, min_workers))
        if wait and not workforce.wait_for_size(timeout):
            raise TimeoutError("not all surplus workers have left in time")

    def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is queued or running. The pool stays open.

        In a task of this pool: nothing but this task, and others that wait here.

        Args:
            timeout: Seconds to wait at most; None, without limit.

        Raises:
            TimeoutError: There is still work after `timeout` seconds.
            NoWorkersAvailable: What is queued would wait for ever: the pool is paused, or all its
                workers wait here themselves, or this is a signal handler or finalizer on top of a
                worker's start.
            TypeError, ValueError: `timeout` is no time.
            RuntimeError: The pool's workers are not its own.
        """
        timeout = checked_seconds("timeout", timeout)
        if not self.__own_workforce("drain").drain(timeout):
            raise TimeoutError("there is still work after the time-out")

    def stats(self) -> PoolStats:
        """Counts of workers and requests, cheap enough to be asked for every second.

        Raises:
            RuntimeError: The pool's workers are not its own.
        """
        return self.__own_workforce("stats").stats()

    def __own_workforce(self, what: str) -> Workforce:
        if self.__is_standard:
            raise RuntimeError(
                f"no {what} here: {type(self).__name__} brings a queue or workers of its own"
            )
        return self.__workforce

    @property
    def max_workers(self) -> int:
        """How many workers there may be; 0 while the pool is paused. See `resize`."""
        return self.__workforce.bounds.limit

    @property
    def min_workers(self) -> int:
        """How many workers are kept though idle. See `resize`."""
        return self.__workforce.bounds.minimum

    def __hand_over_to_base(self) -> None:
        """Somebody brings a queue of his own, bounded or ordered: the base class serves it.

        Our workers finish what they have. They do not count for the base class, which would wait
        for them to take from the new queue; the limit holds for each side.
        """
        if not self.__is_standard:
            self.__is_standard = True
            self.__workforce.retire()
            self.__threads = set()
            self.__dict__["_idle_semaphore"] = threading.Semaphore(0)

    def _pe_stalls(self) -> tuple[Bell, Callable[[], bool]]:
        """For `ResultQueue`: what rings when workers come or go, and whether none will come."""
        return self.__workforce.changes, self.__workforce.is_stalled

    # --- what the base class and outsiders use ------------------------------------------------

    def _adjust_thread_count(self) -> None:
        if self.__is_standard or starts_threads_its_own_way():
            super()._adjust_thread_count()
        else:
            self.__workforce.summon()

    def _initializer_failed(self) -> None:
        if self.__is_standard:
            super()._initializer_failed()
        else:
            self.__workforce.break_down(INITIALIZER_FAILED)

    if not TYPE_CHECKING:  # to a type checker they are the attributes of the base class

        @property
        def _max_workers(self) -> int:
            return self.__workforce.bounds.maximum

        @_max_workers.setter
        def _max_workers(self, value: int) -> None:
            # Paused, the pool stays so: who writes here does not know of that.
            maximum = checked_maximum(value)
            self.__workforce.resize(
                lambda bounds: Bounds(
                    maximum, min(bounds.minimum, maximum), paused=bounds.limit == 0
                )
            )

        @property
        def _threads(self) -> set[threading.Thread]:
            return self.__threads

        @_threads.setter
        def _threads(self, value: set[threading.Thread]) -> None:
            self.__threads = self.__workforce.threads = value

        @property
        def _thread_name_prefix(self) -> str:
            return self.__workforce.name_prefix

        @_thread_name_prefix.setter
        def _thread_name_prefix(self, value: str) -> None:
            self.__workforce.name_prefix = value or str(self)

        @property
        def _initializer(self) -> Callable[..., object] | None:
            return self.__workforce.initializer

        @_initializer.setter
        def _initializer(self, value: Callable[..., object] | None) -> None:
            self.__workforce.initializer = value

        @property
        def _initargs(self) -> tuple[Any, ...]:
            return self.__workforce.initargs

        @_initargs.setter
        def _initargs(self, value: tuple[Any, ...]) -> None:
            self.__workforce.initargs = value

        @property
        def _broken(self) -> bool | str:
            return self.__workforce.broken

        @_broken.setter
        def _broken(self, value: bool | str) -> None:
            self.__workforce.broken = value
            if value:
                self.__workforce.is_open = False

        @property
        def _shutdown(self) -> bool:
            return self.__workforce.closing

        @_shutdown.setter
        def _shutdown(self, value: bool) -> None:
            if value:
                self.__workforce.is_open = False
            self.__workforce.closing = value

        @property
        def _work_queue(self) -> Any:
            return self.__dict__["_work_queue"]

        @_work_queue.setter
        def _work_queue(self, value: Any) -> None:
            self.__dict__["_work_queue"] = value
            if "_PoolExecutor__owner" in self.__dict__:
                self.__hand_over_to_base()


def _overrides_workers(cls: type[PoolExecutor]) -> bool:
    """Whether a subclass makes its workers, or their contexts, itself: the base class serves it."""
    if cls._adjust_thread_count is not PoolExecutor._adjust_thread_count:
        return True
    prepare = getattr(cls, "prepare_context", None)  # since Python 3.14
    return prepare is not None and prepare.__func__ is not StandardExecutor.prepare_context.__func__  # type: ignore[attr-defined]


def _admission(size: int, on_full: str, timeout: float | None) -> Admission | None:
    size = checked_count("max_queue_size", size)
    if on_full not in POLICIES:
        raise ValueError(f"on_full must be one of {', '.join(POLICIES)}, not {on_full!r}")
    seconds = checked_seconds("queue_timeout", timeout)
    if timeout is not None and not (size and on_full == "block"):
        raise ValueError('queue_timeout is for max_queue_size with on_full="block"')
    if on_full != "block" and not size:
        raise ValueError("on_full is for a queue with max_queue_size")
    return Admission(size, on_full, seconds) if size else None
