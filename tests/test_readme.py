"""The examples of the README run, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\s*prints\s*```text\n(.*?)```)?", re.DOTALL)


@pytest.mark.parametrize(("source", "printed"), BLOCK.findall(README.read_text()))
def test_example(source, printed) -> None:
    command = [sys.executable, "-W", "error", "-c", source]
    for _ in range(3):  # the numbers of one hang on the clock, and the machine may be busy
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        if not printed or done.stdout == printed:
            return
    assert done.stdout == printed
