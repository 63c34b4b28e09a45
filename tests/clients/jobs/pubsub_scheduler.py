"""google-cloud-pubsub: the subscriber's scheduler, whose `shutdown` drains the pool's queue."""

import collections
import queue
import sys
import threading
import warnings

from google.cloud.pubsub_v1 import types
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler

MESSAGES = 200


def messages(scheduler, count=MESSAGES):
    """As the subscriber makes them: an ack goes to the scheduler's queue."""
    for n in range(count):
        raw = types.PubsubMessage(data=b"%d" % n, message_id=str(n))._pb
        yield Message(raw, f"ack-{n}", 0, scheduler.queue)


def acknowledged(scheduler):
    """The acknowledged messages, in their order."""
    ids = []
    while True:
        try:
            ids.append(scheduler.queue.get_nowait().ack_id)
        except queue.Empty:
            return ids


def all_run(scheduler):
    ran = threading.Semaphore(0)

    def callback(message, *, then):
        message.ack()
        then()

    for message in messages(scheduler):
        scheduler.schedule(callback, message, then=ran.release)
    for _ in range(MESSAGES):
        assert ran.acquire(timeout=10)
    assert scheduler.shutdown(await_msg_callbacks=True) == []
    assert sorted(acknowledged(scheduler)) == sorted(f"ack-{n}" for n in range(MESSAGES))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler.schedule(callback, None)
    assert [warning.category for warning in caught] == [RuntimeWarning]


def the_rest_is_dropped(scheduler):
    """One is being run; none of those behind it is, and all are handed back in their order."""
    started, gate = threading.Event(), threading.Event()

    def callback(message):
        started.set()
        assert gate.wait(10)
        message.ack()

    sent = list(messages(scheduler))
    for message in sent:
        scheduler.schedule(callback, message)
    assert started.wait(10)
    assert scheduler.shutdown() == sent[1:]
    gate.set()
    assert scheduler.shutdown(await_msg_callbacks=True) == []
    assert acknowledged(scheduler) == ["ack-0"]


def each_once(scheduler):
    """The workers and the one who drains take from the same queue at the same time."""
    sent = list(messages(scheduler))
    for message in sent:
        scheduler.schedule(Message.ack, message)
    dropped = [message.ack_id for message in scheduler.shutdown(await_msg_callbacks=True)]
    # What was being run has ended, so all are known by now.
    counted = collections.Counter(dropped + acknowledged(scheduler))
    assert counted == collections.Counter(message.ack_id for message in sent)
    return len(dropped)


def job(pool, default):
    """With our pool, and with the one that the scheduler makes."""
    for workers in [1, 4]:
        all_run(ThreadScheduler(executor=pool(workers)))
    the_rest_is_dropped(ThreadScheduler(executor=pool(1)))
    sys.setswitchinterval(1e-5)  # so that they do meet
    dropped = [each_once(ThreadScheduler(executor=pool(1 + n % 4))) for n in range(40)]
    assert any(0 < count < MESSAGES for count in dropped), "no race was seen"
    its_own = ThreadScheduler()
    assert type(its_own._executor) is default
    all_run(its_own)
    each_once(ThreadScheduler())
