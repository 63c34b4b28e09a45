"""A part of a job that needs a process of its own: who came first there is what is tested."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 30  # for one child


def mode_of(pool: type, default: type) -> str:
    """Which of the modes in `run` the job runs in."""
    if pool is not default:
        return "given"
    return "swapped" if pool.__module__.startswith("poolexecutor") else "standard"


def take(mode: str) -> tuple[type, type]:
    """Import our package, unless the mode is ``standard``; the job's two classes."""
    assert "poolexecutor" not in sys.modules, "it was to be imported here"
    if mode != "standard":
        import poolexecutor

        if mode == "swapped":
            poolexecutor.install()
    default = concurrent.futures.ThreadPoolExecutor
    return (poolexecutor.PoolExecutor if mode == "given" else default), default


def environment() -> dict[str, str]:
    """That of a process which can import `child` and `jobs`."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run(script: str, *arguments: str) -> str:
    """Run a script in a new process; what it prints. Raise if it does."""
    command = [sys.executable, "-X", "faulthandler", "-c", script, *arguments]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout
