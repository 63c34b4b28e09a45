"""Each fault of the standard pool: ours does not have it, the standard one is seen to have it."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .scenarios import SCENARIOS

SCRIPT = Path(__file__).with_name("scenarios.py")
OURS = 60  # seconds that a scenario may take
STANDARD = 3  # seconds after which the standard pool has shown that it hangs
IMPATIENT = "2"  # its scenarios' own limit, in seconds


def run(
    name: str, whose: str, seconds: float, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a scenario in an interpreter of its own; its return code is None if it hangs."""
    command = [sys.executable, "-X", "faulthandler", str(SCRIPT), name, whose]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 6)  # SIGABRT: faulthandler dumps the stacks
            out, err = process.communicate()
            return subprocess.CompletedProcess(command, -1000, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize("name", SCENARIOS)
def test_ours(name: str) -> None:
    """Our pool masters it."""
    reason = SCENARIOS[name][2](sys.version_info[:3])
    if reason is not None:
        pytest.skip(reason)
    done = run(name, "ours", OURS)
    assert done.returncode == 0, done.stderr


FAILING = [name for name, (_, fails, _) in SCENARIOS.items() if fails(sys.version_info[:2])]


@pytest.fixture(scope="module")
def on_standard_pool() -> dict[str, subprocess.CompletedProcess[str]]:
    """What became of the scenarios there. Four at a time: most hang until they are killed."""
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        runs = executor.map(
            lambda name: run(name, "standard", STANDARD, PATIENCE=IMPATIENT), FAILING
        )
        return dict(zip(FAILING, runs, strict=True))


@pytest.mark.parametrize("name", FAILING)
def test_standard_fails(name: str, on_standard_pool) -> None:
    """The standard pool does not, so that the test above can fail."""
    assert on_standard_pool[name].returncode != 0
