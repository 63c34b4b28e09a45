"""Futures that asyncio waits for in its own way, in an event loop that runs in a task.

`run_in_executor`, `to_thread` and `wrap_future` do not await a future of ours: they add a
done-callback to it that settles one of asyncio's. Whose loop does so in a task of a pool waits for
that future as with `await`, and its worker is to count as one whose task waits (see
`Workforce.block`), or with one worker nobody would be there to run it.

Each wait costs whoever looks at all of them, so of many futures only some are known at a time: one
that is done makes room for the next. A worker counts as waiting until all that are known are done.
If that is so for a moment, before the next one is known, it waits again from then on.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ._waiting import worker_of_this_thread

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_A_TIME: Final = 20
# What asyncio adds, see `asyncio.futures._chain_future`.
_CHAINING: Final = "_chain_future.<locals>._call_set_state"


def note_callback(future: Any, fn: Callable[[Any], object]) -> None:
    """For a future of ours that has got a done-callback in a worker: a loop may wait for it."""
    if getattr(fn, "__qualname__", None) != _CHAINING:
        return
    events = sys.modules.get("asyncio.events")
    loop = None if events is None else events._get_running_loop()
    worker = worker_of_this_thread()
    if loop is None or worker is None:
        return
    chained = worker.chained
    if chained is None or chained.loop() is not loop:
        chained = worker.chained = Chained(worker, loop)
    chained.add(future)


class Chained:
    """Those of one loop, which runs in a task of `worker`.

    Who wants a future to be known puts it into `_later` and looks for a place then; who gives a
    place back looks into `_later` then. The lock of the list of places gives the two an order: who
    finds none has looked before one is given back, and is seen after that.

    Attributes:
        loop: Gives the loop; None when that has gone.
    """

    def __init__(self, worker: Any, loop: Any) -> None:
        self.loop: Callable[[], Any] = _reference(loop)
        self._worker = worker
        self._places: list[None] = [None] * _AT_A_TIME
        self._later: deque[Any] = deque()

    def add(self, future: Any) -> None:
        """The loop waits for this one, too."""
        self._later.append(future)
        self._begin_some()

    def _begin_some(self) -> None:
        while self._later:
            try:
                self._places.pop()
            except IndexError:
                return  # whoever gives one back looks again
            try:
                future = self._later.popleft()
            except IndexError:
                self._places.append(None)
                continue  # somebody may have come, and found no place
            self._begin(future)

    def _begin(self, future: Any) -> None:
        loop = self.loop()
        if future._has_ended() or loop is None or not loop.is_running():
            self._places.append(None)
            return
        wait = None
        try:
            wait = self._worker.begin_wait(future, future._has_ended, None)
        finally:
            if wait is None:
                self._places.append(None)  # interrupted
        future._add_cell([partial(self._end, wait)])

    def _end(self, wait: Any, _: object) -> None:
        self._worker.end_wait(wait)
        self._places.append(None)
        self._begin_some()


def _reference(loop: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(loop)
    except TypeError:
        return lambda: loop  # of a kind that has none
