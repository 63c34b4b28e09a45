"""ddtrace: its futures patch, which rewrites the code of `submit` in place."""

import contextlib
import os

import child
import contexts

os.environ.update(  # read when it is imported; there is no agent
    DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
    DD_REMOTE_CONFIGURATION_ENABLED="false",
    DD_TRACE_STARTUP_LOGS="false",
)
from ddtrace.contrib.internal.futures.patch import patch, unpatch
from ddtrace.trace import TraceFilter, tracer

NOTHING = None


class Dropped(TraceFilter):
    """Instead of the network: no trace is sent."""

    def process_trace(self, trace):
        return None


tracer.configure(trace_processors=[Dropped()])


@contextlib.contextmanager
def caller(name):
    with tracer.trace(name) as span:
        yield span.span_id


def seen():
    with tracer.trace("task") as span:
        return span.parent_id


def job(pool, default):
    """Patched before and after there is a pool, and patched no more."""
    original, code = default.submit, default.submit.__code__
    with pool(1) as used:
        assert list(used.map(abs, [-1, 2])) == [1, 2]
        for _ in range(2):
            patch()
            assert default.submit is original
            assert original.__code__ is not code
            contexts.arrive(used, caller, seen)
            with pool(1) as new:
                contexts.arrive(new, caller, seen)
                unpatch()
                assert new.submit(pow, 2, 10).result() == 1024
            assert default.submit is original
            assert original.__code__ is code
            contexts.arrive_not(used, caller, seen)
            with pool(1) as later:
                contexts.arrive_not(later, caller, seen)
    child.run(contexts.PATCHED_FIRST, "ddtrace_futures", child.mode_of(pool, default))
