"""OpenTelemetry: its threading instrumentation, with spans, baggage and a context key."""

import concurrent.futures
import contextlib

import child
import contexts
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.trace import TracerProvider

tracer = TracerProvider().get_tracer("clients")


@contextlib.contextmanager
def caller(name):
    with tracer.start_as_current_span(name) as span:
        token = context.attach(baggage.set_baggage("caller", name, context.set_value("key", name)))
        try:
            yield name, name, span.get_span_context().trace_id
        finally:
            context.detach(token)


def seen():
    """The last is the parent of a span that the task would open."""
    with tracer.start_as_current_span("task") as span:
        trace_id = span.get_span_context().trace_id if span.parent else None
        assert trace.get_current_span() is span
        return context.get_value("key"), baggage.get_baggage("caller"), trace_id


NOTHING = None, None, None


def patch():
    ThreadingInstrumentor().instrument()


def job(pool, default):
    """Instrumented before and after there is a pool, and instrumented no more."""
    original = concurrent.futures.ThreadPoolExecutor.submit
    with pool(1) as used:
        assert list(used.map(abs, [-1, 2])) == [1, 2]
        for _ in range(2):
            patch()
            assert default.submit is not original
            contexts.arrive(used, caller, seen, NOTHING)
            with pool(1) as new:
                contexts.arrive(new, caller, seen, NOTHING)
                ThreadingInstrumentor().uninstrument()
                assert new.submit(pow, 2, 10).result() == 1024
            assert default.submit is original
            contexts.arrive_not(used, caller, seen, NOTHING)
            with pool(1) as later:
                contexts.arrive_not(later, caller, seen, NOTHING)
    child.run(contexts.PATCHED_FIRST, "opentelemetry_threads", child.mode_of(pool, default))
