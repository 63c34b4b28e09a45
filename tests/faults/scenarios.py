"""Situations in which the standard pool hangs, loses work or dies.

    python tests/faults/scenarios.py NAME {ours,standard}

Each is a function of the pool's class that returns if all went well; otherwise it raises, or hangs
until its parent's patience ends. Run in a process of its own each, see `test_faults`.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import gc
import os
import queue
import random
import signal
import sys
import sysconfig
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from poolexecutor import BrokenThreadPool, PoolExecutor

# Seconds until something that should have happened counts as not happening.
PATIENCE = float(os.environ.get("PATIENCE", "10"))

SCENARIOS = {}


def scenario(standard_fails=lambda version: True, impossible=lambda version: None):
    """Register a scenario.

    `standard_fails` tells for which Pythons the standard pool's fault is sure, `impossible` why no
    pool could master it on some.
    """

    def register(function):
        SCENARIOS[function.__name__] = (function, standard_fails, impossible)
        return function

    return register


class InTheEnd:
    """Something whose finalizer calls a function."""

    def __init__(self, act):
        self.act = act

    def __call__(self, *args):
        pass

    def __del__(self):
        self.act()


@contextmanager
def blocked(pool, workers=1, **kwargs):
    """An executor all of whose workers are busy until the block ends."""
    gate, busy = threading.Event(), threading.Barrier(workers + 1)

    def hold():
        busy.wait(PATIENCE)
        gate.wait()

    executor = pool(workers, **kwargs)
    try:
        for _ in range(workers):
            executor.submit(hold)
        busy.wait(PATIENCE)
        yield executor
    finally:
        gate.set()
        executor.shutdown(wait=False)


def refused(executor, seen):
    """Try to submit to an executor that is closed or broken."""
    try:
        executor.submit(int)
    except RuntimeError:
        seen.append("refused")


# --- the hand-over ----------------------------------------------------------------------------


@scenario(lambda version: version >= (3, 12))
def stale_idle(pool):
    """A request arrives just when a worker becomes idle; later ones get their threads."""
    born = []

    def slow_unless_first():
        born.append(None)
        if len(born) > 1:
            time.sleep(0.3)  # so that the idle worker takes the request and the new one is idle

    executor = pool(4, initializer=slow_unless_first)
    together = threading.Barrier(3)
    submitted = []

    class AtThatMoment(threading.Semaphore):
        """The standard worker calls release when it found the queue empty."""

        def release(self, n=1):
            if not submitted:
                submitted.append(executor.submit(together.wait, PATIENCE))
            super().release(n)

    executor._idle_semaphore = AtThatMoment(0)
    executor.submit(int).result(PATIENCE)
    time.sleep(0.8)  # until the workers are idle, which no pool tells
    while len(submitted) < 3:
        submitted.append(executor.submit(together.wait, PATIENCE))
        time.sleep(0.5)  # until it has started
    for future in submitted:
        future.result(PATIENCE)
    executor.shutdown()


# --- user code under locks --------------------------------------------------------------------


@scenario()
def callback_of_cancelled_submits(pool):
    """The done-callback of a future cancelled by shutdown calls submit."""
    seen = []
    with blocked(pool) as executor:
        executor.submit(int).add_done_callback(lambda future: refused(executor, seen))
        executor.shutdown(wait=False, cancel_futures=True)
    assert seen == ["refused"], seen


@scenario()
def callback_of_cancelled_shuts_down(pool):
    """The done-callback of a future cancelled by shutdown calls shutdown."""
    seen = []
    with blocked(pool) as executor:

        def callback(future):
            executor.shutdown(wait=False)
            seen.append("shut down")

        executor.submit(int).add_done_callback(callback)
        executor.shutdown(wait=False, cancel_futures=True)
    assert seen == ["shut down"], seen


@scenario()
def callback_of_broken_submits(pool):
    """The done-callback of a future that a failing initializer broke calls submit and shutdown."""
    seen, gate = [], threading.Event()

    def initializer():
        gate.wait()
        raise ValueError("as planned")

    def callback(future):
        refused(executor, seen)
        executor.shutdown(wait=False)

    executor = pool(1, initializer=initializer)
    future = executor.submit(int)
    future.add_done_callback(callback)
    gate.set()
    assert isinstance(future.exception(PATIENCE), BrokenThreadPool)
    executor.shutdown()
    assert seen == ["refused"], seen


@scenario()
def finalizer_of_cancelled_submits(pool):
    """The finalizer of a cancelled task's argument calls submit."""
    seen = []
    with blocked(pool) as executor:
        for _ in range(3):
            executor.submit(int, InTheEnd(lambda: refused(executor, seen)))
        executor.shutdown(wait=False, cancel_futures=True)
        gc.collect()
    assert seen == ["refused"] * 3, seen


