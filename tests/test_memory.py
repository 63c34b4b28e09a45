"""What a request weighs, and what an idle pool does: nothing."""

from __future__ import annotations

import gc
import resource
import threading
import time
import tracemalloc
import weakref

from poolexecutor import PoolExecutor


def test_a_pending_request_is_small() -> None:
    """At most 420 bytes, its future included; the standard pool takes about 1800."""
    gate, count = threading.Event(), 5000
    with PoolExecutor(1) as executor:
        executor.submit(gate.wait)
        futures = [None] * count
        gc.collect()
        tracemalloc.start()
        try:
            for index in range(count):
                futures[index] = executor.submit(int, index)  # type: ignore[call-overload]
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        gate.set()
    assert used / count <= 420


def test_idle_workers_sleep() -> None:
    """100 idle workers: no wake-up, no CPU time."""
    with PoolExecutor(100) as executor:
        gate = threading.Barrier(101)
        for _ in range(100):
            executor.submit(gate.wait)
        gate.wait()
        time.sleep(0.5)  # until the last of them has parked, which no pool tells
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(1)
        after = resource.getrusage(resource.RUSAGE_SELF)
    # This thread's own sleep is one switch; pytest-timeout's thread may add one.
    assert after.ru_nvcsw - before.ru_nvcsw <= 3
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.02


def test_a_closed_pool_goes_without_the_collector() -> None:
    gc.disable()
    try:
        with PoolExecutor(2) as executor:
            executor.submit(int).result()
            threads = [weakref.ref(thread) for thread in executor._threads]
        workforce = weakref.ref(executor._PoolExecutor__workforce)
        gone = weakref.ref(executor)
        del executor
        assert (gone(), workforce()) == (None, None)
        assert [thread() for thread in threads] == [None] * len(threads)
    finally:
        gc.enable()


def test_idle_workers_hold_nothing_of_their_last_task() -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    with PoolExecutor(1) as executor:
        assert executor.submit(lambda it: it, thing).result() is thing
        del thing
        executor.submit(int).result()
        assert gone() is None


def test_a_refusal_for_lack_of_a_thread_leaves_no_cycle(monkeypatch) -> None:
    """What could not be started is gone with its exception, without the garbage collector."""

    class NoThreadError(RuntimeError):
        pass

    def fail(thread):
        raise NoThreadError("can't start new thread")

    with PoolExecutor(1) as executor:
        monkeypatch.setattr(threading.Thread, "start", fail)
        gc.disable()
        try:
            try:
                executor.submit(int)
            except NoThreadError as error:
                reference = weakref.ref(error)
            assert reference() is None
        finally:
            gc.enable()
        monkeypatch.undo()
