"""A task that waits for work of its own pool does not wait in vain, nor breaks a promise."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import decimal
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolexecutor import (
    PoolExecutor,
    RequestExpired,
    ResultQueue,
    current_worker,
)
from poolexecutor._request import WorkRequest
from poolexecutor._worker import Wait

from .helpers import SECONDS, blocked, until
from .nested import CASES, WAYS, by_wait, double
from .stepping import Crew


@pytest.mark.parametrize("name", CASES)
def test_it_goes_on(name: str) -> None:
    CASES[name](PoolExecutor)


def test_standard_pool_hangs() -> None:
    """In every one of them, so that each can fail."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.nested"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [], done.stderr


def at_rest(executor):
    """The statistics of a pool that has nothing to do; they must add up."""
    executor.drain(SECONDS)
    until(lambda: executor.stats().workers <= executor.stats().max_workers)
    until(lambda: executor.stats().idle == executor.stats().workers)
    stats = executor.stats()
    ended = stats.completed + stats.failed + stats.cancelled + stats.expired
    assert (stats.busy, stats.queued, stats.blocked, stats.lent) == (0, 0, 0, 0)
    assert stats.submitted == ended
    return stats


class TestHelp:
    """Without a time-out the worker runs what its task waits for itself."""

    @pytest.mark.parametrize(
        "way", ["by_result", "by_exception", "by_map", "by_map_unordered", "by_result_queue"]
    )
    def test_there_and_then(self, way: str) -> None:
        with PoolExecutor(1) as executor:
            threads = set()

            def task(number):
                threads.add(threading.get_ident())
                return number * 2

            def outer():
                threads.add(threading.get_ident())
                return WAYS[way](executor, task, range(4))

            assert executor.submit(outer).result(SECONDS) == [0, 2, 4, 6]
            assert len(threads) == 1
            stats = at_rest(executor)
            assert (stats.helped, stats.largest_workers, stats.completed) == (4, 1, 5)

    def test_never_a_strangers(self) -> None:
        ran = []

        def outer():
            executor.submit(ran.append, "stranger")
            awaited = executor.submit(ran.append, "awaited")
            awaited.result()
            ran.append("outer")

        with PoolExecutor(1) as executor:
            executor.submit(outer).result(SECONDS)
        assert ran == ["awaited", "outer", "stranger"]

    @pytest.mark.parametrize("waiting", [10, 300])
    def test_in_long_and_short_queues(self, waiting: int) -> None:
        """It is taken out of a short queue; in a long one it stays, and is not run twice."""
        ran = []

        def outer():
            for number in range(waiting):
                executor.submit(ran.append, number)
            helped = [executor.submit(ran.append, -number) for number in range(1, 4)]
            for future in helped:
                future.result()
            stats = executor.stats()
            assert (stats.queued, stats.helped) == (waiting, 3)
            assert stats.submitted == waiting + 4  # itself
            assert list(executor.map(abs, [-5, 6])) == [5, 6]
            stats = executor.stats()
            assert (stats.queued, stats.helped) == (waiting, 5)

        with PoolExecutor(1) as executor:
            executor.submit(outer).result(SECONDS)
            stats = at_rest(executor)
        assert ran == [-1, -2, -3, *range(waiting)]
        assert (stats.completed, stats.failed, stats.cancelled) == (waiting + 6, 0, 0)

    @pytest.mark.parametrize("way", ["by_result", "by_wait", "by_result_queue", "by_map"])
    def test_many_take_time_in_proportion(self, way: str) -> None:
        """Behind strangers, in the midst of the queue: none is looked for from end to end."""

        def outer(count):
            strangers = [executor.submit(int) for _ in range(count)]
            start = time.perf_counter()
            assert WAYS[way](executor, abs, range(count)) == list(range(count))
            took = time.perf_counter() - start
            concurrent.futures.wait(strangers)
            return took

        with PoolExecutor(1) as executor:
            few, many = (executor.submit(outer, count).result(60) for count in (2000, 20000))
            at_rest(executor)
        assert many < 40 * few + 0.5  # it would be a hundred times as much

    def test_result_of_a_helped_request_is_let_go(self) -> None:
        class Thing:
            pass

        def outer():
            future = executor.submit(Thing)
            thing = weakref.ref(future.result())
            del future
            return thing() is None

        with PoolExecutor(1) as executor:
            assert executor.submit(outer).result(SECONDS)

    def test_failing_ones_are_no_cycle(self) -> None:
        def fail():
            raise ValueError

        def outer():
            future = executor.submit(fail)
            assert type(future.exception()) is ValueError  # result() would have it hold this frame
            with contextlib.suppress(ValueError):
                next(executor.map(lambda _: fail(), range(1)))
            return weakref.ref(future)

        gc.collect()
        gc.disable()
        try:
            with PoolExecutor(1) as executor:
                reference = executor.submit(outer).result(SECONDS)
                until(lambda: executor.stats().idle == 1)
                assert reference() is None
        finally:
            gc.enable()

    def test_exception_of_what_was_run(self) -> None:
        def outer():
            with pytest.raises(ZeroDivisionError):
                executor.submit(lambda: 1 // 0).result()
            return executor.submit(lambda: 1 // 0).exception()

        with PoolExecutor(1) as executor:
            assert type(executor.submit(outer).result(SECONDS)) is ZeroDivisionError
            assert at_rest(executor).failed == 2

    def test_cancelled_and_expired(self) -> None:
        def outer():
            cancelled = executor.submit(double, 1)
            assert cancelled.cancel()
            with pytest.raises(concurrent.futures.CancelledError):
                cancelled.result()
            expired = executor.options(expires=0).submit(double, 1)
            with pytest.raises(RequestExpired):
                expired.result()
            return executor.options(expires=60, priority=7).submit(double, 2).result()

        with PoolExecutor(1) as executor:
            assert executor.submit(outer).result(SECONDS) == 4
            stats = at_rest(executor)
            assert (stats.cancelled, stats.expired, stats.completed) == (1, 1, 2)

    def test_cancelled_by_another_while_awaited(self) -> None:
        with PoolExecutor(1) as executor:
            begun = threading.Event()
            futures = []

            def outer():
                futures.append(executor.submit(double, 1))
                begun.set()
                until(futures[0].cancelled)
                return futures[0].exception()

            task = executor.submit(outer)
            begun.wait(SECONDS)
            futures[0].cancel()
            assert type(task.exception(SECONDS)) is concurrent.futures.CancelledError

    def test_paused_and_shrinking(self) -> None:
        def outer(size):
            executor.resize(size)
            futures = [executor.submit(double, number) for number in range(3)]
            found = [futures[0].result(), futures[1].result(SECONDS)]
            concurrent.futures.wait(futures)
            return [*found, futures[2].result()]

        with PoolExecutor(3) as executor:
            with blocked(executor, 2):
                assert executor.submit(outer, 1).result(SECONDS) == [0, 2, 4]
                executor.resize(3)
                assert executor.submit(outer, 0).result(SECONDS) == [0, 2, 4]
            until(lambda: executor.stats().workers == 0)
            executor.resize(1)
            at_rest(executor)

    @pytest.mark.parametrize("on_full", ["block", "raise", "caller_runs", "discard_oldest"])
    def test_bounded_queue(self, on_full: str) -> None:
        def tree(depth):
            if depth == 0:
                return 1
            future = executor.submit(tree, depth - 1)
            return 1 + future.result()

        with PoolExecutor(1, max_queue_size=1, on_full=on_full) as executor:
            assert executor.submit(tree, 20).result(SECONDS) == 21
            at_rest(executor)

    def test_off_the_workers_nothing_is_run(self) -> None:
        """Neither in the main thread nor in a worker of another pool."""
        ran_in = []

        def task():
            ran_in.append(threading.current_thread())

        with PoolExecutor(1) as one, PoolExecutor(1) as other:
            with blocked(one) as gate:
                future = one.submit(task)
                waiting = other.submit(future.result)
                with pytest.raises(concurrent.futures.TimeoutError):
                    future.result(0.05)
                assert not ran_in
                gate.set()
                waiting.result(SECONDS)
            assert ran_in == list(one._threads)
            assert one.stats().helped == other.stats().helped == 0

    @pytest.mark.parametrize("way", sorted(WAYS))
    def test_work_of_another_pool_is_not_run_here(self, way: str) -> None:
        """Though a worker is lent here meanwhile, for what is queued here."""

        def task(number):
            return current_worker().pool

        def outer():
            strangers = [one.submit(task, 0) for _ in range(3)]
            assert WAYS[way](other, task, range(3)) == [other] * 3
            return strangers

        with PoolExecutor(1) as one, PoolExecutor(1) as other:
            with blocked(other):
                waiting = one.submit(outer)
                until(lambda: other.stats().queued > 0)
                until(lambda: one.stats().blocked or one.stats().completed)
                until(lambda: one.stats().queued == 0)
            for stranger in waiting.result(SECONDS):
                assert stranger.result(SECONDS) is one
            assert one.stats().helped == 0

    def test_whose_things_it_sees(self) -> None:
        """Those of the worker that runs it: thread-locals, context, `current_worker`."""
        local = threading.local()

        def inner():
            return local.name, current_worker().context, threading.current_thread().name

        def outer():
            local.name = "set by outer"
            return executor.submit(inner).result(), inner()

        with PoolExecutor(1, worker_context=lambda: contextlib.nullcontext("mine")) as executor:
            found, expected = executor.submit(outer).result(SECONDS)
            assert found == expected == ("set by outer", "mine", expected[2])

    def test_contexts_are_its_own(self) -> None:
        """What a task has changed in its context is not for others, and the other way round."""
        variable = contextvars.ContextVar("variable", default="default")
        given = contextvars.copy_context()
        given.run(variable.set, "given")

        def inner():
            found = variable.get()
            variable.set("inner's")
            decimal.getcontext().prec = 3
            return found

        def outer():
            variable.set("outer's")
            decimal.getcontext().prec = 50
            plain = executor.submit(inner).result()
            special = executor.options(context=given).submit(inner).result()
            return plain, special, variable.get(), decimal.getcontext().prec

        with PoolExecutor(1, initializer=variable.set, initargs=("initial",)) as executor:
            assert executor.submit(outer).result(SECONDS) == ("initial", "given", "outer's", 50)

    def test_not_on_top_of_an_event_loop(self) -> None:
        """There a task could not run one of its own; another worker is lent."""

        def inner():
            return asyncio.run(asyncio.sleep(0, 5))

        async def main():
            return executor.submit(inner).result()

        with PoolExecutor(1) as executor:
            assert executor.submit(lambda: asyncio.run(main())).result(SECONDS) == 5
            assert at_rest(executor).helped == 0


class TestLending:
    """Where the promise to return in time would be broken, another worker comes."""

    def test_returns_in_time(self) -> None:
        with PoolExecutor(1) as executor:
            gate = threading.Event()

            def outer():
                future = executor.submit(gate.wait, SECONDS)
                start = time.monotonic()
                with pytest.raises(concurrent.futures.TimeoutError):
                    future.result(0.1)
                took = time.monotonic() - start
                gate.set()
                return took, future.result(SECONDS)

            took, found = executor.submit(outer).result(SECONDS)
            assert found
            assert 0.1 <= took < 5
            at_rest(executor)

    @pytest.mark.parametrize("return_when", ["FIRST_COMPLETED", "FIRST_EXCEPTION"])
    def test_wait_returns_for_the_first(self, return_when: str) -> None:
        """It must not begin with one that the waiting task itself will let go on."""
        gate = threading.Event()

        def fail():
            raise ValueError

        def outer():
            futures = [executor.submit(gate.wait, SECONDS), executor.submit(fail)]
            done, _ = concurrent.futures.wait(futures, return_when=return_when)
            assert done == {futures[1]}
            gate.set()
            return futures[0].result()

        with PoolExecutor(2) as executor:
            assert executor.submit(outer).result(SECONDS)
            at_rest(executor)

    def test_stats_tell(self) -> None:
        gate, waits = threading.Event(), threading.Event()

        def outer():
            future = executor.submit(gate.wait, SECONDS)
            waits.set()
            return future.result(SECONDS)

        with PoolExecutor(1) as executor:
            task = executor.submit(outer)
            waits.wait(SECONDS)
            until(lambda: executor.stats().busy == 1 and executor.stats().blocked == 1)
            stats = executor.stats()
            assert (stats.workers, stats.lent, stats.idle, stats.submitted) == (2, 1, 0, 2)
            gate.set()
            assert task.result(SECONDS)
            stats = at_rest(executor)
            assert (stats.workers, stats.helped) == (1, 0)

    def test_lent_worker_is_one_of_the_pool(self) -> None:
        def outer():
            return executor.submit(current_worker).result(SECONDS)

        contexts = iter("ab")
        with PoolExecutor(
            1, worker_context=lambda: contextlib.nullcontext(next(contexts))
        ) as executor:
            found = executor.submit(outer).result(SECONDS)
            assert found.context == "b"
            assert found.pool is executor

    def test_no_more_run_than_may(self) -> None:
        """Those that wait left out. Strangers that queue up tempt the lent workers."""
        limit, running, most = 2, [], []

        def count():
            most.append(len(running))

        def work():
            running.append(None)
            count()
            time.sleep(0.001)
            running.pop()

        def outer():
            running.append(None)
            for _ in range(5):
                futures = [executor.submit(work) for _ in range(3)]
                running.pop()
                concurrent.futures.wait(futures, SECONDS)
                running.append(None)
                count()
            running.pop()

        with PoolExecutor(limit) as executor:
            futures = [executor.submit(work if number % 3 else outer) for number in range(60)]
            for future in futures:
                future.result(SECONDS)
            stats = at_rest(executor)
            # Each that goes on finds the lent one at its task, for a moment.
            assert max(most) <= 2 * limit
            assert stats.largest_workers <= 3 * limit + 20
            assert stats.workers <= limit

    def test_waiters_one_after_the_other_lend_no_more_and_more(self) -> None:
        def outer():
            for _ in range(50):
                executor.submit(time.sleep, 0.0001).result(SECONDS)

        with PoolExecutor(1) as executor:
            for future in [executor.submit(outer) for _ in range(3)]:
                future.result(SECONDS)
            stats = at_rest(executor)
            assert stats.largest_workers <= 7  # the three, and a lent one each, coming or going

    @pytest.mark.parametrize("way", ["by_wait", "by_as_completed", "by_map_unordered"])
    def test_without_threads_to_lend(self, way: str, monkeypatch) -> None:
        """It does what it waits for itself, rather than not at all."""
        with PoolExecutor(1) as executor:
            executor.submit(double, 1).result(SECONDS)

            def start(thread):
                raise RuntimeError("can't start new thread")

            monkeypatch.setattr(threading.Thread, "start", start)
            task = executor.submit(WAYS[way], executor, double, range(3))
            assert task.result(SECONDS) == [0, 2, 4]

    @pytest.mark.parametrize("way", ["result", "wait"])
    def test_polling_lends_no_more_and_more(self, way: str) -> None:
        """One is lent for what was awaited first; what is awaited after it waits for that."""
        running, most = [], []
        gate = threading.Event()

        def work():
            running.append(None)
            most.append(len(running))
            gate.wait(SECONDS)
            running.pop()

        def outer():
            futures = [executor.submit(work) for _ in range(50)]
            for future in futures:
                if way == "wait":
                    concurrent.futures.wait([future], 0.001)
                else:
                    with contextlib.suppress(concurrent.futures.TimeoutError):
                        future.result(0.001)
            gate.set()
            return futures

        with PoolExecutor(1) as executor:
            for future in executor.submit(outer).result(SECONDS):
                future.result(SECONDS)
            assert max(most) <= 2
            assert at_rest(executor).largest_workers <= 4

    @pytest.mark.parametrize("way", ["unordered", "view", "queue"])
    def test_the_first_of_several_by_workers_that_are_free(self, way: str) -> None:
        """One item waits for what the task does with the other; it does not begin with it."""
        gate = threading.Event()

        def item(number):
            if number == 0:
                assert gate.wait(SECONDS)
            return number

        def outer():
            if way == "queue":
                results = ResultQueue(executor)
                for number in range(2):
                    results.submit(item, number)
                found = (future.result() for future in results)
            else:
                mapper = executor if way == "unordered" else executor.options(priority=1)
                found = mapper.map_unordered(item, range(2))
            first = next(found)
            gate.set()
            return [first, *found]

        with PoolExecutor(3) as executor:
            assert executor.submit(outer).result(SECONDS) == [1, 0]

    def test_a_worker_on_its_way_out_is_not_counted_on(self) -> None:
        """It leaves its context, which wants a lock that the waiting task holds."""
        lock, leaving = threading.Lock(), threading.Event()

        @contextlib.contextmanager
        def context():
            yield
            leaving.set()
            with lock:
                pass

        def outer():
            with lock:
                assert leaving.wait(SECONDS)
                return by_wait(executor, double, range(2))

        with PoolExecutor(2, idle_timeout=0.01, worker_context=context) as executor:
            task = executor.submit(outer)
            executor.submit(double, 1).result(SECONDS)
            assert task.result(SECONDS) == [0, 2]

    def test_two_lenders_and_no_thread(self, monkeypatch) -> None:
        """One of them starts threads for both, and fails; the other one hears of it."""
        entered = threading.Barrier(2)
        starting = threading.Event()

        def start(thread):
            if not starting.is_set():
                starting.set()
                until(lambda: executor.stats().blocked == 2)  # the other one comes meanwhile
            raise RuntimeError("can't start new thread")

        def outer(is_first):
            futures = [executor.submit(double, 4)]
            entered.wait(SECONDS)
            if not is_first:
                starting.wait(SECONDS)
            concurrent.futures.wait(futures)
            return futures[0].result()

        with PoolExecutor(2) as executor:
            with blocked(executor, 2):
                monkeypatch.setattr(threading.Thread, "start", start)
                tasks = [executor.submit(outer, is_first) for is_first in (True, False)]
            assert [task.result(SECONDS) for task in tasks] == [8, 8]

    def test_struck_while_it_goes_on(self, monkeypatch) -> None:
        """An exception from outside in `unblock`: the pool goes on, and counts it again."""

        def outer():
            future = executor.submit(double, 1)
            with pytest.raises(SystemExit):
                future.result(SECONDS)

        def end(wait):
            monkeypatch.undo()
            raise SystemExit

        with PoolExecutor(1) as executor:
            monkeypatch.setattr(Wait, "end", end)
            executor.submit(outer).result(SECONDS)
            assert executor.submit(by_wait, executor, double, range(3)).result(SECONDS) == [0, 2, 4]
            at_rest(executor)

    def test_cancelling_what_is_left_of_a_chunk(self) -> None:
        ran = []
        begun = threading.Event()

        def item(number):
            ran.append(number)
            begun.set()
            until(lambda: executor._shutdown)

        def outer():
            return list(executor.map(item, range(50), chunksize=50))

        executor = PoolExecutor(1)
        task = executor.submit(outer)
        begun.wait(SECONDS)
        executor.shutdown(cancel_futures=True)
        assert ran == [0]
        assert type(task.exception(SECONDS)) is concurrent.futures.CancelledError
        stats = executor.stats()
        assert (stats.completed, stats.cancelled, stats.submitted) == (1, 49, 51)

    def test_idle_workers_come_first(self) -> None:
        with PoolExecutor(2, min_workers=2) as executor:
            until(lambda: executor.stats().idle == 2)
            assert executor.submit(by_wait, executor, double, range(1)).result(SECONDS) == [0]
            assert at_rest(executor).largest_workers == 2

    def test_outsiders_thread_is_not_called_for_it(self) -> None:
        """One that waits at `_work_queue` would take the first request, and that alone."""
        with PoolExecutor(1) as executor:
            items = []
            outsider = threading.Thread(target=lambda: items.append(executor._work_queue.get()))
            with blocked(executor) as gate:
                outsider.start()
                until(lambda: executor._PoolExecutor__workforce.requests.idle)
                task = executor.submit(by_wait, executor, double, range(3))
                outsider.join(SECONDS)  # it has taken that
                gate.set()
            runner = threading.Thread(target=items[0].run)
            runner.start()
            assert task.result(SECONDS) == [0, 2, 4]
            runner.join()

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_fork_while_waiting(self) -> None:
        """In the child the pool is as new; the parent goes on."""
        if not hasattr(os, "fork"):
            pytest.skip("no fork here")

        def forks():
            child = os.fork()
            if child == 0:
                try:
                    os._exit(0 if executor.submit(double, 4).result(SECONDS) == 8 else 1)
                finally:
                    os._exit(2)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        def outer(timeout):
            return executor.submit(forks).result(timeout)

        with PoolExecutor(1) as executor:
            for timeout in (None, SECONDS):
                assert executor.submit(outer, timeout).result(SECONDS) == 0


class TestSteps:
    """The protocol without threads."""

    def waiting(self, crew, awaited):
        """A worker in whose task `awaited` is waited for, and the wait."""
        outer = WorkRequest(int, (), {})
        crew.give(outer)
        [worker] = crew.started
        crew.step(worker)
        worker.is_ready = True
        return worker, worker.begin_wait(awaited, awaited.done, None)

    def test_errand_comes_before_strangers_and_then_it_leaves(self) -> None:
        crew = Crew(1)
        ran = []
        awaited = WorkRequest(ran.append, ("awaited",), {})
        stranger = WorkRequest(ran.append, ("stranger",), {})
        outer = WorkRequest(int, (), {})
        crew.give(outer)
        [worker] = crew.started
        crew.workforce.requests.idle.clear()
        for request in (stranger, awaited):
            request._pe_home = crew.workforce.requests
            crew.workforce.requests.append(request)
        worker.is_ready = True
        wait = worker.begin_wait(awaited, awaited.done, None)
        assert wait.is_served
        assert crew.workforce.active == {crew.started[1]}
        # It begins with what is awaited; then the task goes on, so it is one too many.
        assert crew.step(crew.started[1]) == "gone"
        assert ran == ["awaited"]
        assert len(crew.started) == 2  # nobody is lent for the stranger any more
        worker.end_wait(wait)
        assert crew.workforce.active == {worker}
        assert not crew.workforce.is_alert

    def test_while_it_waits_the_lent_one_goes_on(self) -> None:
        crew = Crew(1)
        crew.give(WorkRequest(int, (), {}))
        [worker] = crew.started
        worker.is_ready = True
        elsewhere = WorkRequest(int, (), {})
        wait = worker.begin_wait(elsewhere, elsewhere.done, None)
        assert len(crew.started) == 2  # for what is queued
        assert crew.step(crew.started[1]) == "parked"
        worker.end_wait(wait)
        assert not crew.started[1].lock.locked  # called: it is one too many
        assert crew.step(crew.started[1]) == "gone"
        assert crew.workforce.workers == {worker}

    def test_two_waits_of_one_worker_end_at_once(self, monkeypatch) -> None:
        """Those of an event loop in its task: each in the thread that settles what is awaited."""
        crew = Crew(1)
        crew.give(WorkRequest(int, (), {}))
        [worker] = crew.started
        worker.is_ready = True
        first, second = WorkRequest(int, (), {}), WorkRequest(int, (), {})
        waits = [worker.begin_wait(future, future.done, None) for future in (first, second)]
        workforce = crew.workforce
        forget = workforce._forget_wait

        def forget_later(wait):
            monkeypatch.undo()
            worker.end_wait(waits[1])  # another thread, in the midst of this one's end
            forget(wait)

        monkeypatch.setattr(workforce, "_forget_wait", forget_later)
        worker.end_wait(waits[0])
        assert worker in workforce.active
        assert [crew.step(lent) for lent in crew.started[1:]] == ["gone", "gone"]
        assert workforce.workers == workforce.active == {worker}

    def test_a_wait_begins_where_another_one_ends(self, monkeypatch) -> None:
        crew = Crew(1)
        crew.give(WorkRequest(int, (), {}))
        [worker] = crew.started
        worker.is_ready = True
        first, second = WorkRequest(int, (), {}), WorkRequest(int, (), {})
        wait = worker.begin_wait(first, first.done, None)
        workforce = crew.workforce
        asked = workforce._is_to_count
        later = []

        def ask_and_go_on(worker):
            counts = asked(worker)
            monkeypatch.undo()
            later.append(worker.begin_wait(second, second.done, None))
            return counts  # that was before

        monkeypatch.setattr(workforce, "_is_to_count", ask_and_go_on)
        worker.end_wait(wait)
        assert worker not in workforce.active
        worker.end_wait(later[0])
        assert worker in workforce.active


# --- random trees -------------------------------------------------------------------------------

trees = st.recursive(
    st.integers(0, 9),
    lambda children: st.tuples(st.sampled_from(sorted(WAYS)), st.lists(children, max_size=4)),
    max_leaves=25,
)


def sum_of(tree) -> int:
    return tree if isinstance(tree, int) else sum(map(sum_of, tree[1]))


@settings(deadline=None, max_examples=60)
@given(trees, st.integers(1, 4))
def test_random_trees(tree, workers: int) -> None:
    """Whatever waits for what, and how, on however many workers: the sum is right."""

    def add(node):
        if isinstance(node, int):
            return node
        way, children = node
        return sum(WAYS[way](executor, add, children))

    with PoolExecutor(workers) as executor:
        assert executor.submit(add, tree).result(SECONDS) == sum_of(tree)
        at_rest(executor)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_stress(workers: int) -> None:
    """Trees of all ways at the same time, switched at every turn."""
    tree = 1
    for way in sorted(WAYS):
        tree = (way, [tree, 1])

    def add(node):
        if isinstance(node, int):
            return node
        return sum(WAYS[node[0]](executor, add, node[1]))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with PoolExecutor(workers) as executor:
            futures = [executor.submit(add, tree) for _ in range(30)]
            assert [future.result(60) for future in futures] == [sum_of(tree)] * 30
            at_rest(executor)
    finally:
        sys.setswitchinterval(interval)


def test_queue_filled_elsewhere() -> None:
    """A ResultQueue that the main thread fills is consumed in the only worker."""
    with PoolExecutor(1) as executor:
        results = ResultQueue(executor)
        with blocked(executor):
            consumer = executor.submit(lambda: [future.result() for future in results])
            for number in range(5):
                results.submit(double, number)
        assert consumer.result(SECONDS) == [0, 2, 4, 6, 8]
        at_rest(executor)
