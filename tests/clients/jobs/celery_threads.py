"""celery: a worker with its `threads` pool, on a broker in memory."""

import contextlib
import threading

import celery
import celery.concurrency.thread
import celery.signals
from celery.result import allow_join_result

THREADS = 4
SECONDS = 10  # within which any of this must happen


def application():
    app = celery.Celery("clients", broker="memory://", backend="cache+memory://")
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.conf.worker_hijack_root_logger = False
    app.conf.worker_redirect_stdouts = False
    meeting = threading.Barrier(THREADS)

    @app.task(name="square")
    def square(number):
        return number * number, threading.current_thread().name

    @app.task(name="fail")
    def fail():
        raise ValueError("on purpose")

    @app.task(name="meet")
    def meet():
        return meeting.wait(SECONDS)

    return app


@contextlib.contextmanager
def worker_of(app):
    """As `celery worker -P threads` has it, and stopped as `celery control shutdown` does it."""
    ready = threading.Event()

    def note(**_):
        ready.set()

    celery.signals.worker_ready.connect(note)
    worker = app.Worker(
        hostname="client@here",
        pool="threads",
        concurrency=THREADS,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        loglevel="CRITICAL",
    )
    thread = threading.Thread(target=worker.start)
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield worker
    finally:
        app.control.shutdown()
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert worker.exitcode == 0


def get(result, **options):
    with allow_join_result():  # the worker is in this process, so celery takes this for a task
        return result.get(timeout=SECONDS, interval=0.01, **options)


def tasks_run(app):
    names = set()
    results = [app.tasks["square"].delay(number) for number in range(200)]
    for number, result in enumerate(results):
        square, name = get(result)
        assert square == number * number
        names.add(name)
    assert 0 < len(names) <= THREADS
    failed = app.tasks["fail"].delay()
    error = get(failed, propagate=False)
    assert (type(error), error.args) == (ValueError, ("on purpose",))
    assert failed.state == "FAILURE"
    # Each of the threads has one of these: they wait for each other.
    met = [app.tasks["meet"].delay() for _ in range(THREADS)]
    assert sorted(map(get, met)) == list(range(THREADS))


def job(pool, default):
    """200 tasks, one that fails, and as many at a time as there are threads."""
    assert celery.concurrency.thread.ThreadPoolExecutor is default
    celery.concurrency.thread.ThreadPoolExecutor = pool  # there is no setting for it
    app = application()
    with worker_of(app) as worker:
        executor = worker.pool.executor
        assert type(executor) is pool
        tasks_run(app)
        threads = set(executor._threads)
        expected = {"max-concurrency": THREADS, "threads": THREADS}
        assert worker.pool._get_info().items() >= expected.items()
        stats = app.control.inspect(["client@here"], timeout=SECONDS).stats()
        assert stats["client@here"]["pool"].items() >= expected.items()
    assert not any(thread.is_alive() for thread in threads)
