"""joblib: `Parallel` on a backend over an executor, as its own for processes is made.

joblib's threads come from `multiprocessing.pool`; an executor comes in by a registered backend.
"""

import concurrent.futures
import multiprocessing
import tempfile
import threading

import joblib
import numpy
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

made = []  # executors, by the backend


class ExecutorBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs batches in the executor given, or in one that it makes for each ``Parallel``."""

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(self, executor=None, **kwargs):
        super().__init__(**kwargs)
        self.executor = self.given = executor

    def effective_n_jobs(self, n_jobs):
        return n_jobs

    def configure(self, n_jobs=1, parallel=None, **kwargs):
        self.parallel = parallel
        if self.given is None:
            self.executor = concurrent.futures.ThreadPoolExecutor(n_jobs, "joblib")
            made.append(self.executor)
        return n_jobs

    def submit(self, func, callback=None):
        future = self.executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)  # in which joblib submits the next batch
        return future

    def retrieve_result_callback(self, future):
        return future.result()

    def terminate(self):
        self.end(wait=True)
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready=True):
        self.end(wait=False)  # the tasks that run may do so for long
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def end(self, wait):
        if self.given is None and self.executor is not None:
            self.executor.shutdown(wait, cancel_futures=not wait)
            self.executor = None


def norm(matrix, number):
    assert threading.current_thread().name.startswith("joblib")
    return number, float(numpy.linalg.norm(matrix[number]))


def compute(backend, **kwargs):
    """A few jobs of joblib's, on the backend of this name."""
    matrix = numpy.arange(200_000, dtype="float64").reshape(2000, 100)
    expected = [(n, float(numpy.linalg.norm(matrix[n]))) for n in range(len(matrix))]
    calls = [joblib.delayed(norm)(matrix, n) for n in range(len(matrix))]
    with joblib.parallel_config(backend, n_jobs=4, **kwargs):
        assert joblib.Parallel()(calls) == expected
        results = joblib.Parallel(return_as="generator")(calls)
        assert list(results) == expected
        results = joblib.Parallel(return_as="generator_unordered")(calls)
        assert sorted(results) == expected
        with joblib.Parallel(batch_size=7, pre_dispatch=8) as parallel:  # one pool for both
            assert parallel(calls) == parallel(calls) == expected
        rows = joblib.Parallel(require="sharedmem")(
            joblib.delayed(matrix[n].__imul__)(2) for n in range(100)
        )
        assert [row.sum() for row in rows] == [2 * (10_000 * n + 4950) for n in range(100)]

        # Each call has a Parallel of its own, which joblib puts on its own threads.
        def nested(number):
            inner = joblib.Parallel(n_jobs=2)
            return sum(inner(joblib.delayed(pow)(n, 2) for n in range(number)))

        sums = joblib.Parallel()(joblib.delayed(nested)(n) for n in range(8))
        assert sums == [sum(n * n for n in range(number)) for number in range(8)]

        try:
            joblib.Parallel()(joblib.delayed(int)(text) for text in ["1"] * 50 + ["x"] + ["1"] * 50)
        except ValueError:
            pass
        else:
            raise AssertionError("the exception was lost")

        blocker = threading.Event()
        try:
            joblib.Parallel(timeout=0.2)(joblib.delayed(blocker.wait)(60) for _ in range(2))
        except multiprocessing.TimeoutError:
            pass
        else:
            raise AssertionError("the time limit was passed by")
        finally:
            blocker.set()

        cached(calls)


def cached(calls):
    """A cache on disk, filled by the workers and then read by them."""
    with tempfile.TemporaryDirectory() as folder:
        called = []

        def power(number):
            called.append(number)
            return number**2

        memory = joblib.Memory(folder, verbose=0)
        remembered = memory.cache(power)
        for _ in range(2):
            powers = joblib.Parallel()(joblib.delayed(remembered)(n) for n in range(20))
            assert powers == [n**2 for n in range(20)]
        assert sorted(called) == list(range(20))


def job(pool, default):
    """Parallel in our pool, and in pools that the backend makes from what it finds."""
    joblib.register_parallel_backend("executor", ExecutorBackend)
    with pool(4, "joblib") as executor:
        compute("executor", executor=executor)
    compute("executor")
    assert made
    assert all(type(executor) is default for executor in made)
