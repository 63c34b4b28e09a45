"""CPython's own executor tests pass with our pool in the standard one's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .run_cpython import NO_TESTS

SCRIPT = Path(__file__).with_name("run_cpython.py")


@pytest.mark.timeout(400)
def test_executor_tests_of_this_python() -> None:
    """Run from where they are installed; the standard pool takes as many seconds."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=380, check=False
    )
    if done.returncode == NO_TESTS:
        pytest.skip("this interpreter was installed without its test suite")
    assert done.returncode == 0, done.stderr[-5000:]
    # A thread that outlives its pool is reported, not failed.
    assert "threading_cleanup() failed" not in done.stderr
