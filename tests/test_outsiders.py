"""What programs do to a pool beyond its documented face, each on ours and on the standard pool."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import gc
import queue
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor, _base, thread

import pytest

from poolexecutor import PoolExecutor, PoolFuture

from .helpers import SECONDS, blocked, until

BOTH = pytest.mark.parametrize("pool", [PoolExecutor, ThreadPoolExecutor], ids=["ours", "standard"])
TASKS_IN_TUPLES = sys.version_info >= (3, 14)


def names(executor, count):
    """The names of the threads that run `count` tasks at once."""
    meeting = threading.Barrier(count)

    def name():
        meeting.wait(SECONDS)
        return threading.current_thread().name

    return {future.result(SECONDS) for future in [executor.submit(name) for _ in range(count)]}


class TestSizes:
    @BOTH
    def test_more_workers(self, pool) -> None:
        with pool(1) as executor, blocked(executor):
            executor._max_workers = 3
            assert executor._max_workers == 3
            assert executor.submit(int).result(SECONDS) == 0

    def test_more_workers_at_once(self) -> None:
        """The standard pool starts them with the next submit."""
        with PoolExecutor(1) as executor, blocked(executor):
            waiting = [executor.submit(int) for _ in range(2)]
            executor._max_workers = 2
            assert [future.result(SECONDS) for future in waiting] == [0, 0]
            assert len(executor._threads) == 2

    def test_no_more_than_are_needed(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            executor._max_workers = 100
            assert len(executor._threads) == 1

    @pytest.mark.parametrize("size", [0, -1, float("nan"), "3", None])
    def test_refused_sizes(self, size) -> None:
        with PoolExecutor(2) as executor:
            with pytest.raises((TypeError, ValueError)):
                executor._max_workers = size
            assert executor._max_workers == 2

    @BOTH
    @pytest.mark.parametrize("size", [2.5, True, float("inf")])
    def test_sizes_that_are_no_ints(self, pool, size) -> None:
        """Programs divide the number of cores; the limit is the next int, as the effect was."""
        with pool(size) as executor:
            assert executor.submit(int).result(SECONDS) == 0
            assert executor._max_workers >= min(size, 100)
            if pool is PoolExecutor:
                assert isinstance(executor._max_workers, int)

    @BOTH
    def test_idle_workers_are_counted(self, pool) -> None:
        with pool(3) as executor:
            names(executor, 3)
            until(lambda: executor._idle_semaphore._value == 3)
            with blocked(executor):
                assert executor._idle_semaphore._value == 2

    @BOTH
    def test_living_threads(self, pool) -> None:
        with pool(3) as executor:
            assert len(executor._threads) == 0
            names(executor, 2)
            assert len([one for one in executor._threads if one.is_alive()]) == 2
            assert all(isinstance(one, threading.Thread) for one in executor._threads)
            assert executor._threads <= set(thread._threads_queues)

    @BOTH
    def test_abandoned_threads(self, pool) -> None:
        """Who empties the set of threads does not want to wait for them."""
        executor, gate = pool(1), threading.Event()
        future = executor.submit(gate.wait, SECONDS)
        until(future.running)
        [worker] = executor._threads
        executor._threads.clear()
        del thread._threads_queues[worker]
        executor.shutdown(wait=True)
        assert future.running()
        gate.set()
        assert future.result(SECONDS)
        worker.join(SECONDS)

    @BOTH
    def test_written_before_the_first_worker(self, pool) -> None:
        seen = []
        with pool(1, "old") as executor:
            assert executor._thread_name_prefix == "old"
            executor._thread_name_prefix = "new"
            if not TASKS_IN_TUPLES:  # the standard pool has taken it in before
                executor._initializer, executor._initargs = seen.append, (7,)
            assert names(executor, 1) == {"new_0"}
        assert seen == ([] if TASKS_IN_TUPLES else [7])

    @BOTH
    def test_state_is_readable(self, pool) -> None:
        with pool(1) as executor:
            assert not executor._shutdown
            assert not executor._broken
            with executor._shutdown_lock:
                assert executor._work_queue.empty()
        assert executor._shutdown

    def test_initializer_is_readable(self) -> None:
        """On every Python; the standard pool has it until 3.13."""
        with PoolExecutor(1, initializer=print, initargs=("x",)) as executor:
            assert executor._initializer is print
            assert executor._initargs == ("x",)

    @BOTH
    def test_written_shutdown_and_broken(self, pool) -> None:
        executor = pool(1)
        executor._shutdown = True
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)
        executor = pool(1)
        executor._broken = "because"
        with pytest.raises(thread.BrokenThreadPool, match="because"):
            executor.submit(int)
        executor.shutdown()


class TestQueue:
    @BOTH
    def test_cancelling_by_draining(self, pool) -> None:
        """How it was done before Python 3.9."""
        with pool(1) as executor, blocked(executor):
            futures = [executor.submit(int) for _ in range(5)]
            assert executor._work_queue.qsize() == 5
            while True:
                try:
                    item = executor._work_queue.get_nowait()
                except queue.Empty:
                    break
                item.future.cancel()
            assert all(future.cancelled() for future in futures)

    @BOTH
    def test_what_was_taken_out_is_not_run(self, pool) -> None:
        ran = []
        with pool(1) as executor:
            with blocked(executor):
                for number in range(4):
                    executor.submit(ran.append, number)
                taken = [executor._work_queue.get(block=False) for _ in range(2)]
                assert executor._work_queue.qsize() == 2
                args = [item.task[1] if TASKS_IN_TUPLES else item.args for item in taken]
                assert args == [(0,), (1,)]
        assert ran == [2, 3]

    @BOTH
    def test_what_was_put_back_is_run(self, pool) -> None:
        ran = []
        with pool(1) as executor:
            with blocked(executor):
                future = executor.submit(ran.append, 1)
                item = executor._work_queue.get_nowait()
                executor.submit(ran.append, 2)
                executor._work_queue.put(item)
            future.result(SECONDS)
        assert ran == [2, 1]

    @BOTH
    def test_none_is_no_work(self, pool) -> None:
        """It wakes a worker for a look, and who drains the queue meets it."""
        with pool(2) as executor:
            executor._work_queue.put(None)
            assert executor.submit(int).result(SECONDS) == 0
            with blocked(executor, 2):
                future = executor.submit(int)
                executor._work_queue.put(None)
                executor._work_queue.put(None)
                found = []
                with contextlib.suppress(queue.Empty):
                    while True:
                        found.append(executor._work_queue.get(block=False))
                assert [item and item.future for item in found][-3:] == [future, None, None]
                assert executor._work_queue.empty()
        future.cancel()


class TestFutureInternals:
    @BOTH
    def test_watching_the_condition(self, pool) -> None:
        with pool(1) as executor, blocked(executor) as gate:
            future, seen = executor.submit(pow, 2, 3), []

            def watch():
                with future._condition:
                    while future._state != "FINISHED":
                        future._condition.wait(0.02)
                seen.append(future._result)

            watcher = threading.Thread(target=watch)
            watcher.start()
            gate.set()
            watcher.join(SECONDS)
            assert seen == [8]

    @BOTH
    def test_finishing_by_hand(self, pool) -> None:
        """CPython's own tests do so: whoever sleeps in `result` is woken through the condition."""
        with pool(1) as executor, blocked(executor):
            future = executor.submit(int)
            asleep, results = threading.Event(), []

            def sleep():
                asleep.set()
                results.append(future.result(SECONDS))

            sleeper = threading.Thread(target=sleep)
            sleeper.start()
            asleep.wait(SECONDS)
            if pool is PoolExecutor:
                until(lambda: future._pe_log)
                with future._condition:
                    # For nothing: it sleeps on. The standard one would call that a time-out.
                    future._condition.notify_all()
                assert sleeper.is_alive()
            with future._condition:
                future._result = "by hand"
                future._state = "FINISHED"
                future._condition.notify_all()
            sleeper.join(SECONDS)
            assert results == ["by hand"]
            assert executor._work_queue.get_nowait().future is future

    @BOTH
    def test_time_out_beside_notifications(self, pool) -> None:
        with pool(1) as executor, blocked(executor):
            future = executor.submit(int)
            over = threading.Event()

            def disturb():
                while not over.is_set():
                    with future._condition:
                        future._condition.notify_all()

            thread = threading.Thread(target=disturb)
            thread.start()
            with pytest.raises(concurrent.futures.TimeoutError):
                future.result(0.05)
            over.set()
            thread.join(SECONDS)

    @BOTH
    def test_own_waiter(self, pool) -> None:
        told = []

        class Waiter:
            def add_result(self, future):
                told.append(("result", future))

            def add_exception(self, future):
                told.append(("exception", future))

            def add_cancelled(self, future):
                told.append(("cancelled", future))

        with pool(1) as executor:
            with blocked(executor):
                futures = [executor.submit(int), executor.submit(int, "x"), executor.submit(int)]
                for future in futures:
                    with future._condition:
                        future._waiters.append(Waiter())
                futures[2].cancel()
            concurrent.futures.wait(futures[:2], SECONDS)
        kinds = ["result", "exception", "cancelled"]
        assert sorted(told, key=lambda one: kinds.index(one[0])) == list(
            zip(kinds, futures, strict=True)
        )
        assert isinstance(futures[1].exception(), ValueError)
        assert isinstance(futures[1]._exception, ValueError)

    @BOTH
    def test_callbacks(self, pool) -> None:
        called = []
        one, two, three, four = (lambda future, n=n: called.append(n) for n in range(1, 5))
        with pool(1) as executor:
            with blocked(executor):
                future, other = executor.submit(int), executor.submit(int)
                assert future._done_callbacks == []
                future.add_done_callback(one)
                future.add_done_callback(two)
                assert list(future._done_callbacks) == [one, two]
                future._done_callbacks.remove(one)
                future._done_callbacks.append(three)
                assert future._done_callbacks[1] is three
                assert len(future._done_callbacks) == 2
                future._done_callbacks.insert(0, one)
                future._done_callbacks[2] = four
                assert future._done_callbacks == [one, two, four]
                assert future._done_callbacks.pop() is four
                other.add_done_callback(one)
                other._done_callbacks = [three, four]
                del other._done_callbacks[0]
                assert four in other._done_callbacks
            concurrent.futures.wait([future, other], SECONDS)
        assert called == [1, 2, 4]

    @BOTH
    def test_dropped_callbacks(self, pool) -> None:
        called = []
        with pool(1) as executor:
            with blocked(executor):
                future = executor.submit(int)
                future.add_done_callback(called.append)
                future._done_callbacks.clear()
        assert called == []

    @BOTH
    @pytest.mark.skipif(not hasattr(Future, "_get_snapshot"), reason="Python 3.15 has brought it")
    def test_snapshot(self, pool) -> None:
        with pool(1) as executor:
            with blocked(executor):
                done, failed, cancelled = (executor.submit(int, x) for x in ("1", "x", "2"))
                cancelled.cancel()
                assert done._get_snapshot() == (False, False, None, None)
            concurrent.futures.wait([done, failed], SECONDS)
        assert done._get_snapshot() == (True, False, 1, None)
        assert cancelled._get_snapshot() == (True, True, None, None)
        assert failed._get_snapshot() == (True, False, None, failed.exception())

    @BOTH
    def test_in_weak_sets_and_dicts(self, pool) -> None:
        with pool(1) as executor:
            future = executor.submit(int)
            weak, keyed = weakref.WeakSet([future]), {future: 1}
            assert future in weak
            assert keyed[future] == 1
            assert future == future  # by identity, as any future
            assert future != executor.submit(int)
        del future
        keyed.clear()
        gc.collect()
        assert not weak