# Without the GIL the collector keeps no count of one thread's allocations.
@scenario(lambda version: not sysconfig.get_config_var("Py_GIL_DISABLED"))
def collector_submits_within_submit(pool):
    """The garbage collector runs, in the middle of submit, a finalizer that calls submit."""
    executor = pool(2)
    inner = []

    def litter():
        loop = [InTheEnd(lambda: inner.append(executor.submit(int)))]
        loop.append(loop)

    outer = []
    for allocations in list(range(1, 101)) * 3:  # until the collector runs: anywhere in submit
        gc.collect()
        gc.disable()
        litter()
        gc.set_threshold(allocations, 1, 1)
        gc.enable()
        outer.append(executor.submit(int))
        gc.set_threshold(700, 10, 10)
    gc.collect()
    assert len(inner) == 300, len(inner)
    for future in outer + inner:
        assert future.result(PATIENCE) == 0
    executor.shutdown()


@scenario()
def signal_handler_shuts_down_within_submit(pool):
    """gh-121649: a signal handler that interrupts submit calls shutdown and waits."""

    def handler(number, frame):
        executor.shutdown(wait=True, cancel_futures=True)

    signal.signal(signal.SIGALRM, handler)
    for turn in range(30):
        executor, futures = pool(2), []
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0001 * turn)
        try:
            while True:
                futures.append(executor.submit(int))
        except RuntimeError:
            pass
        _, not_done = concurrent.futures.wait(futures, PATIENCE)
        assert not not_done, f"{len(not_done)} lost"


@scenario()
def signal_handler_submits_within_submit(pool):
    """A signal handler that interrupts submit calls submit."""
    executor, futures = pool(2), []

    def handler(number, frame):
        futures.append(executor.submit(int))

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while len(futures) < 500:
        executor.submit(int)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for future in futures:
        assert future.result(PATIENCE) == 0
    executor.shutdown()


@scenario()
def task_shuts_down_with_work_queued(pool):
    """A task calls shutdown(wait=True) while other work is queued behind it."""
    executor = pool(1)
    gate = threading.Event()
    future = executor.submit(lambda: (gate.wait(PATIENCE), executor.shutdown(wait=True)))
    queued = [executor.submit(int) for _ in range(3)]
    gate.set()
    assert future.result(PATIENCE) == (True, None)
    assert [f.result(PATIENCE) for f in queued] == [0, 0, 0]


@scenario()
def task_shuts_down_and_waits(pool):
    """Tasks call shutdown(wait=True) on their own pool, two at once."""
    executor = pool(2)
    both = threading.Barrier(2)

    def end():
        both.wait(PATIENCE)
        executor.shutdown(wait=True)
        return "ended"

    futures = [executor.submit(end) for _ in range(2)]
    assert [future.result(PATIENCE) for future in futures] == ["ended", "ended"]
    executor.shutdown()


@scenario(lambda version: False)  # a worker and the program are equals in its queue
def interrupted_while_waiting_for_the_queue(pool):
    """Ctrl-C while a program waits in `_work_queue.get`: the next request finds its worker."""
    executor = pool(1)
    executor.submit(int).result(PATIENCE)
    time.sleep(0.2)  # until the worker is idle, which no pool tells
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        executor._work_queue.get(True, PATIENCE)
    except KeyboardInterrupt:
        pass
    assert executor.submit(int).result(PATIENCE) == 0
    executor.shutdown()


# --- workers that survive ---------------------------------------------------------------------


def _callback_raises(pool, error):
    executor, gate, called = pool(1), threading.Event(), []

    def callback(future):
        raise error

    future = executor.submit(gate.wait)
    future.add_done_callback(callback)
    future.add_done_callback(called.append)
    after = executor.submit(int)
    gate.set()
    assert after.result(PATIENCE) == 0
    assert called == [future], called
    executor.shutdown()


