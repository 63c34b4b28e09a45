"""langchain-core: its `ContextThreadPoolExecutor`, alone, under batches and branches."""

import __future__

import contextvars
import inspect
import os
import threading

os.environ["LANGCHAIN_TRACING_V2"] = os.environ["LANGSMITH_TRACING"] = "false"  # no network
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda, RunnableParallel, config

request = contextvars.ContextVar("request")


def subclass_of(pool):
    """langchain's own source of the class, with another class to inherit from."""
    annotations = __future__.annotations.compiler_flag  # they name what is imported for types only
    code = compile(
        inspect.getsource(config.ContextThreadPoolExecutor), config.__file__, "exec", annotations
    )
    names = {**vars(config), "ThreadPoolExecutor": pool}
    exec(code, names)
    return names["ContextThreadPoolExecutor"]


class Made:
    """Notes the executors that langchain makes."""

    def __init__(self, base):
        self.executors = executors = []

        class Noted(base):
            def __init__(self, *args, **kwargs):
                executors.append(self)
                super().__init__(*args, **kwargs)

        self.type = Noted


def contexts_arrive(executor):
    """Each caller's own, on one worker; langchain's argument is called `func`, not `fn`."""
    for name in "first", "second", "third":
        request.set(name)
        assert executor.submit(request.get).result() == name
        assert executor.submit(func=request.get).result() == name
        assert list(executor.map(lambda n: (n, request.get()), [1, 2])) == [(1, name), (2, name)]
        timed = executor.map(lambda a, b: (a + b, request.get()), [1, 2], [3, 4], timeout=10)
        assert list(timed) == [(4, name), (6, name)]


def runnables_run():
    here = threading.current_thread()

    def square(number):
        assert threading.current_thread() is not here
        return number * number, request.get()

    request.set("batch")
    chain = RunnableLambda(square)
    expected = [(n * n, "batch") for n in range(100)]
    assert chain.batch(list(range(100)), config={"max_concurrency": 4}) == expected
    done = chain.batch_as_completed(list(range(20)), config={"max_concurrency": 4})
    assert sorted(done) == [(n, (n * n, "batch")) for n in range(20)]
    request.set("parallel")
    meeting = threading.Barrier(3)

    def meet(_):
        meeting.wait(10)  # all three branches are under way
        return request.get()

    branches = RunnableParallel(a=meet, b=meet, c=lambda _: (meeting.wait(10), square(7))[1])
    assert branches.invoke(None) == {"a": "parallel", "b": "parallel", "c": (49, "parallel")}
    failed = RunnableLambda(lambda n: 1 // n).batch([1, 0, -1], return_exceptions=True)
    assert (failed[0], type(failed[1]), failed[2]) == (1, ZeroDivisionError, -1)
    assert [chunk for chunk in branches.stream(None) if "c" in chunk] == [{"c": (49, "parallel")}]


def callbacks_are_told():
    """A branch's run has the run that the caller started as its parent."""
    parents = {}

    class Told(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, **kwargs):
            parents[run_id] = parent_run_id

    branches = RunnableParallel({str(n): RunnableLambda(abs) for n in range(4)})
    assert branches.invoke(-3, {"callbacks": [Told()]}) == dict.fromkeys("0123", 3)
    (root,) = [run for run, parent in parents.items() if parent is None]
    assert [parents[run] for run in parents if run != root] == [root] * 4


def job(pool, default):
    """`get_executor_for_config` makes one for each call."""
    assert config.ContextThreadPoolExecutor.__bases__ == (default,)
    if pool is not default:
        config.ContextThreadPoolExecutor = subclass_of(pool)
    made = Made(config.ContextThreadPoolExecutor)
    config.ContextThreadPoolExecutor = made.type
    with config.get_executor_for_config({"max_concurrency": 1}) as executor:
        contexts_arrive(executor)
        assert len(executor._threads) == 1
    runnables_run()
    callbacks_are_told()
    assert len(made.executors) > 1
    for executor in made.executors:
        assert isinstance(executor, pool)
        assert not any(thread.is_alive() for thread in executor._threads)
