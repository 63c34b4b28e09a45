"""A bounded queue: what `submit` does when it is full, and when room appears."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from poolexecutor import BrokenThreadPool, PoolExecutor
from poolexecutor._admission import Admission

from .helpers import SECONDS, blocked, until


def waiting(executor) -> int:
    """How many threads wait for a place."""
    return len(executor._PoolExecutor__workforce.admission._waiting)


def free(executor) -> int:
    return len(executor._PoolExecutor__workforce.admission._free)


def in_thread(function) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


class TestAdmission:
    def test_places_are_counted(self) -> None:
        places, mine = Admission(2, "block", None), []
        assert [places.try_take(mine) for _ in range(3)] == [True, True, False]
        assert len(mine) == 2
        assert not places.take([], 0)
        places.give_back([])
        assert places.take([], 0)

    def test_given_back_between_the_look_and_the_entry(self) -> None:
        """The one who gives it back has seen nobody wait; the one who waits looks once more."""
        places = Admission(1, "block", None)
        places.try_take([])
        entries = places._waiting

        class Late(type(entries)):
            def append(self, lock):
                places.give_back([])
                super().append(lock)

        places._waiting = Late()
        assert places.take([], 0)
        assert not places._waiting

    def test_entered_between_the_hand_over_and_the_return(self) -> None:
        """The one who waits has seen no place; the one who gives it back looks once more."""
        places = Admission(1, "block", None)
        places.try_take([])
        taker = threading.Thread(target=places.take, args=([], None))

        class Late(list):
            def append(self, place):
                places._free = free_places
                taker.start()
                until(lambda: places._waiting)
                free_places.append(place)

        free_places = places._free
        places._free = Late()
        places.give_back([])
        taker.join(SECONDS)
        assert not taker.is_alive()
        assert free_places == []

    def test_interrupted(self, monkeypatch) -> None:
        """It has been given a place and has not noticed: it has it all the same."""
        places, mine = Admission(1, "block", None), []
        places.try_take([])
        real = threading.Lock

        class Interrupting:
            def __init__(self):
                self.lock, self.count = real(), 0

            def acquire(self, *args):
                self.count += 1
                if self.count == 2:
                    places.give_back([])
                    raise KeyboardInterrupt
                return self.lock.acquire(*args)

            def release(self):
                self.lock.release()

        with monkeypatch.context() as patch:
            patch.setattr(threading, "Lock", Interrupting)
            with pytest.raises(KeyboardInterrupt):
                places.take(mine, None)
        assert len(mine) == 1
        assert not places.try_take(mine)

    def test_time_out_leaves_nothing(self) -> None:
        places, mine = Admission(1, "block", None), []
        places.try_take([])
        assert not places.take(mine, 0.01)
        assert not mine
        assert not places._waiting


class TestPolicies:
    def test_block(self) -> None:
        with PoolExecutor(1, max_queue_size=2) as executor:
            with blocked(executor) as gate:
                futures = [executor.submit(pow, 2, n) for n in range(2)]
                late = in_thread(lambda: futures.append(executor.submit(pow, 2, 2)))
                until(lambda: waiting(executor) == 1)
                assert executor.stats().queued == 2
                gate.set()
                late.join(SECONDS)
            assert [future.result(SECONDS) for future in futures] == [1, 2, 4]
            executor.drain(SECONDS)
            assert free(executor) == 2

    def test_block_in_order_of_arrival(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor:
            ran: list[int] = []
            with blocked(executor):
                executor.submit(ran.append, 0)
                threads = []
                for number in range(1, 5):
                    threads.append(in_thread(lambda n=number: executor.submit(ran.append, n)))
                    until(lambda number=number: waiting(executor) == number)
            for thread in threads:
                thread.join(SECONDS)
            executor.drain(SECONDS)
            assert ran == list(range(5))

    def test_block_up_to_a_time_out(self) -> None:
        with PoolExecutor(1, max_queue_size=1, queue_timeout=0.02) as executor:
            with blocked(executor):
                queued = executor.submit(int)
                for _ in range(3):
                    with pytest.raises(queue.Full):
                        executor.submit(int)
                stats = executor.stats()
                assert (stats.refused, stats.queued, waiting(executor)) == (3, 1, 0)
            assert queued.result(SECONDS) == 0

    def test_raise(self) -> None:
        with PoolExecutor(1, max_queue_size=1, on_full="raise") as executor:
            with blocked(executor):
                queued = executor.submit(int)
                with pytest.raises(queue.Full):
                    executor.submit(int)
                assert queued.cancel()
                executor.submit(int)  # its place is free at once
                assert executor.stats().refused == 1

    def test_raise_under_asyncio(self) -> None:
        """A submit that would block the loop's thread."""

        async def main(executor) -> None:
            loop = asyncio.get_running_loop()
            gate = threading.Event()
            running = loop.run_in_executor(executor, gate.wait)
            await asyncio.sleep(0.05)  # until a worker has it
            queued = loop.run_in_executor(executor, int)
            with pytest.raises(queue.Full):
                loop.run_in_executor(executor, int)
            gate.set()
            await asyncio.gather(running, queued)

        with PoolExecutor(1, max_queue_size=1, on_full="raise") as executor:
            asyncio.run(main(executor))

    def test_caller_runs(self) -> None:
        with PoolExecutor(1, max_queue_size=1, on_full="caller_runs") as executor:
            with blocked(executor):
                executor.submit(int)
                here = executor.submit(threading.current_thread)
                assert here.done()
                assert here.result() is threading.current_thread()
                assert isinstance(executor.submit(int, "x").exception(), ValueError)
            executor.drain(SECONDS)
            stats = executor.stats()
            assert (stats.submitted, stats.completed, stats.failed) == (4, 3, 1)

    def test_interrupted_while_the_caller_runs(self) -> None:
        def press():
            raise KeyboardInterrupt

        with PoolExecutor(1, max_queue_size=1, on_full="caller_runs") as executor:
            with blocked(executor):
                executor.submit(int)
                with pytest.raises(KeyboardInterrupt):
                    executor.submit(press)

    def test_discard(self) -> None:
        with PoolExecutor(1, max_queue_size=1, on_full="discard") as executor:
            with blocked(executor):
                kept, gone = executor.submit(int), executor.submit(int)
                assert gone.cancelled()
                assert concurrent.futures.wait([gone], 0).done == {gone}
            assert kept.result(SECONDS) == 0
            executor.drain(SECONDS)
            assert executor.stats().cancelled == 1

    def test_discard_oldest(self) -> None:
        with PoolExecutor(1, max_queue_size=2, on_full="discard_oldest") as executor:
            with blocked(executor):
                futures = [executor.submit(int) for _ in range(5)]
                assert [future.cancelled() for future in futures] == [True] * 3 + [False] * 2
            executor.drain(SECONDS)
            stats = executor.stats()
            assert (stats.submitted, stats.completed, stats.cancelled) == (6, 3, 3)

    def test_a_task_never_waits_for_its_own_pool(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor:

            def nest(depth):
                if depth:
                    futures = [executor.submit(nest, depth - 1) for _ in range(3)]
                    return len(futures)
                return 0

            assert executor.submit(nest, 4).result(SECONDS) == 3
            executor.drain(SECONDS)
            assert executor.stats().completed == 1 + 3 + 9 + 27 + 81

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            ({"max_queue_size": -1}, ValueError),
            ({"max_queue_size": 1.5}, TypeError),
            ({"max_queue_size": 1, "on_full": "explode"}, ValueError),
            ({"on_full": "raise"}, ValueError),  # of which queue?
            ({"queue_timeout": 1}, ValueError),
            ({"max_queue_size": 1, "on_full": "raise", "queue_timeout": 1}, ValueError),
            ({"max_queue_size": 1, "queue_timeout": -1}, ValueError),
            ({"max_queue_size": 1, "queue_timeout": "1"}, TypeError),
        ],
    )
    def test_bad_values(self, words, error) -> None:
        with pytest.raises(error):
            PoolExecutor(1, **words)


