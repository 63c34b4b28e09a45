"""`Options`: what a submission may carry besides its call. Pure values and their rules."""

from __future__ import annotations

import math
import operator
from contextvars import Context
from typing import Any, Final, NamedTuple

from ._sizing import checked_seconds

KEPT: Final[Any] = object()  # for "not given", where None and 0 mean something


class Options(NamedTuple):
    """Attributes as the arguments of `PoolExecutor.options`."""

    priority: float = 0
    expires: float | None = None
    context: Context | None = None
    place: list[Any] | None = None  # in a bounded queue, taken before; not for views

    def changed(self, priority: Any, expires: Any, context: Any) -> Options:
        """These with those that are given.

        Raises:
            TypeError, ValueError: A value does not fit.
        """
        options = self
        if priority is not KEPT:
            options = options._replace(priority=_checked_priority(priority))
        if expires is not KEPT:
            options = options._replace(expires=checked_seconds("expires", expires))
        if context is not KEPT:
            if context is not None and not isinstance(context, Context):
                raise TypeError(f"context must be a contextvars.Context or None, not {context!r}")
            options = options._replace(context=context)
        return options


NO_OPTIONS: Final = Options()


def _checked_priority(value: Any) -> float:
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("priority must not be NaN, which has no order")
        return float(value)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"priority must be a number, not {value!r}") from None
