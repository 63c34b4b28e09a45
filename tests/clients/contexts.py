"""What the jobs of those have in common who carry the caller's context into its tasks."""

from __future__ import annotations

import threading

# A worker's thread is started by the first caller, and the patches that know of threads leave that
# caller's context in it. So all that follow are on the same worker: theirs must not be the first's.
CALLERS = ("first", "second", "third")


def arrive(executor, caller, seen, nothing=None):
    """Each caller's own context is in its own tasks.

    `caller` is a context manager for a name, and gives what `seen`, called in a task, must return;
    `nothing` is what it returns for a caller without a context.
    """
    workers = set()

    def task(_=None):
        workers.add(threading.current_thread())
        return seen()

    for name in CALLERS:
        with caller(name) as expected:
            assert executor.submit(task).result() == expected
            assert list(executor.map(task, range(3))) == [expected] * 3
        assert executor.submit(task).result() == nothing
    # Queued under one context, run when the caller is in another.
    gate = threading.Event()
    blocker = executor.submit(gate.wait)
    queued = []
    for name in CALLERS:
        with caller(name) as expected:
            queued.append((executor.submit(task), expected))
    gate.set()
    assert blocker.result()
    assert [future.result() for future, _ in queued] == [expected for _, expected in queued]
    assert len(workers) == 1


def arrive_not(executor, caller, seen, nothing=None):
    """The pool works, and carries nothing. To be called for a new pool, in no context."""
    assert executor.submit(seen).result() == nothing  # starts the worker
    with caller("second"):
        assert executor.submit(seen).result() == nothing
        assert list(executor.map(lambda _: seen(), range(3))) == [nothing] * 3


PATCHED_FIRST = """
import sys
import child, contexts
from importlib import import_module
job = import_module("jobs." + sys.argv[1])
job.patch()
pool, default = child.take(sys.argv[2])
with pool(1) as executor:
    contexts.arrive(executor, job.caller, job.seen, job.NOTHING)
"""
