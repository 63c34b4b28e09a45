"""The rules of size, as tables: no thread, no lock, no clock."""

from __future__ import annotations

import sys
import threading
from fractions import Fraction

import pytest

from poolexecutor import _sizing
from poolexecutor._sizing import Bounds


@pytest.mark.parametrize(
    ("bounds", "workers", "idle", "waiting", "start"),
    [
        # up to what waits, and the idle take from that
        (Bounds(4), 0, 0, 0, 0),
        (Bounds(4), 0, 0, 1, 1),
        (Bounds(4), 0, 0, 9, 4),
        (Bounds(4), 3, 0, 9, 1),
        (Bounds(4), 4, 0, 9, 0),
        (Bounds(4), 3, 3, 2, 0),
        (Bounds(4), 3, 1, 2, 1),
        # up to the minimum, idle or not
        (Bounds(4, 2), 0, 0, 0, 2),
        (Bounds(4, 2), 1, 1, 0, 1),
        (Bounds(4, 2), 2, 2, 0, 0),
        (Bounds(4, 2), 2, 0, 1, 1),
        (Bounds(4, 4), 1, 0, 9, 3),
        # more than there may be: none
        (Bounds(2), 5, 0, 9, 0),
        # paused: none, whatever waits
        (Bounds(4, 2, paused=True), 0, 0, 9, 0),
        (Bounds(4, 2, paused=True), 3, 3, 0, 0),
    ],
)
def test_to_start(bounds, workers, idle, waiting, start) -> None:
    assert _sizing.to_start(bounds, workers, idle, waiting) == start


@pytest.mark.parametrize(
    ("bounds", "workers", "surplus"),
    [
        (Bounds(4), 0, 0),
        (Bounds(4), 4, 0),
        (Bounds(4), 6, 2),
        (Bounds(4, 3), 4, 0),  # above the minimum is not too many
        (Bounds(4, 3, paused=True), 3, 3),
    ],
)
def test_surplus(bounds, workers, surplus) -> None:
    assert _sizing.surplus(bounds, workers) == surplus


@pytest.mark.parametrize(
    ("bounds", "workers", "leaving", "expired", "may"),
    [
        # for size
        (Bounds(4), 4, 0, False, False),
        (Bounds(4), 5, 0, False, True),
        (Bounds(4), 5, 1, False, False),
        (Bounds(4), 7, 2, False, True),
        (Bounds(4, paused=True), 1, 0, False, True),
        (Bounds(4, paused=True), 1, 1, False, False),
        # after idling
        (Bounds(4), 1, 0, True, True),
        (Bounds(4, 1), 1, 0, True, False),
        (Bounds(4, 1), 3, 1, True, True),
        (Bounds(4, 1), 3, 2, True, False),
        (Bounds(4, 4), 4, 0, True, False),
        (Bounds(4, 4, paused=True), 1, 0, True, True),
    ],
)
def test_may_leave(bounds, workers, leaving, expired, may) -> None:
    assert _sizing.may_leave(bounds, workers, leaving, expired) == may


@pytest.mark.parametrize(
    ("maximum", "minimum", "expected"),
    [
        # maximum, minimum, limit, floor
        (None, None, (8, 2, 8, 2)),
        (5, None, (5, 2, 5, 2)),
        (None, 6, (8, 6, 8, 6)),
        (9, 9, (9, 9, 9, 9)),
        (0, None, (8, 2, 0, 0)),
        (0, 3, (8, 3, 0, 0)),
    ],
)
def test_resized(maximum, minimum, expected) -> None:
    found = Bounds(8, 2).resized(maximum, minimum)
    assert (found.maximum, found.minimum, found.limit, found.floor) == expected


def test_another_minimum_leaves_a_pool_paused() -> None:
    paused = Bounds(8, 2).resized(0, None)
    assert paused.resized(None, 1).limit == 0
    assert paused.resized(None, 1).resized(8, None).floor == 1


@pytest.mark.parametrize(("maximum", "minimum"), [(1, None), (None, 9), (3, 4)])
def test_minimum_above_maximum(maximum, minimum) -> None:
    with pytest.raises(ValueError, match="must not be greater than max_workers"):
        Bounds(8, 2).resized(maximum, minimum)


@pytest.mark.parametrize(
    ("value", "found"),
    [(1, 1), (True, 1), (2.5, 3), (Fraction(7, 2), 4), (float("inf"), sys.maxsize)],
)
def test_maximum(value, found) -> None:
    assert _sizing.checked_maximum(value) == found


@pytest.mark.parametrize("value", [0, -3, -0.5, float("nan"), float("-inf")])
def test_maximum_out_of_range(value) -> None:
    with pytest.raises((ValueError, OverflowError)):
        _sizing.checked_maximum(value)


@pytest.mark.parametrize("value", [1.0, "2", None, [3], 2.5])
def test_counts_are_integers(value) -> None:
    with pytest.raises(TypeError, match="min_workers must be an integer"):
        _sizing.checked_count("min_workers", value)


def test_counts_are_not_negative() -> None:
    with pytest.raises(ValueError, match="min_workers must not be negative"):
        _sizing.checked_count("min_workers", -1)
    assert _sizing.checked_count("min_workers", 0) == 0


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (0, 0.0),
        (1.5, 1.5),
        (Fraction(1, 2), 0.5),
        (float("inf"), None),
        (threading.TIMEOUT_MAX * 2, None),
    ],
)
def test_seconds(value, found) -> None:
    assert _sizing.checked_seconds("timeout", value) == found


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), ([], TypeError)],
)
def test_no_seconds(value, error) -> None:
    with pytest.raises(error, match="timeout must be a number of seconds"):
        _sizing.checked_seconds("timeout", value)
