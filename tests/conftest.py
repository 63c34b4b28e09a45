"""What holds for every test: it leaves no thread behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test after which more threads live than before it."""
    before = set(threading.enumerate())
    yield
    gc.collect()  # a pool that the test has forgotten
    deadline = time.monotonic() + 10
    while left := set(threading.enumerate()) - before:
        next(iter(left)).join(max(0.0, deadline - time.monotonic()))
        if time.monotonic() >= deadline:
            pytest.fail(f"threads left behind: {left}")
