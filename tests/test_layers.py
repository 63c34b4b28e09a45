"""A module imports from lower floors only; no deferred or type-only import goes up."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import poolexecutor

SOURCE = Path(poolexecutor.__file__).parent

# The table in CONTRIBUTING.md says what each is for.
FLOORS = [
    {"_loops", "_waiting"},
    {
        "errors",
        "_admission",
        "_bell",
        "_chained",
        "_condition",
        "_done_callbacks",
        "_lifecycle",
        "_map",
        "_ranked",
        "_sizing",
        "_standard",
        "_stats",
    },
    {"_future", "_options"},
    {"_request", "_result_queue", "_view"},
    {"_batch", "_request_queue"},
    {"_chunks", "_entrance", "_window", "_worker"},
    {"_vigil"},
    {"_workforce"},
    {"_mapping", "_work_queue"},
    {"_executor"},
    {"_swap"},
    {"_run"},
    {"__init__", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imported(path: Path) -> set[str]:
    """Our modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("poolexecutor"):
            found.add((node.module or "").partition(".")[2] or "__init__")
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("poolexecutor")}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_go_down(path: Path) -> None:
    for name in imported(path):
        assert FLOOR[name] < FLOOR[path.stem], f"{path.stem} imports {name}"


def test_every_module_has_its_floor() -> None:
    assert {path.stem for path in SOURCE.glob("*.py")} == set(FLOOR)


def test_public_names() -> None:
    assert sorted(poolexecutor.__all__) == [
        "BrokenThreadPool",
        "NoResultsPending",
        "NoWorkersAvailable",
        "PoolExecutor",
        "PoolFuture",
        "PoolStats",
        "RequestExpired",
        "ResultQueue",
        "current_worker",
        "install",
        "uninstall",
    ]
