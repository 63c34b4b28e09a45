"""The size of a pool, stepped: workers come and go by hand, no thread, no clock, no sleep."""

from __future__ import annotations

import itertools

import pytest

from poolexecutor import NoWorkersAvailable
from poolexecutor._request import WorkRequest
from poolexecutor._sizing import Bounds
from poolexecutor._stats import Ledger, Tally

from .stepping import Crew, held


def call(fn=int, *args) -> WorkRequest:
    return WorkRequest(fn, args, {})


def idle_crew(count: int, limit: int | None = None, minimum: int = 0, **kwargs) -> Crew:
    """A crew of `count` workers that have run something and are parked, in order of their start."""
    crew = Crew(count, minimum, idle_timeout=1, **kwargs)
    for _ in range(count):
        crew.give(call())
    for worker in crew.started:
        assert crew.step(worker) == "parked"
    crew.workforce.bounds = Bounds(limit or count, minimum)
    return crew


def counts(crew: Crew) -> tuple[int, int, int]:
    """Workers, idle ones, requests that wait."""
    stats = crew.workforce.stats()
    return stats.workers, stats.idle, stats.queued


class TestMore:
    def test_one_for_each_request_up_to_the_limit(self) -> None:
        crew = Crew(3)
        for number in range(1, 6):
            crew.give(call())
            assert len(crew.started) == min(number, 3)
        assert counts(crew) == (3, 0, 5)

    def test_an_idle_one_is_called_instead(self) -> None:
        crew = idle_crew(1, limit=5)
        crew.give(call())
        assert len(crew.started) == 1
        assert crew.step(crew.started[0]) == "parked"

    def test_the_minimum_is_started_ahead(self) -> None:
        crew = Crew(5, minimum=3)
        crew.workforce.start_minimum()
        assert len(crew.started) == 3
        crew.workforce.start_minimum()
        assert len(crew.started) == 3

    def test_the_first_request_brings_the_minimum(self) -> None:
        """As after a fork, when all are gone."""
        crew = Crew(5, minimum=3)
        crew.give(call())
        assert len(crew.started) == 3

    def test_walk(self) -> None:
        """n, 3n, 4n, 2n: exact at each step, the idle time changed on the way."""
        n = 2
        crew = Crew(n, idle_timeout=1)
        for _ in range(4 * n):
            crew.give(call())
        assert counts(crew) == (n, 0, 4 * n)
        crew.workforce.resize(lambda _: Bounds(3 * n))
        assert counts(crew) == (3 * n, 0, 4 * n)
        crew.workforce.resize(lambda _: Bounds(4 * n))
        assert counts(crew) == (4 * n, 0, 4 * n)
        crew.workforce.idle_timeout = None
        crew.step_all()
        assert counts(crew) == (4 * n, 4 * n, 0)
        crew.workforce.resize(lambda _: Bounds(2 * n))
        crew.step_all()
        assert counts(crew) == (2 * n, 2 * n, 0)
        crew.workforce.idle_timeout = 1
        for worker in list(crew.workforce.workers):
            crew.workforce.requests.wake_all()
            crew.step_all()
            assert crew.expire(worker) == "gone"
        assert counts(crew) == (0, 0, 0)
        stats = crew.workforce.stats()
        assert (stats.submitted, stats.completed) == (4 * n, 4 * n)
        assert stats.largest_workers == 4 * n

    def test_starts_that_fail_now_and_then(self) -> None:
        """As many as the system gives; the rest later; nothing is lost."""
        crew = Crew(4)
        fails = itertools.cycle([False, True, True])

        def start(worker) -> None:
            if next(fails):
                raise RuntimeError("can't start new thread")
            crew.started.append(worker)

        crew.workforce._start = start
        requests = [call() for _ in range(4)]
        for request in requests:
            crew.give(request)
        assert len(crew.started) == len(crew.workforce.workers) == 2
        crew.workforce.resize(lambda _: Bounds(6))
        assert len(crew.started) == len(crew.workforce.workers) <= 6
        crew.step_all()
        assert [request.result(0) for request in requests] == [0] * 4

    def test_interrupt_while_the_minimum_is_made_up(self) -> None:
        """Ctrl-C in `submit` is raised there, though an idle worker has been called."""
        crew = idle_crew(1, limit=3)

        def interrupted(worker) -> None:
            raise KeyboardInterrupt

        crew.workforce._start = interrupted
        crew.workforce.bounds = Bounds(3, 2)
        request = call()
        with pytest.raises(KeyboardInterrupt):
            crew.give(request)
        crew.step_all()
        assert request.done()

    def test_resuming_without_a_thread_keeps_the_queue(self) -> None:
        crew = Crew(2)
        crew.workforce.resize(lambda _: Bounds(2, paused=True))
        request = call()
        crew.give(request)

        def start(worker) -> None:
            raise RuntimeError("can't start new thread")

        start, crew.workforce._start = crew.workforce._start, start
        with pytest.raises(RuntimeError, match="can't start new thread"):
            crew.workforce.resize(lambda _: Bounds(2))
        assert not request.done()
        crew.workforce._start = start
        crew.workforce.resize(lambda _: Bounds(2))
        crew.step_all()
        assert request.result(0) == 0