@scenario()
def callback_raises_system_exit(pool):
    """A done-callback that raises SystemExit harms nobody."""
    _callback_raises(pool, SystemExit(3))


@scenario()
def callback_raises_keyboard_interrupt(pool):
    """A done-callback that raises KeyboardInterrupt harms nobody."""
    _callback_raises(pool, KeyboardInterrupt())


@scenario()
def user_finishes_pending_future(pool):
    """The user finishes a future whose call is queued; the worker that meets it goes on."""
    with blocked(pool) as executor:
        mine, after = executor.submit(os.abort), executor.submit(int)
        mine.set_result("by hand")
    assert mine.result(PATIENCE) == "by hand"
    assert after.result(PATIENCE) == 0


@scenario()
def user_finishes_running_future(pool):
    """The user finishes a future whose call runs; what he said stands and the worker goes on."""
    executor, gate, started = pool(1), threading.Event(), threading.Event()

    def task():
        started.set()
        gate.wait()
        return "by the worker"

    mine, after = executor.submit(task), executor.submit(int)
    started.wait(PATIENCE)
    mine.set_result("by hand")
    gate.set()
    assert after.result(PATIENCE) == 0
    assert mine.result(PATIENCE) == "by hand"
    executor.shutdown()


def _raise_in(thread, error):
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(error)
    )


@scenario()
def interrupt_in_idle_worker(pool):
    """An exception raised into an idle worker: it goes, no request with it, and is replaced."""
    executor = pool(1)
    for _ in range(20):
        executor.submit(int).result(PATIENCE)
        thread = next(thread for thread in executor._threads if thread.is_alive())
        _raise_in(thread, KeyboardInterrupt)
        futures = [executor.submit(int) for _ in range(10)]
        settled = concurrent.futures.wait(futures, PATIENCE)
        assert not settled.not_done, "lost"
    executor.shutdown()


@scenario(lambda version: False)  # it may survive by luck
def interrupts_in_busy_workers(pool):
    """Exceptions raised into workers between and within their tasks: nothing is lost.

    Each worker is struck once, after its birth: threading itself does not survive more.
    """
    executor, fresh, settled = pool(3), queue.SimpleQueue(), set()

    def task(n):
        thread = threading.current_thread()
        if thread not in settled:
            settled.add(thread)
            fresh.put(thread)
        return n

    futures, strikes = [], 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        futures += [executor.submit(task, n) for n in range(50)]
        while not fresh.empty():
            time.sleep(random.uniform(0, 0.001))  # anywhere
            _raise_in(fresh.get(), InterruptedError)
            strikes += 1
    assert strikes > 3
    assert not concurrent.futures.wait(futures, PATIENCE).not_done, "lost"
    assert {f.result() for f in futures if f.exception() is None} <= set(range(50))
    executor.shutdown()


@scenario(lambda version: False)  # it may survive by luck
def interrupts_within_submit(pool):
    """KeyboardInterrupt in submit, wherever it strikes: what was accepted runs, the pool lives."""

    def handler(number, frame):
        struck.append(number)  # it may strike in a finalizer, which swallows it
        raise KeyboardInterrupt

    def flood():
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.001))
        while not struck:
            futures.append(executor.submit(int))

    signal.signal(signal.SIGALRM, handler)
    for turn in range(150):
        executor, futures, struck = pool(3), [], []
        try:
            flood()
        except KeyboardInterrupt:
            pass
        settled = concurrent.futures.wait(futures, PATIENCE)
        assert not settled.not_done, f"turn {turn}: {len(settled.not_done)} of {len(futures)} lost"
        gate = threading.Barrier(4)
        for _ in range(3):  # all three workers can still be had, and no fourth
            executor.submit(gate.wait, PATIENCE)
        gate.wait(PATIENCE)
        executor.shutdown()
        assert len(executor._threads) <= 3


# --- cancelled futures ------------------------------------------------------------------------


@scenario()
def wait_sees_cancelled(pool):
    """wait returns at once for a future that was cancelled by hand."""
    with blocked(pool) as executor:
        future = executor.submit(int)
        assert future.cancel()
        assert concurrent.futures.wait([future], PATIENCE).done == {future}


