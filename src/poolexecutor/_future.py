"""`PoolFuture`: a `concurrent.futures.Future` that costs little until somebody waits on it.

Protocol
--------
A future's fate is decided by its *log*, a list to which every party appends what it wants. One
`list.append` is one indivisible step (under the GIL; without it, under the list's own lock), so
all events of a future stand in one order on which all threads agree, and an event that was
appended cannot be half done. Nothing is ever decided by reading first and writing later.

Events that decide:

=====================  ===========================================================================
event                  meaning, and when it counts
=====================  ===========================================================================
`Claim`                "I run it." The first claim counts, if nothing final stands before it.
CANCELLED_AND_NOTIFIED "It shall not run." Final if no claim stands before it.
FINISHED               "It ran." Appended by the owner of the claim, after `_result` or
                       `_exception` was stored. Final if nothing final stands before it.
`ByHand`               `set_result` or `set_exception` from outside. Final likewise.
`Failed`               "It shall not run, and this is why." Final if no claim stands before it.
=====================  ===========================================================================

Events that ask for something when the final event is there:

=====================  ===========================================================================
a raw lock             a thread sleeps in `result` or `exception`; release it
a list `[callback]`    a done-callback; whoever pops it calls it, so it is called once
`FutureCondition`      somebody used `_condition`; hold it while `_state` changes
=====================  ===========================================================================

Who serves them: those that stand *before* the final event are served by its author; one that
stands behind is served by the thread that appended it, which looks at the log right after. The
two cannot both pass the other by, since the order in the log is the same for both.

`_state`, `_result` and `_exception` are what the log says, written down for fast readers and for
outsiders. Only the final event's author writes `_state`, or a thread that met the final event and
cannot wait for the author; both write the same. `_state` is written last: who reads a final
`_state` finds the outcome behind it (a store to an attribute is a release, a load an acquire).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, InvalidStateError, _base
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    LOGGER,
    PENDING,
    RUNNING,
)
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ._chained import note_callback
from ._condition import (
    CONDITIONS,
    NO_WAITERS,
    SETTLED,
    USUAL_C_RLOCK,
    USUAL_RLOCK,
    FutureCondition,
    other_condition,
)
from ._done_callbacks import DoneCallbacks
from ._loops import LoopSleeper
from ._stats import Tally
from ._waiting import (
    Waiters,
    deadline_after,
    left_until,
    while_waiting,
    worker_of_this_thread,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

_UNRETRIEVED_LOGGER = logging.getLogger("poolexecutor")


BETWEEN: Final = -1  # two items of a batch


class Claim:
    """Who runs a request. A worker has one for life; for the log nothing but its identity counts.

    It takes down how the requests that its owner met have ended.

    Attributes:
        counts: Whether that goes into the books of the pool; who meets the request after it, in
            the queue where it has stayed, does not count it then.
        helped: How many of them their owner has run because its task waited for them.
        slot: Where its owner, if it is a worker, has the request that it runs.
        item: What it has of a batch, see `_batch`.
    """

    __slots__ = (
        "cancelled",
        "completed",
        "counts",
        "expired",
        "failed",
        "helped",
        "item",
        "slot",
    )

    def __init__(self, slot: list[Any] | None = None, counts: bool = False) -> None:
        self.completed = self.failed = self.cancelled = self.expired = self.helped = 0
        self.counts = counts
        self.slot: list[Any] = [] if slot is None else slot
        self.item: int | None = None

    def tally(self) -> Tally:
        """What it has taken down, so far."""
        return Tally(
            self.completed, self.failed, self.cancelled, expired=self.expired, helped=self.helped
        )


class Arrival:
    """A done-callback of our own, called at most once, and in the child of a fork, too.

    Args:
        append: Gets the future; whoever pops it here calls it.
        ring: Called after it.
    """

    __slots__ = ("_append", "_ring")

    def __init__(self, append: Callable[[Any], object], ring: Callable[[], object]) -> None:
        self._append = [append]
        self._ring = ring

    def __call__(self, future: Any) -> None:
        try:
            # A loop, since nothing can strike between its step and the next call.
            for append in map(list.pop, (self._append,)):
                append(future)
        except IndexError:
            pass
        finally:
            self._ring()


class ByHand:
    """An outcome that somebody else than the claim's owner set."""

    __slots__ = ("exception", "result")

    def __init__(self, result: Any, exception: BaseException | None) -> None:
        self.result = result
        self.exception = exception