class TestRoom:
    """What gives room to one who waits."""

    def late(self, executor, found):
        def submit():
            try:
                found.append(executor.submit(pow, 2, 5))
            except BaseException as error:
                found.append(error)

        thread = in_thread(submit)
        until(lambda: waiting(executor) == 1)
        return thread

    def test_cancelling(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor, blocked(executor):
            found: list = []
            queued = executor.submit(int)
            late = self.late(executor, found)
            assert queued.cancel()
            late.join(SECONDS)
            assert executor.stats().queued == 1

    def test_more_workers(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor, blocked(executor):
            found: list = []
            executor.submit(int)
            late = self.late(executor, found)
            executor.resize(2)
            late.join(SECONDS)
            assert found[0].result(SECONDS) == 32

    def test_taken_out_by_hand(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor, blocked(executor):
            found: list = []
            executor.submit(int)
            late = self.late(executor, found)
            executor._work_queue.get_nowait()
            late.join(SECONDS)

    @pytest.mark.parametrize("cancel_futures", [True, False])
    def test_shutdown(self, cancel_futures) -> None:
        """The standard refusal, and nothing queued."""
        executor = PoolExecutor(1, max_queue_size=1)
        with blocked(executor):
            found: list = []
            queued = executor.submit(int)
            late = self.late(executor, found)
            executor.shutdown(wait=False, cancel_futures=cancel_futures)
            late.join(SECONDS)
            assert isinstance(found[0], RuntimeError)
            assert "after shutdown" in str(found[0])
        executor.shutdown()
        assert queued.cancelled() == cancel_futures
        stats = executor.stats()
        assert (stats.submitted, stats.refused) == (2, 1)

    def test_broken(self, caplog) -> None:
        executor = PoolExecutor(1, max_queue_size=1)
        with blocked(executor):
            found: list = []
            executor.submit(int)
            late = self.late(executor, found)
            executor._initializer_failed()
            late.join(SECONDS)
            failed = found[0]
            if not isinstance(failed, BrokenThreadPool):
                failed = failed.exception(SECONDS)
            assert isinstance(failed, BrokenThreadPool)
        executor.shutdown()

    def test_a_million_waits_cost_no_memory(self) -> None:
        """A cancelled request leaves nothing behind in the queue."""
        with PoolExecutor(1, max_queue_size=2) as executor, blocked(executor):
            for _ in range(1000):
                assert executor.submit(int).cancel()
            assert executor._work_queue.qsize() == 0
            assert executor.stats().cancelled == 1000


class TestOthers:
    def test_map(self) -> None:
        with PoolExecutor(2, max_queue_size=3) as executor:
            assert list(executor.map(abs, range(-500, 0))) == list(range(500, 0, -1))

    def test_many_producers(self) -> None:
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with PoolExecutor(3, max_queue_size=4) as executor:
                most, results, lock = [0], [], threading.Lock()

                def produce(start):
                    for number in range(start, start + 500):
                        future = executor.submit(int, number)
                        most[0] = max(most[0], executor._work_queue.qsize())
                        with lock:
                            results.append(future)

                threads = [in_thread(lambda s=s: produce(s)) for s in range(0, 2000, 500)]
                for thread in threads:
                    thread.join()
                assert sorted(f.result(SECONDS) for f in results) == list(range(2000))
                assert most[0] <= 4
                executor.drain(SECONDS)
                assert free(executor) == 4
        finally:
            sys.setswitchinterval(switch)

    def test_patched_submit(self, monkeypatch) -> None:
        """The bound holds through a tracing library's patch, too."""
        standard = ThreadPoolExecutor.submit

        def submit(self, fn, /, *args, **kwargs):
            return standard(self, lambda: fn(*args, **kwargs))

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        with PoolExecutor(1, max_queue_size=1, on_full="raise") as executor:
            with blocked(executor):
                queued = executor.submit(pow, 2, 3)
                with pytest.raises(queue.Full):
                    executor.submit(int)
                assert queued.cancel()
                queued = executor.submit(pow, 2, 4)
            assert queued.result(SECONDS) == 16
            executor.drain(SECONDS)
            assert free(executor) == 1

    def test_patched_submit_that_raises(self, monkeypatch) -> None:
        def submit(self, fn, /, *args, **kwargs):
            raise LookupError

        with PoolExecutor(1, max_queue_size=1) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(ThreadPoolExecutor, "submit", submit)
                for _ in range(3):
                    with pytest.raises(LookupError):
                        executor.submit(int)
            assert executor.submit(int).result(SECONDS) == 0

    def test_no_thread(self, monkeypatch) -> None:
        def fail(thread):
            raise RuntimeError("can't start new thread")

        with PoolExecutor(1, max_queue_size=1) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", fail)
                for _ in range(3):
                    with pytest.raises(RuntimeError, match="can't start"):
                        executor.submit(int)
            assert executor.submit(int).result(SECONDS) == 0
            executor.drain(SECONDS)
            stats = executor.stats()
            assert (stats.refused, stats.submitted, stats.completed) == (3, 1, 1)


class TestOnTop:
    """`submit` called in a signal handler or finalizer that interrupts `submit` in this thread."""

    @pytest.mark.parametrize("policy", ["block", "discard_oldest"])
    def test_below_has_a_place(self, policy) -> None:
        with PoolExecutor(1, max_queue_size=1, on_full=policy) as executor:
            workforce = executor._PoolExecutor__workforce
            append, on_top = workforce.requests.append, []

            def interrupted(request):
                workforce.requests.append = append
                on_top.append(executor.submit(threading.current_thread))
                append(request)

            workforce.requests.append = interrupted
            below = executor.submit(pow, 2, 3)
            ran_in = on_top[0].result(SECONDS)
            if policy == "block":
                assert ran_in is threading.current_thread()
                assert below.result(SECONDS) == 8
            else:
                assert below.cancelled()  # it was the oldest
            executor.drain(SECONDS)
            assert free(executor) == 1

    def test_interrupted_before_it_is_queued(self) -> None:
        with PoolExecutor(1, max_queue_size=1) as executor:
            workforce = executor._PoolExecutor__workforce
            append = workforce.requests.append

            def interrupted(request):
                workforce.requests.append = append
                raise KeyboardInterrupt

            workforce.requests.append = interrupted
            with pytest.raises(KeyboardInterrupt):
                executor.submit(int)
            assert free(executor) == 1
            assert executor.submit(int).result(SECONDS) == 0
            executor.drain(SECONDS)
            stats = executor.stats()
            assert (stats.submitted, stats.completed) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
class TestFork:
    def test_by_a_call_that_its_submitter_runs(self) -> None:
        parent = os.getpid()
        with PoolExecutor(1, max_queue_size=1, on_full="caller_runs") as executor:
            with blocked(executor):
                executor.submit(int)
                try:
                    child = executor.submit(os.fork).result(SECONDS)
                    if child == 0:
                        executor.drain(SECONDS)
                        os._exit(0 if executor.submit(abs, -1).result(SECONDS) == 1 else 1)
                finally:
                    if os.getpid() != parent:
                        os._exit(2)
                assert os.waitpid(child, 0)[1] == 0

    def test_what_others_run_is_not_waited_for_in_the_child(self) -> None:
        """Not even by a finalizer of what the parent had queued, within the fork."""
        parent, drained = os.getpid(), []

        class Argument:
            def __del__(self):
                if os.getpid() != parent:
                    executor.drain(SECONDS)
                    drained.append(True)

        with PoolExecutor(1, max_queue_size=1, on_full="caller_runs") as executor:
            with blocked(executor) as gate:
                executor.submit(id, Argument())
                running = threading.Event()

                def run():
                    running.set()
                    gate.wait(SECONDS)

                caller = in_thread(lambda: executor.submit(run))
                assert running.wait(SECONDS)
                child = os.fork()
                if child == 0:
                    os._exit(0 if drained else 1)
                assert os.waitpid(child, 0)[1] == 0
            caller.join(SECONDS)


class BoundedMachine(RuleBasedStateMachine):
    """Any order of acts on a paused bounded pool, beside a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = PoolExecutor(1, max_queue_size=3, on_full="discard_oldest")
        self.executor.resize(0)
        self.model: list[concurrent.futures.Future] = []

    @rule()
    def submit(self) -> None:
        future = self.executor.submit(int)
        if len(self.model) == 3:
            assert self.model.pop(0).cancelled()
        self.model.append(future)

    @rule(index=st.integers(0, 2))
    def cancel(self, index) -> None:
        if index < len(self.model):
            assert self.model.pop(index).cancel()

    @rule()
    def take_out(self) -> None:
        try:
            item = self.executor._work_queue.get_nowait()
        except queue.Empty:
            assert not self.model
        else:
            assert item.future is self.model.pop(0)

    @invariant()
    def all_places_are_accounted_for(self) -> None:
        assert self.executor.stats().queued == len(self.model)
        assert free(self.executor) == 3 - len(self.model)

    def teardown(self) -> None:
        self.executor.shutdown()
        assert all(future.result(0) == 0 for future in self.model)


TestBoundedMachine = BoundedMachine.TestCase
TestBoundedMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
