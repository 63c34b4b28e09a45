"""What the jobs of gevent and eventlet have in common: a program on green threads only."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time


def program(pool, system_thread, tick):
    """Uses each method of the pool; `system_thread` tells which one a task runs in.

    `tick` is a context manager for the time in which another green thread must get its turns.
    """
    here = system_thread()
    started = time.monotonic()
    with tick():
        with pool(4) as executor:
            futures = [executor.submit(nap, n, 0.2) for n in range(8)]
            assert [future.result() for future in futures] == list(range(8))
    # One after the other they would take 1.6; the room is for a machine that is busy.
    assert time.monotonic() - started < 1.2
    with pool(4) as executor:
        assert set(executor.map(lambda _: system_thread(), range(8))) == {here}
        results_arrive(executor)
        waits_end(executor)
        callbacks_are_made(executor)
        a_condition_excludes(executor)
        late = executor.submit(nap, 1, 0.05)
    assert late.done()  # the end of the block has waited
    assert late.result() == 1
    shutdown_ends(pool)


def nap(number, seconds):
    time.sleep(seconds)
    return number


def results_arrive(executor):
    assert list(executor.map(nap, range(8), [0.01] * 8)) == list(range(8))
    failed = executor.submit(int, "x")
    try:
        failed.result(timeout=5)
    except ValueError:
        pass
    else:
        raise AssertionError("the exception was lost")
    assert type(failed.exception()) is ValueError


def waits_end(executor):
    quick, slow = executor.submit(nap, 1, 0.01), executor.submit(nap, 2, 0.2)
    done, pending = concurrent.futures.wait(
        [quick, slow], return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert (done, pending) == ({quick}, {slow})
    try:
        slow.result(timeout=0.01)
    except concurrent.futures.TimeoutError:
        pass
    else:
        raise AssertionError("the timeout was not noticed")
    assert [f.result() for f in concurrent.futures.as_completed([slow, quick])] == [1, 2]
    assert concurrent.futures.wait([slow, quick]).done == {slow, quick}


def callbacks_are_made(executor):
    called = queue.Queue()
    future = executor.submit(nap, 1, 0.01)
    future.add_done_callback(called.put)
    assert called.get(timeout=5) is future
    future.add_done_callback(called.put)
    assert called.get_nowait() is future


def a_condition_excludes(executor):
    gate = threading.Event()
    future = executor.submit(gate.wait)
    with future._condition:
        gate.set()
        time.sleep(0.1)  # the worker has its turn, and must not get past the condition
        assert not future.done(), "settled while its condition was held"
    assert future.result(timeout=5)


def shutdown_ends(pool):
    executor = pool(1)
    running = executor.submit(nap, 1, 0.05)
    while not running.running():
        time.sleep(0)
    queued = executor.submit(nap, 2, 0.05)
    executor.shutdown(wait=True, cancel_futures=True)
    assert running.result() == 1
    assert queued.cancelled()
    try:
        executor.submit(int)
    except RuntimeError:
        pass
    else:
        raise AssertionError("work was taken after the shutdown")
