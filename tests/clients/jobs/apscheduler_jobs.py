"""APScheduler: a background scheduler with jobs for now, every few milliseconds, and from jobs."""

import datetime
import logging
import queue
import threading

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.executors.pool import BasePoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

JOBS = 200


class GivenPool(BasePoolExecutor):
    """As APScheduler's own executors are, with the pool from outside."""

    def __init__(self, executor):
        super().__init__(executor)


def work(executor):
    """Run jobs of all kinds; a shutdown that waits for the one that runs."""
    scheduler = BackgroundScheduler(
        executors={"default": executor},
        job_defaults={"misfire_grace_time": 60},
        timezone=datetime.timezone.utc,
    )
    events = queue.Queue()
    scheduler.add_listener(events.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    scheduler.start()

    def square(number):
        assert threading.current_thread().name.startswith("apscheduler")
        return number * number

    def add_another(number):
        scheduler.add_job(square, args=[number], id=f"added {number}")

    ticks = threading.Semaphore(0)
    expected = {}
    for number in range(JOBS):
        scheduler.add_job(square, args=[number], id=f"square {number}")
        expected[f"square {number}"] = number * number
        if number % 10 == 0:
            scheduler.add_job(add_another, args=[number], id=f"add {number}")
            expected[f"add {number}"] = None
            expected[f"added {number}"] = number * number
    scheduler.add_job(int, args=["x"], id="failing")
    scheduler.add_job(ticks.release, "interval", seconds=0.01, id="tick", max_instances=4)
    for _ in range(20):
        assert ticks.acquire(timeout=30)
    scheduler.remove_job("tick")

    results, errors = {}, []
    while len(results) < len(expected) or not errors:
        event = events.get(timeout=30)
        assert event.code != EVENT_JOB_MISSED, event
        if event.code == EVENT_JOB_ERROR:
            assert event.job_id == "failing", event.exception
            errors.append(event.exception)
        elif event.job_id != "tick":
            results[event.job_id] = event.retval
    assert results == expected
    assert isinstance(errors[0], ValueError)

    release, finished = start_long_job(scheduler)
    timer = threading.Timer(0.1, release.set)
    timer.start()
    scheduler.shutdown(wait=True)
    assert finished.is_set()
    timer.join()


def leave_running(executor):
    """A shutdown that does not wait: it returns while the job runs, and the job is finished."""
    scheduler = BackgroundScheduler(executors={"default": executor}, timezone=datetime.timezone.utc)
    scheduler.start()
    release, finished = start_long_job(scheduler)
    scheduler.shutdown(wait=False)
    assert not finished.is_set()
    release.set()
    assert finished.wait(30)


def start_long_job(scheduler):
    """Have a job run that lasts until the event that is returned."""
    started, submitted, release, finished = (threading.Event() for _ in range(4))

    def long():
        started.set()
        assert release.wait(30)
        finished.set()

    # After this event the scheduler is done with the job; it fails if shut down before that.
    scheduler.add_listener(
        lambda event: submitted.set() if event.job_id == "long" else None, EVENT_JOB_SUBMITTED
    )
    scheduler.add_job(long, id="long", misfire_grace_time=60)
    assert started.wait(30)
    assert submitted.wait(30)
    return release, finished


def job(pool, default):
    """Executors on our pool, and those of APScheduler that make their pools themselves."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # one of the jobs fails
    work(GivenPool(pool(4, "apscheduler")))
    leave_running(GivenPool(pool(4, "apscheduler")))

    own = ThreadPoolExecutor(4, {"thread_name_prefix": "apscheduler"})
    assert type(own._pool) is default
    work(own)
    own = ThreadPoolExecutor(1)
    assert type(own._pool) is default
    leave_running(own)
