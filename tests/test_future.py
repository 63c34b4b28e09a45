"""`PoolFuture` and `WorkRequest`: the log, and the face of `concurrent.futures.Future`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import logging
import threading
import weakref
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolexecutor._future import ByHand, Claim, PoolFuture
from poolexecutor._request import WorkRequest

NOW = 0


def request(fn=int, *args, **kwargs) -> WorkRequest:
    return WorkRequest(fn, args, kwargs)


def raising(error: BaseException):
    def call() -> None:
        raise error

    return call


class TestOutcomes:
    def test_result(self) -> None:
        future = request(pow, 2, 5)
        future._run(Claim())
        assert future.result(NOW) == 32
        assert future.exception(NOW) is None
        assert (future.done(), future.running(), future.cancelled()) == (True, False, False)

    def test_keywords(self) -> None:
        future = request(int, "ff", base=16)
        future._run(Claim())
        assert future.result(NOW) == 255

    @pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
    def test_exception(self, error: BaseException) -> None:
        future = request(raising(error))
        future._run(Claim())
        assert future.exception(NOW) is error
        with pytest.raises(type(error)):
            future.result(NOW)

    def test_falsy_exception(self) -> None:
        class FalsyError(Exception):
            def __bool__(self) -> bool:
                return False

        future = request(raising(FalsyError()))
        future._run(Claim())
        with pytest.raises(FalsyError):
            future.result(NOW)

    def test_not_yet(self) -> None:
        future = request()
        for timeout in (0, -1, 0.01):
            with pytest.raises(FutureTimeout):
                future.result(timeout)
            with pytest.raises(FutureTimeout):
                future.exception(timeout)
        assert future._pe_log == [], "those who gave up leave nothing behind"

    def test_claimed_once(self) -> None:
        made = []
        future = request(made.append, 1)
        future._run(Claim())
        future._run(Claim())
        assert made == [1]


class TestCancelling:
    def test_pending(self) -> None:
        made = []
        future = request(made.append, 1)
        assert future.cancel()
        assert future.cancel(), "again"
        future._run(Claim())
        assert made == []
        assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
        for ask in (future.result, future.exception):
            with pytest.raises(CancelledError):
                ask(NOW)

    def test_running(self) -> None:
        seen = []
        future = request(lambda: seen.append((future.running(), future.cancel())))
        future._run(Claim())
        assert seen == [(True, False)]
        assert not future.cancel()
        assert future.result(NOW) is None

    def test_interrupted_canceller_is_helped_by_the_worker(self) -> None:
        """The event is in the log, its author was struck down: whoever meets it wakes the rest."""
        future = request()
        sleeper = threading.Thread(target=_swallow, args=(future,))
        sleeper.start()
        while not future._pe_log:
            pass  # until it sleeps
        future._pe_log.append(concurrent.futures._base.CANCELLED_AND_NOTIFIED)
        future._run(Claim())
        sleeper.join(10)
        assert not sleeper.is_alive()
        assert future.cancelled()


def _swallow(future) -> None:
    with pytest.raises(CancelledError):
        future.result()


class TestCallbacks:
    def test_order_and_thread(self) -> None:
        called = []
        future = request()
        for number in range(3):
            future.add_done_callback(lambda f, n=number: called.append(n))
        future._run(Claim())
        future.add_done_callback(lambda f: called.append("late"))
        assert called == [0, 1, 2, "late"]

    @pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt()])
    @pytest.mark.parametrize("when", ["before", "after", "cancelled"])
    def test_raising_is_logged(self, error, when, caplog) -> None:
        def callback(f) -> None:
            raise error

        called = []
        future = request()
        if when == "after":
            future._run(Claim())
        future.add_done_callback(callback)
        future.add_done_callback(called.append)
        if when == "before":
            future._run(Claim())
        elif when == "cancelled":
            future.cancel()
        assert called == [future]
        assert [r.name for r in caplog.records] == ["concurrent.futures"]

    def test_visible_until_called(self) -> None:
        future = request()
        future.add_done_callback(print)
        assert future._done_callbacks == [print]
        future.cancel()
        assert future._done_callbacks == []

    def test_a_callback_that_adds_one(self) -> None:
        called = []
        future = request()
        future.add_done_callback(lambda f: f.add_done_callback(called.append))
        future._run(Claim())
        assert called == [future]


class TestByHand:
    def test_pending(self) -> None:
        future = request(raising(AssertionError()))
        future.set_result("mine")
        future._run(Claim())
        assert future.result(NOW) == "mine"

    def test_running(self, caplog) -> None:
        future = request(lambda: future.set_exception(ValueError("mine")))
        called = []
        future.add_done_callback(called.append)
        future._run(Claim())
        assert str(future.exception(NOW)) == "mine"
        assert called == [future], "once"
        assert future._get_snapshot()[3] is future.exception(NOW)

    def test_running_and_then_raising(self, caplog) -> None:
        def call() -> None:
            future.set_result("mine")
            raise ValueError

        future = request(call)
        future._run(Claim())
        assert (future.result(NOW), future.exception(NOW)) == ("mine", None)
        assert [r.name for r in caplog.records] == ["poolexecutor"], "the other error is not silent"

    def test_between_claim_and_state(self) -> None:
        """Written down just before the worker writes that it runs: it stays done."""
        seen = []

        class Log(list):
            def append(self, event) -> None:
                super().append(event)
                if type(event) is Claim:
                    future.set_result("mine")

        future = request(lambda: seen.append(future.done()))
        future._pe_log = Log()
        future._run(Claim())
        assert seen == [True]
        assert future.result(NOW) == "mine"

    def test_worker_ends_before_it_is_written_down(self) -> None:
        """The event is in the log, its author is slow: whoever writes it down tells the waiters."""
        future, told = request(), []

        class Waiter:
            def add_result(self, done) -> None:
                told.append(done._result)

        future._waiters.append(Waiter())
        future._pe_log += [Claim(), ByHand("mine", None)]
        future._result = "by the worker"
        future._pe_log.append(concurrent.futures._base.FINISHED)
        future._settle_own()
        future._settle()  # and now the slow author
        assert told == ["mine"]
        assert future.result(NOW) == "mine"

    def test_twice(self) -> None:
        future: PoolFuture[int] = PoolFuture()
        future.set_result(1)
        for again in (future.set_result, future.set_exception):
            with pytest.raises(InvalidStateError):
                again(2)
        assert future.result(NOW) == 1

    def test_set_running(self, caplog) -> None:
        future: PoolFuture[int] = PoolFuture()
        assert future.set_running_or_notify_cancel()
        assert future.running()
        assert not future.cancel()
        with pytest.raises(RuntimeError, match="unexpected state"):
            future.set_running_or_notify_cancel()
        future.set_result(3)
        assert future.result(NOW) == 3

    def test_set_running_after_cancel(self) -> None:
        future: PoolFuture[int] = PoolFuture()
        future.cancel()
        assert not future.set_running_or_notify_cancel()


class TestWaiting:
    """What the standard library and others do with `_condition`, `_waiters` and `_state`."""

    def test_standard_wait_and_as_completed(self) -> None:
        done, failed, cancelled, pending = (request() for _ in range(4))
        done._run(Claim())
        failed.set_exception(ValueError())
        cancelled.cancel()
        ready = {done, failed, cancelled}
        found = concurrent.futures.wait([*ready, pending], NOW)
        assert (found.done, found.not_done) == (ready, {pending})
        assert set(concurrent.futures.as_completed(ready, NOW)) == ready
        first = concurrent.futures.wait([done, pending], NOW, "FIRST_COMPLETED")
        assert first.done == {done}
        assert concurrent.futures.wait([failed, pending], NOW, "FIRST_EXCEPTION").done == {failed}

    @pytest.mark.parametrize("when", ["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"])
    @pytest.mark.parametrize("how", ["run", "fail", "cancel", "by hand"])
    def test_wait_is_woken(self, when, how) -> None:
        future, other = request(raising(ValueError()) if how == "fail" else int), request()
        if (when != "FIRST_COMPLETED" and how != "fail") or when == "ALL_COMPLETED":
            other.cancel()
        found = []
        thread = threading.Thread(
            target=lambda: found.append(concurrent.futures.wait([future, other], 20, when))
        )
        thread.start()
        while not (future._pe_condition and future._waiters):
            pass
        {"run": lambda: future._run(Claim()), "fail": lambda: future._run(Claim())}.get(
            how, future.cancel if how == "cancel" else lambda: future.set_result(1)
        )()
        thread.join(10)
        assert not thread.is_alive()
        assert future in found[0].done
        assert future.cancelled() or type(future.exception(NOW)) is not SystemExit

    def test_condition_excludes_the_end(self) -> None:
        """Who holds the condition sees no change of state."""
        future, seen = request(), []
        with future._condition:
            thread = threading.Thread(target=future._run, args=(Claim(),))
            thread.start()
            while future._pe_log[-1] is not concurrent.futures._base.FINISHED:
                pass  # until the outcome is in the log
            seen.append(future.done())
        thread.join(10)
        seen.append(future.done())
        assert seen == [False, True]

    def test_condition_wait_and_notify(self) -> None:
        future, seen = request(), []

        def sleep() -> None:
            with future._condition:
                while not future.done():
                    future._condition.wait(20)
            seen.append(future._result)

        thread = threading.Thread(target=sleep)
        thread.start()
        while not future._condition.sleepers:
            pass
        future._run(Claim())
        thread.join(10)
        assert seen == [0]

    def test_condition_of_a_done_future(self) -> None:
        future = request()
        future._run(Claim())
        with future._condition:
            assert future._condition.wait(100)
            future._condition.notify_all()
        assert future._condition.acquire()
        future._condition.release()
        assert future._condition.wait_for(lambda: "so") == "so"
        future._waiters.append(object())
        future._waiters.remove(object())

    def test_own_waiter(self) -> None:
        told = []

        class Waiter:
            def add_result(self, future) -> None:
                told.append(future)
                raise SystemExit

            add_exception = add_cancelled = add_result

        for act in (
            lambda f: f._run(Claim()),
            PoolFuture.cancel,
            lambda f: f.set_exception(OSError()),
        ):
            future = request()
            future._waiters.append(Waiter())
            act(future)
            assert told.pop() is future

    def test_snapshot(self) -> None:
        future = request()
        assert future._get_snapshot() == (False, False, None, None)
        future._run(Claim())
        assert future._get_snapshot() == (True, False, 0, None)
        future = request()
        future.cancel()
        assert future._get_snapshot() == (True, True, None, None)

    def test_wrapped_in_asyncio(self) -> None:
        async def main() -> None:
            good, bad, cancelled = request(), request(raising(OSError())), request()
            wrapped = [asyncio.wrap_future(f) for f in (good, bad, cancelled)]
            good._run(Claim())
            bad._run(Claim())
            wrapped[2].cancel()
            assert await wrapped[0] == 0
            with pytest.raises(OSError):
                await wrapped[1]
            await asyncio.sleep(0)
            assert cancelled.cancelled()

        asyncio.run(main())

    def test_state_written_from_outside(self) -> None:
        future = request()
        future._state, future._result = "FINISHED", 9
        assert future.result(NOW) == 9


class TestReferences:
    def test_waiting_leaves_no_cycle(self) -> None:
        gc.disable()
        try:
            future = request()
            thread = threading.Thread(target=concurrent.futures.wait, args=([future],))
            thread.start()
            while not (future._pe_condition and future._waiters):
                pass
            future._run(Claim())
            thread.join(10)
            gone = weakref.ref(future)
            del future, thread
            assert gone() is None
        finally:
            gc.enable()

    class Thing:
        def __call__(self, *args) -> object:
            return TestReferences.Thing()

    def test_finished_keeps_its_result_only(self) -> None:
        call, argument = self.Thing(), self.Thing()
        gone = [weakref.ref(call), weakref.ref(argument)]
        future = request(call, argument)
        del call, argument
        gc.disable()
        try:
            future._run(Claim())
            assert [r() for r in gone] == [None, None]
            result = weakref.ref(future.result(NOW))
            del future
            assert result() is None
        finally:
            gc.enable()

    def test_no_cycle_holds_an_exception(self) -> None:
        class Error(Exception):
            pass

        def fail() -> None:
            raise Error

        gc.disable()
        try:
            future = request(fail)
            future._run(Claim())
            try:
                future.result(NOW)
            except Error as error:
                gone = [weakref.ref(future), weakref.ref(error)]
            del future
            assert [r() for r in gone] == [None, None]
        finally:
            gc.enable()

    def test_called_callbacks_are_let_go(self) -> None:
        callback = self.Thing()
        gone = weakref.ref(callback)
        for count in (1, 2):
            future = request()
            for _ in range(count):
                future.add_done_callback(callback)
            future._run(Claim())
        del callback
        assert gone() is None

    def test_hashable_and_weakly_referable(self) -> None:
        future = request()
        assert {future: 1}[future] == 1
        assert weakref.ref(future)() is future
        assert isinstance(future, Future)


class TestUnretrieved:
    def test_logged_once_when_it_goes(self, caplog) -> None:
        future = request(raising(ValueError("lost")))
        future._run(Claim())
        del future
        gc.collect()
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("poolexecutor", logging.ERROR)
        assert str(record.exc_info[1]) == "lost"

    @pytest.mark.parametrize("how", ["result", "exception", "_get_snapshot"])
    def test_not_when_somebody_looked(self, how, caplog) -> None:
        future = request(raising(ValueError()))
        future._run(Claim())
        try:
            getattr(future, how)()
        except ValueError:
            pass
        del future
        gc.collect()
        assert not caplog.records


def test_repr_as_standard() -> None:
    for act in (lambda f: None, Future.cancel, lambda f: f.set_result(1)):
        ours, standard = PoolFuture(), Future()
        act(standard)
        {Future.cancel: PoolFuture.cancel}.get(act, act)(ours)
        expected = repr(standard).replace("Future", "PoolFuture").split(" at ")
        got = repr(ours).split(" at ")
        assert (got[0], got[1].split(" ", 1)[1]) == (expected[0], expected[1].split(" ", 1)[1])


ACTS = ["cancel", "run", "set_result", "set_exception", "callback", "condition", "set_running"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ACTS), max_size=8))
def test_any_sequence_as_the_standard_future(acts: list[str]) -> None:
    """Whatever is done to it, in one thread, it answers as the standard future does."""
    ours, standard = request(lambda: "ran"), Future()
    calls: list[list[object]] = [[], []]
    logging.disable(logging.CRITICAL)
    try:
        for act, number in zip(acts, itertools.count()):
            answers = [_act(f, act, number, calls[i]) for i, f in enumerate((ours, standard))]
            assert answers[0] == answers[1], (acts, number)
            for ask in ("done", "cancelled", "running"):
                assert getattr(ours, ask)() == getattr(standard, ask)()
            assert calls[0] == calls[1]
            if standard.done() and not standard.cancelled():
                assert type(ours.exception(NOW)) is type(standard.exception(NOW))
                assert ours._result == standard._result
    finally:
        logging.disable(logging.NOTSET)


def _act(future, act: str, number: int, called: list[object]) -> object:
    try:
        if act == "run":  # what a worker does; the standard one's is written out
            if isinstance(future, WorkRequest):
                if future._fold()[:2] == (None, None):
                    future._run(Claim())
            elif future._state == "PENDING":
                future.set_running_or_notify_cancel()
                future.set_result("ran")
            return None
        if act == "set_running" and future._state != "PENDING":
            return None  # the standard future forgets here whom it has told
        return {
            "cancel": future.cancel,
            "set_result": lambda: future.set_result(number),
            "set_exception": lambda: future.set_exception(KeyError(number)),
            "callback": lambda: future.add_done_callback(lambda f: called.append(number)),
            "condition": lambda: future._condition.acquire() and future._condition.release(),
            "set_running": future.set_running_or_notify_cancel,
        }[act]()
    except (InvalidStateError, RuntimeError) as error:
        return type(error)
