"""eventlet: `monkey_patch` before and after the import of our package; workers are green then."""

import child

SCRIPT = """
import contextlib, sys, warnings
import child
patch, mode = sys.argv[1:]
warnings.simplefilter("ignore", DeprecationWarning)  # eventlet calls itself deprecated
import eventlet
from eventlet.patcher import original
if patch == "before":
    eventlet.monkey_patch()
pool, default = child.take(mode)
if patch == "after":
    eventlet.monkey_patch()

@contextlib.contextmanager
def tick():
    turns = []
    def clock():
        while True:
            turns.append(eventlet.sleep(0.02))
    thread = eventlet.spawn(clock)
    yield
    thread.kill()
    assert len(turns) > 5

import cooperative
cooperative.program(pool, original("_thread").get_ident, tick)
"""


def job(pool, default):
    """A program on green threads; it returns, so nothing blocks the hub."""
    for patch in ["before", "after"]:
        child.run(SCRIPT, patch, child.mode_of(pool, default))