@scenario()
def as_completed_sees_cancelled(pool):
    """as_completed yields at once a future that was cancelled by hand."""
    with blocked(pool) as executor:
        future = executor.submit(int)
        assert future.cancel()
        assert list(concurrent.futures.as_completed([future], PATIENCE)) == [future]


@scenario()
def waiters_see_shutdown_cancel(pool):
    """gh-87893, gh-92001, gh-109934: wait and as_completed that wait already see the cancelling."""
    with blocked(pool) as executor:
        futures = [executor.submit(int) for _ in range(3)]
        seen = queue.Queue()

        def look():
            seen.put(len(concurrent.futures.wait(futures, PATIENCE).done))

        def iterate():
            seen.put(len(list(concurrent.futures.as_completed(futures, PATIENCE))))

        threads = [threading.Thread(target=target, daemon=True) for target in (look, iterate)]
        for thread in threads:
            thread.start()
        while len(futures[0]._waiters) < 2:
            time.sleep(0.01)  # until both wait, which no event tells
        executor.shutdown(wait=False, cancel_futures=True)
        assert [seen.get(timeout=PATIENCE + 1) for _ in threads] == [3, 3]
        assert len(concurrent.futures.wait(futures, 0).done) == 3


@scenario()
def cancelled_lets_go(pool):
    """A cancelled request lets go of its callable and arguments at once."""
    with blocked(pool) as executor:
        call, argument = InTheEnd(int), InTheEnd(int)
        gone = [weakref.ref(call), weakref.ref(argument)]
        future = executor.submit(call, argument)
        del call, argument
        future.cancel()
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


# --- threads that cannot be had ---------------------------------------------------------------


@contextmanager
def no_threads():
    """As if the system had no thread to give."""
    start = threading.Thread.start

    def fail(thread):
        raise RuntimeError("can't start new thread")

    threading.Thread.start = fail
    try:
        yield
    finally:
        threading.Thread.start = start


@scenario()
def no_second_thread(pool):
    """PR 17615: no further thread can be started; with a worker alive, submit succeeds."""
    with blocked(pool) as executor:
        executor._max_workers = 4
        with no_threads():
            future = executor.submit(int)
    assert future.result(PATIENCE) == 0


@scenario()
def no_first_thread(pool):
    """No thread can be started at all: submit raises, and the call is never made."""
    executor, made = pool(1), []
    with no_threads():
        try:
            executor.submit(made.append, "ghost")
        except RuntimeError:
            pass
        else:
            raise AssertionError("accepted")
    assert executor.submit(int).result(PATIENCE) == 0
    executor.shutdown()
    assert made == [], made


@scenario()
def out_of_address_space(pool):
    """No thread for want of address space (RLIMIT_AS): the workers that are there do the work."""
    import resource

    executor = pool(200)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    threading.stack_size(64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), resource.RLIM_INFINITY))
    gate = threading.Event()
    futures = [executor.submit(gate.wait) for _ in range(50)]
    assert 0 < len(executor._threads) < 50, len(executor._threads)
    gate.set()
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    executor.shutdown()


# --- fork -------------------------------------------------------------------------------------


def in_child(act):
    """Fork, call `act` in the child, and return its exit code; None if it hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException as error:
            print("in the child:", repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return exit_code(child)


def exit_code(child):
    """The child's exit code; None, after killing it, if it has none within our patience."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@scenario()
def forked_pool_works(pool):
    """The child's copy of a pool works at once, with workers of its own."""
    executor = pool(1)  # with two, the standard one may start another, by luck
    executor.submit(int).result()

    def act():
        assert executor.submit(pow, 2, 5).result(PATIENCE / 2) == 32
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
        executor.shutdown()

    assert in_child(act) == 0
    assert executor.submit(int).result(PATIENCE) == 0
    executor.shutdown()


@scenario()
def forked_futures_fail(pool):
    """In the child, unfinished futures of the parent fail promptly and their calls are not made."""
    made = []
    with blocked(pool) as executor:
        gate = threading.Event()
        futures = [executor.submit(made.append, "queued") for _ in range(3)]
        futures.append(executor.submit(gate.wait))
        called = []
        futures[0].add_done_callback(called.append)

        def act():
            for future in futures:
                assert isinstance(future.exception(PATIENCE / 2), BrokenThreadPool)
            assert len(concurrent.futures.wait(futures, 0).done) == 4
            assert executor.submit(int).result(PATIENCE / 2) == 0
            assert (made, called) == ([], [])
            executor.shutdown()

        assert in_child(act) == 0
        gate.set()
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    assert made == ["queued"] * 3


