"""Our pool beside the standard one: the same work, the same Python, in turn, as ratios.

    python benchmarks/compare.py [--rounds N] [--size N] [CASE ...]

Each case is run in rounds, one pool after the other, the order changing from round to round; a
ratio is the median over the rounds of (standard time / our time), so above 1 ours is faster.
The machine's load moves both; absolute times mean little and are not printed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import gc
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool

from poolexecutor import PoolExecutor, ResultQueue

Pool = type[ThreadPoolExecutor]
WORKERS = 4
WINDOW = 64


def noop() -> None:
    """The shortest task."""


def same(item: int) -> int:
    """The shortest task for an item."""
    return item


@contextmanager
def running(pool: Pool) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads have all been started."""
    with pool(WORKERS) as executor:
        gate = threading.Barrier(WORKERS + 1)
        for _ in range(WORKERS):
            executor.submit(gate.wait)
        gate.wait()
        yield executor


def submit_and_result(executor: ThreadPoolExecutor, size: int) -> None:
    """Submit all, then take each result."""
    for future in [executor.submit(noop) for _ in range(size)]:
        future.result()


def wait(executor: ThreadPoolExecutor, size: int) -> None:
    """Submit all, then the standard `wait`."""
    concurrent.futures.wait([executor.submit(noop) for _ in range(size)])


def as_completed(executor: ThreadPoolExecutor, size: int) -> None:
    """Submit all, then the standard `as_completed`."""
    for future in concurrent.futures.as_completed([executor.submit(noop) for _ in range(size)]):
        future.result()


def results(executor: ThreadPoolExecutor, size: int) -> None:
    """Submit all, take them as they finish: our `ResultQueue`, the standard `as_completed`."""
    if not isinstance(executor, PoolExecutor):
        as_completed(executor, size)
        return
    queue: ResultQueue[None] = ResultQueue(executor)
    for _ in range(size):
        queue.submit(noop)
    for future in queue:
        future.result()


def callbacks(executor: ThreadPoolExecutor, size: int) -> None:
    """Submit each with a done-callback; wait for the last callback."""
    done = threading.Semaphore(0)
    called: list[None] = []

    def count(future: concurrent.futures.Future[None]) -> None:
        called.append(None)
        if len(called) == size:
            done.release()

    for _ in range(size):
        executor.submit(noop).add_done_callback(count)
    done.acquire()


