"""`PoolExecutor.options`: priorities, expiry and contexts, and `propagate_context`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import itertools
import queue
import random
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

from poolexecutor import NoWorkersAvailable, PoolExecutor, RequestExpired, ResultQueue
from poolexecutor._ranked import Ranked, entry_of
from poolexecutor._request import OptionedRequest
from poolexecutor._request_queue import RequestQueue

from .helpers import SECONDS, blocked, until
from .stepping import Crew

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


def in_thread(target) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def accounted_for(executor) -> bool:
    s = executor.stats()
    return s.submitted == s.completed + s.failed + s.cancelled + s.expired + s.queued + s.busy


class TestRanked:
    def test_lowest_first_equal_ones_in_order(self) -> None:
        ranked, rng = Ranked(), random.Random(1)
        things = [(rng.choice([3, -1, 2.5, 0.1]), number) for number in range(300)]
        for thing in things:
            ranked.push(entry_of(thing, thing[0], thing[1]))
        assert sorted(ranked.things()) == sorted(things)
        popped = []
        for _ in things:
            ranked.pop_into(popped)
        assert popped == sorted(things, key=lambda thing: thing[0])

    def test_many_threads(self) -> None:
        ranked, results, switch = Ranked(), [], sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

        def work(start):
            for number in range(start, start + 2000):
                ranked.push(entry_of(number, -number % 7, number))
            found = []
            for _ in range(2000):
                ranked.pop_into(found)
            results.append(found)

        try:
            threads = [in_thread(lambda s=s: work(s)) for s in range(0, 8000, 2000)]
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(switch)
        assert sorted(itertools.chain(*results)) == list(range(8000))

    def test_interrupted_wait_for_the_lock(self) -> None:
        """What is raised while it waits takes nothing, and leaves the lock to its owner."""
        ranked = Ranked()
        ranked.push(entry_of("thing", 1, 1))

        class Interrupted:
            def acquire(self):
                raise KeyboardInterrupt

            def release(self):
                raise AssertionError("never taken")

        ranked._lock, lock = Interrupted(), ranked._lock
        with pytest.raises(KeyboardInterrupt):
            ranked.push(entry_of("other", 1, 2))
        ranked._lock = lock
        assert ranked.things() == ["thing"]

    def test_out_of_memory_lets_go(self) -> None:
        ranked = Ranked()
        with pytest.raises(TypeError):
            ranked._locked(map(abs, ("no number",)))
        assert not ranked._lock.locked()


class TestPriority:
    def test_order(self) -> None:
        """The lowest first; equal ones, and those without one, in order of arrival."""
        priorities = [5, 0, -1, 5, 0, -2.5, 7, -1, 0, True, float("-inf"), 10**30]
        started = []
        with PoolExecutor(1) as executor, blocked(executor):
            for number, priority in enumerate(priorities):
                executor.options(priority=priority).submit(started.append, number)
        assert started == sorted(range(len(priorities)), key=lambda n: priorities[n])

    def test_arrives_while_others_wait(self) -> None:
        started = []
        with PoolExecutor(1) as executor, blocked(executor):
            for number in range(5):
                executor.submit(started.append, number)
            executor.options(priority=1).submit(started.append, "late")
            executor.options(priority=-1).submit(started.append, "urgent")
            executor.submit(started.append, 5)
        assert started == ["urgent", 0, 1, 2, 3, 4, 5, "late"]

    def test_million_stay_logarithmic(self) -> None:
        """Nobody walks through the queue: ten times as many take no more than 30 times as long."""

        def seconds(count):
            with PoolExecutor(1) as executor:
                view = executor.options(priority=1)
                views = [executor.options(priority=p) for p in (-3, 2, -1, 1)]
                with blocked(executor):
                    start = time.perf_counter()
                    for number in range(count // 4):
                        for view in views:
                            view.submit(int, number)
                executor.drain()
                return time.perf_counter() - start

        assert seconds(20_000) < 30 * max(seconds(2_000), 0.01)

    def test_idle_worker_gets_any(self) -> None:
        with PoolExecutor(1) as executor:
            for priority in (-1, 1, 0):
                assert executor.options(priority=priority).submit(pow, 2, 3).result(SECONDS) == 8

    @pytest.mark.parametrize("priority", [-1, 1])
    def test_counts_and_cancels(self, priority) -> None:
        with PoolExecutor(1) as executor:
            view = executor.options(priority=priority)
            with blocked(executor):
                futures = [view.submit(int) for _ in range(3)]
                assert futures[1].cancel()
                stats = executor.stats()
                assert (stats.queued, stats.cancelled) == (2, 1)
                assert accounted_for(executor)
            executor.drain(SECONDS)
            assert executor.stats().cancelled == 1
            assert accounted_for(executor)

    @pytest.mark.parametrize("priority", [-1, 1])
    def test_shutdown_cancels(self, priority) -> None:
        executor = PoolExecutor(1)
        with blocked(executor) as gate:
            futures = [executor.options(priority=priority).submit(int) for _ in range(3)]
            executor.shutdown(wait=False, cancel_futures=True)
            gate.set()
        executor.shutdown()
        assert all(future.cancelled() for future in futures)
        assert accounted_for(executor)

    @pytest.mark.parametrize("priority", [-1, 1])
    def test_paused_and_resumed(self, priority) -> None:
        with PoolExecutor(2) as executor:
            executor.resize(0)
            futures = [executor.options(priority=priority).submit(int) for _ in range(5)]
            executor.resize(2)
            assert [f.result(SECONDS) for f in futures] == [0] * 5

    @pytest.mark.parametrize("priority", [-1, 1])
    def test_taken_by_an_outsider(self, priority) -> None:
        with PoolExecutor(1) as executor:
            with blocked(executor):
                future = executor.options(priority=priority).submit(pow, 2, 5)
                item = executor._work_queue.get_nowait()
                assert executor._work_queue.empty()
                item.run()
            assert future.result(0) == 32

    @pytest.mark.parametrize("priority", [-1, 1])
    def test_failing_initializer(self, priority) -> None:
        gate = threading.Event()

        def fail():
            gate.wait(SECONDS)
            raise LookupError

        executor = PoolExecutor(1, initializer=fail)
        futures = [executor.options(priority=priority).submit(int) for _ in range(3)]
        gate.set()
        for future in futures:
            with pytest.raises(concurrent.futures.BrokenExecutor):
                future.result(SECONDS)
        executor.shutdown()

    def test_bounded(self) -> None:
        """A place is a place, whatever the priority; the oldest is the one that came first."""
        with PoolExecutor(1, max_queue_size=2, on_full="discard_oldest") as executor:
            with blocked(executor):
                late = executor.options(priority=1).submit(int)
                urgent = executor.options(priority=-1).submit(int)
                plain = executor.submit(int)
                assert late.cancelled()
                other = executor.options(priority=9).submit(int)
                assert urgent.cancelled()
                assert executor.stats().queued == 2
            assert plain.result(SECONDS) == other.result(SECONDS) == 0
            executor.drain(SECONDS)
            assert accounted_for(executor)

    def test_bounded_in_memory_too(self) -> None:
        """What is cancelled or discarded leaves the heap at once."""
        with PoolExecutor(1, max_queue_size=2, on_full="discard_oldest") as executor:
            with blocked(executor):
                for number in range(100):
                    executor.options(priority=(-1) ** number).submit(int)
                    assert executor._work_queue.qsize() <= 2
                assert executor.options(priority=1).submit(int).cancel()
                assert executor._work_queue.qsize() == 1
            executor.drain(SECONDS)
            assert accounted_for(executor)

    @pytest.mark.parametrize(
        ("priority", "error"), [("1", TypeError), (None, TypeError), (float("nan"), ValueError)]
    )
    def test_no_priority(self, priority, error) -> None:
        with PoolExecutor(1) as executor, pytest.raises(error, match="priority must"):
            executor.options(priority=priority)


class TestPutIn:
    def test_request_and_turn_in_one_step(self) -> None:
        """Interrupted while it waits for the heap, neither is there: no turn is left without a
        request, no request without a turn.
        """
        queue = RequestQueue()
        request = OptionedRequest(int, (), {}, 1, None)

        class Interrupted:
            def acquire(self):
                raise KeyboardInterrupt

            def release(self):
                raise AssertionError("never taken")

        queue.late._lock, lock = Interrupted(), queue.late._lock
        with pytest.raises(KeyboardInterrupt):
            queue.put(request)
        queue.late._lock = lock
        assert (queue.count(), queue.late.things()) == (0, [])

    def test_put_back_keeps_its_turn(self) -> None:
        queue, slot = RequestQueue(), []
        requests = [OptionedRequest(int, (), {}, 1, None) for _ in range(3)]
        for request in requests:
            queue.put(request)
        assert queue.take(slot)
        queue.put_back(slot.pop())
        found = []
        while queue.take(slot):
            found.append(slot.pop())
        assert found == requests

    def test_taken_out(self) -> None:
        queue, slot = RequestQueue(), []
        requests = [OptionedRequest(int, (), {}, p, None) for p in (1, -1, 2, -1, 1)]
        for request in requests:
            queue.put(request)
        assert queue.remove(requests[3])
        assert queue.remove(requests[2])
        assert not queue.remove(requests[2])
        found = []
        while queue.take(slot):
            found.append(slot.pop())
        assert found == [requests[1], requests[0], requests[4]]
        assert queue.count() == 0

    def test_excess_turn(self) -> None:
        queue, slot = RequestQueue(), []
        queue.requests.append(queue._turns[0])
        queue.append(request := OptionedRequest(int, (), {}, 0, None))
        assert queue.take(slot)
        assert slot == [request]

    def test_fork_while_a_worker_has_a_turn(self) -> None:
        crew = Crew(1)
        request = OptionedRequest(int, (), {}, -1, None)
        crew.workforce.requests.put(request)
        crew.workforce.summon()
        [worker] = crew.started
        next(worker._take)  # as far as it has come when another thread forks
        crew.workforce.after_fork()
        with pytest.raises(concurrent.futures.BrokenExecutor):
            request.result(0)

    def test_struck_with_a_turn_in_hand(self) -> None:
        crew = Crew(1)
        request = OptionedRequest(int, (), {}, -1, None)
        crew.workforce.requests.put(request)
        crew.workforce.summon()
        [worker] = crew.started
        next(worker._take)
        worker._hand_back(SystemExit())
        slot = []
        assert crew.workforce.requests.take(slot)
        assert slot == [request]


class TestExpiry:
    def test_never_runs(self) -> None:
        ran = []
        with PoolExecutor(1) as executor:
            with blocked(executor):
                late = executor.options(expires=0.01).submit(ran.append, 1)
                soon = executor.options(expires=SECONDS).submit(ran.append, 2)
                time.sleep(0.05)
                assert not late.done(), "nobody has looked"
            with pytest.raises(RequestExpired, match="not started in time"):
                late.result(SECONDS)
            soon.result(SECONDS)
            executor.drain(SECONDS)
            assert ran == [2]
            stats = executor.stats()
            assert (stats.expired, stats.failed, stats.queued) == (1, 0, 0)
            assert accounted_for(executor)

    @pytest.mark.parametrize("method", ["result", "exception"])
    def test_result_returns_by_the_expiry(self, method) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            future = executor.options(expires=0.1).submit(int)
            start = time.monotonic()
            with pytest.raises(RequestExpired):
                error = getattr(future, method)()
                raise error
            assert 0.1 <= time.monotonic() - start < SECONDS / 2
            assert executor.stats().expired == 1
            assert accounted_for(executor)

    def test_shorter_time_out(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            future = executor.options(expires=SECONDS).submit(int)
            with pytest.raises(concurrent.futures.TimeoutError) as caught:
                future.result(0.01)
            assert type(caught.value) is not RequestExpired
            assert not future.done()

    def test_started_in_time(self) -> None:
        """What runs does not expire, however long it takes."""
        with PoolExecutor(1) as executor:
            gate = threading.Event()
            future = executor.options(expires=0.05).submit(gate.wait, SECONDS)
            until(future.running)
            timer = threading.Timer(0.15, gate.set)
            timer.start()
            assert future.result(SECONDS) is True
            timer.join()
            assert executor.stats().expired == 0

    def test_time_out_behind_the_expiry(self) -> None:
        with PoolExecutor(1) as executor:
            gate = threading.Event()
            future = executor.options(expires=0.02).submit(gate.wait, SECONDS)
            until(future.running)
            start = time.monotonic()
            with pytest.raises(concurrent.futures.TimeoutError) as caught:
                future.result(0.1)
            assert type(caught.value) is not RequestExpired
            assert 0.1 <= time.monotonic() - start < SECONDS / 2
            gate.set()

    def test_is_a_time_out(self) -> None:
        assert issubclass(RequestExpired, TimeoutError)
        assert issubclass(RequestExpired, concurrent.futures.TimeoutError)

    def test_callbacks_and_waiters(self) -> None:
        """They hear of it when a worker comes to it; once."""
        heard = []
        with PoolExecutor(1) as executor:
            with blocked(executor):
                future = executor.options(expires=0).submit(int)
                future.add_done_callback(heard.append)
                assert concurrent.futures.wait([future], 0.01).not_done
            assert concurrent.futures.wait([future], SECONDS).done == {future}
            assert type(future.exception()) is RequestExpired
        assert heard == [future]

    def test_cancelled_before(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            future = executor.options(expires=0.02).submit(int)
            assert future.cancel()
            time.sleep(0.05)
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(SECONDS)
            assert (executor.stats().cancelled, executor.stats().expired) == (1, 0)

    def test_expired_cannot_be_cancelled(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            future = executor.options(expires=0).submit(int)
            with pytest.raises(RequestExpired):
                future.result()
            assert not future.cancel()

    def test_lets_its_arguments_go(self) -> None:
        class Thing:
            pass

        thing = Thing()
        gone = weakref.ref(thing)
        with PoolExecutor(1) as executor, blocked(executor):
            future = executor.options(expires=0).submit(id, thing)
            del thing
            assert future.exception(SECONDS) is not None
            until(lambda: gone() is None)

    @pytest.mark.parametrize("value", [-1, float("nan"), "1"])
    def test_no_time(self, value) -> None:
        with PoolExecutor(1) as executor, pytest.raises((TypeError, ValueError), match="expires"):
            executor.options(expires=value)


class TestExpiryOfABoundedQueue:
    def test_makes_room(self) -> None:
        """Who waits for a place gets it when another one's time is up, with all workers busy."""
        with PoolExecutor(1, max_queue_size=1) as executor, blocked(executor):
            expiring = executor.options(expires=0.05).submit(int)
            start = time.monotonic()
            plain = executor.submit(int)
            assert 0.04 < time.monotonic() - start < SECONDS / 2
            assert type(expiring.exception(0)) is RequestExpired
            assert not plain.done()
            assert executor.stats().expired == 1
            assert accounted_for(executor)

    def test_in_order_of_arrival(self) -> None:
        """One that waits itself, and expires soon after it is queued, makes room for the next."""
        with PoolExecutor(1, max_queue_size=1) as executor, blocked(executor):
            first = executor.options(expires=0.05).submit(int)
            done = []
            second = in_thread(lambda: done.append(executor.options(expires=0.2).submit(int)))
            until(lambda: executor._PoolExecutor__workforce.admission._waiting)
            third = in_thread(lambda: done.append(executor.submit(int)))
            second.join(SECONDS)
            assert len(done) == 1
            third.join(SECONDS)
            assert not third.is_alive()
            assert type(first.exception(0)) is type(done[0].exception(0)) is RequestExpired

    def test_expires_while_it_waits_for_a_place(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor:
            with blocked(executor):
                plain = executor.submit(int)
                start = time.monotonic()
                expired = executor.options(expires=0.05).submit(int)
                assert time.monotonic() - start < SECONDS / 2
                assert type(expired.exception(0)) is RequestExpired
            assert plain.result(SECONDS) == 0
            assert executor.submit(int).result(SECONDS) == 0
            executor.drain(SECONDS)
            assert accounted_for(executor)
            assert executor.stats().expired == 1

    @pytest.mark.parametrize("policy", ["raise", "discard", "discard_oldest", "caller_runs"])
    def test_overdue_ones_are_no_obstacle(self, policy) -> None:
        with PoolExecutor(1, max_queue_size=1, on_full=policy) as executor:
            with blocked(executor):
                expired = executor.options(expires=0.01).submit(int)
                time.sleep(0.03)
                plain = executor.submit(threading.current_thread)
                assert type(expired.exception(0)) is RequestExpired
            assert plain.result(SECONDS) is not threading.current_thread()

    def test_time_out_of_the_queue_first(self) -> None:
        with PoolExecutor(1, max_queue_size=1, queue_timeout=0.03) as executor:
            with blocked(executor):
                executor.submit(int)
                with pytest.raises(queue.Full):
                    executor.options(expires=SECONDS).submit(int)
            executor.drain(SECONDS)
            assert accounted_for(executor)
            assert executor.stats().refused == 1


class TestContext:
    def test_given(self) -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        with PoolExecutor(2) as executor:
            view = executor.options(context=context)
            assert view.submit(variable.get).result(SECONDS) == "given"
            assert executor.submit(variable.get).result(SECONDS) == "nobody's"

    def test_is_a_copy(self) -> None:
        """As with asyncio.to_thread: tasks at the same time, and what they set is their own."""
        context = contextvars.copy_context()
        with PoolExecutor(2) as executor:
            both = threading.Barrier(2)

            def task():
                both.wait(SECONDS)
                variable.set("task's")
                both.wait(SECONDS)

            view = executor.options(context=context)
            for future in [view.submit(task) for _ in range(2)]:
                future.result(SECONDS)
        assert context.run(variable.get) == "nobody's"

    def test_propagated(self) -> None:
        def submit(executor, value):
            variable.set(value)
            return executor.submit(variable.get)

        with PoolExecutor(2, propagate_context=True) as executor:
            contexts = [contextvars.copy_context() for _ in range(20)]
            futures = [c.run(submit, executor, str(n)) for n, c in enumerate(contexts)]
            assert [f.result(SECONDS) for f in futures] == [str(n) for n in range(20)]
            contexts[0].run(variable.set, "map's")
            found = contexts[0].run(lambda: list(executor.map(lambda _: variable.get(), [1, 2])))
            assert found == ["map's", "map's"]

    def test_given_goes_before_propagated(self) -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        with PoolExecutor(1, propagate_context=True) as executor:
            assert executor.options(context=context).submit(variable.get).result() == "given"
            assert executor.options(context=None).submit(variable.get).result() == "nobody's"

    def test_standard_pool_does_not_propagate(self) -> None:
        """The reason for it."""
        if getattr(sys.flags, "thread_inherit_context", False):
            pytest.skip("threads inherit the context of who starts them here")
        contextvars.copy_context().run(lambda: None)
        token = variable.set("mine")
        try:
            with ThreadPoolExecutor(1) as executor:
                assert executor.submit(variable.get).result(SECONDS) == "nobody's"
        finally:
            variable.reset(token)

    def test_no_context(self) -> None:
        with PoolExecutor(1) as executor, pytest.raises(TypeError, match="context must be"):
            executor.options(context={})


class TestView:
    def test_is_an_executor(self) -> None:
        with PoolExecutor(1) as executor:
            view = executor.options(priority=1)
            assert isinstance(view, concurrent.futures.Executor)
            assert view.submit(pow, 2, exp=3).result(SECONDS) == 8
            assert list(view.map(pow, [2, 3], [3, 2])) == [8, 9]
            assert sorted(view.map_unordered(abs, [-1, -2])) == [1, 2]

    def test_cannot_shut_down(self) -> None:
        with PoolExecutor(1) as executor:
            view = executor.options()
            with pytest.raises(RuntimeError, match="cannot shut its pool down"):
                view.shutdown()
            with pytest.raises(RuntimeError, match="cannot shut its pool down"):
                with view:
                    raise AssertionError("not entered")
            assert view.submit(int).result(SECONDS) == 0
        with pytest.raises(RuntimeError, match="after shutdown"):
            view.submit(int)
        assert executor.stats().refused == 1

    def test_view_of_a_view(self) -> None:
        with PoolExecutor(1) as executor:
            view = executor.options(priority=2, expires=3)
            assert view.options(expires=None)._options[:2] == (2, None)
            assert view.options(priority=0)._options[:2] == (0, 3)
            assert "priority=2, expires=3.0" in repr(view)

    def test_keeps_its_pool_alive(self) -> None:
        view = PoolExecutor(1).options(priority=1)
        pool = weakref.ref(view._pool)
        assert view.submit(int).result(SECONDS) == 0
        iterator = view.map(abs, itertools.count(), buffersize=2)
        assert next(iterator) == 0
        assert pool() is not None
        del view
        until(lambda: pool() is None)
        assert list(iterator) == [1, 2], "which its iterators do not"

    def test_map_of_a_dropped_view(self) -> None:
        """The view may go; its iterator goes on with its options."""
        with PoolExecutor(1) as executor:
            assert list(executor.options(priority=1).map(abs, range(50), buffersize=3)) == list(
                range(50)
            )

    def test_run_in_executor(self) -> None:
        async def main(executor):
            loop = asyncio.get_running_loop()
            gate = threading.Event()
            busy = loop.run_in_executor(executor, gate.wait, SECONDS)
            expiring = loop.run_in_executor(executor.options(expires=0), int)
            urgent = loop.run_in_executor(executor.options(priority=-1), time.monotonic)
            late = loop.run_in_executor(executor.options(priority=1), time.monotonic)
            cancelled = loop.run_in_executor(executor.options(priority=1), int)
            assert cancelled.cancel()
            gate.set()
            with pytest.raises(RequestExpired):
                await expiring
            assert await urgent < await late
            await busy

        with PoolExecutor(1) as executor:
            asyncio.run(main(executor))

    def test_subclass_with_its_own_submit(self) -> None:
        seen = []

        class Traced(PoolExecutor):
            def submit(self, fn, /, *args, **kwargs):
                seen.append(fn)
                return super().submit(fn, *args, **kwargs)

        started = []
        with Traced(1) as executor:
            with blocked(executor):
                plain = executor.submit(started.append, "plain")
                urgent = executor.options(priority=-1).submit(started.append, "urgent")
                assert list(executor.options(expires=0).map(abs, [])) == []
                expiring = executor.options(expires=0).submit(int)
            concurrent.futures.wait([plain, urgent], SECONDS)
            assert started == ["urgent", "plain"]
            assert type(expiring.exception(SECONDS)) is RequestExpired
        assert len(seen) == 4

    def test_options_are_for_one_call(self) -> None:
        """Not for what user code submits within it."""

        class Traced(PoolExecutor):
            def submit(self, fn, /, *args, **kwargs):
                return super().submit(fn, *args, **kwargs)

        inner = []
        with Traced(1, max_queue_size=1, on_full="caller_runs") as executor:
            with blocked(executor):
                executor.submit(int)
                view = executor.options(expires=0.5, priority=1)
                view.submit(lambda: inner.append(executor.submit(int)))  # run here
            executor.drain(SECONDS)
        assert inner[0]._pe_deadline is None
        assert inner[0]._pe_priority == 0

    def test_patch_that_waits(self, monkeypatch) -> None:
        """A patch may look at the result before it returns, and submit on top of itself."""
        standard = ThreadPoolExecutor.submit
        plain = []

        def submit(self, fn, /, *args, **kwargs):
            if fn is pow:
                plain.append(executor.submit(int))  # a signal handler could, too
            future = standard(self, fn, *args, **kwargs)
            future.result(SECONDS)
            return future

        with PoolExecutor(1) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(ThreadPoolExecutor, "submit", submit)
                view = executor.options(priority=1, expires=SECONDS)
                assert view.submit(pow, 2, 3).result(SECONDS) == 8
            assert plain[0].result(SECONDS) == 0

    def test_patch_that_keeps_the_future(self, monkeypatch) -> None:
        """Its own future and ours come out alike."""
        standard, kept, ran = ThreadPoolExecutor.submit, [], []

        def submit(self, fn, /, *args, **kwargs):
            kept.append(standard(self, fn, *args, **kwargs))
            return kept[-1]

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        with PoolExecutor(1) as executor:
            view = executor.options(priority=1)
            with blocked(executor):
                mine = view.submit(ran.append, 1)
                assert kept[-1].cancel()
                assert mine.cancelled()
                mine = view.submit(ran.append, 2)
                assert mine.cancel()
                assert kept[-1].cancelled()
            gate = threading.Event()
            mine = view.submit(gate.wait, SECONDS)
            until(mine.running)
            assert kept[-1].running()
            assert not kept[-1].cancel()
            gate.set()
            assert mine.result(SECONDS) is True
            until(kept[-1].done)
            expired = executor.options(expires=0).submit(ran.append, 3)
            assert type(expired.exception(SECONDS)) is RequestExpired
            assert type(kept[-1].exception(SECONDS)) is RequestExpired
        assert ran == []

    def test_patch_that_fails(self, monkeypatch) -> None:
        def submit(self, fn, /, *args, **kwargs):
            raise LookupError

        with PoolExecutor(1, max_queue_size=1) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(ThreadPoolExecutor, "submit", submit)
                for _ in range(3):
                    with pytest.raises(LookupError):
                        executor.options(priority=1).submit(int)
            assert executor.submit(int).result(SECONDS) == 0

    def test_result_queue_over_a_view(self) -> None:
        with PoolExecutor(1) as executor:
            results = ResultQueue(executor.options(priority=1))
            assert results.submit(int) is results.get(timeout=SECONDS)
            executor.resize(0)
            results.submit(int)
            with pytest.raises(NoWorkersAvailable):
                results.get(timeout=SECONDS)

    def test_patched_submit(self, monkeypatch) -> None:
        """What a tracing library makes of the call runs with the options."""
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            return standard(self, lambda: ("traced", fn(*args, **kwargs)))

        context = contextvars.copy_context()
        context.run(variable.set, "given")
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        started = []
        with PoolExecutor(1) as executor:
            with blocked(executor):
                plain = executor.submit(started.append, "plain")
                executor.options(priority=-1).submit(started.append, "urgent")
                expiring = executor.options(expires=0.01).submit(int)
                with pytest.raises(RequestExpired):
                    expiring.result()
                traced = executor.options(context=context).submit(variable.get)
            assert traced.result(SECONDS) == ("traced", "given")
            plain.result(SECONDS)
            assert started == ["urgent", "plain"]
            executor.drain(SECONDS)

    def test_patched_submit_with_futures_of_its_own(self, monkeypatch) -> None:
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            inner = standard(self, fn, *args, **kwargs)
            outer = concurrent.futures.Future()
            inner.add_done_callback(
                lambda f: (
                    outer.set_exception(f.exception())
                    if f.exception()
                    else outer.set_result(f.result())
                )
            )
            return outer

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        with PoolExecutor(1) as executor:
            view = executor.options(priority=1)
            assert view.submit(pow, 2, 3).result(SECONDS) == 8
            assert isinstance(view.submit(int, "x").exception(SECONDS), ValueError)

    def test_propagates_through_a_patched_submit(self, monkeypatch) -> None:
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            return standard(self, lambda: fn(*args, **kwargs))

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        token = variable.set("mine")
        try:
            with PoolExecutor(1, propagate_context=True, max_queue_size=2) as executor:
                assert executor.submit(variable.get).result(SECONDS) == "mine"
        finally:
            variable.reset(token)

    def test_pools_that_make_their_own_workers(self) -> None:
        class Own(PoolExecutor):
            def _adjust_thread_count(self):
                super()._adjust_thread_count()

        with Own(1) as executor, pytest.raises(RuntimeError, match="no options here"):
            executor.options(priority=1)
        with pytest.raises(ValueError, match="propagate_context"):
            Own(1, propagate_context=True)


class Clock:
    """In the place of the module `time`, for what asks it for the time only."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class OptionsMachine(RuleBasedStateMachine):
    """Any order of acts on a paused pool, beside a plain model, by a clock that is set by hand."""

    @staticmethod
    def modules() -> list[types.ModuleType]:
        from poolexecutor import _request, _workforce

        return [_request, _workforce]

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        for module in self.modules():
            module.time = self.clock
        self.waiting: list[tuple[float, int, float, concurrent.futures.Future]] = []
        self.arrivals = itertools.count()
        self.ended = {"cancelled": 0, "expired": 0}
        self.size, self.policy = 0, "block"
        self.executor = PoolExecutor(1)
        self.executor.resize(0)

    @rule(
        policy=st.sampled_from(["unbounded", "raise", "discard", "discard_oldest"]),
        size=st.integers(1, 4),
    )
    def begin_anew(self, policy, size) -> None:
        if self.waiting or sum(self.ended.values()):
            return
        self.executor.shutdown()
        if policy == "unbounded":
            self.executor, self.size = PoolExecutor(1), 0
        else:
            self.executor, self.size = PoolExecutor(1, max_queue_size=size, on_full=policy), size
        self.policy = policy
        self.executor.resize(0)

    def expire(self, entry) -> None:
        self.waiting.remove(entry)
        self.ended["expired"] += 1
        assert type(entry[3].exception(0)) is RequestExpired

    def make_room(self) -> str:
        """What the model expects of a submission to the pool as it is."""
        if not self.size or len(self.waiting) < self.size:
            return "queued"
        overdue = [entry for entry in self.waiting if entry[2] <= self.clock.now]
        if overdue:
            self.overdue = overdue
            return "queued"
        self.overdue = []
        return self.policy

    @rule(priority=st.integers(-1, 1), expires=st.sampled_from([None, 0, 1, 3]))
    def submit(self, priority, expires) -> None:
        self.overdue = []
        expected = self.make_room()
        if expected != "queued" and expires == 0:
            expected = f"{expected} or expired"
        view = self.executor.options(priority=priority, expires=expires)
        try:
            future = view.submit(int)
        except queue.Full:
            assert expected.startswith("raise")
            return
        for entry in self.overdue:
            self.expire(entry)
        if future.cancelled():
            assert expected.startswith("discard")
            assert "oldest" not in expected
            self.ended["cancelled"] += 1
            return
        if future.done():
            assert type(future.exception(0)) is RequestExpired
            assert expires == 0
            self.ended["expired"] += 1
            return
        if expected.startswith("discard_oldest"):
            oldest = min(self.waiting, key=lambda entry: entry[1])
            self.waiting.remove(oldest)
            assert oldest[3].cancelled()
            self.ended["cancelled"] += 1
        else:
            assert expected == "queued"
        deadline = float("inf") if expires is None else self.clock.now + expires
        self.waiting.append((priority, next(self.arrivals), deadline, future))

    @rule(index=st.integers(0, 5))
    def cancel(self, index) -> None:
        if index < len(self.waiting):
            assert self.waiting.pop(index)[3].cancel()
            self.ended["cancelled"] += 1

    @rule(index=st.integers(0, 5))
    def ask(self, index) -> None:
        if index < len(self.waiting):
            entry = self.waiting[index]
            if entry[2] <= self.clock.now:
                self.expire(entry)
            else:
                with pytest.raises(concurrent.futures.TimeoutError) as caught:
                    entry[3].result(0)
                assert type(caught.value) is not RequestExpired

    @rule(seconds=st.sampled_from([1, 2]))
    def time_passes(self, seconds) -> None:
        self.clock.now += seconds

    @rule()
    def run_all(self) -> None:
        """In the order of the model, each once."""
        order = []
        for entry in self.waiting:
            entry[3].add_done_callback(lambda f, entry=entry: order.append(entry))
        self.executor.resize(1)
        self.executor.drain(SECONDS)
        self.executor.resize(0, wait=True)
        assert order == sorted(self.waiting, key=lambda entry: entry[:2])
        for entry in self.waiting[:]:
            if entry[2] <= self.clock.now:
                self.expire(entry)
            else:
                assert entry[3].result(0) == 0
        self.waiting.clear()

    @invariant()
    def counts(self) -> None:
        stats = self.executor.stats()
        assert stats.queued == len(self.waiting)
        assert (stats.cancelled, stats.expired) == (self.ended["cancelled"], self.ended["expired"])
        assert accounted_for(self.executor)
        admission = self.executor._PoolExecutor__workforce.admission
        if admission is not None:
            assert len(admission._free) == self.size - len(self.waiting)

    def teardown(self) -> None:
        for module in self.modules():
            module.time = time
        self.executor.shutdown()
        assert all(entry[3].done() for entry in self.waiting)


TestOptionsMachine = OptionsMachine.TestCase
TestOptionsMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
