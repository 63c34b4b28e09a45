"""Tasks that wait for work of their own pool. Each case is a function of the pool's class.

    python -m tests.nested

runs all of them on the standard pool, and prints the names of those that come to an end there.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from poolexecutor import ResultQueue

SECONDS = 10.0
CASES = {}


def case(function):
    """Register a case: it returns if all went well, raises or hangs otherwise."""
    CASES[function.__name__] = function
    return function


def double(number):
    return number * 2


# --- the ways of waiting ------------------------------------------------------------------------


def by_result(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    return [future.result() for future in futures]


def by_result_in_time(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    return [future.result(SECONDS) for future in futures]


def by_exception(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    assert [future.exception() for future in futures] == [None] * len(futures)
    return [future.result() for future in futures]


def by_exception_in_time(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    assert [future.exception(SECONDS) for future in futures] == [None] * len(futures)
    return [future.result() for future in futures]


def by_wait(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    assert not concurrent.futures.wait(futures).not_done
    return [future.result() for future in futures]


def by_wait_for_the_first(pool, fn, numbers):
    futures = [pool.submit(fn, number) for number in numbers]
    left = set(futures)
    while left:
        left = concurrent.futures.wait(left, SECONDS, return_when="FIRST_COMPLETED").not_done
    return [future.result() for future in futures]


def by_as_completed(pool, fn, numbers):
    futures = {pool.submit(fn, number): at for at, number in enumerate(numbers)}
    found = {
        futures[future]: future.result() for future in concurrent.futures.as_completed(futures)
    }
    return [found[at] for at in sorted(found)]


def by_map(pool, fn, numbers):
    return list(pool.map(fn, numbers))


def by_map_in_time(pool, fn, numbers):
    return list(pool.map(fn, numbers, timeout=SECONDS))


def by_map_unordered(pool, fn, numbers):
    if type(pool) is ThreadPoolExecutor:
        return by_map(pool, fn, numbers)
    found = dict(pool.map_unordered(lambda pair: (pair[0], fn(pair[1])), enumerate(numbers)))
    return [found[at] for at in sorted(found)]


def by_result_queue(pool, fn, numbers):
    results = ResultQueue(pool)
    futures = {results.submit(fn, number): at for at, number in enumerate(numbers)}
    found = {futures[future]: future.result() for future in results}
    return [found[at] for at in sorted(found)]


WAYS = {name: value for name, value in dict(globals()).items() if name.startswith("by_")}


def register_ways(way, wait_by) -> None:
    def one_worker(cls):
        with cls(1) as pool:
            task = pool.submit(wait_by, pool, double, range(5))
            assert task.result(SECONDS) == [0, 2, 4, 6, 8]

    def lock_wanted_by_strangers(cls):
        """What is awaited was queued behind tasks that want a lock that the waiting one holds."""
        lock = threading.Lock()

        def stranger():
            with lock:
                pass

        def holder(pool):
            with lock:
                strangers = [pool.submit(stranger) for _ in range(5)]
                for _ in range(3):
                    assert wait_by(pool, double, range(3)) == [0, 2, 4]
            return strangers

        with cls(2) as pool:
            for future in pool.submit(holder, pool).result(SECONDS):
                future.result(SECONDS)

    for function in (one_worker, lock_wanted_by_strangers):
        CASES[f"{function.__name__}_{way}"] = function


for _way, _wait_by in WAYS.items():
    register_ways(_way, _wait_by)


# --- depth --------------------------------------------------------------------------------------


def levels(pool, depth):
    return 0 if depth == 0 else 1 + pool.submit(levels, pool, depth - 1).result()


def fib(pool, number):
    if number < 2:
        return number
    one, two = pool.submit(fib, pool, number - 1), pool.submit(fib, pool, number - 2)
    return one.result() + two.result()


@case
def hundred_levels(cls):
    with cls(1) as pool:
        assert pool.submit(levels, pool, 100).result(SECONDS) == 100


@case
def thousand_levels(cls):
    """More than fit on one stack."""
    with cls(2) as pool:
        assert pool.submit(levels, pool, 1000).result(60) == 1000


@case
def fib_one_worker(cls):
    with cls(1) as pool:
        assert pool.submit(fib, pool, 12).result(SECONDS) == 144


@case
def fib_two_workers(cls):
    with cls(2) as pool:
        assert pool.submit(fib, pool, 12).result(SECONDS) == 144


@case
def map_in_map(cls):
    def tree(depth):
        return 1 if depth == 0 else sum(pool.map(tree, [depth - 1] * 3))

    with cls(2) as pool:
        assert pool.submit(tree, 5).result(SECONDS) == 3**5


# --- the pool around ----------------------------------------------------------------------------


@case
def at_shutdown(cls):
    """What was accepted is finished before `shutdown` returns."""
    accepted = threading.Event()
    found = []

    def outer():
        inner = pool.submit(double, 4)
        accepted.set()
        while not pool._shutdown:
            time.sleep(0.001)
        concurrent.futures.wait([inner])
        found.append(inner.result())

    pool = cls(1)
    pool.submit(outer)
    accepted.wait(SECONDS)
    pool.shutdown(wait=True)
    assert found == [8]


@case
def from_a_done_callback(cls):
    found = []
    called = threading.Event()

    def callback(future):
        found.append(pool.submit(double, 3).result())
        called.set()

    with cls(1) as pool:
        gate = threading.Event()
        future = pool.submit(gate.wait, SECONDS)
        future.add_done_callback(callback)
        gate.set()
        assert called.wait(SECONDS)
    assert found == [6]


@case
def from_an_initializer(cls):
    pools = []
    ready = threading.Event()

    def initialize():
        ready.wait(SECONDS)
        assert pools[0].submit(double, 1).result() == 2

    with cls(1, initializer=initialize) as pool:
        pools.append(pool)
        future = pool.submit(double, 5)
        ready.set()
        assert future.result(SECONDS) == 10


@case
def running_elsewhere(cls):
    """The awaited task runs, and waits itself, in its own way, for one that is queued."""
    gate = threading.Event()

    def waiting_for_the_gate():
        assert gate.wait(SECONDS)

    def outer(running):
        pool.submit(gate.set)
        return running.result()

    with cls(2) as pool:
        running = pool.submit(waiting_for_the_gate)
        pool.submit(outer, running).result(SECONDS)


@case
def two_pools(cls):
    with cls(1) as one, cls(1) as two:

        def there_and_back(depth):
            if depth == 0:
                return 0
            here, there = (one, two) if depth % 2 else (two, one)
            assert here is not there
            return 1 + there.submit(there_and_back, depth - 1).result()

        assert one.submit(there_and_back, 7).result(SECONDS) == 7


@case
def pool_in_a_task(cls):
    """A pool is shut down in a task of another one, whose work it waits for."""
    with cls(1) as outer:

        def task():
            with cls(1) as inner:
                return inner.submit(lambda: outer.submit(double, 1).result())

        assert outer.submit(task).result(SECONDS).result() == 2


@case
def when_patched(cls):
    """A tracing library has replaced the standard `submit`."""
    original = ThreadPoolExecutor.submit

    def submit(self, fn, /, *args, **kwargs):
        return original(self, fn, *args, **kwargs)

    ThreadPoolExecutor.submit = submit
    try:
        with cls(1) as pool:
            assert pool.submit(fib, pool, 6).result(SECONDS) == 8
    finally:
        ThreadPoolExecutor.submit = original


def ends_on_standard_pool() -> list[str]:
    """The cases that end well on the standard pool within two seconds, all at the same time."""
    ended = []

    def run(name):
        CASES[name](ThreadPoolExecutor)
        ended.append(name)

    threading.excepthook = lambda args: None
    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in CASES]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return ended


if __name__ == "__main__":
    faulthandler.dump_traceback_later(50, exit=True)
    print(*ends_on_standard_pool(), flush=True)
    os._exit(0)  # the others hang for ever
