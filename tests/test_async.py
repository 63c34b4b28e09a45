"""Futures and queues in coroutines of asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import queue
import sys
import threading
import warnings
from typing import ClassVar

import pytest

from poolexecutor import NoWorkersAvailable, PoolExecutor, RequestExpired, ResultQueue

from .helpers import SECONDS, blocked, until
from .nested import double


def policies():
    """Both that come with Python; the other one of the platform where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # going since 3.14; still used
        for name in ("DefaultEventLoopPolicy", "WindowsSelectorEventLoopPolicy"):
            policy = getattr(asyncio, name, None)
            if policy is not None:
                yield pytest.param(policy, id=name)
        yield pytest.param(OtherPolicy, id="select")


class OtherPolicy:
    """Loops over `select`."""

    def new_event_loop(self):
        import selectors

        return asyncio.SelectorEventLoop(selectors.SelectSelector())


@pytest.fixture(params=policies())
def run(request):
    """As `asyncio.run`, under a policy."""

    def run(coroutine):
        loop = request.param().new_event_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(coroutine, SECONDS))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run


class TestFuture:
    def test_result_and_exception(self, run) -> None:
        async def main():
            assert await executor.submit(double, 4) == 8
            done = executor.submit(double, 5)
            done.result(SECONDS)
            assert await done == 10
            assert await done == 10  # again
            with pytest.raises(ZeroDivisionError):
                await executor.submit(lambda: 1 // 0)
            futures = [executor.submit(double, number) for number in range(5)]
            assert await asyncio.gather(*futures) == [0, 2, 4, 6, 8]

        with PoolExecutor(2) as executor:
            run(main())

    def test_the_loop_goes_on(self, run) -> None:
        async def main():
            gate = threading.Event()
            future = executor.submit(gate.wait, SECONDS)
            asyncio.get_running_loop().call_soon(gate.set)
            assert await future

        with PoolExecutor(1) as executor:
            run(main())

    def test_cancelling_the_awaiting_task_cancels_a_pending_one(self, run) -> None:
        async def main():
            async def awaiting(future):
                await future

            with blocked(executor):
                future = executor.submit(double, 1)
                task = asyncio.ensure_future(awaiting(future))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert future.cancelled()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(executor.submit(double, 1), 0.01)

        with PoolExecutor(1) as executor:
            run(main())
            executor.drain(SECONDS)
            assert executor.stats().cancelled == 2

    def test_a_running_one_goes_on(self, run) -> None:
        gate, begun = threading.Event(), threading.Event()

        def work():
            begun.set()
            return gate.wait(SECONDS)

        async def main():
            future = executor.submit(work)
            begun.wait(SECONDS)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(future, 0.01)
            assert future.running()
            gate.set()
            assert await future

        with PoolExecutor(1) as executor:
            run(main())

    def test_cancelled_and_expired_ones(self, run) -> None:
        async def main():
            with blocked(executor):
                cancelled = executor.submit(double, 1)
                asyncio.get_running_loop().call_soon(cancelled.cancel)
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
                expired = executor.options(expires=0).submit(double, 1)
            with pytest.raises(RequestExpired):
                await expired

        with PoolExecutor(1) as executor:
            run(main())

    def test_expires_while_awaited(self, run) -> None:
        async def main():
            with blocked(executor):
                with pytest.raises(RequestExpired):
                    await executor.options(expires=0.02).submit(double, 1)

        with PoolExecutor(1) as executor:
            run(main())

    def test_many_awaits_leave_no_callback(self, run) -> None:
        async def main():
            with blocked(executor):
                future = executor.submit(double, 1)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.shield(awaiting(future)), 0.001)
                before = len(future._done_callbacks)
                tasks = [asyncio.ensure_future(awaiting(future)) for _ in range(5)]
                await asyncio.sleep(0)
                assert len(future._done_callbacks) == before + 5
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert not future._done_callbacks

        async def awaiting(future):
            return await future

        with PoolExecutor(1) as executor:
            run(main())

    def test_stop_iteration(self, run) -> None:
        async def main():
            with pytest.raises(RuntimeError) as caught:
                await executor.submit(next, iter(()))
            assert type(caught.value.__cause__) is StopIteration

        with PoolExecutor(1) as executor:
            run(main())

    def test_outside_of_a_loop(self) -> None:
        with PoolExecutor(1) as executor, blocked(executor):
            with pytest.raises(RuntimeError, match="no running event loop"):
                executor.submit(double, 1).__await__().send(None)

    def test_many_loops_in_many_threads(self, run) -> None:
        async def main(start):
            futures = [executor.submit(double, start + number) for number in range(50)]
            return [await future for future in futures]

        def in_thread(at):
            found[at] = run(main(at))

        found: dict[int, list[int]] = {}
        with PoolExecutor(3) as executor:
            threads = [threading.Thread(target=in_thread, args=(at,)) for at in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found == {at: [2 * (at + number) for number in range(50)] for at in range(4)}

    def test_one_future_in_many_loops(self, run) -> None:
        async def main(future):
            entered.wait(SECONDS)
            return await future

        entered = threading.Barrier(4)
        found: list[int] = []
        with PoolExecutor(1) as executor:
            with blocked(executor):
                future = executor.submit(double, 4)
                threads = [
                    threading.Thread(target=lambda: found.append(run(main(future))))
                    for _ in range(3)
                ]
                for thread in threads:
                    thread.start()
                entered.wait(SECONDS)
            for thread in threads:
                thread.join()
        assert found == [8, 8, 8]

    def test_loop_closed_while_work_runs(self, caplog) -> None:
        """No exception in the worker, and nothing is logged."""
        gate = threading.Event()

        async def main():
            async def awaiting():
                await running

            running = executor.submit(gate.wait, SECONDS)
            tasks = [asyncio.ensure_future(awaiting()) for _ in range(3)]
            tasks.append(asyncio.ensure_future(results_in(ResultQueue(executor))))
            await asyncio.sleep(0.01)
            return tasks

        async def results_in(results):
            results.submit(gate.wait, SECONDS)
            async for _ in results:
                pass

        with PoolExecutor(2) as executor, caplog.at_level(logging.DEBUG):
            loop = asyncio.new_event_loop()
            tasks = loop.run_until_complete(main())
            loop.close()
            gate.set()
            executor.drain(SECONDS)
            assert [task.done() for task in tasks] == [False] * 4
            assert executor.submit(double, 1).result(SECONDS) == 2
            stats = executor.stats()
            assert (stats.completed, stats.failed) == (3, 0)
            ours = [r for r in caplog.records if r.name.startswith(("poolexecutor", "concurrent"))]
            assert ours == []
            for task in tasks:
                task._log_destroy_pending = False  # asyncio's own word on this test's doing
            del tasks
            gc.collect()

    def test_in_a_task_of_the_same_pool(self) -> None:
        """A loop that runs in the only worker waits for what is queued behind it."""

        async def main():
            found = await executor.submit(double, 4)
            results = ResultQueue(executor)
            for number in range(3):
                results.submit(double, number)
            return [found, *sorted([future.result() async for future in results])]

        with PoolExecutor(1) as executor:
            task = executor.submit(lambda: asyncio.run(main()))
            assert task.result(SECONDS) == [8, 0, 2, 4]
            executor.drain(SECONDS)
            until(lambda: executor.stats().workers == 1)
            assert executor.stats().blocked == 0


class TestAsynciosOwnWays:
    """`run_in_executor`, `to_thread`, `wrap_future` in a loop that runs in a task of the pool."""

    WAYS: ClassVar = {
        "run_in_executor": lambda executor, fn, *args: asyncio.get_running_loop().run_in_executor(
            executor, fn, *args
        ),
        "wrap_future": lambda executor, fn, *args: asyncio.wrap_future(executor.submit(fn, *args)),
        "view": lambda executor, fn, *args: asyncio.get_running_loop().run_in_executor(
            executor.options(priority=1), fn, *args
        ),
    }
    each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

    @staticmethod
    def at_rest(executor) -> object:
        executor.drain(SECONDS)
        until(lambda: executor.stats().workers <= executor.max_workers)
        stats = executor.stats()
        assert (stats.blocked, stats.lent, stats.queued) == (0, 0, 0)
        assert stats.submitted == stats.completed + stats.failed + stats.cancelled
        return stats

    @each_way
    @pytest.mark.parametrize(("workers", "depth"), [(1, 1), (1, 10), (2, 10)])
    def test_nested(self, way, workers, depth) -> None:
        def task(depth):
            async def main():
                return 1 + await way(executor, task, depth - 1)

            return asyncio.run(main()) if depth else 0

        with PoolExecutor(workers) as executor:
            assert executor.submit(task, depth).result(SECONDS) == depth
            self.at_rest(executor)

    @each_way
    def test_behind_others_that_wait_for_what_the_task_holds(self, way) -> None:
        lock = threading.Lock()

        def stranger():
            with lock:
                pass

        def task():
            async def main():
                for _ in range(30):  # more than are known at a time, one after the other
                    executor.submit(stranger)
                    assert await way(executor, double, 2) == 4

            with lock:
                asyncio.run(main())

        with PoolExecutor(2) as executor:
            executor.submit(task).result(SECONDS)
            self.at_rest(executor)

    @each_way
    @pytest.mark.parametrize("workers", [1, 2])
    def test_many_at_a_time(self, way, workers) -> None:
        def task():
            async def main():
                return await asyncio.gather(*(way(executor, double, n) for n in range(500)))

            return asyncio.run(main())

        with PoolExecutor(workers) as executor:
            assert executor.submit(task).result(SECONDS) == [2 * n for n in range(500)]
            assert self.at_rest(executor).largest_workers <= 2 * workers + 1

    def test_default_executor(self) -> None:
        def task():
            async def main():
                asyncio.get_running_loop().set_default_executor(executor)
                try:
                    return await asyncio.to_thread(double, 3)
                finally:
                    # The end of the loop would shut it down.
                    asyncio.get_running_loop()._default_executor = None

            return asyncio.run(main())

        with PoolExecutor(1) as executor:
            assert executor.submit(task).result(SECONDS) == 6
            self.at_rest(executor)

    @each_way
    def test_what_the_loop_does_not_wait_for_after_all(self, way) -> None:
        gate, running = threading.Event(), threading.Event()

        def slow():
            running.set()
            gate.wait(SECONDS)

        def task():
            async def main():
                for number in range(50):
                    way(executor, double, number)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(way(executor, slow), 0.01)

            asyncio.run(main())
            return threading.current_thread()

        with PoolExecutor(1) as executor:
            executor.submit(slow)
            assert running.wait(SECONDS)
            later = executor.submit(task)
            executor.resize(2)
            later.result(SECONDS)
            gate.set()
            self.at_rest(executor)
            assert executor.submit(double, 1).result(SECONDS) == 2

    def test_for_another_loop(self) -> None:
        """Chained to a future of a loop that runs elsewhere: the task does not wait."""
        gate = threading.Event()

        def task(loop):
            asyncio.wrap_future(executor.submit(gate.wait, SECONDS), loop=loop)
            return executor.stats().blocked

        async def main():
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(executor, task, loop) == 0
            gate.set()

        with PoolExecutor(2) as executor:
            asyncio.run(main())
            self.at_rest(executor)


class TestResultQueue:
    def test_async_for(self, run) -> None:
        async def main():
            results = ResultQueue(executor)
            gate = threading.Event()
            late = results.submit(gate.wait, SECONDS)
            soon = results.submit(double, 1)
            seen = []
            async for future in results:
                seen.append(future)
                gate.set()
            assert seen == [soon, late]

        with PoolExecutor(2) as executor:
            run(main())

    def test_over_other_executors(self, run) -> None:
        async def main():
            results = ResultQueue(executor)
            for number in range(20):
                results.submit(double, number)
            return sorted([future.result() async for future in results])

        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            assert run(main()) == [2 * number for number in range(20)]

    def test_many_consumers_of_several_loops(self, run) -> None:
        async def consume():
            return [future.result() async for future in results]

        async def main():
            one, other = await asyncio.gather(consume(), consume())
            return one + other

        with PoolExecutor(2) as executor:
            results = ResultQueue(executor)
            with blocked(executor, 2):
                for number in range(100):
                    results.submit(double, number)
                found: list[int] = []
                threads = [
                    threading.Thread(target=lambda: found.extend(run(main()))) for _ in range(2)
                ]
                for thread in threads:
                    thread.start()
                until(lambda: len(results._news._sleepers) == 4)
            for thread in threads:
                thread.join()
        assert sorted(found) == [2 * number for number in range(100)]

    def test_cancelled_consumer_loses_nothing(self, run) -> None:
        async def consume():
            return [future.result() async for future in results]

        async def main():
            with blocked(executor):
                for number in range(5):
                    results.submit(double, number)
                task = asyncio.ensure_future(consume())
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            return await consume()

        with PoolExecutor(1) as executor:
            results = ResultQueue(executor)
            assert run(main()) == [0, 2, 4, 6, 8]
            assert not results._news.is_watched()

    def test_after_a_time_out(self, run) -> None:
        """The same iterator goes on."""

        async def main():
            finished = results.__aiter__()
            with blocked(executor):
                results.submit(double, 1)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(finished.__anext__(), 0.01)
            return [future.result() async for future in finished]

        with PoolExecutor(1) as executor:
            results = ResultQueue(executor)
            assert run(main()) == [2]

    def test_paused(self, run) -> None:
        async def main():
            executor.resize(0)
            results = ResultQueue(executor)
            results.submit(double, 1)
            with pytest.raises(NoWorkersAvailable):
                async for _ in results:
                    pass
            executor.resize(1)
            return [future.result() async for future in results]

        with PoolExecutor(1) as executor:
            assert run(main()) == [2]


class TestSubmitAsync:
    def test_waits_for_room_without_blocking(self, run) -> None:
        async def main():
            gate = threading.Event()
            futures = [await executor.submit_async(gate.wait, SECONDS)]
            until(lambda: executor.stats().busy == 1)
            futures.append(await executor.submit_async(double, 1))  # the only place
            third = asyncio.ensure_future(executor.submit_async(double, 2))
            await asyncio.sleep(0.01)  # the loop goes on
            assert not third.done()
            gate.set()
            futures.append(await third)
            assert await asyncio.gather(*futures) == [True, 2, 4]

        with PoolExecutor(1, max_queue_size=1) as executor:
            run(main())
            assert executor.stats().completed == 3

    def test_in_order_of_arrival_with_threads(self, run) -> None:
        order: list[str] = []
        admission = []

        async def main():
            with blocked(executor):
                await executor.submit_async(order.append, "queued")
                first = asyncio.ensure_future(executor.submit_async(order.append, "first"))
                await asyncio.sleep(0)
                thread = threading.Thread(target=executor.submit, args=(order.append, "second"))
                thread.start()
                while len(admission[0]._waiting) < 2:
                    await asyncio.sleep(0.001)
                third = asyncio.ensure_future(executor.submit_async(order.append, "third"))
                await asyncio.sleep(0)
            await (await first)
            await (await third)
            thread.join()

        with PoolExecutor(1, max_queue_size=1) as executor:
            admission.append(executor._PoolExecutor__workforce.admission)
            run(main())
        assert order == ["queued", "first", "second", "third"]

    def test_cancelled_it_has_queued_nothing(self, run) -> None:
        async def main():
            with blocked(executor):
                await executor.submit_async(double, 1)
                waiting = asyncio.ensure_future(executor.submit_async(double, 2))
                await asyncio.sleep(0.01)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert executor.stats().queued == 1
            assert await (await executor.submit_async(double, 3)) == 6

        with PoolExecutor(1, max_queue_size=1) as executor:
            run(main())
            assert executor.stats().completed == 3

    def test_cancelled_just_as_it_is_given_a_place(self, run) -> None:
        async def main():
            gate = threading.Event()
            running = executor.submit(gate.wait, SECONDS)
            until(lambda: executor.stats().busy == 1)
            queued = executor.submit(double, 1)
            waiting = asyncio.ensure_future(executor.submit_async(double, 2))
            await asyncio.sleep(0.01)
            queued.cancel()  # the place is handed over; the loop has not heard of it yet
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            last = await asyncio.wait_for(executor.submit_async(double, 3), SECONDS)
            gate.set()
            assert await asyncio.gather(running, last) == [True, 6]

        with PoolExecutor(1, max_queue_size=1) as executor:
            run(main())

    def test_loop_closed_while_it_waits(self) -> None:
        """The place that it is given then is not lost."""
        with PoolExecutor(1, max_queue_size=1, queue_timeout=SECONDS) as executor:
            with blocked(executor):
                executor.submit(double, 1)
                loop = asyncio.new_event_loop()
                waiting = loop.create_task(executor.submit_async(double, 2))
                loop.run_until_complete(asyncio.sleep(0.01))
                loop.close()
            assert executor.submit(double, 3).result(SECONDS) == 6
            executor.drain(SECONDS)
            waiting._log_destroy_pending = False  # asyncio's own word on this test's doing
            del waiting
            gc.collect()
            assert len(executor._PoolExecutor__workforce.admission._free) == 1

    def test_callbacks_that_submit_while_it_looks(self, run) -> None:
        """One whose request expires gives its place away; what its callback submits is run."""
        ran: list[str] = []

        async def main():
            with blocked(executor) as gate:
                expiring = executor.options(expires=0.02).submit(ran.append, "never")
                expiring.add_done_callback(lambda _: executor.submit(ran.append, "callback's"))
                waiting = asyncio.ensure_future(executor.submit_async(ran.append, "waiting"))
                future = await waiting
                gate.set()
                await future

        with PoolExecutor(1, max_queue_size=1) as executor:
            run(main())
            assert sorted(ran) == ["callback's", "waiting"]

    def test_queue_timeout(self, run) -> None:
        async def main():
            with blocked(executor):
                await executor.submit_async(double, 1)
                with pytest.raises(queue.Full):
                    await executor.submit_async(double, 2)
            assert await (await executor.submit_async(double, 3)) == 6

        with PoolExecutor(1, max_queue_size=1, queue_timeout=0.02) as executor:
            run(main())
            assert executor.stats().refused == 1

    def test_shutdown_releases_it(self, run) -> None:
        async def main():
            with blocked(executor):
                await executor.submit_async(double, 1)
                waiting = asyncio.ensure_future(executor.submit_async(double, 2))
                await asyncio.sleep(0.01)
                executor.shutdown(wait=False)
                with pytest.raises(RuntimeError, match="after shutdown"):
                    await waiting

        with PoolExecutor(1, max_queue_size=1) as executor:
            run(main())

    @pytest.mark.parametrize("on_full", ["raise", "discard", "discard_oldest", "caller_runs"])
    def test_other_policies(self, run, on_full: str) -> None:
        async def main():
            with blocked(executor):
                first = await executor.submit_async(double, 1)
                if on_full == "raise":
                    with pytest.raises(queue.Full):
                        await executor.submit_async(double, 2)
                    return
                second = await executor.submit_async(double, 2)
                assert first.cancelled() == (on_full == "discard_oldest")
                assert second.cancelled() == (on_full == "discard")
                assert second.done() == (on_full in ("discard", "caller_runs"))

        with PoolExecutor(1, max_queue_size=1, on_full=on_full) as executor:
            run(main())

    def test_views(self, run) -> None:
        ran: list[str] = []

        async def main():
            late, urgent = executor.options(priority=1), executor.options(priority=-1)
            expiring = executor.options(expires=0.02)
            with blocked(executor):
                await late.submit_async(ran.append, "late")
                await executor.submit_async(ran.append, "plain")
                expired = await expiring.submit_async(ran.append, "never")  # no room in time
                waiting = asyncio.ensure_future(urgent.submit_async(ran.append, "urgent"))
                await asyncio.sleep(0)
            with pytest.raises(RequestExpired):
                await expired
            await (await waiting)

        with PoolExecutor(1, max_queue_size=2) as executor:
            run(main())
            executor.drain(SECONDS)
            assert executor.stats().expired == 1
        assert sorted(ran) == ["late", "plain", "urgent"]
        assert ran.index("plain") < ran.index("late")

    def test_without_a_bound(self, run) -> None:
        async def main():
            return await (await executor.submit_async(double, 2))

        with PoolExecutor(1) as executor:
            assert run(main()) == 4

    def test_through_a_submit_of_a_subclass(self, run) -> None:
        calls = []

        class Sub(PoolExecutor):
            def submit(self, fn, /, *args, **kwargs):
                calls.append(fn)
                return super().submit(fn, *args, **kwargs)

        async def main():
            with blocked(executor):
                await executor.submit_async(double, 1)
                second = asyncio.ensure_future(executor.submit_async(double, 2))
                await asyncio.sleep(0.01)
                assert not second.done()
            return await (await second)

        with Sub(1, max_queue_size=1) as executor:
            assert run(main()) == 4
            assert calls[1:] == [double, double]
            executor.drain(SECONDS)
            free = executor._PoolExecutor__workforce.admission._free
            assert len(free) == 1

    def test_in_a_task_of_the_same_pool(self) -> None:
        """As `submit` there: it runs the call itself."""

        async def main():
            return [await (await executor.submit_async(double, number)) for number in range(4)]

        with PoolExecutor(1, max_queue_size=1) as executor:
            assert executor.submit(lambda: asyncio.run(main())).result(SECONDS) == [0, 2, 4, 6]


def test_asyncio_is_not_imported() -> None:
    """By those who do not use it."""
    import subprocess

    code = (
        "import sys, poolexecutor\n"
        "with poolexecutor.PoolExecutor(1) as executor:\n"
        "    executor.submit(lambda: executor.submit(abs, 1).result(5)).result()\n"
        "assert 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