@scenario()
def fork_within_task(pool):
    """A task forks: in the child the pool works, the task returns, and the child ends normally."""
    executor = pool(1)
    executor.submit(int).result()
    read, write = os.pipe()

    def task():
        child = os.fork()
        if child == 0:
            os.write(write, b"%d" % executor.submit(pow, 2, 3).result(PATIENCE / 2))
            return None
        return child

    child = executor.submit(task).result(PATIENCE)
    assert exit_code(child) == 0
    assert os.read(read, 10) == b"8"
    assert executor.submit(int).result(PATIENCE) == 0
    executor.shutdown()


@scenario(lambda version: False)  # the child of the standard pool has nothing left to wait for
def forked_child_exits(pool):
    """A child that does nothing with the pool leaves through the interpreter's normal exit."""
    executor = pool(2)
    executor.submit(int).result()
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert exit_code(child) == 7
    executor.shutdown()


# --- ends -------------------------------------------------------------------------------------


@scenario()
def initializer_fails_after_collection(pool):
    """An initializer that fails when the executor has been collected still fails its futures."""
    gate = threading.Event()

    def initializer():
        gate.wait()
        raise ValueError("as planned")

    executor = pool(1, initializer=initializer)
    future = executor.submit(int)
    del executor
    gc.collect()
    gate.set()
    assert isinstance(future.exception(PATIENCE), BrokenThreadPool)


@scenario(
    impossible=lambda version: (
        "Python 3.12.0 and 3.12.1 start no threads once the main thread has ended (gh-113964)"
        if (3, 12) <= version < (3, 12, 2)
        else None
    )
)
def used_after_main_thread_ended(pool):
    """gh-148280: a non-daemon thread uses pools after the main thread has ended."""
    old = pool(2)
    old.submit(int).result()

    def use():
        threading.main_thread().join()
        try:
            new = pool(2)
            for executor in (old, new):
                assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
            for executor in (old, new):
                executor.shutdown()
            new = pool(2)
            new.submit(time.sleep, 0.1).add_done_callback(lambda future: os._exit(0))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)

    threading.Thread(target=use).start()


@scenario(lambda version: False)  # nothing waits for its result there either
def resubmitting_task_ends_at_exit(pool):
    """A task that submits itself again is refused at interpreter exit, as in the standard pool."""
    executor = pool(1)

    def again():
        executor.submit(again)

    executor.submit(again)


@scenario(lambda version: version < (3, 13))
def interrupted_shutdown_waits_again(pool):
    """Ctrl-C while it waits for a worker: who asks again waits for the same worker."""
    executor, gate, entered, ended = pool(1), threading.Event(), threading.Event(), []

    def work():
        entered.set()
        gate.wait(PATIENCE)
        ended.append(True)

    def press():
        time.sleep(0.3)  # until the main thread waits, which nothing tells
        os.kill(os.getpid(), signal.SIGINT)

    executor.submit(work)
    entered.wait(PATIENCE)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        executor.shutdown()
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    presser.join()
    threading.Timer(0.3, gate.set).start()
    executor.shutdown()
    assert ended


@scenario()
def queue_replaced_while_work_waits(pool):
    """What waits in the old queue is run by its workers, what comes later by others."""
    ran, gate, entered = [], threading.Event(), threading.Event()

    def block():
        entered.set()
        gate.wait(PATIENCE)

    with pool(1) as executor:
        executor.submit(block)
        entered.wait(PATIENCE)
        before = [executor.submit(ran.append, number) for number in range(3)]
        executor._work_queue = queue.Queue()
        after = [executor.submit(ran.append, number) for number in range(3, 6)]
        concurrent.futures.wait(after, PATIENCE)
        gate.set()
        assert not concurrent.futures.wait(before + after, PATIENCE).not_done
    assert sorted(ran) == list(range(6))


def main():
    """Run one scenario; exit code 0 if it returned."""
    name, whose = sys.argv[1:]
    pool = {"ours": PoolExecutor, "standard": ThreadPoolExecutor}[whose]
    SCENARIOS[name][0](pool)


if __name__ == "__main__":
    main()
