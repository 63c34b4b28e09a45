"""`PoolExecutor`: wires the parts, decides nothing itself."""

from __future__ import annotations

import contextvars
import threading
import weakref
from concurrent.futures import thread as _thread
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from ._admission import POLICIES, Admission, Applicant
from ._lifecycle import may_still_submit
from ._map import check_buffersize, map_as_completed, map_in_order
from ._mapping import Call, feed, map_in_batches
from ._options import NO_OPTIONS, Options
from ._request import BoundedRequest, OptionedRequest, WorkRequest, leave_queue, relay
from ._sizing import Bounds, checked_count, checked_maximum, checked_seconds
from ._standard import StandardExecutor, Verdict, starts_threads_its_own_way
from ._view import View
from ._waiting import worker_of_this_thread
from ._work_queue import IdleCount, WorkQueue, call_of
from ._workforce import INITIALIZER_FAILED, Workforce
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from ._batch import Batch
    from ._bell import Bell
    from ._entrance import Entrance
    from ._future import PoolFuture
    from ._stats import PoolStats
    from ._window import Window

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
        propagate_context: Each task runs in a copy of the `contextvars` context in which it was
            submitted, as with `asyncio.to_thread`.
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
        propagate_context: bool = False,
        daemon: bool = False,
        cancel_on_interrupt: bool = False,
        **ctxkwargs: Any,
    ) -> None:
        if ctxkwargs and not _prepares_contexts(type(self)):
            unknown = next(iter(ctxkwargs))
            raise TypeError(f"{type(self).__name__} got an unexpected keyword argument {unknown!r}")
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
        self.__propagates = bool(propagate_context)
        # Whether submit does more than usual; views that go through a submit of a subclass do.
        self.__is_special = workforce.admission is not None or self.__propagates
        self.__carried: dict[int, Options] = {}  # by threads
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
                or propagate_context
            ):
                raise ValueError(
                    f"{type(self).__name__} makes its workers itself, so it cannot have"
                    " min_workers, idle_timeout, max_queue_size, worker_context,"
                    " propagate_context or daemon"
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
            return self.__submit_carried(self.__submit_patched, fn, args, kwargs)  # type: ignore[return-value]  # its Future
        workforce = self.__workforce
        if not workforce.is_open or _thread._shutdown:
            if self.__is_standard:
                return self.__submit_standard(fn, args, kwargs)  # type: ignore[return-value]  # its Future
            self.__refuse_and_count()
        if self.__is_special:
            return self.__submit_carried(self.__submit_specially, fn, args, kwargs)  # type: ignore[return-value]  # a PoolFuture
        request = WorkRequest(fn, args, kwargs)
        try:
            requests = workforce.requests
            requests.append(request)
            # As requests.has_idle() and summon(), without the calls.
            if requests.idle[-1:] or len(workforce.active) < workforce.bounds.limit:
                self._adjust_thread_count()
            if not workforce.is_open or _thread._shutdown:
                self.__look_again(request)
        except BaseException as error:
            if self.__withdraw(request) or not isinstance(error, RuntimeError):
                del request  # it may hold the error, whose traceback holds this frame
                raise
        return request

    async def submit_async(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> PoolFuture[T]:
        """As `submit`, for coroutines: where that would wait for a place in the bounded queue, this
        waits without blocking the event loop.

        Cancelled meanwhile, it has queued nothing. Other policies than ``"block"`` are as with
        `submit`: ``"caller_runs"`` runs the call in the loop's thread.

        Returns:
            The future of its result, to be awaited in turn.

        Raises:
            As `submit`.
        """
        return await self._pe_submit_async(NO_OPTIONS, fn, args, kwargs)  # type: ignore[return-value]  # a PoolFuture

    async def _pe_submit_async(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """For a view, too: `submit_async` with options."""
        workforce, place = self.__workforce, []  # type: ignore[var-annotated]  # a place
        applicant = Applicant(options.expires)
        try:
            if workforce.entrance is not None:
                await workforce.entrance.find_place_in_loop(place, applicant)
            if options is NO_OPTIONS and not (place and workforce.is_open):
                return self.submit(fn, *args, **kwargs)
            # It expires so many seconds after this call.
            options = options._replace(place=place, expires=applicant.seconds_left())
            return self._pe_submit(options, fn, args, kwargs)
        finally:
            leave_queue(None, place)  # nobody has used it
            if workforce.admission is not None:
                workforce.admission.expiring.pop(applicant, None)

    def _pe_submit(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """For a view: `submit` with options."""
        workforce = self.__own_workforce("options")
        if _has_own_submit(self):
            return self.__carry(options, fn, args, kwargs)
        if not Verdict.renew():
            return self.__submit_patched(options, fn, args, kwargs)
        if not workforce.is_open or _thread._shutdown:
            self.__refuse_and_count()
        return self.__submit_specially(options, fn, args, kwargs)

    def __carry(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """Through a `submit` that is not ours; ours, if it calls that, finds the options."""
        self.__is_special = True
        me = threading.get_ident()
        before = self.__carried.get(me)
        self.__carried[me] = options
        try:
            return self.submit(fn, *args, **kwargs)
        finally:
            if before is None:
                self.__carried.pop(me, None)
            else:
                self.__carried[me] = before

    def __submit_carried(
        self,
        submit: Callable[..., Future[T]],
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """With the options that a view has laid aside for the calling thread.

        They are not for what user code submits meanwhile: callbacks, calls that the caller runs.
        """
        me = threading.get_ident()
        options = self.__carried.pop(me, NO_OPTIONS)
        try:
            return submit(options, fn, args, kwargs)
        finally:
            if options is not NO_OPTIONS:
                self.__carried[me] = options

    def __submit_specially(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> PoolFuture[T]:
        """As the end of `submit`, with options, or a place in the queue to be found before."""
        fn, args = self.__in_context(options.context, fn, args)
        request = _request(options, fn, args, kwargs)
        admission = self.__workforce.admission
        if admission is None:
            return self.__queue(request)
        try:
            admission.enter(request)
            return self.__queue(request)
        finally:
            admission.exit(request)

    def __in_context(
        self, context: contextvars.Context | None, fn: Callable[..., T], args: tuple[Any, ...]
    ) -> tuple[Callable[..., T], tuple[Any, ...]]:
        """The call in a copy of `context`, or of the submitter's if this pool propagates that."""
        if context is None and not self.__propagates:
            return fn, args
        copy = contextvars.copy_context() if context is None else context.copy()
        run: Any = copy.run
        return run, (fn, *args)

    def __queue(self, request: BoundedRequest[T]) -> PoolFuture[T]:
        workforce = self.__workforce
        try:
            if workforce.entrance is not None and not workforce.entrance.admit(request):
                return request
            request._pe_home = requests = workforce.requests
            requests.put(request)
            request._pe_is_queued = True
            if workforce.requests is not requests:
                request._pe_home = workforce.requests
                workforce.requests.put(request)  # a signal handler has forked; this is the child
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

    def __submit_standard(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        """To the base class, which serves this pool."""
        fn, args = self.__in_context(None, fn, args)
        return super().submit(fn, *args, **kwargs)

    def __submit_patched(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """Through the standard `submit`, which somebody has replaced."""
        entrance = self.__workforce.entrance
        if not self.__workforce.is_open:
            return self.__submit_standard(fn, args, kwargs)
        # A task that waits for the patch's own future would not be known to wait.
        if self.__propagates or options is not NO_OPTIONS or self.__workforce.is_mine():
            return self.__submit_captured(options, fn, args, kwargs)
        if entrance is None:
            return self.__call_patched(None, fn, args, kwargs)
        # It queues while it holds locks, so the place is found before.
        request, admission = BoundedRequest(fn, args, kwargs), entrance.admission
        try:
            admission.enter(request)
            if not self.__admit_patched(entrance, request):
                return request
            entrance.leave_to_another(request)
            admission.prepay()
            try:
                return self.__call_patched(None, fn, args, kwargs)
            except BaseException:
                if admission.take_prepaid():
                    admission.give_back([])
                raise
        finally:
            admission.exit(request)

    def __admit_patched(self, entrance: Entrance, request: BoundedRequest[Any]) -> bool:
        try:
            return entrance.admit(request)
        except BaseException:
            self.__workforce.refuse()
            request._withdraw()
            raise

    def __call_patched(
        self,
        captor: Callable[[Any], object] | None,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """The patched submit; `captor` gets the work items that it makes of the call."""
        captors, me = self._work_queue.captors, threading.get_ident()  # type: ignore[attr-defined]  # ours
        before = captors.get(me)
        try:
            captors[me] = captor
            return super().submit(fn, *args, **kwargs)
        finally:
            if before is None:
                captors.pop(me, None)
            else:
                captors[me] = before

    def __submit_captured(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]:
        """As `__submit_patched`; what the patch makes of the call is queued with the options."""
        workforce, entrance = self.__workforce, self.__workforce.entrance
        fn, args = self.__in_context(options.context, fn, args)
        first = _request(options, fn, args, kwargs)
        made: dict[Any, BoundedRequest[T]] = {}  # by the futures of the patch's work items

        def queue(item: Any) -> None:
            request = _request(options, *call_of(item)) if made else first
            made[item.future] = request
            relay(item.future, request, *call_of(item))
            request._pe_home = workforce.requests
            workforce.requests.put(request)
            request._pe_is_queued = True

        try:
            if entrance is not None:
                entrance.admission.enter(first)
                if not self.__admit_patched(entrance, first):
                    return first
            future = self.__call_patched(queue, fn, args, kwargs)
            return made.get(future, future)  # ours knows of its expiry
        finally:
            if not made:
                leave_queue(first, first._pe_leave)
            if entrance is not None:
                entrance.admission.exit(first)

    def __refuse_and_count(self) -> None:
        try:
            self.__refuse()
        except RuntimeError:
            self.__workforce.refuse()
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

    def __look_again(self, request: WorkRequest[Any] | Batch[Any]) -> None:
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
            chunksize: How many items a worker takes at a time, a hint. They are run one after the
                other, and their results are there when the last of them has been run.
            buffersize: How many results may be outstanding; the iterables are read as the
                results are taken. As since Python 3.14, on every Python.

        Raises:
            TypeError, ValueError: `buffersize` is neither None nor an int above 0.
            TimeoutError: From the iterator: a result was not there in time.
            Exception: From the iterator: whatever the call raised, in its place.
        """
        check_buffersize(buffersize)
        if not self.__takes_batches():
            return map_in_order(self.__submitter(), fn, iterables, timeout, buffersize)
        call = Call(fn, iterables, timeout, chunksize, buffersize)
        return map_in_batches(self, self.__workforce, call, ordered=True)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As `map`, with the results in the order in which they come."""
        check_buffersize(buffersize)
        if not self.__takes_batches():
            return map_as_completed(self.__submitter(), fn, iterables, timeout, buffersize)
        call = Call(fn, iterables, timeout, chunksize, buffersize)
        return map_in_batches(self, self.__workforce, call, ordered=False)

    def options(
        self,
        *,
        priority: float = 0,
        expires: float | None = None,
        context: contextvars.Context | None = None,
    ) -> View:
        """An executor over this pool whose submissions carry options.

        It can be handed to whatever takes an executor. It keeps this pool alive, but cannot shut it
        down.

        Args:
            priority: A number; the lowest is run first, equal ones in order of arrival.
            expires: Seconds after its submission within which a call must have been started.
                Otherwise it is not made, and its future raises `RequestExpired`: `result` and
                `await` at that time, all else at the latest when a worker comes to it.
            context: A `contextvars` context; each task runs in a copy of it.

        Raises:
            TypeError, ValueError: A value does not fit.
            RuntimeError: The pool's workers are not its own.
        """
        self.__own_workforce("options")
        return View(self, NO_OPTIONS.changed(priority, expires, context))

    # --- map ----------------------------------------------------------------------------------

    def __takes_batches(self) -> bool:
        """Whether an item of `map` needs nothing but to be queued."""
        return (
            self.__workforce.is_open
            and not self.__is_special
            and not _has_own_submit(self)
            and Verdict.renew()
            and not starts_threads_its_own_way()
        )

    def __submitter(self) -> Callable[[], Callable[..., Future[Any]] | None]:
        reference = weakref.ref(self)

        def submitter() -> Callable[..., Future[Any]] | None:
            executor = reference()
            return None if executor is None else executor.submit

        return submitter

    def _pe_feed(self, window: Window[Any], items: Iterator[Any]) -> None:
        """For `window_results`: one item more, the long way."""
        feed(self, self.__workforce, window, islice(items, 1))

    def _pe_refuse(self) -> None:
        """For `_mapping`: raise what `submit` raises in this state, unless work is still taken."""
        self.__refuse_and_count()

    def _pe_look_again(self, batch: Batch[Any]) -> None:
        """For `_mapping`: the pool was closed while items were queued."""
        self.__look_again(batch)

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
            self.__workforce.vigil.join(timeout, self.__threads if self.__is_standard else ())

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
        if wait and not workforce.vigil.wait_for_size(timeout):
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
        if not self.__own_workforce("drain").vigil.drain(timeout):
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
        return self.__workforce.changes, self.__workforce.vigil.is_stalled

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


_SUBMIT = PoolExecutor.submit
_SUBMIT_CODE = _SUBMIT.__code__


def _has_own_submit(executor: PoolExecutor) -> bool:
    """Whether its `submit` is another one than ours: a subclass's, or patched, perhaps in place."""
    return (
        type(executor).submit is not _SUBMIT
        or _SUBMIT.__code__ is not _SUBMIT_CODE
        or "submit" in executor.__dict__
    )


def _request(
    options: Options, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> BoundedRequest[T]:
    request: BoundedRequest[T]
    if options.priority or options.expires is not None:
        request = OptionedRequest(fn, args, kwargs, options.priority, options.expires)
    else:
        request = BoundedRequest(fn, args, kwargs)
    if options.place:
        # From the one to the other, in one step of C code.
        next(map(request._pe_leave.append, map(options.place.pop, (0,))))
    return request


def _overrides_workers(cls: type[PoolExecutor]) -> bool:
    """Whether a subclass makes its workers, or their contexts, itself: the base class serves it."""
    if cls._adjust_thread_count is not PoolExecutor._adjust_thread_count:
        return True
    return _prepares_contexts(cls)


def _prepares_contexts(cls: type[PoolExecutor]) -> bool:
    """Whether a subclass brings a `prepare_context` of its own."""
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