class TestFewer:
    def test_the_longest_idle_leave_first(self) -> None:
        crew = idle_crew(4)
        third, fourth = crew.started[2:]
        crew.workforce.resize(lambda _: Bounds(2))
        crew.step_all()
        assert crew.workforce.workers == {third, fourth}
        assert not crew.workforce.is_alert

    def test_a_busy_one_leaves_after_its_task(self) -> None:
        crew = Crew(2)
        crew.give(call(lambda: crew.workforce.resize(lambda _: Bounds(1))))
        crew.give(call())
        crew.give(call())
        first, second = crew.started
        assert crew.step(first) == "gone"
        assert counts(crew) == (1, 0, 2)
        assert crew.step(second) == "parked"
        assert counts(crew) == (1, 1, 0)

    def test_no_more_leave_than_have_to(self) -> None:
        crew = idle_crew(4)
        crew.workforce.resize(lambda _: Bounds(3))
        crew.workforce.requests.wake_all()  # all look, though one has to go
        crew.step_all()
        assert counts(crew) == (3, 3, 0)

    def test_up_again_before_they_have_left(self) -> None:
        crew = idle_crew(4)
        crew.workforce.resize(lambda _: Bounds(1))
        crew.workforce.resize(lambda _: Bounds(4))
        crew.step_all()
        assert counts(crew) == (4, 4, 0)
        assert not crew.workforce.is_alert

    @pytest.mark.parametrize("limit", [0, 1])
    def test_fewer_while_one_is_being_started(self, limit) -> None:
        """The limit falls after it was looked at and before the worker is among the workers."""
        crew = Crew(2)
        workforce = crew.workforce
        for _ in range(limit):
            crew.give(call())
        number = workforce._next_number

        def meanwhile() -> int:
            workforce._next_number = number
            workforce.resize(lambda _: Bounds(max(limit, 1), paused=limit == 0))
            return number()

        workforce._next_number = meanwhile
        request = call()
        crew.give(request)
        crew.step_all()
        assert len(workforce.workers) == limit
        assert request.done() == bool(limit)

    def test_a_request_that_calls_one_that_leaves(self) -> None:
        crew = idle_crew(2)
        crew.workforce.resize(lambda _: Bounds(1))
        request = call(str)
        crew.give(request)  # the other one is called
        crew.step_all()
        assert request.result(0) == ""
        assert counts(crew) == (1, 1, 0)

    def test_pause_and_resume(self) -> None:
        crew = idle_crew(3)
        crew.workforce.resize(lambda _: Bounds(3, paused=True))
        crew.step_all()
        requests = [call(str) for _ in range(2)]
        for request in requests:
            crew.give(request)
        assert counts(crew) == (0, 0, 2)
        assert len(crew.started) == 3
        crew.workforce.resize(lambda _: Bounds(3))
        assert counts(crew) == (2, 0, 2)
        crew.step_all()
        assert [request.result(0) for request in requests] == ["", ""]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_never_below_the_minimum(self, order) -> None:
        crew = idle_crew(3, minimum=1)
        outcomes = [crew.expire(crew.started[index]) for index in order]
        assert outcomes == ["gone", "gone", "parked"]
        assert counts(crew) == (1, 1, 0)

    def test_two_that_leave_at_once(self) -> None:
        """Each has asked before the other is gone: one may, one may not."""
        crew = idle_crew(2, minimum=1)
        one, two = crew.started
        for worker in (one, two):
            crew.workforce.requests.unpark(worker.lock)
        assert crew.workforce.may_leave(one, expired=True)
        assert not crew.workforce.may_leave(two, expired=True)
        crew.workforce.depart(one)
        assert crew.workforce.workers == {two}
        assert crew.workforce._leaving == []

    def test_a_leaver_is_not_counted_twice(self) -> None:
        """One is off the workers and still in the list of those that leave when another asks."""
        crew = idle_crew(3)
        one, two = crew.started[:2]
        crew.workforce.bounds = Bounds(1)
        assert crew.workforce.may_leave(one, expired=False)
        crew.workforce.workers.discard(one)
        crew.workforce.requests.unpark(one.lock)
        crew.workforce.requests.unpark(two.lock)
        assert crew.workforce.may_leave(two, expired=False)  # 2 workers, 1 of them too many
        crew.workforce.depart(one)
        crew.workforce.depart(two)
        crew.step_all()
        assert len(crew.workforce.workers) == 1

    def test_refused_asks_again_only_after_a_change(self) -> None:
        crew = idle_crew(2, minimum=2)
        worker = crew.started[0]
        assert crew.expire(worker) == "parked"
        assert not crew.workforce.must_look_though_refused()
        crew.workforce.resize(lambda bounds: bounds.resized(None, 1))
        assert not worker.lock.locked  # called
        assert crew.workforce.must_look_though_refused()

    def test_outsiders_at_the_queue_are_not_taken_for_workers(self) -> None:
        crew = idle_crew(2)
        crew.workforce.idle_timeout = None
        outsider = held()
        crew.workforce.requests.idle.insert(0, outsider)  # idle for longest
        crew.workforce.resize(lambda _: Bounds(1))
        crew.step_all()
        assert len(crew.workforce.workers) == 1
        assert outsider.locked

    def test_expiry_while_another_departs(self) -> None:
        """One is off the workers and still among those that leave: it does not count twice."""
        crew = idle_crew(2)
        one, two = crew.started
        workforce = crew.workforce
        workforce.requests.unpark(one.lock)
        assert workforce.may_leave(one, expired=True)
        workforce.workers.discard(one)
        assert crew.expire(two) == "gone"
        workforce.depart(one)
        assert not workforce.workers

    def test_expiry_meets_a_request(self) -> None:
        """It comes between the time-out and the leaving: the worker finds it."""
        crew = idle_crew(1)
        [worker] = crew.started
        request = call(str)
        crew.workforce.requests.append(request)
        assert crew.expire(worker) == "parked"
        assert request.result(0) == ""

    def test_a_request_while_one_leaves(self) -> None:
        """It comes after the last look: another worker is started."""
        crew = idle_crew(1)
        [worker] = crew.started
        request = call(str)
        depart = crew.workforce.depart

        def late(leaving) -> None:
            crew.workforce.depart = depart
            crew.give(request)  # the limit does not let it start another one
            depart(leaving)

        crew.workforce.depart = late
        assert crew.expire(worker) == "gone"
        assert len(crew.started) == 2
        crew.step_all()
        assert request.result(0) == ""

    def test_a_dead_one_is_replaced(self) -> None:
        crew = idle_crew(2, minimum=2)
        dead = crew.started[0]
        crew.workforce.requests.unpark(dead.lock)
        crew.workforce.depart(dead)
        assert len(crew.started) == 3
        assert len(crew.workforce.workers) == 2

    def test_no_churn(self) -> None:
        """Work that comes as fast as workers expire starts no thread but the first."""
        crew = idle_crew(1)
        [worker] = crew.started
        for _ in range(100):
            crew.workforce.requests.append(call())
            assert crew.expire(worker) == "parked"
        assert len(crew.started) == 1


