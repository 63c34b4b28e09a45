"""Workers that come and go, over the real pool: resize, expiry, contexts, drain, ends, counts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import queue
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from poolexecutor import (
    BrokenThreadPool,
    NoWorkersAvailable,
    PoolExecutor,
    PoolStats,
    current_worker,
)

from .helpers import SECONDS, blocked, until

RESIZES = int(os.environ.get("STRESS_RESIZES", "10000"))


def at_rest(executor) -> PoolStats:
    executor.drain(SECONDS)
    return executor.stats()


class TestMadeAhead:
    def test_there_when_the_constructor_returns(self) -> None:
        with PoolExecutor(5, "ahead", min_workers=3) as executor:
            assert {thread.name for thread in executor._threads} == {f"ahead_{n}" for n in range(3)}
            assert (executor.min_workers, executor.max_workers) == (3, 5)
            assert executor.stats().workers == 3

    @pytest.mark.parametrize(
        ("words", "error", "text"),
        [
            ({"min_workers": 3}, ValueError, r"min_workers \(3\) must not be greater"),
            ({"min_workers": -1}, ValueError, "min_workers must not be negative"),
            ({"min_workers": 1.0}, TypeError, "min_workers must be an integer"),
            ({"min_workers": None}, TypeError, "min_workers must be an integer"),
            ({"idle_timeout": -1}, ValueError, "idle_timeout must be a number of seconds"),
            ({"idle_timeout": float("nan")}, ValueError, "idle_timeout must be a number"),
            ({"idle_timeout": "1"}, TypeError, "idle_timeout must be a number of seconds"),
            ({"worker_context": 3}, TypeError, "worker_context must be a callable"),
        ],
    )
    def test_bad_values(self, words, error, text) -> None:
        with pytest.raises(error, match=text):
            PoolExecutor(2, **words)

    def test_no_thread_to_give(self, monkeypatch) -> None:
        start, allowed = threading.Thread.start, [1, 1]

        def starve(thread):
            if not allowed:
                raise RuntimeError("can't start new thread")
            allowed.pop()
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starve)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            PoolExecutor(5, min_workers=4)

    def test_failing_initializer(self, caplog) -> None:
        """It ends with one that broke the pool, not with an endless line of others."""
        begun = []

        def fail():
            begun.append(None)
            raise ValueError

        with PoolExecutor(8, initializer=fail, min_workers=8) as executor:
            with pytest.raises(BrokenThreadPool):
                executor.submit(int).result(SECONDS)
            assert len(begun) <= 8

    def test_started_later_if_it_cannot_be_now(self, monkeypatch) -> None:
        def fail(thread):
            raise RuntimeError("can't start new thread")

        with PoolExecutor(4) as executor:
            executor.submit(int).result(SECONDS)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", fail)
                executor.resize(min_workers=3)
                assert executor.stats().workers == 1
            until(lambda: executor.stats().idle == 1)
            executor.submit(int).result(SECONDS)
            assert executor.stats().workers == 3

    @pytest.mark.parametrize(
        "words",
        [{"min_workers": 1}, {"idle_timeout": 1}, {"daemon": True}, {"worker_context": int}],
    )
    def test_not_for_those_who_make_their_own_workers(self, words) -> None:
        class Mine(PoolExecutor):
            def _adjust_thread_count(self):
                super()._adjust_thread_count()

        with pytest.raises(ValueError, match="Mine makes its workers itself"):
            Mine(2, **words)
        with Mine(2) as executor:
            for ask in (executor.stats, executor.drain, lambda: executor.resize(3)):
                with pytest.raises(RuntimeError, match="Mine brings a queue or workers"):
                    ask()


class TestExpiry:
    def test_surplus_workers_leave(self) -> None:
        with PoolExecutor(6, min_workers=2, idle_timeout=0.05) as executor:
            with blocked(executor, 6):
                assert executor.stats().workers == 6
            until(lambda: executor.stats().workers == 2)
            until(lambda: len(executor._threads) == 2)
            time.sleep(0.2)  # those at the minimum let their time pass again and again
            assert executor.stats().workers == 2
            assert executor.submit(pow, 2, 3).result(SECONDS) == 8

    def test_a_busy_one_stays(self) -> None:
        with PoolExecutor(2, idle_timeout=0.01) as executor, blocked(executor, 1):
            time.sleep(0.1)
            assert executor.stats().workers == 1

    def test_all_leave_and_come_again(self) -> None:
        with PoolExecutor(3, idle_timeout=0) as executor:
            for number in range(200):
                assert executor.submit(abs, number).result(SECONDS) == number
            until(lambda: executor.stats().workers == 0)
            stats = executor.stats()
            assert (stats.completed, stats.largest_workers <= 3) == (200, True)

    def test_no_time_at_all_beside_a_minimum(self) -> None:
        """Who may not leave sleeps, and does not ask again and again."""
        with PoolExecutor(2, min_workers=1, idle_timeout=0) as executor:
            executor.submit(int).result(SECONDS)
            until(lambda: executor.stats().workers == 1)
            [worker] = executor._PoolExecutor__workforce.workers
            before = worker.wakes
            time.sleep(0.1)
            assert worker.wakes <= before + 5

    def test_endless(self) -> None:
        with PoolExecutor(2, idle_timeout=float("inf")) as executor:
            executor.submit(int).result(SECONDS)
            assert executor.stats().workers == 1

    def test_wakes_once_a_period(self) -> None:
        """An idle worker at the minimum sleeps through its time-out; nobody else wakes it."""
        with PoolExecutor(3, min_workers=3, idle_timeout=0.1) as executor:
            until(lambda: executor.stats().idle == 3)
            workers = list(executor._PoolExecutor__workforce.workers)
            before = [worker.wakes for worker in workers]
            time.sleep(0.55)
            wakes = [w.wakes - b for w, b in zip(workers, before, strict=True)]
            assert all(count <= 6 for count in wakes), wakes


class TestResize:
    def test_up_serves_what_is_queued(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor, 1):
            waiting = [executor.submit(int) for _ in range(3)]
            executor.resize(3)
            assert [future.result(SECONDS) for future in waiting] == [0] * 3
            assert executor.max_workers == executor._max_workers == 3

    def test_down(self) -> None:
        with PoolExecutor(5) as executor:
            with blocked(executor, 4) as gate:
                with pytest.raises(TimeoutError):
                    executor.resize(2, wait=True, timeout=0.05)
                assert executor.stats().workers == 4
                gate.set()
            before = set(threading.enumerate())
            executor.resize(2, wait=True)
            assert executor.stats().workers == 2
            executor.resize(1, wait=True, timeout=SECONDS)
            assert len(set(threading.enumerate()) & before) <= len(before) - 1

    def test_pause_and_resume(self) -> None:
        with PoolExecutor(2) as executor:
            executor.submit(int).result(SECONDS)
            executor.resize(0, wait=True)
            assert executor.stats().workers == 0
            assert (executor.max_workers, executor._max_workers) == (0, 2)
            futures = [executor.submit(abs, -n) for n in range(5)]
            time.sleep(0.05)
            assert not any(future.done() for future in futures)
            with pytest.raises(NoWorkersAvailable):
                executor.drain()
            executor.resize(1)
            assert [future.result(SECONDS) for future in futures] == list(range(5))

    def test_a_paused_pool_ends(self) -> None:
        """What is queued is run at the end: nothing that was accepted is lost."""
        executor = PoolExecutor(2)
        executor.resize(0)
        future = executor.submit(pow, 2, 4)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.02)
        executor.shutdown()
        assert future.result(0) == 16

    def test_a_paused_pool_is_forgotten(self) -> None:
        executor = PoolExecutor(2)
        executor.resize(0)
        future = executor.submit(pow, 2, 4)
        del executor
        gc.collect()
        assert future.result(SECONDS) == 16

    def test_a_paused_pool_is_cancelled(self) -> None:
        executor = PoolExecutor(2)
        executor.resize(0)
        future = executor.submit(int)
        executor.shutdown(cancel_futures=True)
        assert future.cancelled()

    def test_from_inside_a_task(self) -> None:
        with PoolExecutor(3) as executor:
            with blocked(executor, 2):
                inside = executor.submit(lambda: executor.resize(2, wait=True, timeout=SECONDS))
                inside.result(SECONDS)
            until(lambda: executor.stats().workers == 2)

    def test_two_that_wait_inside(self) -> None:
        with PoolExecutor(2) as executor:
            meeting = threading.Barrier(2)

            def shrink():
                meeting.wait(SECONDS)
                executor.resize(1, wait=True, timeout=SECONDS)

            for future in [executor.submit(shrink) for _ in range(2)]:
                future.result(SECONDS)

    def test_writing_does_not_end_a_pause(self) -> None:
        with PoolExecutor(2) as executor:
            executor.resize(0)
            executor._max_workers = 3
            assert (executor.max_workers, executor._max_workers) == (0, 3)
            executor.resize(1)

    def test_two_resizes_at_once(self) -> None:
        """One changes the minimum while the other pauses: both count."""
        with PoolExecutor(4) as executor:
            switch = sys.getswitchinterval()
            sys.setswitchinterval(1e-6)
            try:
                for _ in range(200):
                    executor.resize(4, min_workers=0)
                    one = threading.Thread(target=executor.resize, args=(0,))
                    two = threading.Thread(target=executor.resize, kwargs={"min_workers": 1})
                    for thread in (one, two):
                        thread.start()
                    for thread in (one, two):
                        thread.join()
                    assert (executor.max_workers, executor.min_workers) == (0, 1)
            finally:
                sys.setswitchinterval(switch)

    def test_minimum(self) -> None:
        with PoolExecutor(4, idle_timeout=0.02) as executor:
            executor.resize(min_workers=3)
            assert executor.stats().workers == 3
            executor.resize(min_workers=1)
            until(lambda: executor.stats().workers == 1)
            executor._max_workers = 3
            assert (executor.min_workers, executor.max_workers) == (1, 3)

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            ({}, TypeError),
            ({"max_workers": -1}, ValueError),
            ({"max_workers": 1.5}, TypeError),
            ({"max_workers": 1}, ValueError),  # below the minimum
            ({"min_workers": 9}, ValueError),
            ({"max_workers": 3, "wait": True, "timeout": -1}, ValueError),
            ({"max_workers": 3, "wait": True, "timeout": float("nan")}, ValueError),
            ({"max_workers": 3, "timeout": 1}, ValueError),  # without wait
        ],
    )
    def test_refused_changes_nothing(self, words, error) -> None:
        with PoolExecutor(4, min_workers=2) as executor:
            before = executor.stats()
            with pytest.raises(error):
                executor.resize(**words)
            assert executor.stats() == before

    def test_after_the_end(self) -> None:
        executor = PoolExecutor(1)
        executor.shutdown()
        with pytest.raises(RuntimeError, match="cannot resize after shutdown"):
            executor.resize(2)

    def test_in_a_running_loop(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            with PoolExecutor(1) as executor:
                loop.set_default_executor(executor)
                executor.resize(0)
                futures = [loop.run_in_executor(None, abs, -n) for n in range(10)]
                executor.resize(4)
                assert await asyncio.gather(*futures) == list(range(10))

        asyncio.run(main())

    def test_never_more_than_the_limit(self) -> None:
        """8 producers, resizes up and down all the while."""
        lock, running, peak, over = threading.Lock(), 0, 0, []
        with PoolExecutor(4) as executor:
            limit = [4]  # the largest that holds for a task that runs now

            def task():
                nonlocal running, peak
                with lock:
                    running += 1
                    peak = max(peak, running)
                time.sleep(0)
                with lock:
                    running -= 1

            done = threading.Event()

            def produce():
                while not done.is_set():
                    concurrent.futures.wait([executor.submit(task) for _ in range(20)])

            producers = [threading.Thread(target=produce) for _ in range(8)]
            for producer in producers:
                producer.start()
            for size in [1, 4, 2, 3, 1, 4] * 5:
                executor.resize(size, wait=True, timeout=SECONDS)
                with lock:
                    peak = running
                time.sleep(0.005)
                with lock:
                    if peak > size or executor.stats().workers > size:
                        over.append((peak, size))
            done.set()
            for producer in producers:
                producer.join(SECONDS)
            assert over == []
            assert limit == [4]
            stats = at_rest(executor)
            assert stats.submitted == stats.completed
            assert stats.largest_workers == 4

    def test_random_resizes_under_load(self) -> None:
        """From several threads, with expiry on: nothing is lost, and the number is right."""
        with PoolExecutor(4, idle_timeout=0.0005) as executor:
            switch = sys.getswitchinterval()
            sys.setswitchinterval(1e-5)
            try:
                done = threading.Event()
                results: list[bool] = []

                def produce(seed: int) -> None:
                    source = random.Random(seed)
                    while not done.is_set():
                        numbers = [source.randrange(1000) for _ in range(source.randrange(1, 20))]
                        futures = [executor.submit(abs, -n) for n in numbers]
                        found = [future.result(60) for future in futures]
                        results.append(found == numbers)

                def resize(seed: int) -> None:
                    source = random.Random(seed)
                    for _ in range(RESIZES // 3):
                        executor.resize(source.randrange(0, 6))

                producers = [threading.Thread(target=produce, args=(n,)) for n in range(3)]
                resizers = [threading.Thread(target=resize, args=(n,)) for n in range(3)]
                for thread in producers + resizers:
                    thread.start()
                for thread in resizers:
                    thread.join()
                executor.resize(3, min_workers=2)
                done.set()
                for thread in producers:
                    thread.join()
            finally:
                sys.setswitchinterval(switch)
            assert results
            assert all(results)
            until(lambda: executor.stats().workers == 2)
            stats = at_rest(executor)
            assert stats.submitted == stats.completed
            assert stats.largest_workers <= 5
            with blocked(executor, 3):
                assert executor.stats().workers == 3


class TestContext:
    def make(self, log, fail=None):
        lock = threading.Lock()

        @contextlib.contextmanager
        def context():
            me = threading.current_thread()
            if fail == "enter":
                raise ValueError("no context")
            with lock:
                log.append(("enter", me))
            yield f"context of {me.name}"
            with lock:
                log.append(("exit", me))
            assert threading.current_thread() is me
            if fail == "exit":
                raise ValueError("no exit")

        return context

    def test_around_all_tasks(self) -> None:
        log: list[tuple[str, threading.Thread]] = []

        def initialize():
            log.append(("initialize", threading.current_thread()))

        context = self.make(log)
        with PoolExecutor(2, "c", initialize, min_workers=1, worker_context=context) as executor:
            workers = {executor.submit(current_worker).result(SECONDS) for _ in range(10)}
            for worker in workers:
                assert worker.context == f"context of {worker.name}"
                assert worker.pool is executor
            executor.resize(2)
            with blocked(executor, 2):
                pass
            first = list(executor._threads)
            executor.resize(1, wait=True)
        assert [kind for kind, _ in log].count("initialize") == 2
        for thread in first:
            assert [kind for kind, by in log if by is thread] == ["initialize", "enter", "exit"]

    def test_left_after_idling(self) -> None:
        log: list[tuple[str, threading.Thread]] = []
        with PoolExecutor(1, idle_timeout=0.01, worker_context=self.make(log)) as executor:
            executor.submit(int).result(SECONDS)
            until(lambda: len(log) == 2)
            executor.submit(int).result(SECONDS)
        assert [kind for kind, _ in log] == ["enter", "exit"] * 2

    def test_made_for_nothing(self) -> None:
        log: list[tuple[str, threading.Thread]] = []
        with PoolExecutor(3, min_workers=3, worker_context=self.make(log)):
            pass
        assert sorted(kind for kind, _ in log) == ["enter"] * 3 + ["exit"] * 3

    def test_left_when_the_pool_is_forgotten(self) -> None:
        log: list[tuple[str, threading.Thread]] = []
        executor = PoolExecutor(1, worker_context=self.make(log))
        executor.submit(int).result(SECONDS)
        del executor
        until(lambda: len(log) == 2)

    def test_failing_to_enter(self, caplog) -> None:
        with PoolExecutor(1, worker_context=self.make([], "enter")) as executor:
            future = executor.submit(int)
            with pytest.raises(BrokenThreadPool):
                future.result(SECONDS)
            with pytest.raises(BrokenThreadPool):
                executor.submit(int)
            with pytest.raises(BrokenThreadPool):
                executor.resize(2)
        assert "no context" in caplog.text

    def test_failing_to_leave(self, caplog) -> None:
        with PoolExecutor(1, worker_context=self.make([], "exit")) as executor:
            assert executor.submit(pow, 2, 2).result(SECONDS) == 4
        assert "exception on leaving the context of a worker" in caplog.text

    def test_current_worker(self) -> None:
        assert current_worker() is None
        seen = []
        with PoolExecutor(1, "name", lambda: seen.append(current_worker())) as executor:
            worker = executor.submit(current_worker).result(SECONDS)
            assert (worker.name, worker.pool, worker.context) == ("name_0", executor, None)
            in_callback = queue.Queue()
            with blocked(executor, 1):
                future = executor.submit(int)
                future.add_done_callback(lambda future: in_callback.put(current_worker()))
            assert in_callback.get(timeout=SECONDS) == worker
        assert seen[0].name == "name_0"
        assert seen[0].pool is executor
        with concurrent.futures.ThreadPoolExecutor(1) as standard:
            assert standard.submit(current_worker).result(SECONDS) is None


class TestDrain:
    def test_waits_for_all_and_what_they_submit(self) -> None:
        ran = []
        with PoolExecutor(2) as executor:

            def nest(depth):
                time.sleep(0.001)
                ran.append(depth)
                if depth:
                    executor.submit(nest, depth - 1)

            for _ in range(5):
                executor.submit(nest, 10)
            executor.drain()
            assert len(ran) == 55
            executor.drain(0)
            assert executor.submit(int).result(SECONDS) == 0  # still open

    def test_time_out(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor, 1):
            with pytest.raises(TimeoutError):
                executor.drain(0.02)
            with pytest.raises(TimeoutError):
                executor.drain(0)

    def test_nothing_to_wait_for(self) -> None:
        with PoolExecutor(1) as executor:
            executor.drain(0)
        executor.drain(0)

    def test_from_inside(self) -> None:
        with PoolExecutor(3) as executor:
            ran, meeting = [], threading.Barrier(2)

            def drain():
                executor.submit(ran.append, 1)
                meeting.wait(SECONDS)
                executor.drain(SECONDS)
                return len(ran)

            futures = [executor.submit(drain) for _ in range(2)]
            assert [future.result(SECONDS) for future in futures] == [2, 2]

    def test_from_the_only_worker(self) -> None:
        with PoolExecutor(1) as executor:

            def drain():
                executor.submit(int)
                executor.drain(SECONDS)

            with pytest.raises(NoWorkersAvailable, match="all workers wait"):
                executor.submit(drain).result(SECONDS)

    def test_beside_another_that_waits_inside(self) -> None:
        with PoolExecutor(2) as executor:
            meeting = threading.Barrier(2)

            def drain():
                meeting.wait(SECONDS)
                executor.drain(SECONDS)

            def end():
                meeting.wait(SECONDS)
                executor.shutdown(timeout=SECONDS)

            for future in [executor.submit(drain), executor.submit(end)]:
                future.result(SECONDS)

    def test_nothing_left_for_lack_of_a_thread(self, monkeypatch) -> None:
        """The request is refused while somebody waits for it."""
        with PoolExecutor(1) as executor:
            drainer = threading.Thread(target=executor.drain)
            start = threading.Thread.start

            def fail(thread):
                monkeypatch.undo()
                start(drainer)
                time.sleep(0.05)
                raise RuntimeError("can't start new thread")

            monkeypatch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="can't start"):
                executor.submit(int)
            drainer.join(SECONDS)
            assert not drainer.is_alive()

    def test_paused_while_waiting(self) -> None:
        with PoolExecutor(1) as executor:
            raised = []

            def drain():
                try:
                    executor.drain(SECONDS)
                except NoWorkersAvailable as error:
                    raised.append(error)

            with blocked(executor, 1):
                queued = executor.submit(int)
                drainer = threading.Thread(target=drain)
                drainer.start()
                executor.resize(0)
            drainer.join(SECONDS)
            assert len(raised) == 1
            executor.resize(1)
            assert queued.result(SECONDS) == 0

    def test_beside_expiry(self) -> None:
        """Workers that leave are as good at rest as those that are parked."""
        with PoolExecutor(4, idle_timeout=0) as executor:
            for _ in range(200):
                futures = [executor.submit(int) for _ in range(4)]
                executor.drain(SECONDS)
                assert all(future.done() for future in futures)

    @pytest.mark.parametrize("timeout", [-1, "1", float("nan")])
    def test_bad_time_out(self, timeout) -> None:
        with PoolExecutor(1) as executor, pytest.raises((TypeError, ValueError)):
            executor.drain(timeout)


class TestEnds:
    def test_shutdown_with_a_time_out(self) -> None:
        executor = PoolExecutor(2)
        with blocked(executor, 2):
            queued = executor.submit(pow, 2, 3)
            for timeout in (0, 0.02):
                with pytest.raises(TimeoutError):
                    executor.shutdown(timeout=timeout)
            with pytest.raises(RuntimeError, match="after shutdown"):
                executor.submit(int)
        executor.shutdown(timeout=SECONDS)
        executor.shutdown(timeout=0)
        assert queued.result(0) == 8

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            ({"timeout": -1}, ValueError),
            ({"timeout": "1"}, TypeError),
            ({"timeout": 1, "wait": False}, ValueError),
        ],
    )
    def test_refused_shutdown(self, words, error) -> None:
        with PoolExecutor(1) as executor:
            with pytest.raises(error):
                executor.shutdown(**words)
            assert executor.submit(int).result(SECONDS) == 0

    def test_time_out_of_one_whose_queue_was_replaced(self) -> None:
        executor = PoolExecutor(2)
        executor._work_queue = queue.Queue()
        with blocked(executor, 2):
            with pytest.raises(TimeoutError):
                executor.shutdown(timeout=0.02)
        executor.shutdown(timeout=SECONDS)

    def test_daemon_threads(self) -> None:
        with PoolExecutor(2, daemon=True) as executor, blocked(executor, 2):
            assert all(thread.daemon for thread in executor._threads)


def child(source: str, **words) -> subprocess.Popen[str]:
    """A program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **words,
    )


