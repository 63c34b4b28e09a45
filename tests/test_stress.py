"""Many threads, tiny switch intervals: nothing is lost, nothing runs twice."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from poolexecutor import PoolExecutor

REQUESTS = int(os.environ.get("STRESS_REQUESTS", "1000000"))
PRODUCERS = 4


@pytest.fixture
def tiny_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, target) -> None:
    """Call `target` in as many threads; raise what one of them raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("tiny_switches")
def test_a_million_short_requests() -> None:
    """Each producer checks every result of its own; the workers count the runs."""
    runs = itertools.count()
    burst = 500

    def task(number: int) -> int:
        next(runs)
        return number

    with PoolExecutor(4) as executor:

        def produce() -> None:
            for _ in range(REQUESTS // PRODUCERS // burst):
                futures = [executor.submit(task, n) for n in range(burst)]
                assert [future.result(60) for future in futures] == list(range(burst))

        in_threads(PRODUCERS, produce)
    assert next(runs) == REQUESTS // PRODUCERS // burst * burst * PRODUCERS


@pytest.mark.usefixtures("tiny_switches")
def test_idle_and_arriving_all_the_time() -> None:
    """One request at a time from several threads: each meets workers that just go idle."""
    with PoolExecutor(3) as executor:

        def produce() -> None:
            for number in range(3000):
                assert executor.submit(abs, -number).result(60) == number

        in_threads(PRODUCERS, produce)
        assert len(executor._threads) <= 3


@pytest.mark.usefixtures("tiny_switches")
def test_blocked_tasks_get_all_workers() -> None:
    """Tasks that wait for each other, right after a moment of idleness."""
    with PoolExecutor(4) as executor:
        for _ in range(300):
            executor.submit(int).result(60)
            together = threading.Barrier(4)
            for future in [executor.submit(together.wait, 60) for _ in range(4)]:
                future.result(60)


@pytest.mark.usefixtures("tiny_switches")
def test_cancel_against_run() -> None:
    """Every request is either run once or cancelled, and its callbacks are called once."""
    ran, called = [], []
    with PoolExecutor(4) as executor:

        def produce() -> None:
            for number in range(5000):
                future = executor.submit(ran.append, None)
                future.add_done_callback(called.append)
                if number % 2:
                    future.cancel()
                futures.append(future)

        futures: list[concurrent.futures.Future[None]] = []
        in_threads(PRODUCERS, produce)
        assert not concurrent.futures.wait(futures, 60).not_done
    assert len(ran) == sum(not future.cancelled() for future in futures)
    assert len(called) == len(set(called)) == len(futures)


@pytest.mark.usefixtures("tiny_switches")
def test_standard_waiting_against_settling() -> None:
    with PoolExecutor(4) as executor:

        def produce() -> None:
            for _ in range(40):
                futures = [executor.submit(int) for _ in range(100)]
                futures[50].cancel()
                assert len(list(concurrent.futures.as_completed(futures, 60))) == 100
                futures = [executor.submit(int) for _ in range(100)]
                assert not concurrent.futures.wait(futures, 60).not_done

        in_threads(PRODUCERS, produce)


@pytest.mark.usefixtures("tiny_switches")
def test_shutdown_waits_for_a_worker_that_another_thread_starts() -> None:
    """What this thread submitted is done after its shutdown, whoever was to start the worker."""
    for _ in range(500):
        executor, together = PoolExecutor(4), threading.Barrier(2)

        def submit(executor=executor, together=together) -> None:
            together.wait()
            try:
                executor.submit(int)
            except RuntimeError:
                pass

        thread = threading.Thread(target=submit)
        thread.start()
        together.wait()
        future = executor.submit(int)
        executor.shutdown(wait=True)
        assert future.done()
        thread.join()


@pytest.mark.usefixtures("tiny_switches")
def test_shutdown_against_submit() -> None:
    """What was accepted is finished; what was refused never runs."""
    for _ in range(200):
        executor, ran, accepted = PoolExecutor(2), [], []

        def produce(executor=executor, ran=ran, accepted=accepted) -> None:
            try:
                while True:
                    accepted.append(executor.submit(ran.append, None))
            except RuntimeError:
                pass

        def close(executor=executor, ran=ran) -> None:
            while not ran:
                pass
            executor.shutdown()

        threads = [threading.Thread(target=t) for t in (produce, produce, close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not concurrent.futures.wait(accepted, 60).not_done
        assert len(ran) == len(accepted)