class TestRest:
    def test_at_rest(self) -> None:
        crew = idle_crew(2)
        assert crew.workforce.vigil._is_at_rest([])
        crew.workforce.requests.append(call())
        assert not crew.workforce.vigil._is_at_rest([])
        crew.workforce.requests.wake_one()
        assert not crew.workforce.vigil._is_at_rest([])
        crew.step_all()
        assert crew.workforce.vigil._is_at_rest([])

    def test_a_request_that_comes_and_is_taken_meanwhile(self) -> None:
        """The queue is empty at both looks and all were parked at one: yet a task runs."""
        crew = idle_crew(1)
        [worker] = crew.started
        looks = []
        has_requests = crew.workforce.requests.has_requests

        def second_look() -> bool:
            looks.append(has_requests())
            if len(looks) == 2:  # given, called, taken since the worker was seen parked
                crew.give(call())
                worker.lock.acquire()
                worker.wakes += 1
                next(worker._take)
            return has_requests()

        crew.workforce.requests.has_requests = second_look
        assert not crew.workforce.vigil._is_at_rest([])
        assert looks == [False, False]

    def test_paused_with_work(self) -> None:
        crew = Crew(1)
        crew.workforce.resize(lambda _: Bounds(1, paused=True))
        request = call()
        crew.give(request)
        with pytest.raises(NoWorkersAvailable):
            crew.workforce.vigil.drain(None)
        request.cancel()
        assert crew.workforce.vigil.drain(None)  # what is cancelled is no work

    def test_waiting_inside(self) -> None:
        """A task that asks does not count itself."""
        crew = idle_crew(2)
        one, _ = crew.started
        crew.workforce.requests.unpark(one.lock)
        assert not crew.workforce.vigil._is_at_rest([])
        assert crew.workforce.vigil._is_at_rest([one])


