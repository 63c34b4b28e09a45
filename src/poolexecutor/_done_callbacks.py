"""`DoneCallbacks`: what `_done_callbacks` shows to programs that reach into a future.

The standard future has a list there, and what is appended to it or taken out of it counts. Ours
keeps its callbacks in its log, one in a list of its own each (see `_future`), so this is a list's
face over the log.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any


class DoneCallbacks(MutableSequence[Any]):
    """The callbacks of one future that have not been called yet, live.

    Each step is one on the log or on a callback's own list, so a callback that is called meanwhile
    is called once. `insert` in the middle, and assigning a slice, take callbacks out and put them
    back: not to be done by two threads at once, no more than on the standard list.
    """

    __slots__ = ("_log",)

    def __init__(self, log: list[Any]) -> None:
        self._log = log

    def _cells(self) -> list[list[Any]]:
        return [event for event in self._log[:] if type(event) is list and event]

    def _callbacks(self) -> list[Any]:
        return [callback for cell in self._cells() for callback in cell[:]]

    def _put(self, callbacks: list[Any]) -> None:
        self.clear()
        self.extend(callbacks)

    def __len__(self) -> int:
        return len(self._callbacks())

    def __getitem__(self, index: Any) -> Any:
        return self._callbacks()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            callbacks = self._callbacks()
            callbacks[index] = value
            self._put(callbacks)
        else:
            self._cells()[index][0] = value  # IndexError if it has been called meanwhile

    def __delitem__(self, index: Any) -> None:
        cells = self._cells()[index]
        for cell in cells if isinstance(index, slice) else [cells]:
            cell.clear()

    def insert(self, index: int, value: Any) -> None:
        """Put `value` before the callback at `index`."""
        callbacks = self._callbacks()
        if index >= len(callbacks):
            self._log.append([value])
        else:
            callbacks.insert(index, value)
            self._put(callbacks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, DoneCallbacks)):
            return self._callbacks() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return repr(self._callbacks())
