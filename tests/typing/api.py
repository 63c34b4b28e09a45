"""Checked by mypy and pyright, never run: what a user may write, and what is an error.

An error that a type checker must report carries an ignore with its code; were it not reported,
the unused ignore would be.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
from collections.abc import Iterator

from poolexecutor import (
    BrokenThreadPool,
    NoResultsPending,
    NoWorkersAvailable,
    PoolExecutor,
    PoolFuture,
    PoolStats,
    RequestExpired,
    ResultQueue,
    current_worker,
    install,
    uninstall,
)


def length(text: str, *, twice: bool = False) -> int:
    return len(text) * (2 if twice else 1)


def executors() -> None:
    executor = PoolExecutor(4, "name", print, ("hello",))
    standard: concurrent.futures.ThreadPoolExecutor = executor
    PoolExecutor(max_workers=None, thread_name_prefix="x", initializer=None, initargs=())
    PoolExecutor("4")  # type: ignore[arg-type]
    standard.shutdown(wait=False, cancel_futures=True)
    executor.shutdown(cancel_futures="yes")  # type: ignore[arg-type]


def submitting(executor: PoolExecutor) -> None:
    future: PoolFuture[int] = executor.submit(length, "abc", twice=True)
    number: int = future.result()
    text: str = future.result(timeout=1.5)  # type: ignore[assignment]
    error: BaseException | None = future.exception()
    future.add_done_callback(lambda f: print(f.result()))
    executor.submit(length, 3)  # type: ignore[arg-type]
    executor.submit(length, "abc", thrice=True)  # type: ignore[call-arg]
    executor.submit(length)  # type: ignore[call-arg]
    print(number, text, error)


def mapping(executor: PoolExecutor) -> None:
    lengths: Iterator[int] = executor.map(length, ["a", "b"], timeout=1, chunksize=2, buffersize=3)
    print(list(lengths))

    unordered: Iterator[int] = executor.map_unordered(length, ["a"], chunksize=2)
    executor.map_unordered(length, ["a"], buffersize="3")  # type: ignore[arg-type]
    print(list(unordered))


def options(executor: PoolExecutor) -> None:
    view = executor.options(priority=-1, expires=2.5, context=contextvars.copy_context())
    any_executor: concurrent.futures.Executor = view.options(expires=None)
    future: concurrent.futures.Future[int] = view.submit(length, "abc", twice=True)
    try:
        print(future.result(), list(view.map(length, ["a"])), list(view.map_unordered(length, "a")))
    except RequestExpired as error:
        late: TimeoutError = error
        print(late)
    view.submit(length, 3)  # type: ignore[arg-type]
    executor.options(priority="high")  # type: ignore[arg-type]
    print(any_executor, PoolExecutor(propagate_context=True))


async def asynchronous(executor: PoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    number: int = await loop.run_in_executor(executor, length, "abc")
    other: int = await asyncio.wrap_future(executor.submit(length, "abc"))
    print(number, other)


def waiting(futures: list[PoolFuture[int]]) -> None:
    done, _ = concurrent.futures.wait(futures, timeout=1)
    numbers: list[int] = [future.result() for future in concurrent.futures.as_completed(done)]
    print(numbers)


def swapping() -> None:
    install()
    uninstall()
    try:
        raise BrokenThreadPool("text")
    except concurrent.futures.BrokenExecutor:
        pass


def workers() -> None:
    with PoolExecutor(
        4,
        min_workers=1,
        idle_timeout=1.5,
        max_queue_size=10,
        on_full="raise",
        worker_context=lambda: contextlib.nullcontext(3),
        daemon=True,
    ) as executor:
        executor.resize(2, min_workers=0, wait=True, timeout=1)
        executor.resize("2")  # type: ignore[arg-type]
        executor.drain(timeout=1)
        stats: PoolStats = executor.stats()
        busy: int = stats.busy
        limits: tuple[int, int] = (executor.max_workers, executor.min_workers)
        worker = current_worker()
        name: str | None = None if worker is None else worker.name
        executor.shutdown(timeout=1)
    print(busy, limits, name)


def results(executor: PoolExecutor) -> None:
    queue: ResultQueue[int] = ResultQueue(executor, maxsize=3)
    queue.submit(length, "abc", twice=True)
    queue.submit(length)  # type: ignore[call-arg]
    try:
        number: int = queue.get(timeout=1).result()
    except (NoResultsPending, NoWorkersAvailable):
        number = 0
    numbers: list[int] = [future.result() for future in queue]
    print(number, numbers)


async def coroutines(executor: PoolExecutor, queue: ResultQueue[int]) -> None:
    number: int = await executor.submit(length, "abc")
    text: str = await executor.submit(length, "abc")  # type: ignore[arg-type]
    future = await executor.submit_async(length, "abc", twice=True)
    await executor.submit_async(length)  # type: ignore[call-arg]
    numbers: list[int] = [number, await future]
    numbers += [finished.result() async for finished in queue]
    print(text, numbers, await (await executor.options(priority=1).submit_async(length, "abc")))