class TestCounts:
    def test_each_end_is_counted(self) -> None:
        crew = Crew(1)
        good, bad, cancelled = call(int), call(int, "x"), call(int)
        for request in (good, bad, cancelled):
            crew.give(request)
        cancelled.cancel()
        stats = crew.workforce.stats()
        assert (stats.submitted, stats.queued, stats.cancelled) == (3, 2, 1)
        crew.step_all()
        stats = crew.workforce.stats()
        assert (stats.completed, stats.failed, stats.cancelled) == (1, 1, 1)
        assert (stats.submitted, stats.queued, stats.busy, stats.idle) == (3, 0, 0, 1)

    def test_workers_that_left_are_remembered(self) -> None:
        crew = idle_crew(3)
        for worker in crew.started:
            crew.expire(worker)
        stats = crew.workforce.stats()
        assert (stats.workers, stats.submitted, stats.completed) == (0, 3, 3)

    def test_seen_from_within_a_task(self) -> None:
        crew = Crew(2)
        seen = []
        crew.give(call(lambda: seen.append(crew.workforce.stats())))
        crew.give(call())
        crew.step(crew.started[0])
        [stats] = seen
        assert (stats.workers, stats.busy, stats.queued, stats.submitted) == (2, 1, 1, 2)

    def test_two_that_settle_all_at_once(self) -> None:
        crew = Crew(1)
        requests = [call() for _ in range(4)]
        for request in requests:
            crew.give(request)
        queue = crew.workforce.requests
        requests[0].add_done_callback(lambda future: queue.settle_all(lambda one: one.cancel()))
        queue.settle_all(lambda one: one.cancel())
        assert all(request.cancelled() for request in requests)
        assert not queue.in_hand

    def test_interrupted_cancelling_is_counted(self) -> None:
        crew = Crew(1)
        requests = [call() for _ in range(3)]
        for request in requests:
            crew.give(request)
        cancel = requests[1].cancel

        def interrupted() -> bool:
            cancel()
            raise KeyboardInterrupt

        requests[1].cancel = interrupted
        with pytest.raises(KeyboardInterrupt):
            crew.workforce.close(cancel_futures=True)
        requests[1].cancel = cancel
        crew.workforce.close(cancel_futures=True)
        assert crew.workforce.stats().cancelled == 3

    def test_while_one_departs(self) -> None:
        """Its counts are nowhere for a moment; who asks then, asks again."""
        crew = idle_crew(1)
        [worker] = crew.started
        workforce, seen = crew.workforce, []
        total = workforce._ledger.total

        def meanwhile():
            workforce._ledger.total = total
            found = total()
            assert crew.expire(worker) == "gone"  # after the ledger, before the workers were read
            return found

        workforce._ledger.total = meanwhile
        seen.append(workforce.stats().completed)
        assert seen == [1]

    def test_cancelled_at_the_end(self) -> None:
        crew = Crew(1)
        for _ in range(3):
            crew.give(call())
        crew.workforce.close(cancel_futures=True)
        assert crew.workforce.stats().cancelled == 3

    def test_failed_by_a_broken_pool(self, caplog) -> None:
        crew = Crew(1)
        for _ in range(3):
            crew.give(call())
        crew.workforce.break_down("because")
        assert crew.workforce.stats().failed == 3

    def test_two_that_add_to_the_ledger_at_once(self) -> None:
        ledger = Ledger()
        ledger.add(Tally(1, 2, 3))
        taken = ledger._entries.pop()  # another thread is between its two steps
        ledger.add(Tally(1, 0, 0))
        ledger._entries.append(taken)
        assert ledger.total() == Tally(2, 2, 3)
        ledger.add(Tally(0, 0, 1))
        assert ledger.total() == Tally(2, 2, 4)
        assert len(ledger._entries) == 1
