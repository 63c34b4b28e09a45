"""gevent: `patch_all` before and after the import of our package; workers are greenlets then."""

import child

SCRIPT = """
import contextlib, sys
import child
patch, mode = sys.argv[1:]
from gevent import monkey, sleep, spawn
if patch == "before":
    monkey.patch_all()
pool, default = child.take(mode)
if patch == "after":
    monkey.patch_all()

@contextlib.contextmanager
def tick():
    turns = []
    def clock():
        while True:
            turns.append(sleep(0.02))
    greenlet = spawn(clock)
    yield
    greenlet.kill()
    assert len(turns) > 5

import cooperative
cooperative.program(pool, monkey.get_original("threading", "get_ident"), tick)

def late(word):
    sleep(0.1)
    print(word)

left_open = pool(1)  # the interpreter's exit waits for it
for word in "left", "open":
    left_open.submit(late, word)
"""


def job(pool, default):
    """A program on greenlets; it returns, so nothing blocks the hub."""
    for patch in ["before", "after"]:
        printed = child.run(SCRIPT, patch, child.mode_of(pool, default))
        assert printed.split() == ["left", "open"]