def output(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            raise AssertionError(process.communicate()[1]) from None
    return process.returncode, out, err


class TestProcess:
    DAEMON = """
        import threading, sys
        from concurrent.futures import ThreadPoolExecutor
        from poolexecutor import PoolExecutor
        executor = PoolExecutor(3, **{words})
        started = threading.Event()
        def stuck():
            started.set()
            threading.Event().wait({seconds})
        futures = [executor.submit(stuck) for _ in range(5)]
        executor.submit(int)
        started.wait()
        print("end")
    """

    def test_daemon_at_exit(self) -> None:
        """gh-80961: neither waits for running tasks nor prints noise."""
        source = self.DAEMON.format(words={"daemon": True}, seconds="")
        assert output(child(source)) == (0, "end\n", "")

    def test_waits_otherwise(self) -> None:
        with pytest.raises(AssertionError):
            output(child(self.DAEMON.format(words={}, seconds="")), 2)

    INTERRUPT = """
        import os, signal, threading, time
        from poolexecutor import PoolExecutor
        ran, entered, gate = [], threading.Event(), threading.Event()
        def task():
            entered.set()
            gate.wait(20)
            ran.append("running one")
        def press():
            time.sleep(0.2)  # until the main thread waits where it is told to
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            gate.set()
        try:
            with PoolExecutor(1, **{words}) as executor:
                executor.submit(task)
                entered.wait()
                queued = [executor.submit(ran.append, "queued") for _ in range(3)]
                threading.Thread(target=press).start()
                {body}
        except KeyboardInterrupt:
            ran.append("interrupted")
        print(ran, sum(future.cancelled() for future in queued))
    """

    @pytest.mark.parametrize("body", ["gate.wait(20)", "pass"], ids=["in the body", "at the end"])
    def test_interrupt_cancels(self, body) -> None:
        """gh-111358: one Ctrl-C, and what has not started is cancelled."""
        source = self.INTERRUPT.format(words={"cancel_on_interrupt": True}, body=body)
        assert output(child(source)) == (0, "['running one', 'interrupted'] 3\n", "")

    def test_interrupt_by_default(self) -> None:
        """As in the standard pool: all that is queued is run."""
        source = self.INTERRUPT.format(words={}, body="gate.wait(20)")
        code, out, err = output(child(source))
        assert (code, err) == (0, "")
        assert out == "['running one', 'queued', 'queued', 'queued', 'interrupted'] 0\n"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.parametrize("state", ["paused", "shrinking", "expiring", "ahead"])
    def test_fork(self, state) -> None:
        """The child's copy works, whatever the parent's was about to do."""
        source = f"""
            import os, threading, warnings
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
            from poolexecutor import BrokenThreadPool, PoolExecutor
            state = {state!r}
            ahead = 2 if state == "ahead" else 0
            executor = PoolExecutor(3, min_workers=ahead, idle_timeout=0.001)
            gate = threading.Event()
            busy = [executor.submit(gate.wait) for _ in range(3)]
            queued = executor.submit(pow, 2, 5)
            if state == "paused":
                executor.resize(0)
            if state == "shrinking":
                executor.resize(1)
            pid = os.fork()
            if pid == 0:
                try:
                    queued.result(10)
                except BrokenThreadPool:
                    pass
                else:
                    os._exit(3)
                executor.resize(2)
                if executor.submit(pow, 2, 6).result(10) != 64:
                    os._exit(4)
                executor.drain(10)
                executor.shutdown(timeout=10)
                os._exit(0)
            gate.set()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            executor.resize(2)
            print(code, queued.result(10))
            executor.shutdown(timeout=10)
        """
        assert output(child(source)) == (0, "0 32\n", "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_fork_of_a_bounded_pool(self) -> None:
        """The child's queue is empty: all places are free, and no more than there were."""
        source = """
            import os, queue, threading, warnings
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
            from poolexecutor import PoolExecutor
            executor = PoolExecutor(1, max_queue_size=2, on_full="raise")
            entered, gate = threading.Event(), threading.Event()
            executor.submit(lambda: (entered.set(), gate.wait()))
            entered.wait()
            executor.submit(int)
            executor.submit(int)
            pid = os.fork()
            if pid == 0:
                entered, gate = threading.Event(), threading.Event()
                executor.submit(lambda: (entered.set(), gate.wait()))
                entered.wait(10)
                executor.submit(int)
                executor.submit(int)
                try:
                    executor.submit(int)
                except queue.Full:
                    gate.set()
                    executor.shutdown()
                    os._exit(0)
                os._exit(3)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            gate.set()
            executor.shutdown()
        """
        assert output(child(source)) == (0, "0\n", "")

    @pytest.mark.skipif(
        sys.version_info[:3] in {(3, 12, 0), (3, 12, 1)},
        reason="gh-113964: no thread can be started when the main thread has ended",
    )
    def test_exit_while_paused(self) -> None:
        """What was accepted is run before the interpreter goes."""
        source = """
            from poolexecutor import PoolExecutor
            executor = PoolExecutor(2)
            executor.submit(int).result()
            executor.resize(0, wait=True)
            executor.submit(print, "ran")
        """
        assert output(child(source)) == (0, "ran\n", "")


class TestStats:
    def test_a_walk(self) -> None:
        with PoolExecutor(3, min_workers=1) as executor:
            until(lambda: executor.stats().idle == 1)
            assert executor.stats() == PoolStats(
                workers=1, idle=1, busy=0, queued=0, max_workers=3, min_workers=1,
                largest_workers=1, submitted=0, completed=0, failed=0, cancelled=0, expired=0,
                refused=0,
            )  # fmt: skip
            with blocked(executor, 3):
                queued = [executor.submit(int, text) for text in ("1", "x", "2")]
                queued[2].cancel()
                stats = executor.stats()
                assert (stats.workers, stats.idle, stats.busy, stats.queued) == (3, 0, 3, 2)
                assert (stats.submitted, stats.cancelled) == (6, 1)
            concurrent.futures.wait(queued)
            stats = at_rest(executor)
            assert (stats.completed, stats.failed, stats.cancelled) == (4, 1, 1)
            assert (stats.submitted, stats.largest_workers) == (6, 3)
            assert isinstance(queued[1].exception(), ValueError)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                executor.submit(int)
        stats = executor.stats()
        assert (stats.workers, stats.refused, stats.submitted) == (0, 2, 6)

    def test_who_was_woken_is_counted(self) -> None:
        with PoolExecutor(1) as executor:
            for number in range(1, 1000):
                executor.submit(int).result(SECONDS)
                assert executor.stats().completed == number

    def test_refused_for_lack_of_a_thread(self, monkeypatch) -> None:
        def fail(thread):
            raise RuntimeError("can't start new thread")

        with PoolExecutor(1) as executor:
            monkeypatch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="can't start"):
                executor.submit(int)
            stats = executor.stats()
            assert (stats.refused, stats.submitted, stats.failed, stats.queued) == (1, 0, 0, 0)
            monkeypatch.undo()
            executor.submit(int).result(SECONDS)

    def test_never_too_many(self) -> None:
        """While it moves, each count is at most the true one."""
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with PoolExecutor(3) as executor:
                accepted = [0]
                done = threading.Event()
                wrong = []

                def look():
                    while not done.is_set():
                        stats = executor.stats()
                        if stats.submitted > accepted[0] + 1:
                            wrong.append((stats, accepted[0]))
                        if stats.idle + stats.busy > stats.workers:
                            wrong.append(stats)

                looker = threading.Thread(target=look)
                looker.start()
                futures = []
                for number in range(20000):
                    accepted[0] = number
                    futures.append(executor.submit(int))
                concurrent.futures.wait(futures)
                done.set()
                looker.join(SECONDS)
                assert wrong == []
                assert at_rest(executor).completed == 20000
        finally:
            sys.setswitchinterval(switch)

    def test_tasks_and_callbacks_that_raise(self, caplog) -> None:
        def fail(*args):
            raise SystemExit(3)

        caplog.set_level(logging.CRITICAL + 1)
        with PoolExecutor(2) as executor:
            with blocked(executor, 2):
                futures = [executor.submit(fail) for _ in range(50)]
                for future in futures:
                    future.add_done_callback(fail)
            stats = at_rest(executor)
            assert (stats.failed, stats.completed, stats.workers) == (50, 2, 2)
            assert all(isinstance(future.exception(), SystemExit) for future in futures)


class PoolMachine(RuleBasedStateMachine):
    """Any order of acts over the real pool; its counts are checked against a model."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = PoolExecutor(2, idle_timeout=0.001)
        self.gate = threading.Event()
        self.blocked: list[concurrent.futures.Future] = []
        self.others: list[concurrent.futures.Future] = []
        self.paused = False
        self.limit = 2
        self.largest = 2

    @rule(kind=st.sampled_from([int, lambda: int("x")]))
    def submit(self, kind) -> None:
        self.others.append(self.executor.submit(kind))

    @rule()
    def block(self) -> None:
        self.blocked.append(self.executor.submit(self.gate.wait))

    @rule()
    def release(self) -> None:
        self.gate.set()
        self.gate = threading.Event()
        waiting, self.blocked = self.blocked, []
        self.others += waiting

    @precondition(lambda self: self.others)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        data.draw(st.sampled_from(self.others)).cancel()

    @rule(limit=st.integers(0, 5), minimum=st.integers(0, 2))
    def resize(self, limit, minimum) -> None:
        if limit == 0:
            self.executor.resize(0)
        elif minimum <= limit:
            self.executor.resize(limit, min_workers=minimum)
            self.limit = limit
            self.largest = max(self.largest, limit)
        else:
            with pytest.raises(ValueError, match="must not be greater"):
                self.executor.resize(limit, min_workers=minimum)
            return
        self.paused = limit == 0

    @precondition(lambda self: not self.blocked)
    @rule()
    def drain(self) -> None:
        try:
            self.executor.drain(SECONDS)
        except NoWorkersAvailable:
            assert self.paused
            return
        assert all(future.done() for future in self.others)
        stats = self.executor.stats()
        assert stats.submitted == len(self.others)
        assert stats.cancelled == sum(future.cancelled() for future in self.others)
        failed = [f for f in self.others if not f.cancelled() and f.exception()]
        assert stats.failed == len(failed)
        assert stats.submitted == stats.completed + stats.failed + stats.cancelled

    @invariant()
    def counts_are_in_bounds(self) -> None:
        stats = self.executor.stats()
        assert stats.submitted <= len(self.others) + len(self.blocked)
        assert stats.idle + stats.busy <= stats.workers
        assert stats.workers <= stats.largest_workers <= self.largest
        assert stats.max_workers == (0 if self.paused else self.limit)
        assert self.executor._max_workers == self.limit

    def teardown(self) -> None:
        self.release()
        if self.paused:
            self.executor.resize(2, min_workers=0)
        self.executor.shutdown(timeout=SECONDS)
        for future in self.others:
            assert future.done()
            if not future.cancelled():
                future.exception()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
