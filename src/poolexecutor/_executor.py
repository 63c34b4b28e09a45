"""`PoolExecutor`: wires the parts, decides nothing itself."""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import thread as _thread
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._lifecycle import may_still_submit
from ._map import check_buffersize, map_in_order
from ._request import WorkRequest
from ._standard import StandardExecutor, Verdict, starts_threads_its_own_way
from ._work_queue import IdleCount, WorkQueue
from ._workforce import INITIALIZER_FAILED, Workforce
from .errors import BrokenThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._future import PoolFuture

P = ParamSpec("P")
T = TypeVar("T")


class _Owner:
    """Goes when the executor goes, and closes its workforce; workers know only the latter."""

    __slots__ = ("_workforce",)

    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce

    def __del__(self) -> None:
        self._workforce.close()


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
        ctxkwargs: For `prepare_context` of a subclass, since Python 3.14.

    Raises:
        ValueError: `max_workers` is not above 0.
        TypeError: `initializer` cannot be called.
    """

    __threads: set[threading.Thread]

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **ctxkwargs: Any,
    ) -> None:
        # First of all, since the base class sets what the properties below keep in it.
        workforce = self.__workforce = Workforce(
            initializer, initargs, getattr(self, "BROKEN", BrokenThreadPool)
        )
        super().__init__(max_workers, thread_name_prefix, initializer, initargs, **ctxkwargs)
        self.__is_standard = _overrides_workers(type(self))
        if self.__is_standard:
            workforce.is_open = False
        else:
            self.__dict__["_work_queue"] = WorkQueue(
                workforce, getattr(self, "_create_worker_context", None)
            )
            self.__dict__["_idle_semaphore"] = IdleCount(workforce)
            self.__owner = _Owner(workforce)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> PoolFuture[T]:
        """Have ``fn(*args, **kwargs)`` called in a worker.

        Returns:
            The future of its result.

        Raises:
            BrokenThreadPool: A worker's initializer has failed.
            RuntimeError: The pool or the interpreter is shut down, or no thread can be started
                and none is there. The call will not be made then.
        """
        standard = StandardExecutor.submit
        if (
            standard is not Verdict.submit or standard.__code__ is not Verdict.code
        ) and not Verdict.renew():
            return super().submit(fn, *args, **kwargs)  # type: ignore[return-value]  # its Future
        workforce = self.__workforce
        if not workforce.is_open or _thread._shutdown:
            if self.__is_standard:
                return super().submit(fn, *args, **kwargs)  # type: ignore[return-value]  # its Future
            self.__refuse()
        request = WorkRequest(fn, args, kwargs)
        try:
            requests = workforce.requests
            requests.append(request)
            # As requests.has_idle() and summon(), without the calls.
            if requests.idle[-1:] or len(workforce.workers) < workforce.max_workers:
                self._adjust_thread_count()
            if not workforce.is_open or _thread._shutdown:
                self.__look_again(request)
        except BaseException as error:
            if request._withdraw() or not isinstance(error, RuntimeError):
                raise
            # A worker was faster than the refusal: accepted, then.
        return request

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

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; finish what is queued. May be called again.

        Args:
            wait: Return when all workers have left. In a worker of this pool, when all others
                have, but for those that wait here themselves.
            cancel_futures: Cancel what has not started.
        """
        if self.__is_standard:
            super().shutdown(wait, cancel_futures=cancel_futures)
        # Also of one that the base class serves: it may have had workers of ours before.
        self.__workforce.close(cancel_futures)
        if wait:
            self.__workforce.join()

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
            return self.__workforce.max_workers

        @_max_workers.setter
        def _max_workers(self, value: int) -> None:
            # The standard pool takes 2.5 and starts 3 threads.
            limit = sys.maxsize if value == math.inf else math.ceil(value)
            if limit <= 0:
                raise ValueError("max_workers must be greater than 0")
            self.__workforce.set_max_workers(limit)

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