def producers(executor: ThreadPoolExecutor, size: int) -> None:
    """Four threads submit and take their results."""
    threads = [
        threading.Thread(target=submit_and_result, args=(executor, size // 4)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def map_in_order(executor: ThreadPoolExecutor, size: int) -> None:
    """`map` over all."""
    for _ in executor.map(abs, range(size)):
        pass


def map_unordered(executor: ThreadPoolExecutor, size: int) -> None:
    """Our `map_unordered`, the standard `map`."""
    ours = isinstance(executor, PoolExecutor)
    for _ in executor.map_unordered(abs, range(size)) if ours else executor.map(abs, range(size)):
        pass


def map_window(executor: ThreadPoolExecutor, size: int) -> None:
    """Our `map` with `buffersize`; on the standard pool the same window by hand."""
    if isinstance(executor, PoolExecutor):
        for _ in executor.map(abs, range(size), buffersize=WINDOW):
            pass
        return
    futures: deque[concurrent.futures.Future[int]] = deque()
    for number in range(size):
        futures.append(executor.submit(abs, number))
        if len(futures) == WINDOW:
            futures.popleft().result()
    while futures:
        futures.popleft().result()


def _seconds(pool: Pool, case: Callable[[ThreadPoolExecutor, int], None], size: int) -> float:
    with running(pool) as executor:
        case(executor, 100)
        gc.collect()
        start = time.perf_counter()
        case(executor, size)
        return time.perf_counter() - start


def chunks_seconds(pool: Pool, size: int, task: Callable[[int], object]) -> float:
    """Our `map` with ``chunksize=256``; `multiprocessing.pool.ThreadPool.map` for the standard."""
    size *= 5
    if pool is PoolExecutor:
        with running(pool) as executor:
            list(executor.map(task, range(100)))
            start = time.perf_counter()
            list(executor.map(task, range(size), chunksize=256))
            return time.perf_counter() - start
    with ThreadPool(WORKERS) as threads:
        threads.map(task, range(100))
        start = time.perf_counter()
        threads.map(task, range(size))
        return time.perf_counter() - start


def sleeps_seconds(pool: Pool, size: int) -> float:
    """`map` over sleeps of 2 ms on 32 workers: what it takes beyond the ideal."""
    size = 32 * (size // 200)
    with pool(32) as executor:
        gate = threading.Barrier(33)
        for _ in range(32):
            executor.submit(gate.wait)
        gate.wait()
        start = time.perf_counter()
        for _ in executor.map(time.sleep, [0.002] * size):
            pass
        return time.perf_counter() - start - 0.002 * size / 32


def submit_alone_seconds(pool: Pool, size: int) -> float:
    """Submit to a pool whose only worker is busy: what the caller pays."""
    gate = threading.Event()
    with pool(1) as executor:
        executor.submit(gate.wait)
        gc.collect()
        start = time.perf_counter()
        for _ in range(size):
            executor.submit(noop)
        seconds = time.perf_counter() - start
        executor.shutdown(wait=False, cancel_futures=True)
        gate.set()
    return seconds


def round_trip_seconds(pool: Pool, size: int) -> float:
    """Submit one, wait for it, again, on a fresh pool: with as many threads as that takes.

    What is measured is mostly the kernel waking a sleeping core, twice for each trip, and luck with
    the cores on which it puts the threads; hence the wide range.
    """
    with pool(WORKERS) as executor:
        for _ in range(100):
            executor.submit(noop).result()
        start = time.perf_counter()
        for _ in range(size // 4):
            executor.submit(noop).result()
        return time.perf_counter() - start


def pending_bytes(pool: Pool, size: int) -> float:
    """Memory of a request that waits in the queue, its future included."""
    gate = threading.Event()
    with pool(1) as executor:
        executor.submit(gate.wait)
        futures: list[concurrent.futures.Future[None] | None] = [None] * size
        gc.collect()
        tracemalloc.start()
        for index in range(size):
            futures[index] = executor.submit(noop)
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        executor.shutdown(wait=False, cancel_futures=True)
        gate.set()
    return used / size


def window_peaks() -> tuple[int, int]:
    """Peak kilobytes of processes that map 1 and 10 million items with ``buffersize=1000``."""
    code = (
        "import resource, sys\n"
        "from poolexecutor import PoolExecutor\n"
        "with PoolExecutor(4) as executor:\n"
        "    for _ in executor.map(abs, range(int(sys.argv[1])), buffersize=1000):\n"
        "        pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", code, str(count)]))
        for count in (1_000_000, 10_000_000)
    ]
    return peaks[0], peaks[1]


def idle_cost(pool: Pool) -> tuple[int, float]:
    """Context switches and CPU seconds of the process while 100 workers idle for 5 seconds."""
    with pool(100) as executor:
        gate = threading.Barrier(101)
        for _ in range(100):
            executor.submit(gate.wait)
        gate.wait()
        time.sleep(0.5)  # until the last of them has parked, which no pool tells
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(5)
        after = resource.getrusage(resource.RUSAGE_SELF)
    switches = after.ru_nvcsw - before.ru_nvcsw + after.ru_nivcsw - before.ru_nivcsw
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return switches, cpu


CASES: dict[str, Callable[[Pool, int], float]] = {
    "submit + result": lambda pool, size: _seconds(pool, submit_and_result, size),
    "submit alone": submit_alone_seconds,
    "wait": lambda pool, size: _seconds(pool, wait, size),
    "as_completed": lambda pool, size: _seconds(pool, as_completed, size),
    "ResultQueue": lambda pool, size: _seconds(pool, results, size),
    "done-callbacks": lambda pool, size: _seconds(pool, callbacks, size),
    "four producers": lambda pool, size: _seconds(pool, producers, size),
    "round trip": round_trip_seconds,
    "map": lambda pool, size: _seconds(pool, map_in_order, size),
    "map_unordered": lambda pool, size: _seconds(pool, map_unordered, size),
    "map, window": lambda pool, size: _seconds(pool, map_window, size),
    "map, chunks": lambda pool, size: chunks_seconds(pool, size, same),
    "map, chunks of C": lambda pool, size: chunks_seconds(pool, size, abs),
    "map, sleeps": sleeps_seconds,
}


def ratios(measure: Callable[[Pool, int], float], size: int, rounds: int) -> list[float]:
    """Standard time / our time, one for each round."""
    found = []
    for turn in range(rounds):
        order: list[Pool] = [ThreadPoolExecutor, PoolExecutor]
        if turn % 2:
            order.reverse()
        seconds = {pool: measure(pool, size) for pool in order}
        found.append(seconds[ThreadPoolExecutor] / seconds[PoolExecutor])
    return found


def main() -> None:
    """Print the ratios of all cases, or of those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*CASES, "memory", "idle", "peaks"]
    cases = ", ".join(f'"{name}"' for name in known)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all; of {cases}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=20_000, help="requests in a round")
    options = parser.parse_args()
    if options.rounds < 1 or options.size < 100:
        parser.error("--rounds must be at least 1, --size at least 100")
    unknown = set(options.cases).difference(known)
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {cases}")
    chosen = options.cases or [*CASES, "memory", "idle"]
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {WORKERS} workers, no-op tasks"
    )
    for name in chosen:
        if name in CASES:
            found = ratios(CASES[name], options.size, options.rounds)
            low, high = min(found), max(found)
            print(
                f"{name:16} {statistics.median(found):6.2f} x   ({low:.2f} to {high:.2f})",
                flush=True,
            )
    if "memory" in chosen:
        ours, theirs = (
            pending_bytes(PoolExecutor, 20_000),
            pending_bytes(ThreadPoolExecutor, 20_000),
        )
        print(f"a pending request: {ours:.0f} bytes, standard {theirs:.0f}")
    if "peaks" in chosen:  # only by name: it takes longer than all others
        one, ten = window_peaks()
        print(f"map of 1 million items: peak {one} kB, of 10 million: {ten} kB")
    if "idle" in chosen:
        switches, cpu = idle_cost(PoolExecutor)
        print(f"100 idle workers, 5 s: {switches} context switches, {cpu:.3f} s CPU time")


if __name__ == "__main__":
    main()
