"""The pipeline of `benchmarks/jobs`: equal to the sequential result, in constant memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PIPELINE = Path(__file__).parents[1] / "benchmarks" / "jobs" / "pipeline.py"


def run(*arguments: object) -> tuple[int, float, str]:
    """Parts, peak memory in MB, and all that it said."""
    process = subprocess.run(
        [sys.executable, PIPELINE, *map(str, arguments)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    found = re.search(r"(\d+) parts, peak memory (\d+) MB", process.stdout)
    assert found
    return int(found[1]), float(found[2]), process.stdout


def test_equal_to_the_sequential_count(tmp_path) -> None:
    parts, _, said = run(tmp_path / "once", "--check")
    assert parts > 10
    assert "0 words differ" in said


def test_memory_does_not_grow_with_the_input(tmp_path) -> None:
    for copies in (1, 4):  # made beforehand, lest that counts
        run(tmp_path / str(copies), "--copies", copies)
    few, low, _ = run(tmp_path / "1")
    many, high, _ = run(tmp_path / "4")
    assert many == 4 * few
    assert high <= 1.25 * low, "which of the parts are in hand at a time is chance"
