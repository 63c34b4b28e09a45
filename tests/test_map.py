"""`map` and `map_unordered`: the batch, and the plain way over `submit`."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import time
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from poolexecutor import BrokenThreadPool, PoolExecutor
from poolexecutor._batch import Batch

from .helpers import SECONDS, blocked, until


class OwnSubmit(PoolExecutor):
    def submit(self, fn, /, *args, **kwargs):
        self.submitted = getattr(self, "submitted", 0) + 1
        return super().submit(fn, *args, **kwargs)


class AView:
    """A view whose pool is shut down with it."""

    def __init__(self, workers) -> None:
        self.pool = PoolExecutor(workers)
        self.view = self.pool.options(priority=-1)

    def __enter__(self):
        return self.view

    def __exit__(self, *exc_info):
        self.pool.shutdown()


FREE_THREADED = "free-threading" in sys.version
POOLS = {
    "batches": PoolExecutor,
    "bounded": lambda workers: PoolExecutor(workers, max_queue_size=100),
    "own submit": OwnSubmit,
    "view": AView,
}
every_pool = pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
both = pytest.mark.parametrize("method", ["map", "map_unordered"])
ways = pytest.mark.parametrize(
    "words", [{}, {"buffersize": 3}, {"chunksize": 7}], ids=["eager", "window", "chunks"]
)


def rest(executor) -> object:
    """The counts when all workers have come to rest."""
    executor.drain(SECONDS)
    return executor.stats()


def is_gone(reference) -> bool:
    """Whether its object has gone; without the GIL the last step is the garbage collector's."""
    if FREE_THREADED:
        gc.collect()
    return reference() is None


def noop(item):
    return item


class TestResults:
    @every_pool
    @both
    @ways
    def test_all_once(self, pool, method, words) -> None:
        with pool(3) as executor:
            for items in (range(100), iter(range(100)), [], range(1)):
                expected = [-item for item in items] if not hasattr(items, "__next__") else None
                found = list(getattr(executor, method)(lambda item: -item, items, **words))
                if method == "map_unordered":
                    found.sort(reverse=True)
                assert found == (expected if expected is not None else [-n for n in range(100)])

    @every_pool
    @both
    @ways
    def test_several_iterables(self, pool, method, words) -> None:
        with pool(2) as executor:
            found = getattr(executor, method)(pow, [2, 3, 4], itertools.count(), **words)
            assert sorted(found) == [1, 3, 16]
            assert list(getattr(executor, method)(pow, **words)) == []

    @every_pool
    def test_order_of_completion(self, pool) -> None:
        gates = [threading.Event() for _ in range(3)]

        def task(number):
            gates[number].wait(SECONDS)
            return number

        with pool(3) as executor:
            results = executor.map_unordered(task, range(3))
            for number in (2, 0, 1):
                gates[number].set()
                assert next(results) == number
            assert list(results) == []

    def test_items_start_in_order_and_one_at_a_time(self) -> None:
        started, running, most = [], [], []

        def task(number):
            started.append(number)
            running.append(number)
            most.append(len(running))
            time.sleep(0.0005 * (number % 3))
            running.remove(number)

        with PoolExecutor(1) as executor:
            list(executor.map(task, range(50)))
            assert started == list(range(50))
        started.clear()
        with PoolExecutor(3) as executor:
            list(executor.map(task, range(200)))
        assert max(most) <= 3
        # A worker may be overtaken between taking an item and starting it, by one each.
        assert all(abs(number - at) <= 3 for at, number in enumerate(started))

    def test_items_that_wait_for_each_other(self) -> None:
        """Each item is a task of its own: as many run at a time as there are workers."""
        with PoolExecutor(4) as executor:
            for words in ({}, {"buffersize": 4}, {"buffersize": 9}):
                barrier = threading.Barrier(4)
                for method in (executor.map, executor.map_unordered):
                    list(method(lambda _, b=barrier: b.wait(SECONDS), range(40), **words))

    def test_read_and_run_at_the_same_time(self) -> None:
        """An input that waits for what an earlier item does."""
        ran = threading.Event()

        def items():
            yield ran.set
            assert ran.wait(SECONDS)
            yield int

        with PoolExecutor(1) as executor:
            assert list(executor.map(lambda item: item(), items())) == [None, 0]

    def test_order_among_requests(self) -> None:
        """What was submitted before is run before, what was submitted after it after."""
        ran = []
        with PoolExecutor(1) as executor, blocked(executor):
            executor.submit(ran.append, "before")
            executor.map(ran.append, range(3))
            executor.submit(ran.append, "between")
            executor.map(ran.append, range(3, 6), chunksize=2)
            executor.options(priority=-1).submit(ran.append, "first")
            executor.options(priority=1).submit(ran.append, "last")
            executor.submit(ran.append, "after")
        assert ran == ["first", "before", 0, 1, 2, "between", 3, 4, 5, "after", "last"]

    def test_urgent_request_among_items(self) -> None:
        ran = []

        def task(number):
            ran.append(number)
            if number == 2:
                executor.options(priority=-1).submit(ran.append, "urgent")

        with PoolExecutor(1) as executor:
            list(executor.map(task, range(5)))
        assert ran == [0, 1, 2, "urgent", 3, 4]

    def test_requests_among_the_items_of_a_window(self) -> None:
        """A window that is always full starves nobody."""
        with PoolExecutor(1) as executor:
            results = executor.map(noop, itertools.count(), buffersize=10)
            next(results)
            future = executor.submit(int)
            for _ in range(30):
                next(results)
            assert future.done()

    def test_strange_results(self) -> None:
        class Strange:
            def __eq__(self, other):
                raise AssertionError("compared")

            def __bool__(self):
                raise AssertionError("judged")

            __hash__ = None

        with PoolExecutor(2) as executor:
            for words in ({}, {"buffersize": 2}, {"chunksize": 2}):
                for method in (executor.map, executor.map_unordered):
                    found = list(method(lambda _: Strange(), [1, 2, 3], **words))
                    assert [type(one) for one in found] == [Strange] * 3

    @every_pool
    @pytest.mark.parametrize("words", [{}, {"buffersize": 3}], ids=["eager", "window"])
    @both
    def test_results_are_let_go(self, pool, method, words) -> None:
        class Thing:
            pass

        with pool(1) as executor:
            for thing in getattr(executor, method)(lambda _: Thing(), range(5), **words):
                gone = weakref.ref(thing)
                del thing
                until(lambda gone=gone: is_gone(gone))

    @pytest.mark.parametrize("words", [{}, {"buffersize": 3}], ids=["eager", "window"])
    def test_items_are_let_go(self, words) -> None:
        class Thing:
            pass

        things = [Thing() for _ in range(4)]
        gone = [weakref.ref(thing) for thing in things]
        # What has been read of this input, it does not keep.
        items = iter(things) if not words else (things.pop(0) for _ in gone)
        with PoolExecutor(1) as executor:
            results = executor.map(id, items, **words)
            if not words:
                del things, items
            for reference in gone:
                next(results)
                until(lambda reference=reference: is_gone(reference))


