"""`ResultQueue`: completion order, the bound, many producers and consumers, over any executor."""

from __future__ import annotations

import concurrent.futures
import gc
import queue
import sys
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from poolexecutor import NoResultsPending, NoWorkersAvailable, PoolExecutor, ResultQueue

from .helpers import SECONDS, until

BOTH = pytest.mark.parametrize("pool", [PoolExecutor, ThreadPoolExecutor], ids=["ours", "standard"])


class ByHand:
    """An executor whose futures the test finishes."""

    def __init__(self) -> None:
        self.futures: list[Future] = []

    def submit(self, fn, /, *args, **kwargs):
        if fn is None:
            raise RuntimeError("refused")
        self.futures.append(Future())
        return self.futures[-1]


def in_thread(function) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@BOTH
class TestOverExecutors:
    def test_order_of_completion(self, pool) -> None:
        gates = [threading.Event() for _ in range(3)]
        with pool(3) as executor:
            results = ResultQueue(executor)
            futures = [results.submit(gate.wait, SECONDS) for gate in gates]
            for index in (2, 0, 1):
                gates[index].set()
                assert results.get(timeout=SECONDS) is futures[index]
            with pytest.raises(NoResultsPending):
                results.get()

    def test_iteration_ends(self, pool) -> None:
        with pool(3) as executor:
            results = ResultQueue(executor)
            for number in range(100):
                results.submit(pow, number, 2)
            assert sorted(f.result() for f in results) == [n * n for n in range(100)]
            assert list(results) == []

    def test_failed_and_cancelled_come_too(self, pool) -> None:
        gate, entered = threading.Event(), threading.Event()
        with pool(1) as executor:
            results = ResultQueue(executor)

            def block():
                entered.set()
                gate.wait(SECONDS)

            blocker = results.submit(block)
            failing, cancelled = results.submit(int, "x"), results.submit(int)
            entered.wait(SECONDS)
            assert cancelled.cancel()
            assert results.get(timeout=SECONDS) is cancelled
            gate.set()
            assert [results.get(timeout=SECONDS) for _ in range(2)] == [blocker, failing]
            assert isinstance(failing.exception(), ValueError)

    def test_bound(self, pool) -> None:
        """Never more than that many submitted and not taken; a worker never blocks."""
        with pool(4) as executor:
            results, taken, submitted = ResultQueue(executor, maxsize=3), 0, []

            def produce():
                for number in range(200):
                    results.submit(abs, number)
                    submitted.append(number)

            producer, most = in_thread(produce), 0
            while taken < 200:
                most = max(most, len(submitted) - taken)  # before the room is given back
                try:
                    results.get(timeout=SECONDS)
                except NoResultsPending:
                    continue  # the producer is to have its turn
                taken += 1
            producer.join(SECONDS)
            assert 1 <= most <= 3
            with pytest.raises(NoResultsPending):
                results.get_nowait()

    def test_submitting_while_iterating(self, pool) -> None:
        """A crawl: each result brings others."""
        with pool(3) as executor:
            results, seen = ResultQueue(executor), []
            results.submit(int, 7)
            for future in results:
                number = future.result()
                seen.append(number)
                for smaller in range(number):
                    results.submit(int, smaller)
            assert len(seen) == 2**7

    def test_many_producers_and_consumers(self, pool) -> None:
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with pool(3) as executor:
                results, found, lock = ResultQueue(executor, maxsize=5), [], threading.Lock()

                def produce(start):
                    for number in range(start, start + 500):
                        results.submit(int, number)

                producing = [in_thread(lambda s=s: produce(s)) for s in range(0, 2000, 500)]

                def consume():
                    while True:
                        try:
                            future = results.get(timeout=SECONDS)
                        except NoResultsPending:
                            if not any(thread.is_alive() for thread in producing):
                                return
                        else:
                            with lock:
                                found.append(future.result())

                consuming = [in_thread(consume) for _ in range(4)]
                for thread in producing + consuming:
                    thread.join()
                assert sorted(found) == list(range(2000))
        finally:
            sys.setswitchinterval(switch)


