"""tqdm: `thread_map` with its bar, whose lock is given to each worker by an initializer."""

import functools
import io
import threading
from concurrent.futures import as_completed

import tqdm
from made import pools_made
from tqdm.contrib.concurrent import _executor_map, thread_map

ITEMS = 500

updates = []  # of the bars for all items
locked = {}  # each thread that was given the bars' lock, and the lock


class Bar(tqdm.tqdm):
    """A bar that is written to memory, and notes what is done to it."""

    monitor_interval = 0  # no thread that looks after the bars

    def __init__(self, *args, **kwargs):
        super().__init__(*args, file=io.StringIO(), **kwargs)

    def update(self, n=1):
        if self.total == ITEMS:
            updates.append(n)
        return super().update(n)

    @classmethod
    def set_lock(cls, lock):
        locked[threading.current_thread()] = lock
        super().set_lock(lock)


def check_map(map_, type_):
    """A thread_map of two iterables, and one that fails, each in a pool of this type."""
    updates.clear()
    locked.clear()
    workers = set()

    def work(one, two):
        workers.add(threading.current_thread())
        if one % 100 == 0:
            for _ in Bar(range(3), leave=False):  # beside the bar that the callbacks move
                pass
        return one * two

    with pools_made(type_) as made:
        results = map_(work, range(ITEMS), range(1, ITEMS + 1), max_workers=4, tqdm_class=Bar)
    [executor] = made
    assert type(executor) is type_
    assert workers <= executor._threads
    assert results == [n * (n + 1) for n in range(ITEMS)]
    assert updates == [1] * ITEMS  # by callbacks, which tqdm's own `submit` adds, put on the pool
    # The initializer ran in each worker, with the one lock.
    assert workers <= set(locked)
    assert {locked[worker] for worker in workers} == {locked[threading.main_thread()]}
    assert threading.main_thread() not in workers
    assert not any(worker.is_alive() for worker in workers)

    try:
        map_(int, ["1", "x"], max_workers=2, tqdm_class=Bar)
    except ValueError:
        pass
    else:
        raise AssertionError("the exception was lost")


def job(pool, default):
    """The pool class given to tqdm, pools that tqdm makes, and bars around what a pool gives."""
    # What `thread_map` hands its arguments to, with the standard pool.
    check_map(functools.partial(_executor_map, pool), pool)
    check_map(thread_map, default)

    with pool(4, "tqdm") as executor:
        squares = list(Bar(executor.map(lambda n: n * n, range(ITEMS)), total=ITEMS))
        assert squares == [n * n for n in range(ITEMS)]
        names = [executor.submit(lambda: threading.current_thread().name) for _ in range(ITEMS)]
        bar = Bar(as_completed(names), total=ITEMS)
        assert all(future.result().startswith("tqdm") for future in bar)
        assert bar.n == ITEMS