class TestFailures:
    @every_pool
    @ways
    def test_in_its_place(self, pool, words) -> None:
        with pool(2) as executor:
            results = executor.map(lambda n: 1 // (n - 10), range(30), **words)
            assert [next(results) for _ in range(10)] == [1 // (n - 10) for n in range(10)]
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert list(results) == []

    @every_pool
    @ways
    def test_unordered(self, pool, words) -> None:
        with pool(2) as executor:
            results = executor.map_unordered(lambda n: 1 // n, [0] * 20, **words)
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert list(results) == []

    @pytest.mark.parametrize(
        "error", [StopIteration, IndexError, KeyError, SystemExit, KeyboardInterrupt, GeneratorExit]
    )
    @ways
    @both
    def test_any_exception(self, error, words, method) -> None:
        def task(number):
            if number == 5:
                raise error(number)
            return number

        expected = RuntimeError if error is StopIteration else error
        with PoolExecutor(1) as executor:
            results = getattr(executor, method)(task, range(20), **words)
            assert list(itertools.islice(results, 5)) == list(range(5))
            with pytest.raises(expected) as caught:
                next(results)
            if error is StopIteration:
                assert type(caught.value.__cause__) is StopIteration
            else:
                assert caught.value.args == (5,)
            assert executor.submit(int).result(SECONDS) == 0
            stats = rest(executor)
            assert stats.failed == 1
            assert stats.submitted == stats.completed + stats.failed + stats.cancelled

    @ways
    def test_traceback_and_no_cycle(self, words) -> None:
        class OwnError(Exception):
            pass

        def task(number):
            raise OwnError

        gc.collect()
        gc.disable()
        try:
            with PoolExecutor(1) as executor:
                try:
                    next(executor.map(task, [1], **words))
                except OwnError as error:
                    frames, traceback = [], error.__traceback__
                    while traceback:
                        frames.append(traceback.tb_frame.f_code.co_name)
                        traceback = traceback.tb_next
                    gone = weakref.ref(error)
                    del traceback
                assert frames[-1] == "task"
                rest(executor)
            until(lambda: gone() is None)
        finally:
            gc.enable()

    @both
    @ways
    def test_untaken_failures_hold_nothing(self, words, method) -> None:
        """A second failure, which nobody takes, goes with its map, and so do the other results."""

        class Result:
            pass

        results = []

        def task(number):
            if number in (1, 7):
                raise LookupError(number)
            result = Result()
            results.append(weakref.ref(result))
            return result

        gc.collect()
        gc.disable()
        try:
            with PoolExecutor(1) as executor:
                iterator = getattr(executor, method)(task, list(range(20)), **words)
                rest(executor)
                with pytest.raises(LookupError):
                    list(iterator)
                del iterator
                rest(executor)
                assert results
                until(lambda: all(is_gone(result) for result in results))
        finally:
            gc.enable()

    @both
    @ways
    def test_tasks_are_run_in_no_handler(self, words, method) -> None:
        """A task that waits in a map, and runs its items itself, is handling no exception."""
        seen = []

        def inner(number):
            seen.append(sys.exc_info()[0])
            raise LookupError

        def outer():
            try:
                list(getattr(executor, method)(inner, [0], **words))
            except LookupError as error:
                seen.append(error.__context__)

        with PoolExecutor(1) as executor:
            executor.submit(outer).result(SECONDS)
        assert seen == [None, None]

    @ways
    def test_unseen_error_is_logged(self, words, caplog) -> None:
        """The first is raised; of the others at least those that ran are not lost."""
        with caplog.at_level(logging.ERROR, "poolexecutor"), PoolExecutor(1) as executor:
            gate = threading.Event()

            def task(number):
                gate.wait(SECONDS)
                raise LookupError(number)

            results = executor.map(task, [1, 2], **words)
            gate.set()
            rest(executor)
            with pytest.raises(LookupError):
                next(results)
            del results
            until(lambda: is_gone(lambda: None) and "LookupError: 2" in caplog.text)
        assert "LookupError: 1" not in caplog.text

    @every_pool
    @both
    @pytest.mark.parametrize("words", [{}, {"buffersize": 3}], ids=["eager", "window"])
    def test_failing_input(self, pool, method, words) -> None:
        """It surfaces in the consumer, never in a worker; what it gave before is run."""
        ran = []

        def items():
            yield from range(5)
            raise LookupError

        with pool(1) as executor:
            with pytest.raises(LookupError):
                list(getattr(executor, method)(ran.append, items(), **words))
        assert ran[:2] == [0, 1], "those whose results were taken"
        assert ran == sorted(ran)

    def test_failing_initializer(self) -> None:
        gate = threading.Event()

        def fail():
            gate.wait(SECONDS)
            raise LookupError

        for words in ({}, {"chunksize": 2}, {"buffersize": 2}):
            gate.clear()
            executor = PoolExecutor(1, initializer=fail)
            results = executor.map(noop, range(10), **words)
            gate.set()
            with pytest.raises(BrokenThreadPool):
                list(results)
            with pytest.raises(BrokenThreadPool):
                executor.map(noop, [1])
            executor.shutdown()


class TestTimeOut:
    @every_pool
    @both
    def test_counts_from_the_call(self, pool, method) -> None:
        gate = threading.Event()
        with pool(1) as executor:
            results = getattr(executor, method)(lambda _: gate.wait(SECONDS), range(9), timeout=0.1)
            time.sleep(0.2)
            start = time.monotonic()
            try:
                with pytest.raises(concurrent.futures.TimeoutError):
                    next(results)
                assert time.monotonic() - start < SECONDS / 2
            finally:
                gate.set()
            assert list(results) == []

    @both
    @ways
    def test_what_is_there_is_given(self, method, words) -> None:
        with PoolExecutor(1) as executor:
            results = getattr(executor, method)(noop, range(3), timeout=0.2, **words)
            if "buffersize" in words:
                assert list(results) == [0, 1, 2]
            else:
                rest(executor)
                time.sleep(0.25)
                assert list(results) == [0, 1, 2]

    def test_not_started_after_it(self) -> None:
        ran, gate = [], threading.Event()

        def task(number):
            ran.append(number)
            gate.wait(SECONDS)

        with PoolExecutor(1) as executor:
            for words in ({}, {"buffersize": 5}, {"chunksize": 4}):
                gate.clear()
                ran.clear()
                with pytest.raises(concurrent.futures.TimeoutError):
                    next(executor.map(task, range(100), timeout=0.05, **words))
                gate.set()
                rest(executor)
                assert ran == [0]


class TestClosing:
    @ways
    @both
    @pytest.mark.parametrize("end", ["close", "collect"])
    def test_not_started_after_it(self, method, words, end) -> None:
        ran, gate = [], threading.Event()

        def task(number):
            ran.append(number)
            if number >= 7:
                gate.wait(SECONDS)

        with PoolExecutor(1) as executor:
            results = getattr(executor, method)(task, range(100), **words)
            next(results)
            until(lambda: len(ran) >= min(8, 1 + words.get("buffersize", 9)))
            if end == "close":
                results.close()
                assert list(results) == []
            else:
                del results
                gc.collect()
            gate.set()
            stats = rest(executor)
            assert len(ran) <= 8
            assert stats.completed == len(ran)
            assert stats.submitted == stats.completed + stats.cancelled
            if "buffersize" not in words:
                assert stats.submitted == 100
            assert executor.submit(int).result(SECONDS) == 0

    @both
    @ways
    def test_never_iterated(self, method, words) -> None:
        """Then all is run, as in the standard pool."""
        ran = []
        with PoolExecutor(1) as executor:
            getattr(executor, method)(ran.append, range(20), **words)
        assert ran == list(range(words.get("buffersize", 20)))

    def test_closed_within_a_loop(self) -> None:
        for words in ({}, {"chunksize": 5}, {"buffersize": 3}):
            with PoolExecutor(1) as executor:
                results, seen = executor.map(noop, range(50), **words), []
                for result in results:
                    seen.append(result)
                    results.close()
                assert seen == [0]

    @ways
    def test_shutdown_cancels_items(self, words) -> None:
        gate, ran = threading.Event(), []

        def task(number):
            ran.append(number)
            gate.wait(SECONDS)
            return number

        executor = PoolExecutor(1)
        results = executor.map(task, range(10), **words)
        until(lambda: ran)
        executor.shutdown(wait=False, cancel_futures=True)
        gate.set()
        if "buffersize" in words:
            with pytest.raises(RuntimeError, match="after shutdown"):
                next(results)
        else:
            assert next(results) == 0
            with pytest.raises(concurrent.futures.CancelledError):
                next(results)
        executor.shutdown()
        assert ran == [0]
        stats = executor.stats()
        assert (stats.completed, stats.queued) == (1, 0)
        assert stats.submitted == 1 + stats.cancelled == words.get("buffersize", 10)

    def test_shutdown_finishes_items(self) -> None:
        with PoolExecutor(2) as executor:
            eager = executor.map(noop, range(100))
            window = executor.map(noop, itertools.count(), buffersize=5)
        assert list(eager) == list(range(100))
        with pytest.raises(RuntimeError, match="after shutdown"):
            next(window)

    def test_after_shutdown(self) -> None:
        executor = PoolExecutor(1)
        executor.shutdown()
        for words in ({}, {"buffersize": 2}, {"chunksize": 2}):
            for method in (executor.map, executor.map_unordered):
                with pytest.raises(RuntimeError, match="after shutdown"):
                    method(noop, [1], **words)
                assert list(method(noop, [], **words)) == []

    def test_forgotten_pool(self) -> None:
        """Its iterators do not keep it; what they have is run."""
        executor = PoolExecutor(1)
        eager, window = executor.map(noop, range(9)), executor.map(noop, range(9), buffersize=2)
        gone = weakref.ref(executor)
        del executor
        until(lambda: gc.collect() >= 0 and gone() is None)
        assert list(eager) == list(range(9))
        assert list(window) == [0, 1]


class TestWindow:
    @every_pool
    @both
    def test_reads_no_further(self, pool, method) -> None:
        with pool(2) as executor:
            items = itertools.count()
            results = getattr(executor, method)(noop, items, buffersize=4)
            for taken in range(1, 20):
                next(results)
                assert next(items) == 4 + 2 * taken - 1, "one for each, besides this one"

    @every_pool
    def test_as_far_as_it_may(self, pool) -> None:
        ran = []
        with pool(1) as executor:
            executor.map(ran.append, itertools.count(), buffersize=7)
            until(lambda: len(ran) == 7)

    @pytest.mark.parametrize(
        ("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)]
    )
    @both
    @every_pool
    def test_no_size(self, pool, method, size, error) -> None:
        with pool(1) as executor:
            with pytest.raises(error, match="buffersize must"):
                getattr(executor, method)(noop, [1], buffersize=size)

    def test_input_that_uses_the_pool(self) -> None:
        def items():
            for number in range(20):
                yield executor.submit(noop, number).result(SECONDS)

        with PoolExecutor(1) as executor:
            assert list(executor.map(noop, items(), buffersize=3)) == list(range(20))
            assert list(executor.map(noop, items())) == list(range(20))

    def test_memory_stays_constant(self) -> None:
        """In a process of its own: the peak is that of a tenth of the items."""
        peaks = [_peak(count) for count in (20_000, 200_000)]
        assert peaks[1] <= peaks[0] * 1.05

    def test_a_burst_gets_workers_enough(self) -> None:
        """Items that are added at once, and wait for each other, with fewer workers than may be."""
        together = threading.Barrier(4)

        def task(number):
            return number if number < 4 else bool(together.wait(SECONDS)) or True

        with PoolExecutor(4) as executor:
            results = executor.map(task, iter(range(8)), buffersize=4)
            executor.drain(SECONDS)
            assert list(results) == [0, 1, 2, 3, True, True, True, True]

    def test_outsider_takes_an_item(self) -> None:
        """Whoever takes one sees to it that somebody looks for those behind it."""
        with PoolExecutor(1) as executor:
            results = executor.map(noop, itertools.count(), buffersize=3)
            executor.drain(SECONDS)
            taken = []
            thread = threading.Thread(target=lambda: taken.append(executor._work_queue.get()))
            thread.start()  # parks after the worker, so it is called first
            until(lambda: executor._idle_semaphore._value == 2)
            assert [next(results) for _ in range(3)] == [0, 1, 2]
            thread.join(SECONDS)
            until(lambda: executor.stats().queued == 0)
            taken[0].run()
            assert [next(results) for _ in range(3)] == [3, 4, 5]

    def test_concurrent_windows(self) -> None:
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with PoolExecutor(3) as executor:
                results = [
                    getattr(executor, method)(noop, range(600), buffersize=size)
                    for size, method in [(1, "map"), (3, "map_unordered"), (40, "map")]
                ]
                found = [[] for _ in results]
                threads = [
                    threading.Thread(target=lambda f=f, r=r: f.extend(r))
                    for f, r in zip(found, results, strict=True)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert [sorted(one) for one in found] == [list(range(600))] * 3
                stats = rest(executor)
                assert (stats.submitted, stats.completed) == (1800, 1800)
        finally:
            sys.setswitchinterval(switch)


def _peak(count: int) -> int:
    code = (
        "import resource\n"
        "from poolexecutor import PoolExecutor\n"
        "with PoolExecutor(4) as executor:\n"
        f"    assert sum(executor.map(abs, iter(range({count})), buffersize=1000))"
        f" == {count} * ({count} - 1) // 2\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    return int(process.stdout)


class TestChunks:
    def test_hint(self) -> None:
        """A chunk is run by one worker; anything that is no number above 1 means 1."""
        with PoolExecutor(4) as executor:
            threads = list(executor.map(lambda _: threading.get_ident(), range(40), chunksize=10))
            for start in range(0, 40, 10):
                assert len(set(threads[start : start + 10])) == 1
            for chunksize in (0, -1, None, 1.5, "x"):
                assert list(executor.map(noop, range(5), chunksize=chunksize)) == list(range(5))

    def test_counts_items(self) -> None:
        with PoolExecutor(1) as executor:
            with blocked(executor):
                executor.map(noop, range(25), chunksize=10)
                assert executor.stats().queued == 25
            stats = rest(executor)
            assert (stats.submitted, stats.completed) == (26, 26)

    def test_taken_by_an_outsider(self) -> None:
        with PoolExecutor(1) as executor:
            with blocked(executor):
                results = executor.map(noop, range(6), chunksize=3)
                executor._work_queue.get_nowait().run()
            assert list(results) == list(range(6))

    def test_counts_items_of_a_broken_pool(self) -> None:
        gate = threading.Event()

        def fail():
            gate.wait(SECONDS)
            raise LookupError

        executor = PoolExecutor(1, initializer=fail)
        results = executor.map(noop, range(20), chunksize=6)
        gate.set()
        with pytest.raises(BrokenThreadPool):
            next(results)
        executor.shutdown()
        stats = executor.stats()
        # Those behind the first may be cancelled by the iterator, which has ended.
        assert stats.submitted == stats.failed + stats.cancelled == 20

    def test_struck_from_outside(self, caplog) -> None:
        """A worker that is struck between the items of a chunk: what was run is not lost."""
        import ctypes

        started = threading.Event()
        caplog.set_level(logging.CRITICAL + 1)  # that a worker died is no news here
        with PoolExecutor(1) as executor:
            worker = executor.submit(threading.get_ident).result(SECONDS)
            executor.submit(started.set)
            results = executor.map(time.sleep, [0.05, 0.2], chunksize=2)
            assert started.wait(SECONDS)
            time.sleep(0.1)  # into the second sleep, which nothing tells
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(worker), ctypes.py_object(SystemExit)
            )
            assert list(results) == [None, None]
            assert executor.submit(int).result(SECONDS) == 0
            stats = rest(executor)
            assert stats.submitted == stats.completed + stats.failed + stats.cancelled == 5

    @pytest.mark.parametrize("error", [KeyError, StopIteration])
    def test_failing_when_the_rest_is_cancelled(self, error) -> None:
        started, gate = threading.Event(), threading.Event()

        def task(number):
            if number == 1:
                started.set()
                gate.wait(SECONDS)
                raise error

        with PoolExecutor(1) as executor:
            results = executor.map(task, range(4), chunksize=4, timeout=0.05)
            assert started.wait(SECONDS)
            with pytest.raises(concurrent.futures.TimeoutError):
                next(results)
            gate.set()
            stats = rest(executor)
        assert (stats.completed, stats.failed, stats.cancelled) == (1, 1, 2)

    def test_shutdown_in_the_middle_of_a_chunk(self) -> None:
        gate, ran = threading.Event(), []

        def task(number):
            ran.append(number)
            gate.wait(SECONDS)
            return number

        executor = PoolExecutor(1)
        results = executor.map(task, range(10), chunksize=4)
        until(lambda: ran)
        executor.shutdown(wait=False, cancel_futures=True)
        gate.set()
        executor.shutdown()
        assert next(results) == 0
        with pytest.raises(concurrent.futures.CancelledError):
            next(results)
        stats = executor.stats()
        assert (stats.submitted, stats.completed, stats.cancelled) == (10, 1, 9)

    def test_is_an_iterator(self) -> None:
        with PoolExecutor(1) as executor:
            results = executor.map(noop, range(6), chunksize=3)
            assert next(results) == 0
            assert list(results) == [1, 2, 3, 4, 5]
            assert next(results, None) is None


class TestWorkers:
    def test_shrinks_in_the_middle(self) -> None:
        ran = []

        def task(number):
            ran.append(threading.get_ident())
            if number == 20:
                executor.resize(1)
            time.sleep(0.001)

        with PoolExecutor(4) as executor:
            list(executor.map(task, range(200)))
            assert len(set(ran[-100:])) == 1
            assert rest(executor).completed == 200

    def test_grows_in_the_middle(self) -> None:
        ran = []

        def task(number):
            ran.append(threading.get_ident())
            if number == 5:
                executor.resize(3)
            time.sleep(0.002)

        with PoolExecutor(1) as executor:
            list(executor.map(task, range(60)))
        assert len(set(ran)) == 3

    def test_pauses_in_the_middle(self) -> None:
        def task(number):
            if number == 5:
                executor.resize(0)
            return number

        with PoolExecutor(2) as executor:
            results = executor.map(task, range(20))
            until(lambda: executor.max_workers == 0)
            until(lambda: executor.stats().workers == 0)
            assert executor.stats().queued > 0
            executor.resize(2)
            assert list(results) == list(range(20))

    def test_starts_no_more_than_it_needs(self) -> None:
        with PoolExecutor(50) as executor:
            list(executor.map(noop, range(3)))
            assert len(executor._threads) <= 3

    def test_no_thread(self, monkeypatch) -> None:
        def fail(thread):
            raise RuntimeError("can't start new thread")

        with PoolExecutor(1) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", fail)
                for words in ({}, {"buffersize": 2}, {"chunksize": 2}):
                    with pytest.raises(RuntimeError, match="can't start"):
                        list(executor.map(noop, range(5), **words))
            assert list(executor.map(noop, range(5))) == list(range(5))
            stats = rest(executor)
            assert stats.completed == 5
            assert stats.submitted == stats.completed + stats.cancelled + stats.failed

    def test_taken_by_an_outsider(self) -> None:
        ran = []
        with PoolExecutor(1) as executor:
            with blocked(executor):
                results = executor.map(noop, range(4))
                item = executor._work_queue.get_nowait()
                assert (item.args, item.kwargs) == ((0,), {})
                assert executor._work_queue.get_nowait().future.cancel()
                item.run()
                ran.append(item.future.result(0))
            assert next(results) == 0
            with pytest.raises(concurrent.futures.CancelledError):
                next(results)

    def test_struck_from_outside(self) -> None:
        """An exception raised into a worker is that of the item that it runs."""
        import ctypes

        started = threading.Event()

        def task(number):
            if number == 3:
                started.set()
                while True:
                    time.sleep(0.001)
            return threading.get_ident()

        with PoolExecutor(1) as executor:
            results = executor.map(task, range(6))
            worker = next(results)
            assert started.wait(SECONDS)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(worker), ctypes.py_object(SystemExit)
            )
            assert [next(results) for _ in range(2)] == [worker] * 2
            with pytest.raises(SystemExit):
                next(results)

    def test_plain_way_for_a_submit_of_its_own(self) -> None:
        with OwnSubmit(2) as executor:
            assert list(executor.map(noop, range(7))) == list(range(7))
            assert executor.submitted == 7
        with PoolExecutor(1) as executor:
            seen = []
            executor.submit = lambda fn, *args: (
                seen.append(fn) or type(executor).submit(executor, fn, *args)
            )
            assert list(executor.map(noop, range(3))) == list(range(3))
            assert len(seen) == 3

    def test_plain_way_for_a_submit_patched_in_place(self, monkeypatch) -> None:
        """As ddtrace does it, with our class in the standard one's place."""
        ours = PoolExecutor.submit
        original = types.FunctionType(
            ours.__code__, ours.__globals__, ours.__name__, ours.__defaults__, ours.__closure__
        )
        seen = []

        def submit(self, fn, /, *args, **kwargs):
            return type(self).patch(self, fn, *args, **kwargs)

        def patch(self, fn, /, *args, **kwargs):
            seen.append(fn)
            return original(self, fn, *args, **kwargs)

        assert not ours.__code__.co_freevars, "else the code put in its place needs as many"
        monkeypatch.setattr(PoolExecutor, "patch", patch, raising=False)
        monkeypatch.setattr(ours, "__code__", submit.__code__)
        with PoolExecutor(1) as executor:
            assert list(executor.map(noop, range(3))) == [0, 1, 2]
            assert list(executor.options(priority=1).map(noop, range(3))) == [0, 1, 2]
        assert len(seen) == 6

    def test_plain_way_while_submit_is_patched(self, monkeypatch) -> None:
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            return standard(self, lambda: ("traced", fn(*args, **kwargs)))

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        with PoolExecutor(1) as executor:
            assert list(executor.map(noop, [1])) == [("traced", 1)]
            assert list(executor.map_unordered(noop, [1])) == [("traced", 1)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_fork(self) -> None:
        """In the child no item of the parent's is run, nor waited for."""
        for method in ("map", "map_unordered"):
            for words in ({}, {"buffersize": 2}, {"chunksize": 2}):
                with PoolExecutor(1) as executor:
                    with blocked(executor):
                        results = getattr(executor, method)(noop, range(6), **words)
                        child = os.fork()
                        if child == 0:
                            status = 1
                            try:
                                next(results)
                            except BrokenThreadPool:
                                fresh = list(executor.map(noop, range(3), **words))
                                status = 0 if sorted(fresh) == [0, 1, 2] else 2
                            finally:
                                os._exit(status)
                        assert os.waitpid(child, 0)[1] == 0
                    assert sorted(results) == list(range(6))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    @ways
    def test_no_finalizer_is_run_in_the_fork(self, words) -> None:
        """Locks that it may want are perhaps held by threads that are not there any more."""
        finalized = []

        class Item:
            def __del__(self):
                finalized.append(os.getpid())

        with PoolExecutor(1) as executor, blocked(executor):
            results = executor.map(id, (Item() for _ in range(6)), **words)
            child = os.fork()
            if child == 0:
                os._exit(len(finalized))
            assert os.waitpid(child, 0)[1] == 0
            del results

    @both
    @ways
    def test_struck_at_each_call(self, words, method, caplog) -> None:
        """Whichever of our functions a worker is struck in at its beginning: nobody waits for ever,
        and each item has ended once.
        """
        files = ("_batch.py", "_chunks.py", "_window.py")
        caplog.set_level(logging.CRITICAL + 1)  # that a worker died is no news here

        class StruckError(BaseException):
            pass

        for number in itertools.count(1):
            calls = itertools.count(1)

            def strike(frame, event, arg, number=number, calls=calls):
                ours = event == "call" and frame.f_code.co_filename.endswith(files)
                if ours and next(calls) == number:
                    raise StruckError

            with PoolExecutor(1, initializer=sys.setprofile, initargs=(strike,)) as executor:
                results = getattr(executor, method)(noop, range(8), timeout=SECONDS, **words)
                given = []
                try:
                    given.extend(results)  # what was given stays if it raises
                except StruckError:
                    pass
                else:
                    assert sorted(given) == list(range(8))
                assert len(set(given)) == len(given)
                stats = rest(executor)
                ended = stats.completed + stats.failed + stats.cancelled
                assert stats.submitted == ended, (number, stats)
                assert ended == 8 or "buffersize" in words, (number, stats)
            if next(calls) <= number:
                break  # there were not so many
        assert number >= 2


class BatchMachine(RuleBasedStateMachine):
    """Any order of acts on the iterators of a pool that is paused between them."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = PoolExecutor(1)
        self.executor.resize(0)
        self.ran: list[object] = []
        self.queue: list[object] = []  # what is expected to run, in order
        self.windows: list[dict] = []
        self.names = itertools.count()

    def note(self, item):
        self.ran.append(item)
        return item

    @rule(count=st.integers(0, 4), chunksize=st.integers(1, 3))
    def eager(self, count, chunksize) -> None:
        items = [(next(self.names), n) for n in range(count)]
        results = self.executor.map(self.note, items, chunksize=chunksize)
        self.queue += items
        self.windows.append({"results": results, "items": items, "taken": 0, "size": None})

    @rule(count=st.integers(0, 5), size=st.integers(1, 3))
    def window(self, count, size) -> None:
        items = [(next(self.names), n) for n in range(count)]
        results = self.executor.map(self.note, items, buffersize=size)
        self.queue += items[:size]
        self.windows.append({"results": results, "items": items, "taken": 0, "size": size})

    @rule()
    def submit(self) -> None:
        item = (next(self.names), "request")
        self.executor.submit(self.note, item)
        self.queue.append(item)

    @rule()
    def run_all(self) -> None:
        self.executor.resize(1)
        self.executor.drain(SECONDS)
        self.executor.resize(0, wait=True)
        assert self.ran == self.queue
        self.ran.clear()
        self.queue.clear()

    @rule(index=st.integers(0, 3))
    def take(self, index) -> None:
        """A result that is there, and with it one more item of a window."""
        if index >= len(self.windows) or self.queue:
            return
        window = self.windows[index]
        items, taken, size = window["items"], window["taken"], window["size"]
        if taken == len(items):
            assert list(window["results"]) == []
            self.windows.remove(window)
            return
        assert next(window["results"]) == items[taken]
        window["taken"] += 1
        if size is not None:
            self.queue += items[taken + size : taken + size + 1]

    @rule(index=st.integers(0, 3))
    def close(self, index) -> None:
        if index < len(self.windows):
            window = self.windows.pop(index)
            if window["taken"] or not self.queue:
                window["results"].close()
                if window["taken"]:
                    self.queue = [one for one in self.queue if one not in window["items"]]

    @invariant()
    def counts(self) -> None:
        stats = self.executor.stats()
        assert stats.queued == len(self.queue)
        assert stats.submitted == stats.completed + stats.cancelled + stats.queued

    def teardown(self) -> None:
        self.executor.shutdown()
        assert self.ran == self.queue


TestBatchMachine = BatchMachine.TestCase
TestBatchMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_stress() -> None:
    """Maps of all kinds from several threads, sizes that change, and iterators that are dropped."""
    rng, switch = random.Random(5), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    failures = []
    try:
        with PoolExecutor(3) as executor:

            def consume(seed):
                rng = random.Random(seed)
                for _ in range(30):
                    words = rng.choice([{}, {"buffersize": rng.randint(1, 9)}, {"chunksize": 5}])
                    method = rng.choice([executor.map, executor.map_unordered])
                    count, taken = rng.randint(0, 120), rng.choice([None, 3])
                    items = rng.choice([list, iter])(range(count))
                    found = list(itertools.islice(method(noop, items, **words), taken))
                    if method == executor.map and found != list(range(count))[:taken]:
                        failures.append(found)
                    if len(found) != len(range(count)[:taken]) or len(set(found)) != len(found):
                        failures.append(found)

            threads = [threading.Thread(target=consume, args=(seed,)) for seed in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                executor.resize(rng.randint(1, 4))
                time.sleep(0.001)  # the pace of the resizes, no more
            for thread in threads:
                thread.join()
            stats = rest(executor)
            assert stats.submitted == stats.completed + stats.cancelled
    finally:
        sys.setswitchinterval(switch)
    assert not failures


def test_batch_is_gone_with_its_iterator() -> None:
    with PoolExecutor(1) as executor:
        results = executor.map(noop, range(10))
        next(results)
        del results
        rest(executor)
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) is Batch]