class TestByHand:
    def test_time_outs(self) -> None:
        results = ResultQueue(ByHand())
        results.submit(int)
        for words in ({"block": False}, {"timeout": 0}, {"timeout": 0.02}):
            with pytest.raises(queue.Empty) as caught:
                results.get(**words)
            assert caught.type is queue.Empty  # something is outstanding

    def test_the_last_one_releases_all_that_wait(self) -> None:
        executor, raised = ByHand(), []
        results = ResultQueue(executor)
        results.submit(int)

        def consume():
            try:
                raised.append(results.get(timeout=SECONDS))
            except NoResultsPending as error:
                raised.append(error)

        threads = [in_thread(consume) for _ in range(3)]
        executor.futures[0].set_result(None)
        for thread in threads:
            thread.join(SECONDS)
        assert sum(isinstance(one, NoResultsPending) for one in raised) == 2

    def test_refused_gives_its_room_back(self) -> None:
        results = ResultQueue(ByHand(), maxsize=1)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="refused"):
                results.submit(None)
        with pytest.raises(NoResultsPending):
            results.get()
        results.submit(int)

    def test_waits_for_room_in_order(self) -> None:
        executor, entered = ByHand(), []
        results = ResultQueue(executor, maxsize=1)
        results.submit(int)
        threads = []
        for number in range(3):
            threads.append(
                in_thread(lambda number=number: (results.submit(int), entered.append(number)))
            )
            until(lambda number=number: len(results._room._sleepers) > number)
        for number in range(3):
            executor.futures[number].set_result(None)
            results.get(timeout=SECONDS)
            until(lambda number=number: len(entered) > number)
        assert entered == [0, 1, 2]
        for thread in threads:
            thread.join(SECONDS)

    def test_no_wake_up_while_nothing_finishes(self) -> None:
        executor = ByHand()
        results = ResultQueue(executor)
        results.submit(int)
        looks = []
        has_news = results._has_news
        results._has_news = lambda: looks.append(None) or has_news()
        consumer = in_thread(results.get)
        until(lambda: looks)
        time.sleep(0.1)
        assert len(looks) == 1
        executor.futures[0].set_result(None)
        consumer.join(SECONDS)

    def test_interrupted_consumer_passes_the_call_on(self) -> None:
        """It was told of a result, and a signal handler raises before it has looked."""
        executor = ByHand()
        results = ResultQueue(executor)
        results.submit(int)
        got, first = [], threading.Event()
        has_news = results._has_news

        def strike():
            if threading.current_thread() is interrupted and first.is_set():
                raise KeyboardInterrupt
            return has_news()

        results._has_news = strike

        def consume():
            try:
                got.append(results.get(timeout=SECONDS))
            except KeyboardInterrupt:
                got.append("interrupted")

        interrupted = threading.Thread(target=consume)
        interrupted.start()
        until(lambda: len(results._news._sleepers) == 1)
        other = in_thread(consume)
        until(lambda: len(results._news._sleepers) == 2)
        first.set()
        executor.futures[0].set_result(None)
        interrupted.join(SECONDS)
        other.join(SECONDS)
        assert set(got) == {"interrupted", executor.futures[0]}

    def test_interrupted_submit_arrives_once(self) -> None:
        class Interrupting(Future):
            strikes = 1

            def add_done_callback(self, fn):
                super().add_done_callback(fn)
                if self.strikes:
                    self.strikes -= 1
                    raise KeyboardInterrupt

        executor, future = ByHand(), Interrupting()
        executor.submit = lambda fn: future
        results = ResultQueue(executor, maxsize=1)
        with pytest.raises(KeyboardInterrupt):
            results.submit(int)
        future.set_result(5)
        assert list(results) == [future]

    @pytest.mark.parametrize(
        ("maxsize", "error"), [(-1, ValueError), (1.5, TypeError), (None, TypeError)]
    )
    def test_bad_bound(self, maxsize, error) -> None:
        with pytest.raises(error, match="maxsize must"):
            ResultQueue(ByHand(), maxsize)

    @pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
    def test_bad_time_out(self, timeout) -> None:
        with pytest.raises((TypeError, ValueError), match="timeout must be"):
            ResultQueue(ByHand()).get(timeout=timeout)

    def test_keeps_nothing(self) -> None:
        executor = ByHand()
        results = ResultQueue(executor)
        results.submit(int)
        executor.futures.pop().set_result(None)
        reference = weakref.ref(results.get())
        gc.collect()
        assert reference() is None


class TestPausedPool:
    def test_paused_before(self) -> None:
        with PoolExecutor(1) as executor:
            results = ResultQueue(executor)
            executor.resize(0)
            future = results.submit(pow, 2, 3)
            with pytest.raises(NoWorkersAvailable):
                results.get()
            with pytest.raises(queue.Empty):
                results.get(block=False)
            executor.resize(1)
            assert results.get(timeout=SECONDS) is future

    def test_paused_while_waiting(self) -> None:
        gate, raised = threading.Event(), []
        with PoolExecutor(1) as executor:
            results = ResultQueue(executor)
            executor.submit(gate.wait, SECONDS)
            results.submit(int)

            def consume():
                try:
                    results.get(timeout=SECONDS)
                except NoWorkersAvailable as error:
                    raised.append(error)

            consumer = in_thread(consume)
            until(lambda: results._news._sleepers)
            executor.resize(0)
            assert consumer.is_alive()  # one still runs; it might submit
            gate.set()
            consumer.join(SECONDS)
            assert len(raised) == 1
            executor.resize(1)
            assert len(list(results)) == 1

    def test_a_result_is_worth_more_than_the_pause(self) -> None:
        with PoolExecutor(1) as executor:
            results = ResultQueue(executor)
            done = results.submit(int)
            concurrent.futures.wait([done])
            executor.resize(0, wait=True)
            results.submit(int)
            assert results.get() is done


class Machine(RuleBasedStateMachine):
    """Any order of submitting, finishing and taking, beside a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = ByHand()
        self.results = ResultQueue(self.executor, maxsize=4)
        self.pending: list[Future] = []
        self.finished: list[Future] = []

    @precondition(lambda self: len(self.pending) + len(self.finished) < 4)
    @rule()
    def submit(self) -> None:
        self.pending.append(self.results.submit(int))

    @rule()
    def refused(self) -> None:
        if len(self.pending) + len(self.finished) < 4:
            with pytest.raises(RuntimeError):
                self.results.submit(None)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), how=st.sampled_from(["result", "exception", "cancel"]))
    def finish(self, data, how) -> None:
        future = data.draw(st.sampled_from(self.pending))
        self.pending.remove(future)
        self.finished.append(future)
        if how == "result":
            future.set_result(None)
        elif how == "exception":
            future.set_exception(ValueError())
        else:
            future.cancel()

    @rule()
    def take(self) -> None:
        if self.finished:
            assert self.results.get_nowait() is self.finished.pop(0)
        else:
            with pytest.raises(queue.Empty) as caught:
                self.results.get_nowait()
            assert (caught.type is NoResultsPending) == (not self.pending)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
