"""`PoolExecutor` as a `ThreadPoolExecutor`: what a program can do with the one and the other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolexecutor import BrokenThreadPool, PoolExecutor, PoolFuture

SECONDS = 10.0
BOTH = pytest.mark.parametrize("pool", [PoolExecutor, ThreadPoolExecutor], ids=["ours", "standard"])


@BOTH
class TestConstructor:
    def test_default_size(self, pool) -> None:
        count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        with pool() as executor:
            assert executor._max_workers == min(32, count + 4)

    @pytest.mark.parametrize("size", [0, -1])
    def test_refuses_a_size_that_is_none(self, pool, size) -> None:
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            pool(size)

    def test_refuses_an_initializer_that_cannot_be_called(self, pool) -> None:
        with pytest.raises(TypeError, match="initializer must be a callable"):
            pool(initializer=3)

    def test_refuses_unknown_words(self, pool) -> None:
        with pytest.raises(TypeError, match="unexpected keyword argument 'max_worker'"):
            pool(max_worker=3)

    def test_positional(self, pool) -> None:
        seen = []
        with pool(1, "name", seen.append, ("initialized",)) as executor:
            assert executor.submit(lambda: threading.current_thread().name).result() == "name_0"
        assert seen == ["initialized"]

    def test_starts_no_thread(self, pool) -> None:
        with pool(4) as executor:
            assert executor._threads == set()

    def test_is_a_thread_pool_executor(self, pool) -> None:
        with pool(1) as executor:
            assert isinstance(executor, ThreadPoolExecutor)

    def test_default_names(self, pool) -> None:
        with pool(1) as executor:
            name = executor.submit(lambda: threading.current_thread().name).result()
        assert name.startswith("ThreadPoolExecutor-")
        assert name.endswith("_0")


@BOTH
class TestSubmit:
    def test_any_arguments(self, pool) -> None:
        with pool(2) as executor:
            future = executor.submit(dict, [("fn", 1)], self=2, args=3)
            assert future.result() == {"fn": 1, "self": 2, "args": 3}

    def test_callable_is_positional_only(self, pool) -> None:
        with pool(1) as executor, pytest.raises(TypeError):
            executor.submit(fn=int)

    def test_what_cannot_be_called(self, pool) -> None:
        with pool(1) as executor:
            assert isinstance(executor.submit(None).exception(), TypeError)

    def test_from_a_task_and_a_callback(self, pool) -> None:
        inner = []
        with pool(2) as executor:
            outer = executor.submit(lambda: inner.append(executor.submit(int)))
            outer.result()
            done = threading.Event()
            outer.add_done_callback(lambda f: inner.append(executor.submit(done.set)))
            assert done.wait(SECONDS)
        assert all(future.done() for future in inner)

    def test_as_many_threads_as_needed(self, pool) -> None:
        with pool(5) as executor:
            for _ in range(3):
                executor.submit(int).result()
                time.sleep(0.05)  # until the worker is idle, which no pool tells
            assert len(executor._threads) == 1
            gate = threading.Barrier(4)
            for _ in range(3):
                executor.submit(gate.wait)
            gate.wait(SECONDS)
            assert len(executor._threads) == 3

    def test_never_more_than_the_limit(self, pool) -> None:
        gate = threading.Event()
        with pool(3) as executor:
            for _ in range(20):
                executor.submit(gate.wait)
            assert len(executor._threads) == 3
            gate.set()

    def test_after_shutdown(self, pool) -> None:
        executor = pool(1)
        executor.shutdown()
        with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
            executor.submit(int)
        with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
            executor.map(int, [1])


@BOTH
class TestInitializer:
    def test_once_in_each_worker(self, pool) -> None:
        local, seen = threading.local(), []

        def initialize(value) -> None:
            local.value = value
            seen.append(threading.current_thread())

        gate = threading.Barrier(3)
        with pool(3, initializer=initialize, initargs=(7,)) as executor:

            def read() -> int:
                gate.wait(SECONDS)
                return local.value

            assert [f.result() for f in [executor.submit(read) for _ in range(3)]] == [7] * 3
        assert len(set(seen)) == len(seen) == 3

    def test_failing(self, pool, caplog) -> None:
        def fail() -> None:
            raise ValueError("as planned")

        executor = pool(1, initializer=fail)
        future = executor.submit(int)
        with pytest.raises(BrokenThreadPool):
            future.result(SECONDS)
        with pytest.raises(BrokenThreadPool, match="A thread initializer failed"):
            executor.submit(int)
        assert executor._broken
        executor.shutdown()
        assert [r.message for r in caplog.records] == ["Exception in initializer:"]
        assert "as planned" in caplog.text


@BOTH
class TestShutdown:
    def test_finishes_what_is_queued(self, pool) -> None:
        executor = pool(1)
        futures = [executor.submit(time.sleep, 0.001) for _ in range(20)]
        executor.shutdown()
        assert all(future.done() for future in futures)
        assert not any(thread.is_alive() for thread in executor._threads)

    def test_without_waiting(self, pool) -> None:
        executor, gate = pool(1), threading.Event()
        futures = [executor.submit(gate.wait) for _ in range(3)]
        executor.shutdown(wait=False)
        assert not any(future.done() for future in futures)
        gate.set()
        for thread in executor._threads:
            thread.join(SECONDS)
        assert all(future.result(SECONDS) for future in futures)

    def test_positional_wait(self, pool) -> None:
        executor, gate = pool(1), threading.Event()
        executor.submit(gate.wait)
        executor.shutdown(False)
        gate.set()

    def test_cancelling(self, pool) -> None:
        executor, gate, started = pool(1), threading.Event(), threading.Event()
        running = executor.submit(lambda: started.set() or gate.wait())
        queued = [executor.submit(gate.wait) for _ in range(5)]
        started.wait(SECONDS)
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in queued)
        gate.set()
        assert running.result(SECONDS)
        executor.shutdown()
        executor.shutdown(wait=True, cancel_futures=True)

    def test_as_context_manager(self, pool) -> None:
        with pytest.raises(ZeroDivisionError), pool(2) as executor:
            future = executor.submit(time.sleep, 0.01)
            raise ZeroDivisionError
        assert future.done()

    def test_unused(self, pool) -> None:
        pool(3).shutdown()

    def test_forgotten(self, pool) -> None:
        executor, gate = pool(3), threading.Event()
        futures = [executor.submit(gate.wait) for _ in range(5)]
        threads, gone = list(executor._threads), weakref.ref(executor)
        del executor
        gc.collect()
        assert gone() is None
        gate.set()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        assert all(future.result(0) for future in futures), "what was queued is finished"


class TestMap:
    def test_order(self) -> None:
        with PoolExecutor(4) as executor:
            assert list(executor.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
            assert list(executor.map(int, [])) == []

    def test_exception_in_its_place(self) -> None:
        with PoolExecutor(1) as executor:
            results = executor.map(divmod, [1, 2, 3, 4], [1, 1, 0, 1])
            assert [next(results), next(results)] == [(1, 0), (2, 0)]
            with pytest.raises(ZeroDivisionError):
                next(results)
            with pytest.raises(StopIteration):
                next(results)

    def test_timeout(self) -> None:
        gate = threading.Event()
        with PoolExecutor(2) as executor:
            results = executor.map(lambda wait: wait and gate.wait(), [False, True], timeout=0.05)
            assert next(results) is False
            with pytest.raises(concurrent.futures.TimeoutError):
                next(results)
            gate.set()

    def test_closing_cancels_the_rest(self) -> None:
        made, gate = [], threading.Event()
        with PoolExecutor(1) as executor:
            results = executor.map(lambda n: (made.append(n), n and gate.wait()), range(100))
            next(results)
            results.close()
            gate.set()
        assert len(made) <= 2

    def test_eager(self) -> None:
        read = []
        with PoolExecutor(1) as executor:
            executor.map(int, (read.append(n) or n for n in range(5)))
            assert read == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("buffersize", [1, 3, 100])
    def test_buffersize(self, buffersize) -> None:
        read = []
        with PoolExecutor(2) as executor:
            source = (read.append(n) or n for n in range(10))
            results = executor.map(str, source, buffersize=buffersize)
            assert read == list(range(min(10, buffersize)))
            got = []
            for result in results:
                got.append(result)
                assert len(read) <= min(10, len(got) + buffersize)
            assert got == [str(n) for n in range(10)]

    def test_buffersize_over_an_infinite_source(self) -> None:
        def numbers():
            n = 0
            while True:
                yield n
                n += 1

        with PoolExecutor(2) as executor:
            results = executor.map(abs, numbers(), buffersize=4)
            assert [next(results) for _ in range(50)] == list(range(50))
            results.close()

    @pytest.mark.parametrize(
        ("buffersize", "error"),
        [(0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError)],
    )
    def test_bad_buffersize(self, buffersize, error) -> None:
        with PoolExecutor(1) as executor, pytest.raises(error, match="buffersize must be"):
            executor.map(int, [1], buffersize=buffersize)

    def test_forgotten_pool_and_living_iterator(self) -> None:
        executor = PoolExecutor(1)
        results = executor.map(abs, range(10), buffersize=2)
        gone = weakref.ref(executor)
        del executor
        gc.collect()
        assert gone() is None
        assert list(results) == [0, 1]

    def test_subclass_sees_every_item(self) -> None:
        seen = []

        class Mine(PoolExecutor):
            def submit(self, fn, *args):  # no keywords: none may be passed
                seen.append(args)
                return super().submit(fn, *args)

        with Mine(2) as executor:
            assert list(executor.map(pow, [1, 2], [3, 4])) == [1, 16]
            assert list(executor.map(pow, [1, 2], [3, 4], buffersize=1)) == [1, 16]
        assert seen == [(1, 3), (2, 4)] * 2

    def test_results_are_not_kept(self) -> None:
        class Thing:
            pass

        with PoolExecutor(1) as executor:
            results = executor.map(lambda _: Thing(), range(3))
            gone = weakref.ref(next(results))
            executor.submit(int).result()
            assert gone() is None
            list(results)


class TestFutures:
    def test_type(self) -> None:
        with PoolExecutor(1) as executor:
            assert isinstance(executor.submit(int), PoolFuture)

    def test_cancelled_is_skipped(self) -> None:
        made, gate = [], threading.Event()
        with PoolExecutor(1) as executor:
            executor.submit(gate.wait)
            futures = [executor.submit(made.append, n) for n in range(10)]
            assert all(future.cancel() for future in futures[::2])
            gate.set()
        assert made == [1, 3, 5, 7, 9]


class TestAsyncio:
    def test_default_executor(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            executor = PoolExecutor(2, "ours")
            loop.set_default_executor(executor)
            name = await asyncio.to_thread(lambda: threading.current_thread().name)
            assert name.startswith("ours_")
            assert await loop.run_in_executor(None, pow, 2, 10) == 1024
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(executor, divmod, 1, 0)
            await loop.getaddrinfo("127.0.0.1", 80)

        asyncio.run(main())

    def test_cancelling(self) -> None:
        async def main(executor) -> None:
            loop, gate = asyncio.get_running_loop(), threading.Event()
            running = loop.run_in_executor(executor, gate.wait)
            queued = loop.run_in_executor(executor, gate.wait)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
            gate.set()
            assert await running

        with PoolExecutor(1) as executor:
            asyncio.run(main(executor))

    def test_wrap_future(self) -> None:
        async def main(executor) -> None:
            assert await asyncio.wrap_future(executor.submit(pow, 2, 3)) == 8

        with PoolExecutor(1) as executor:
            asyncio.run(main(executor))


class TestBaseClassBeneath:
    """What others do to the instance, through the base class."""

    def test_patched_standard_submit_is_used(self, monkeypatch) -> None:
        seen, standard = [], ThreadPoolExecutor.submit

        def patched(self, fn, /, *args, **kwargs):
            seen.append(fn)
            return standard(self, fn, *args, **kwargs)

        with PoolExecutor(2) as executor:
            executor.submit(int).result()
            monkeypatch.setattr(ThreadPoolExecutor, "submit", patched)
            assert executor.submit(pow, 2, 3).result(SECONDS) == 8
            assert list(executor.map(abs, [-1, -2])) == [1, 2]
            assert seen == [pow, abs, abs]
            monkeypatch.undo()
            executor.submit(int).result()
            assert len(seen) == 3

    def test_code_replaced_in_place(self) -> None:
        standard = ThreadPoolExecutor.submit
        code = standard.__code__

        def replacement(self, fn, /, *args, **kwargs):
            raise LookupError("patched")

        with PoolExecutor(1) as executor:
            standard.__code__ = replacement.__code__
            try:
                with pytest.raises(LookupError):
                    executor.submit(int)
            finally:
                standard.__code__ = code
            assert executor.submit(int).result() == 0

    def test_work_item_put_into_the_queue(self) -> None:
        from concurrent.futures.thread import _WorkItem

        with PoolExecutor(1) as executor:
            future = concurrent.futures.Future()
            call = (int, ("5",), {})
            item = (
                _WorkItem(future, call) if sys.version_info >= (3, 14) else _WorkItem(future, *call)
            )
            executor._work_queue.put(item)
            executor._adjust_thread_count()
            assert future.result(SECONDS) == 5

    def test_queue_is_looked_at_and_drained(self) -> None:
        gate, started = threading.Event(), threading.Event()
        with PoolExecutor(1) as executor:
            executor.submit(lambda: started.set() or gate.wait(SECONDS))
            started.wait(SECONDS)
            future = executor.submit(pow, 2, 3)
            assert (executor._work_queue.qsize(), executor._work_queue.empty()) == (1, False)
            item = executor._work_queue.get_nowait()
            assert item.future is future
            gate.set()
            executor.submit(int).result(SECONDS)
            assert not future.done(), "taken out for good"
            item.run()
            assert future.result(0) == 8

    def test_waiting_for_the_queue(self) -> None:
        import queue

        with PoolExecutor(1) as executor:
            with pytest.raises(queue.Empty):
                executor._work_queue.get(timeout=0.01)
            assert executor.submit(int).result(SECONDS) == 0, "nobody is called who has gone"
            with pytest.raises(ValueError, match="non-negative"):
                executor._work_queue.get(timeout=-1)

    def test_own_workers_of_a_subclass(self) -> None:
        class Daemons(PoolExecutor):
            made = 0

            def _adjust_thread_count(self) -> None:
                type(self).made += 1
                super()._adjust_thread_count()

        with Daemons(2) as executor:
            assert executor.submit(int).result(SECONDS) == 0
        assert Daemons.made == 1

    def test_says_whose_the_unknown_word_is(self) -> None:
        with pytest.raises(TypeError, match="PoolExecutor got an unexpected keyword"):
            PoolExecutor(1, max_queue=4)

    def test_own_queue(self) -> None:
        import queue

        executor = PoolExecutor(1)
        executor._work_queue = queue.Queue(100)
        assert executor.submit(int).result(SECONDS) == 0
        executor.shutdown()

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters came with 3.14")
    def test_own_contexts_of_a_subclass(self) -> None:
        class Mine(PoolExecutor):
            @classmethod
            def prepare_context(cls, initializer, initargs):
                create, _ = super().prepare_context(initializer, initargs)
                return create, lambda fn, args, kwargs: (lambda: "resolved", (), {})

        with Mine(1) as executor:
            assert executor.submit(int).result(SECONDS) == "resolved"
