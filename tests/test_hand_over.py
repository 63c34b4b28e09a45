"""The hand-over between "a worker goes idle" and "a request arrives", stepped."""

from __future__ import annotations

import threading
import types

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from poolexecutor._request import WorkRequest
from poolexecutor._request_queue import RequestQueue
from poolexecutor._workforce import start_thread

from .stepping import Crew, WouldBlockError, held


def call(fn, *args) -> WorkRequest:
    return WorkRequest(fn, args, {})


def never() -> bool:
    return False


class TestParking:
    def test_sleeps_when_there_is_nothing(self) -> None:
        requests, lock = RequestQueue(), held()
        with pytest.raises(WouldBlockError):
            requests.park(lock, never)
        assert requests.idle == [lock]

    def test_does_not_sleep_when_a_request_came_first(self) -> None:
        requests, lock = RequestQueue(), held()
        requests.append(call(int))
        requests.park(lock, never)
        assert requests.idle == []
        assert lock.locked

    def test_request_between_listing_and_look(self) -> None:
        """The giver has seen the lock, called it, and the taker sees the request: both is right."""
        requests, lock = RequestQueue(), held()

        def arrives() -> bool:
            requests.append(call(int))
            assert requests.has_idle()
            assert requests.wake_one()
            return True

        requests.park(lock, arrives)  # comes back, since it was called
        assert requests.idle == []
        assert lock.locked, "the call is used up"

    def test_request_before_the_look_without_a_call(self) -> None:
        """The giver looked before the listing: the taker finds the request and unlists itself."""
        requests, lock = RequestQueue(), held()

        class Idle(list):
            def append(self, entry) -> None:
                assert not requests.has_idle()
                requests.append(call(int))
                super().append(entry)

        requests.idle = Idle()
        requests.park(lock, never)
        assert requests.idle == []
        assert not requests.wake_one(), "nobody must be called who has found work"

    def test_told_to_look_though_nothing_waits(self) -> None:
        requests, lock = RequestQueue(), held()
        requests.park(lock, lambda: True)
        assert requests.idle == []

    def test_the_last_to_park_is_called_first(self) -> None:
        requests, locks = RequestQueue(), [held() for _ in range(3)]
        for lock in locks:
            with pytest.raises(WouldBlockError):
                requests.park(lock, never)
        requests.wake_one()
        assert [lock.locked for lock in locks] == [True, True, False]
        requests.wake_all()
        assert not any(lock.locked for lock in locks)
        assert not requests.wake_one()

    def test_time_out_that_meets_a_call(self) -> None:
        """A parked thread whose time is up while a waker takes its lock has been called."""
        requests, lock = RequestQueue(), held()
        acquire = lock.acquire

        def too_late(blocking: bool = True, timeout: float = -1) -> bool:
            if timeout >= 0:
                requests.wake_one()
                return False
            return acquire(blocking, timeout)

        lock.acquire = too_late
        requests.park(lock, never, 1.0)
        assert requests.idle == []


class TestSettlingAll:
    def test_interrupted_it_keeps_its_place(self) -> None:
        requests = RequestQueue()
        first, second = call(int), call(str)
        requests.append(first)
        requests.append(second)

        def interrupted(request) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            requests.settle_all(interrupted)
        assert list(requests.requests) == [first, second]
        requests.settle_all(WorkRequest.cancel)
        assert not requests.requests
        assert (first.cancelled(), second.cancelled()) == (True, True)

    def test_what_a_callback_raises_is_not_taken_for_the_end(self) -> None:
        requests = RequestQueue()
        requests.append(call(int))

        def fail(request) -> None:
            raise IndexError

        with pytest.raises(IndexError):
            requests.settle_all(fail)


class TestTaking:
    def test_first_come_first_served_into_the_slot(self) -> None:
        requests, slot = RequestQueue(), []
        first, second = call(int), call(str)
        requests.append(first)
        requests.append(second)
        take = requests.taker(slot)
        next(take)
        assert slot == [first]
        slot.clear()
        next(take)
        assert slot == [second]
        with pytest.raises(IndexError):
            next(take)
        requests.append(first)
        next(take)
        assert slot == [second, first], "an empty queue does not end the taker"


