"""`View`: an executor over a pool whose submissions carry options."""

from __future__ import annotations

import weakref
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Protocol, TypeVar

from ._map import check_buffersize, map_as_completed, map_in_order
from ._options import KEPT, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Context

    from ._future import PoolFuture

P = ParamSpec("P")
T = TypeVar("T")


class Pool(Protocol):
    """What a view asks of its pool."""

    @property
    def _pe_stalls(self) -> Any: ...

    def _pe_submit(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]: ...

    async def _pe_submit_async(
        self,
        options: Options,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[T]: ...


class View(Executor):
    """The face of a pool for submissions with a priority, an expiry or a context.

    Made by `PoolExecutor.options`. It keeps its pool alive, but does not own it.
    """

    def __init__(self, pool: Pool, options: Options) -> None:
        self._pool = pool
        self._options = options

    def __repr__(self) -> str:
        given = ", ".join(
            f"{name}={value!r}"
            for name, value in self._options._asdict().items()
            if value != Options._field_defaults[name]
        )
        return f"<{self._pool!r}.options({given})>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> PoolFuture[T]:
        """As `PoolExecutor.submit`, with this view's options."""
        return self._pool._pe_submit(self._options, fn, args, kwargs)  # type: ignore[return-value]  # a PoolFuture

    async def submit_async(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> PoolFuture[T]:
        """As `PoolExecutor.submit_async`, with this view's options."""
        return await self._pool._pe_submit_async(self._options, fn, args, kwargs)  # type: ignore[return-value]  # a PoolFuture

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As `PoolExecutor.map`; each item is a submission with this view's options."""
        check_buffersize(buffersize)
        return map_in_order(_submitter(self), fn, iterables, timeout, buffersize)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As `PoolExecutor.map_unordered`, likewise."""
        check_buffersize(buffersize)
        return map_as_completed(_submitter(self), fn, iterables, timeout, buffersize)

    @property
    def _pe_stalls(self) -> Any:
        """For `ResultQueue`: as of the pool."""
        return self._pool._pe_stalls

    def options(
        self,
        *,
        priority: float = KEPT,
        expires: float | None = KEPT,
        context: Context | None = KEPT,
    ) -> View:
        """A view over the same pool; what is not given is as in this one.

        Raises:
            TypeError, ValueError: A value does not fit.
        """
        return View(self._pool, self._options.changed(priority, expires, context))

    def __enter__(self) -> NoReturn:
        self.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> NoReturn:
        """Refused: the pool is not this view's.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "a view made by options() cannot shut its pool down; the pool itself can"
        )


def _submitter(view: View) -> Callable[[], Callable[..., Future[Any]] | None]:
    pool, options = weakref.ref(view._pool), view._options

    def submitter() -> Callable[..., Future[Any]] | None:
        living = pool()
        return None if living is None else View(living, options).submit

    return submitter