def daemon_threads(self):
    """The usual `_adjust_thread_count` of those who want daemon threads."""
    if self._idle_semaphore.acquire(timeout=0):
        return
    count = len(self._threads)
    if count >= self._max_workers:
        return
    reference = weakref.ref(self, lambda _, queue=self._work_queue: queue.put(None))
    if TASKS_IN_TUPLES:
        arguments = (reference, self._create_worker_context(), self._work_queue)
    else:
        arguments = (reference, self._work_queue, self._initializer, self._initargs)
    name = f"daemon_{count}"
    worker = threading.Thread(name=name, target=thread._worker, args=arguments, daemon=True)
    worker.start()
    self._threads.add(worker)


def standard_submit(self, fn, /, *args, **kwargs):
    """What a program carries that has copied the standard `submit` into a class of its own."""
    with self._shutdown_lock, thread._global_shutdown_lock:
        if self._broken:
            raise thread.BrokenThreadPool(self._broken)
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = _base.Future()
        if TASKS_IN_TUPLES:
            item = thread._WorkItem(future, self._resolve_work_item_task(fn, args, kwargs))
        else:
            item = thread._WorkItem(future, fn, args, kwargs)
        self._work_queue.put(item)
        self._adjust_thread_count()
        return future


@BOTH
class TestSubclasses:
    def test_submit_without_keywords(self, pool) -> None:
        submitted = []

        class Mine(pool):
            def submit(self, func, *args):  # as tornado's tests have it
                submitted.append(args)
                return super().submit(func, *args)

        with Mine(2) as executor:
            assert list(executor.map(pow, [2, 3], [4, 5])) == [16, 243]
            assert executor.submit(int).result(SECONDS) == 0
        assert submitted == [(2, 4), (3, 5), ()]

    def test_daemon_threads(self, pool) -> None:
        class Mine(pool):
            _adjust_thread_count = daemon_threads

        with Mine(2) as executor:
            assert names(executor, 2) == {"daemon_0", "daemon_1"}
            assert all(one.daemon for one in executor._threads)
            assert list(executor.map(abs, range(20))) == list(range(20))

    def test_failing_initializer_in_daemon_threads(self, pool, caplog) -> None:
        class Mine(pool):
            _adjust_thread_count = daemon_threads

        with Mine(1, initializer=int, initargs=("x",)) as executor:
            future = executor.submit(int)
            with pytest.raises(thread.BrokenThreadPool):
                future.result(SECONDS)
        assert "Exception in initializer" in caplog.text

    def test_bounded_queue(self, pool) -> None:
        """The usual way to bound the standard pool: `submit` blocks while the queue is full."""

        class Bounded(pool):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._work_queue = queue.Queue(2)

        with Bounded(1) as executor:
            with blocked(executor) as gate:
                executor.submit(int)
                executor.submit(int)
                assert executor._work_queue.full()
                third = []
                late = threading.Thread(target=lambda: third.append(executor.submit(pow, 2, 5)))
                late.start()
                late.join(0.1)
                assert late.is_alive()  # it waits for room
                gate.set()
                late.join(SECONDS)
            assert third[0].result(SECONDS) == 32

    def test_last_in_first_out(self, pool) -> None:
        ran = []
        with pool(1) as executor:
            executor._work_queue = queue.LifoQueue()
            with blocked(executor):
                futures = [executor.submit(ran.append, number) for number in range(5)]
            # The end itself is an entry of the queue, which would come out first.
            concurrent.futures.wait(futures, SECONDS)
        assert ran == [4, 3, 2, 1, 0]

    def test_priorities(self, pool) -> None:
        class Item:
            def __init__(self, priority, item):
                self.priority, self.item = priority, item
                self.future = getattr(item, "future", None)

            def run(self, *context):
                self.item.run(*context)

            def __lt__(self, other):
                return self.priority < other.priority

        class Ordered(queue.PriorityQueue):
            priority = 0

            def put(self, item, block=True, timeout=None):
                if item is None:  # after everything else
                    item = Item(1000, None)
                elif not isinstance(item, Item):
                    item = Item(Ordered.priority, item)
                super().put(item, block, timeout)

            def get(self, block=True, timeout=None):
                found = super().get(block, timeout)
                return None if found.item is None else found

        ran = []
        with pool(1) as executor:
            executor._work_queue = Ordered()
            with blocked(executor):
                for priority in [3, 1, 2]:
                    Ordered.priority = priority
                    executor.submit(ran.append, priority)
        assert ran == [1, 2, 3]

    def test_property_max_workers(self, pool) -> None:
        class Mine(pool):
            @property
            def max_workers(self):
                return self._max_workers

        with Mine(3, "prefix", None, ()) as executor:
            assert executor.max_workers == 3
            assert names(executor, 1) == {"prefix_0"}

    def test_attributes_before_init(self, pool) -> None:
        class Mine(pool):
            def __init__(self, size):
                self._lock, self._name, self.semaphore = 1, 3, 4
                self._permits, self._timeout, self.name = 5, 6, 7
                super().__init__(size)
                self._counter = 2  # a class attribute of the standard pool, used before

            def acquire(self):
                return "mine"

            release = acquire

        with Mine(1) as executor:
            assert executor.submit(executor.acquire).result(SECONDS) == "mine"
            mine = (executor._lock, executor._counter, executor._name, executor.semaphore)
            assert mine == (1, 2, 3, 4)
            assert (executor._permits, executor._timeout, executor.name) == (5, 6, 7)

    def test_bounded_by_a_semaphore(self, pool) -> None:
        class Bounded(pool):
            def __init__(self, bound, *args):
                super().__init__(*args)
                self.semaphore = threading.BoundedSemaphore(bound)

            def submit(self, fn, *args, **kwargs):
                self.semaphore.acquire()
                future = super().submit(fn, *args, **kwargs)
                future.add_done_callback(lambda future: self.semaphore.release())
                return future

        with Bounded(3, 2) as executor:
            assert sum(executor.map(abs, range(200))) == sum(range(200))
        assert executor.semaphore._value == 3

    def test_copied_submit(self, pool) -> None:
        class Mine(pool):
            submit = standard_submit

        with Mine(2) as executor:
            assert list(executor.map(pow, [2, 3], [4, 5])) == [16, 243]
            assert len(names(executor, 2)) == 2
            with blocked(executor, 2):
                cancelled = executor.submit(int)
                assert cancelled.cancel()
                last = executor.submit(pow, 2, 6)
            assert last.result(SECONDS) == 64
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)