class TestWorkforce:
    def test_starts_one_for_each_request_up_to_the_limit(self) -> None:
        crew = Crew(2)
        for _ in range(5):
            crew.give(call(int))
        assert len(crew.started) == 2
        assert len(crew.workforce.workers) == 2

    def test_an_idle_worker_is_called_instead(self) -> None:
        crew = Crew(2)
        crew.give(call(int))
        assert crew.step(crew.started[0]) == "parked"
        second = call(str)
        crew.give(second)
        assert len(crew.started) == 1
        assert crew.step(crew.started[0]) == "parked"
        assert second.result(0) == ""

    def test_a_request_that_comes_while_a_worker_runs(self) -> None:
        crew = Crew(1)
        inner: list[WorkRequest] = []

        def task() -> None:
            inner.append(call(int))
            crew.give(inner[0])

        crew.give(call(task))
        crew.step(crew.started[0])
        assert inner[0].result(0) == 0

    def test_called_and_leaving_another_is_called(self) -> None:
        """A worker that was called and dies passes the call on."""
        crew = Crew(2)
        crew.give(call(int))
        crew.give(call(int))
        first, second = crew.started
        crew.step(first)
        crew.step(second)
        crew.give(call(int))  # calls second, which parked last
        assert not second.lock.locked
        second._hand_back(KeyboardInterrupt())
        crew.workforce.depart(second)
        assert not first.lock.locked
        crew.step(first)
        assert not crew.workforce.requests.requests

    def test_dies_with_a_request_not_yet_claimed(self) -> None:
        crew = Crew(1)
        request, after = call(int), call(str)
        crew.give(request)
        crew.give(after)
        worker = crew.started[0]
        next(worker._take)  # and an exception strikes here
        worker._hand_back(KeyboardInterrupt())
        assert list(crew.workforce.requests.requests) == [request, after], "its old place"
        crew.workforce.depart(worker)
        assert len(crew.started) == 2, "it is replaced"
        crew.step(crew.started[1])
        assert (request.result(0), after.result(0)) == (0, "")

    def test_dies_with_a_request_claimed(self) -> None:
        crew = Crew(1)
        request, error = call(int), KeyboardInterrupt()
        crew.give(request)
        worker = crew.started[0]
        next(worker._take)
        request._pe_log.append(worker.claim)  # and an exception strikes here
        worker._hand_back(error)
        assert request.exception(0) is error

    def test_dies_while_settling(self) -> None:
        """The outcome is in the log; those who wait for it are served all the same."""
        crew = Crew(1)
        request, called = call(int), []
        crew.give(request)
        for _ in range(2):  # more than one: else _run itself settles it
            request.add_done_callback(called.append)
        worker = crew.started[0]
        next(worker._take)
        settle, request._settle_own = request._settle_own, lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            request._run(worker.claim)
        assert not request.done()
        request._settle_own = settle
        worker._hand_back(ZeroDivisionError())
        assert request.result(0) == 0
        assert called == [request, request]

    def test_closing_lets_workers_leave_after_the_queue(self) -> None:
        crew = Crew(2)
        crew.give(call(int))
        request = call(str)
        crew.workforce.requests.append(request)
        crew.workforce.close()
        assert crew.step(crew.started[0]) == "gone"
        assert request.result(0) == ""
        assert not crew.workforce.workers

    def test_closing_calls_all_that_are_idle(self) -> None:
        crew = Crew(3)
        for _ in range(3):
            crew.give(call(int))
        for worker in crew.started:
            crew.step(worker)
        crew.workforce.close()
        assert [crew.step(worker) for worker in crew.started] == ["gone"] * 3

    def test_request_after_the_last_look(self) -> None:
        """A worker that leaves looks once more after it was taken off the list."""
        crew = Crew(1)
        crew.give(call(int))
        worker = crew.started[0]
        crew.workforce.must_leave = lambda: True
        late = call(str)
        depart = crew.workforce.depart

        def meanwhile(leaving) -> None:
            del crew.workforce.must_leave
            crew.workforce.requests.append(late)
            depart(leaving)

        crew.workforce.depart = meanwhile
        assert crew.step(worker) == "gone"
        assert len(crew.started) == 2, "somebody else has to look"
        crew.step(crew.started[1])
        assert late.result(0) == ""

    def test_start_that_fails_with_others_alive(self) -> None:
        crew = Crew(2)
        crew.give(call(int))
        crew.workforce._start = _no_thread
        request = call(str)
        crew.give(request)
        assert len(crew.workforce.workers) == 1
        crew.step(crew.started[0])
        assert request.result(0) == ""

    def test_start_that_fails_with_nobody_alive(self) -> None:
        crew = Crew(2)
        crew.workforce._start = _no_thread
        request = call(str)
        with pytest.raises(RuntimeError, match="no thread"):
            crew.give(request)
        assert not crew.workforce.workers
        assert isinstance(request.exception(0), RuntimeError)

    def test_interrupted_start_serves_others(self) -> None:
        """An interrupt belongs to the caller; tickets of other threads are served."""
        crew = Crew(3)
        start = crew.workforce._start

        def interrupted(worker) -> None:
            crew.workforce._start = start
            crew.workforce._tickets.append(None)  # another thread finds the lock taken
            raise KeyboardInterrupt

        crew.workforce._start = interrupted
        with pytest.raises(KeyboardInterrupt):
            crew.give(call(int))
        assert len(crew.started) == 2
        assert len(crew.workforce.workers) == 2

    def test_given_up_worker_never_works(self) -> None:
        crew = Crew(1)
        kept = []

        def start_and_raise(worker) -> None:
            kept.append(worker)
            raise RuntimeError("started or not")

        crew.workforce._start = start_and_raise
        with pytest.raises(RuntimeError):
            crew.give(call(int))
        crew.workforce.requests.append(call(int))
        kept[0].run()  # the thread begins after all
        assert len(crew.workforce.requests.requests) == 1

    def test_growth_on_top_of_growth(self) -> None:
        """A finalizer or signal handler that interrupts a start leaves a ticket and goes."""
        crew = Crew(4)
        start = crew.workforce._start

        def reenter(worker) -> None:
            crew.workforce._start = start
            crew.give(call(int))
            assert len(crew.started) == 0, "the frame below serves it"
            start(worker)

        crew.workforce._start = reenter
        crew.give(call(int))
        assert len(crew.started) == 2

    def test_interrupted_where_threading_has_taken_its_lock(self) -> None:
        lock = threading._active_limbo_lock  # type: ignore[attr-defined]  # private

        def start():
            lock.acquire()
            raise KeyboardInterrupt

        worker = types.SimpleNamespace(thread=types.SimpleNamespace(start=start))
        with pytest.raises(KeyboardInterrupt):
            start_thread(worker)
        assert not lock._is_owned()
        # Called on top of a frame that has it: that frame gives it back.
        with lock:
            worker.thread.start = _raise_interrupt
            with pytest.raises(KeyboardInterrupt):
                start_thread(worker)
            assert lock._is_owned()

    def test_lock_left_behind(self) -> None:
        """An interrupt struck where `_starting` was to be released: it is found and released."""
        crew = Crew(1)
        crew.workforce._starting.acquire()
        crew.give(call(int))
        assert len(crew.started) == 1


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def _no_thread(worker) -> None:
    raise RuntimeError("no thread")


