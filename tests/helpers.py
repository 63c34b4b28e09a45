"""What several tests need of a real pool."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time

SECONDS = 10.0  # until something that should have happened counts as not happening


def until(true) -> None:
    """Wait for what nobody announces."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def blocked(executor, workers=1):
    """That many workers are busy until the block ends, or the gate is set."""
    gate, entered = threading.Event(), threading.Barrier(workers + 1)

    def block():
        entered.wait(SECONDS)
        gate.wait(SECONDS)

    futures = [executor.submit(block) for _ in range(workers)]
    entered.wait(SECONDS)
    try:
        yield gate
    finally:
        gate.set()
        concurrent.futures.wait(futures, SECONDS)