class Failed(ByHand):
    """The outcome of a call that the pool could not start."""

    __slots__ = ()


class _ByHandState(str):
    """FINISHED to all who compare; not the same object, so that `result` looks into the log.

    The claim's owner may be about to store its own outcome in `_result`, unaware that it comes
    too late; the log is not fooled.
    """

    __slots__ = ()


_FINISHED_BY_HAND: Final = _ByHandState(FINISHED)
_CANCELLED_STATES: Final = frozenset([CANCELLED, CANCELLED_AND_NOTIFIED])
_FINAL_STATES: Final = frozenset([CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED])


# Another object after each cancellation of a future, and after each that expires: who counts what
# waits looks again then.
_cancellation: list[object] = [object()]


def cancellation_mark() -> object:
    """The same object as long as no future is cancelled, and none expires."""
    return _cancellation[0]


def mark_cancellation() -> None:
    """Have `cancellation_mark` give another object."""
    _cancellation[0] = object()


class Unretrieved:
    """Logs, when its future goes, an exception that nobody has looked at."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception: BaseException | None = exception

    def __del__(self) -> None:
        exception = self.exception
        if exception is not None and not sys.is_finalizing():
            _UNRETRIEVED_LOGGER.error("exception of a task was never retrieved", exc_info=exception)


class _ConditionOnDemand:
    """`_condition`: made when first read; afterwards the instance has it, at no cost.

    Threads that read it at the same time find the same one: the first in the log.
    """

    def __get__(self, future: Any, owner: type) -> Any:
        """Held by `wait` and `as_completed` while they look at `_state`."""
        if future is None:
            return self
        if future._state in _FINAL_STATES:  # before _pe_condition, which is written first
            future._condition = condition = future._pe_condition or SETTLED
            return condition
        log = future._pe_log
        usual = threading.RLock is USUAL_RLOCK and threading._CRLock is USUAL_C_RLOCK  # type: ignore[attr-defined]
        mine = FutureCondition() if usual else other_condition()
        waiters = Waiters()
        waiters.future = future
        mine.future_waiters = waiters
        mine.sleepers = None
        mine.log = log
        log.append(mine)
        if log[0] is not mine:
            _, final, first = future._fold()
            if first is not mine:
                mine.log = ()
            if first is None:
                if final is not None:
                    future._publish()
                future._condition = SETTLED
                return SETTLED
            mine = first
            waiters = first.future_waiters
        future._pe_condition = future._condition = mine
        future._waiters = waiters
        return mine


class _WaitersOnDemand:
    """`_waiters`: made with `_condition`. Who appends there, holding that, is told."""

    def __get__(self, future: Any, owner: type) -> Any:
        if future is None:
            return self
        condition = future._condition
        future._waiters = waiters = NO_WAITERS if condition is SETTLED else condition.future_waiters
        return waiters


class PoolFuture(Future[T]):
    """The result of a call, to be had later. Made by `PoolExecutor.submit`.

    Everything that `concurrent.futures.Future` offers, with the same meaning; it works with
    `concurrent.futures.wait` and `as_completed` and with `asyncio.wrap_future`. Differences:

    - A cancelled future counts as done for `wait` and `as_completed` at once.
    - A done-callback that raises is logged, whatever it raises, and the next one is called.
    - An exception of the call that nobody ever retrieved is logged (logger ``poolexecutor``) when
      the future goes.

    All methods may be called from any thread and from finalizers.
    """

    # What most futures never change lives on the class.
    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _pe_condition: FutureCondition | None = None
    _pe_notices: list[Any] | None = None  # waiters to be told, the last first; emptied once
    _pe_told: frozenset[int] = frozenset()  # the ids of those waiters
    _pe_unretrieved: Unretrieved | None = None

    def __init__(self) -> None:
        # Not super().__init__(): it makes what only a waiting thread needs.
        self._pe_log: list[Any] = []

    # --- reading the log ----------------------------------------------------------------------

    def _fold(self) -> tuple[Claim | None, Any, FutureCondition | None]:
        """What the log says: the claim and the final event that count, and the condition."""
        claim = condition = None
        for event in self._pe_log[:]:  # one indivisible step; the list may grow meanwhile
            kind = type(event)
            if kind is Claim:
                if claim is None:
                    claim = event
            elif event is FINISHED or kind is ByHand:
                return claim, event, condition
            elif event is CANCELLED_AND_NOTIFIED or kind is Failed:
                if claim is None:
                    return None, event, condition
            elif kind in CONDITIONS and condition is None:
                condition = event
        return claim, None, condition

    def _came_too_late(self, request: object) -> bool:
        """Whether the final event stands before `request`, which this thread has appended."""
        claimed = False
        for event in self._pe_log[:]:
            if event is request:
                return False
            kind = type(event)
            refused = event is CANCELLED_AND_NOTIFIED or kind is Failed
            if kind is Claim:
                claimed = True
            elif event is FINISHED or kind is ByHand or (refused and not claimed):
                return True
        return True  # pragma: no cover  # only its own thread removes a request

    # --- carrying out what the log says; each step may be repeated, by several threads ---------

    def _publish(self) -> None:
        """Write the final event down in `_state`, under the condition if anybody has it."""
        _, final, condition = self._fold()
        if condition is None:
            self._write_down(final)
            return
        self._pe_condition = condition  # before _state: see _condition
        with condition:
            if self._state not in _FINAL_STATES:
                self._pe_notices = condition.future_waiters[::-1]
                self._pe_told = frozenset(map(id, self._pe_notices))
                self._write_down(final)
            condition.notify_sleepers()
            condition.close()

    def _write_down(self, final: Any) -> None:
        if isinstance(final, ByHand):
            self._result = final.result
            self._exception = final.exception
            self._state = _FINISHED_BY_HAND
        else:
            self._state = final

    def _wake(self) -> None:
        """Release the threads that sleep in `result`, and tell the waiters of `wait`."""
        for event in self._pe_log[:]:
            kind = type(event)
            if not (kind in _NOT_A_LOCK or kind in CONDITIONS or isinstance(event, str)):
                try:
                    event.release()
                except RuntimeError:
                    pass  # released before
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        notices = self._pe_notices
        while notices:
            try:
                waiter = notices.pop()
            except IndexError:
                return  # another thread told the last one
            self._tell(waiter)

    def _tell(self, waiter: Any) -> None:
        try:
            if self._state in _CANCELLED_STATES:
                waiter.add_cancelled(self)
            elif self._exception is not None:
                waiter.add_exception(self)
            else:
                waiter.add_result(self)
        except BaseException:
            LOGGER.exception("exception calling waiter for %r", self)

    def _begin(self, claim: Claim) -> None:
        """Write down that the owner of the claim has begun.

        An outcome set by hand may have been written down after the claim was appended; then it is
        restored. A slice is a step under the list's lock: whoever appends behind it writes
        `_state` behind it too.
        """
        self._state = RUNNING
        [last] = self._pe_log[-1:]
        if last is not claim:
            self._restore()

    def _restore(self) -> None:
        _, final, condition = self._fold()
        if final is None:
            return
        if condition is None:
            self._write_down(final)
            return
        with condition:
            if self._state in _FINAL_STATES:
                return
            told = self._pe_told  # the others were installed while it seemed to run
            waiters = [one for one in condition.future_waiters if id(one) not in told]
            self._write_down(final)
            condition.notify_sleepers()
            condition.close()
        for waiter in waiters:
            self._tell(waiter)

    def _call_back(self) -> None:
        """Call the done-callbacks that were there when the future was done, in their order."""
        final = self._fold()[1]
        for event in self._pe_log[:]:
            if type(event) is list:
                self._call(event)
            elif event is final:
                break

    def _call(self, cell: list[Callable[[Future[T]], object]]) -> None:
        try:
            callback = cell.pop()
        except IndexError:
            return  # called before
        try:
            callback(self)
        except BaseException:
            LOGGER.exception("exception calling callback for %r", self)

    def _settle(self) -> None:
        """All that the author of the final event owes."""
        self._publish()
        self._wake()
        self._call_back()

    def _let_go(self) -> None:
        """Forget what was to be called. For `WorkRequest`."""

    def _leave(self) -> None:
        """Leave the queue, being settled without having run. For `BoundedRequest`."""

    def _has_ended(self) -> bool:
        return self._fold()[1] is not None

    def _look_at_the_clock(self) -> float | None:
        """For one who awaits it: expire it, if its time is up; the seconds left. For
        `OptionedRequest`.
        """
        return None

    def _waits_in(self, requests: Any) -> bool:
        """See `_waiting.Awaited`. For `WorkRequest`."""
        return False

    def _next_in(self, requests: Any) -> Any:
        return None

    # --- the public face ----------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel the call if it has not started.

        Returns:
            True if the call is cancelled (now or before), False if it runs or is done.
        """
        state = self._state
        if state is not PENDING:
            return state in _CANCELLED_STATES
        try:
            self._pe_log.append(CANCELLED_AND_NOTIFIED)
        finally:
            # A signal handler may raise between any two steps; what is in the log is done.
            cancelled = self._fold()[1] is CANCELLED_AND_NOTIFIED
            if cancelled:
                mark_cancellation()
                try:
                    self._let_go()
                finally:
                    self._settle()
                self._leave()
        return cancelled

    def cancelled(self) -> bool:
        """Return True if the call was cancelled."""
        return self._state in _CANCELLED_STATES

    def running(self) -> bool:
        """Return True if the call is being executed."""
        return self._state == RUNNING

    def done(self) -> bool:
        """Return True if the call was cancelled or has finished."""
        return self._state in _FINAL_STATES

    def result(self, timeout: float | None = None) -> T:
        """Return what the call returned, or raise what it raised; wait for it if need be.

        Args:
            timeout: Seconds to wait; None, without limit.

        Raises:
            CancelledError: The call was cancelled.
            TimeoutError: It was not done in time (`concurrent.futures.TimeoutError`).
            Exception: Whatever the call raised.
        """
        try:
            if self._state is not FINISHED and not self._await(timeout):
                raise _base.TimeoutError()
            if self._state is FINISHED and self._exception is None:
                return self._result  # type: ignore[no-any-return]  # a T
            result, exception = self._outcome()
            if exception is None:
                return result  # type: ignore[no-any-return]  # a T
            try:
                raise exception
            finally:
                del exception
        finally:
            # The traceback of what is raised here holds this frame; it must not hold the future.
            del self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, None if it returned; wait for it if need be.

        Args:
            timeout: Seconds to wait; None, without limit.

        Raises:
            CancelledError: The call was cancelled.
            TimeoutError: It was not done in time (`concurrent.futures.TimeoutError`).
        """
        if self._state is not FINISHED and not self._await(timeout):
            raise _base.TimeoutError()
        return self._outcome()[1]

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have ``fn(self)`` called when the call is done or cancelled; at once if it is.

        Called in the order of adding, by the thread that finishes or cancels the call, or by this
        one. Whatever `fn` raises is logged (logger ``concurrent.futures``).
        """
        self._add_cell([fn])
        if threading.get_ident() in workers:
            note_callback(self, fn)

    def _add_cell(self, cell: list[Callable[[Future[T]], object]]) -> None:
        if self._state not in _FINAL_STATES:
            log = self._pe_log
            log.append(cell)
            if log[0] is cell or not self._came_too_late(cell):
                return
            self._publish()
        self._call(cell)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the result in a coroutine of asyncio, without blocking its event loop.

        As of `asyncio.wrap_future`: where the call was cancelled, `asyncio.CancelledError` is
        raised; if the awaiting task is cancelled, the call is, if it has not started.
        """
        try:
            if not self._has_ended():
                sleeper = LoopSleeper()
                cell: list[Any] = [sleeper.wake]
                self._add_cell(cell)
                try:
                    with while_waiting(self, self._has_ended):
                        left = self._look_at_the_clock()
                        while not self._has_ended():
                            yield from sleeper.wait(left).__await__()
                            left = self._look_at_the_clock()
                except BaseException:
                    self.cancel()
                    raise
                finally:
                    cell.clear()
            if self._fold()[1] is CANCELLED_AND_NOTIFIED:
                from asyncio import CancelledError as AsyncioCancelledError

                raise AsyncioCancelledError
            return self.result()
        finally:
            del self  # the traceback of what is raised here holds this frame

    # --- waiting ------------------------------------------------------------------------------

    def _await(self, timeout: float | None) -> bool:
        """Wait until the future is done; False if it was not within `timeout` seconds."""
        if self._state in _FINAL_STATES:
            return True
        worker = worker_of_this_thread()
        if worker is None or (timeout is not None and timeout <= 0):
            return self._await_asleep(timeout)
        deadline = deadline_after(timeout)
        return worker.wait(  # type: ignore[no-any-return]  # a bool
            partial(self._await_until, deadline), deadline, self, self._has_ended
        )

    def _await_until(self, deadline: float | None) -> bool:
        return self._await_asleep(left_until(deadline))

    def _await_asleep(self, timeout: float | None) -> bool:
        if self._state in _FINAL_STATES:
            return True
        sleeper = threading.Lock()
        sleeper.acquire()
        log = self._pe_log
        try:
            log.append(sleeper)
            if not self._came_too_late(sleeper):
                self._sleep(sleeper, timeout)
        finally:
            try:
                log.remove(sleeper)  # locks compare by identity
            except ValueError:
                pass
        if self._state in _FINAL_STATES:
            return True
        if self._fold()[1] is None:
            return False
        self._publish()  # its author is about to
        return True

    def _sleep(self, sleeper: Any, timeout: float | None) -> None:
        """Until its lock is released for good, or `timeout` seconds have passed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        remaining: float = -1 if timeout is None else max(0, timeout)
        while sleeper.acquire(True, remaining):
            if self._state in _FINAL_STATES or self._fold()[1] is not None:
                return
            # Somebody has notified `_condition`, and the state is not one to return for.
            if deadline is not None:
                remaining = max(0, deadline - time.monotonic())

    def _outcome(self) -> tuple[Any, BaseException | None]:
        """Result and exception of a future that is done, as the log has them."""
        state = self._state
        if state in _CANCELLED_STATES:
            raise CancelledError()
        if state is FINISHED:
            result, exception = self._result, self._exception
        else:
            final = self._fold()[1]
            if isinstance(final, ByHand):
                result, exception = final.result, final.exception
            else:  # somebody wrote _state from outside, as tests do
                result, exception = self._result, self._exception
        unretrieved = self._pe_unretrieved
        if unretrieved is not None:
            unretrieved.exception = None
        return result, exception

    # --- for executors and tests --------------------------------------------------------------

    def set_running_or_notify_cancel(self) -> bool:
        """Claim the call; False if it was cancelled. For executors and tests.

        Raises:
            RuntimeError: Somebody else has claimed or finished it.
        """
        mine = Claim()
        self._pe_log.append(mine)
        claim, final, _ = self._fold()
        if final is CANCELLED_AND_NOTIFIED:
            return False
        if claim is mine and final is None:
            self._begin(mine)
            return True
        LOGGER.critical("Future %s in unexpected state: %s", id(self), self._state)
        raise RuntimeError("Future in unexpected state")

    def set_result(self, result: T) -> None:
        """Finish the future with `result`. For executors and tests.

        Raises:
            InvalidStateError: It is done already.
        """
        self._settle_by_hand(ByHand(result, None))

    def set_exception(self, exception: BaseException | None) -> None:
        """Finish the future with `exception`. For executors and tests.

        Raises:
            InvalidStateError: It is done already.
        """
        self._settle_by_hand(ByHand(None, exception))

    def _settle_by_hand(self, outcome: ByHand) -> None:
        self._pe_log.append(outcome)
        claim, final, _ = self._fold()
        if final is not outcome:
            raise InvalidStateError(f"{self._state}: {self!r}")
        if claim is None:
            self._let_go()  # whoever comes to run it finds it done
        self._settle()

    # --- what the standard library and others touch -------------------------------------------

    if not TYPE_CHECKING:  # to a type checker they are the attributes of the base class
        _condition = _ConditionOnDemand()
        _waiters = _WaitersOnDemand()

        @property
        def _done_callbacks(self) -> DoneCallbacks:
            """The callbacks that have not been called yet; what is changed here counts."""
            return DoneCallbacks(self._pe_log)

        @_done_callbacks.setter
        def _done_callbacks(self, callbacks: list[Any]) -> None:
            DoneCallbacks(self._pe_log)[:] = callbacks

    def _invoke_callbacks(self) -> None:
        self._call_back()

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """(done, cancelled, result, exception), as `Future` has it since Python 3.15."""
        state = self._state
        if state in _CANCELLED_STATES:
            return True, True, None, None
        if state in _FINAL_STATES:
            return True, False, *self._outcome()
        return False, False, None, None

    def __repr__(self) -> str:
        state = self._state
        where = f"<PoolFuture at {id(self):#x} state="
        if state == FINISHED:
            if self._exception is not None:
                return f"{where}finished raised {self._exception.__class__.__name__}>"
            return f"{where}finished returned {self._result.__class__.__name__}>"
        return where + _base._STATE_TO_DESCRIPTION_MAP[state] + ">"


_NOT_A_LOCK: Final = frozenset([Claim, ByHand, Failed, list])