class HandOver(RuleBasedStateMachine):
    """Any order of giving, stepping, cancelling and dying loses nothing and runs nothing twice."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew(self.LIMIT)
        self.requests: list[WorkRequest] = []
        self.runs: dict[int, int] = {}

    def run(self, number: int) -> int:
        self.runs[number] = self.runs.get(number, 0) + 1
        return number

    def called(self) -> list:
        """Workers that can go on: newly started, or parked and called."""
        alive = [w for w in self.crew.started if w in self.crew.workforce.workers]
        return [w for w in alive if w not in self.crew.parked or not w.lock.locked]

    @rule()
    def give(self) -> None:
        request = call(self.run, len(self.requests))
        self.requests.append(request)
        self.crew.give(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        data.draw(st.sampled_from(self.requests)).cancel()

    @precondition(lambda self: self.called())
    @rule(data=st.data())
    def step(self, data) -> None:
        self.crew.step(data.draw(st.sampled_from(self.called())))

    @precondition(lambda self: self.crew.workforce.workers)
    @rule(data=st.data())
    def die(self, data) -> None:
        alive = [w for w in self.crew.started if w in self.crew.workforce.workers]
        worker = data.draw(st.sampled_from(alive))
        worker._hand_back(KeyboardInterrupt())
        self.crew.workforce.depart(worker)

    @invariant()
    def never_too_many(self) -> None:
        assert len(self.crew.workforce.workers) <= self.LIMIT

    @invariant()
    def waiting_work_has_somebody_who_will_look(self) -> None:
        waiting = [r for r in self.crew.workforce.requests.requests if not r.done()]
        if waiting:
            assert self.called(), "a request waits and nobody will look"

    @invariant()
    def nothing_twice(self) -> None:
        assert all(count == 1 for count in self.runs.values())

    def teardown(self) -> None:
        while self.called():
            self.crew.step(self.called()[0])
        for number, request in enumerate(self.requests):
            assert request.done()
            assert request.cancelled() or request.result(0) == number
            assert request.cancelled() == (number not in self.runs)


TestHandOver = HandOver.TestCase
TestHandOver.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
