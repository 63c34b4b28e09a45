"""`install` and `uninstall`: our pool in the standard pool's place."""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import thread as _thread

from ._executor import PoolExecutor
from ._standard import StandardExecutor


def install() -> None:
    """Put `PoolExecutor` where `concurrent.futures.ThreadPoolExecutor` is.

    Code that looks the name up afterwards gets ours: whatever is imported later, and asyncio's
    default executor. What holds the standard class already keeps it. May be called again.
    """
    _put(PoolExecutor)


def uninstall() -> None:
    """Put the standard `ThreadPoolExecutor` back, if ours stands there."""
    if _thread.ThreadPoolExecutor is PoolExecutor:
        _put(StandardExecutor)


def _put(executor: type[StandardExecutor]) -> None:
    # By setattr: to a type checker both names are constants.
    for module in (concurrent.futures, _thread):
        setattr(module, "ThreadPoolExecutor", executor)  # noqa: B010