number = contextvars.ContextVar("number", default=0)


@BOTH
class TestPatches:
    def test_submit_that_carries_the_context(self, pool, monkeypatch) -> None:
        """One worker, three contexts; the pool may be there before the patch."""
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            return standard(self, contextvars.copy_context().run, fn, *args, **kwargs)

        with pool(1) as before:
            before.submit(int).result(SECONDS)
            monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
            with pool(1) as after:
                for executor in (before, after):
                    for n in (1, 2, 3):
                        number.set(n)
                        assert executor.submit(number.get).result(SECONDS) == n
                        assert list(executor.map(lambda _: number.get(), range(2))) == [n, n]
                monkeypatch.undo()
                for executor in (before, after):
                    assert executor.submit(number.get).result(SECONDS) == 0

    @pytest.mark.parametrize("old", [True, False], ids=["old pool", "new pool"])
    def test_threads_made_another_way(self, pool, old, monkeypatch) -> None:
        executor = pool(3) if old else None
        monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", daemon_threads)
        executor = executor or pool(3)
        with executor:
            assert names(executor, 3) == {"daemon_0", "daemon_1", "daemon_2"}
            until(lambda: executor._idle_semaphore._value == 3)
            assert executor.submit(int).result(SECONDS) == 0
            assert list(executor.map(abs, range(100))) == list(range(100))
            assert len(executor._threads) == 3
            with blocked(executor, 3):
                waiting = executor.submit(pow, 2, 7)
            assert waiting.result(SECONDS) == 128
        assert not any(one.is_alive() for one in executor._threads)

    def test_threads_made_another_way_and_forgotten(self, pool, monkeypatch) -> None:
        monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", daemon_threads)
        executor = pool(2)
        names(executor, 2)
        workers = list(executor._threads)
        del executor
        gc.collect()
        for worker in workers:
            worker.join(SECONDS)
            assert not worker.is_alive()


def test_submit_gives_our_future() -> None:
    """So that the tests above are of it, and not of the standard future."""
    with PoolExecutor(1) as executor:
        assert type(executor.submit(int)).__mro__[1] is PoolFuture
