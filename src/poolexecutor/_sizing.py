"""How many workers there should be. Pure rules: no thread, no lock, no clock."""

from __future__ import annotations

import math
import operator
import sys
import threading
from typing import Any, SupportsFloat, SupportsIndex


class Bounds:
    """How many workers a pool wants. Never changed: a new size is a new object.

    Attributes:
        minimum: How many are kept though idle.
        maximum: How many there may be; above 0, also while the pool is paused.
        limit: How many there may be now: `maximum`, or 0 while paused.
        floor: How many there shall be now.
    """

    __slots__ = ("floor", "limit", "maximum", "minimum")

    def __init__(self, maximum: int, minimum: int = 0, paused: bool = False) -> None:
        if minimum > maximum:
            raise ValueError(
                f"min_workers ({minimum}) must not be greater than max_workers ({maximum})"
            )
        self.maximum = maximum
        self.minimum = minimum
        self.limit = 0 if paused else maximum
        self.floor = 0 if paused else minimum

    def resized(self, maximum: int | None, minimum: int | None) -> Bounds:
        """These bounds with one or both changed; a maximum of 0 pauses.

        Raises:
            ValueError: The minimum would be above the maximum.
        """
        if minimum is None:
            minimum = self.minimum
        if maximum is None:
            return Bounds(self.maximum, minimum, paused=self.limit == 0)
        if maximum == 0:
            return Bounds(self.maximum, minimum, paused=True)
        return Bounds(maximum, minimum)


def to_start(bounds: Bounds, workers: int, idle: int, waiting: int) -> int:
    """How many workers to start: for what waits, and up to the minimum."""
    wanted = max(bounds.floor, workers + max(0, waiting - idle))
    return max(0, min(wanted, bounds.limit) - workers)


def surplus(bounds: Bounds, workers: int) -> int:
    """How many workers have to leave, idle or not."""
    return max(0, workers - bounds.limit)


def may_leave(bounds: Bounds, workers: int, leaving: int, expired: bool) -> bool:
    """Whether one more worker may leave.

    Args:
        bounds: The pool's.
        workers: How many there are, those that leave included.
        leaving: How many of them leave, or have asked before.
        expired: Whether it was idle for too long; otherwise there must be too many.
    """
    return workers - leaving > (bounds.floor if expired else bounds.limit)


# --- what users may ask for -------------------------------------------------------------------


def checked_maximum(value: Any) -> int:
    """`max_workers` as the standard pool takes it: 2.5 lets it start 3 threads.

    Raises:
        ValueError, TypeError: It is not a number above 0.
    """
    limit = sys.maxsize if value == math.inf else math.ceil(value)
    if limit <= 0:
        raise ValueError("max_workers must be greater than 0")
    return limit


def checked_count(name: str, value: Any) -> int:
    """A number of things, 0 included.

    Raises:
        TypeError: It is no integer.
        ValueError: It is negative.
    """
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if count < 0:
        raise ValueError(f"{name} must not be negative, but is {count}")
    return count


def checked_seconds(name: str, value: Any) -> float | None:
    """A time in seconds, None and infinity being without limit.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or not a number (NaN).
    """
    if value is None:
        return None
    if not isinstance(value, (SupportsFloat, SupportsIndex)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    seconds = float(value)
    if not seconds >= 0:
        raise ValueError(f"{name} must be a number of seconds from 0 on, but is {value!r}")
    # What is longer than a lock can wait is without limit for all that live.
    return None if seconds > threading.TIMEOUT_MAX else seconds
