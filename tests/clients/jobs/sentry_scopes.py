"""sentry-sdk: messages captured in tasks have the tags of their own callers."""

import contextlib

import child
import contexts
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport

events = {}


class Kept(Transport):
    """Instead of the network."""

    def capture_envelope(self, envelope):
        event = envelope.get_event()
        events[event["event_id"]] = event


def start(*integrations):
    sentry_sdk.init(
        dsn="http://key@localhost/1",
        transport=Kept,
        default_integrations=False,
        integrations=integrations,
    )


def patch():
    start(ThreadingIntegration(propagate_scope=True))


@contextlib.contextmanager
def caller(name):
    with sentry_sdk.isolation_scope() as isolation, sentry_sdk.new_scope() as current:
        isolation.set_tag("isolation", name)
        current.set_tag("current", name)
        yield name, name


def seen():
    tags = events[sentry_sdk.capture_message("from a task")].get("tags", {})
    return tags.get("isolation"), tags.get("current")


NOTHING = None, None


def job(pool, default):
    """Initialised after there is a pool and before; without the integration at the end."""
    original = default.submit
    with pool(1) as used:
        assert list(used.map(abs, [-1, 2])) == [1, 2]
        start()
        contexts.arrive_not(used, caller, seen, NOTHING)
        patch()
        assert default.submit is not original
        contexts.arrive(used, caller, seen, NOTHING)
        with pool(1) as new:
            contexts.arrive(new, caller, seen, NOTHING)
        # Its patches stay for ever, but do nothing for a client without the integration.
        start()
        contexts.arrive_not(used, caller, seen, NOTHING)
        with pool(1) as later:
            contexts.arrive_not(later, caller, seen, NOTHING)
    child.run(contexts.PATCHED_FIRST, "sentry_scopes", child.mode_of(pool, default))
