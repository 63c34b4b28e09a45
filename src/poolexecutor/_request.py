"""`WorkRequest`: one call and its future, settled exactly once.

Both are one object: the queue holds what the caller holds. The rules for who may run, cancel or
settle it are those of the log in `_future`; the call itself (`_pe_fn` and its arguments) belongs
to whoever made the deciding event: the owner of the claim takes it out to run it, the author of a
cancellation drops it.

What the queue holds must answer to four verbs, whatever it is:

- ``_run(claim)``: run it, if it is still to be run. Raises only what was raised *into* the thread.
  True if the claim's slot has another request now, to be run next.
- ``_abandon(claim, error)``: the worker that had it dies of `error`. False if it can be queued
  again, because it was not claimed; otherwise it is settled.
- ``_fail(error)``: settle it with `error`, if it has not started.
- ``_orphan(error)``: in the child of a fork, where nobody will run it: settle it with `error`.
- ``_has_ended()``: whether it is settled.
- ``_tally()``: how it has ended.
- ``cancel()``, ``cancelled()``: as a future's; ``_has_expired()``: whether it was not run in time;
  ``_is_helped()``: whether a worker has run it that waited for it, or does so.

A request that a task waits for is taken out of the queue and run. If it lies far from both ends,
or in a heap, that would take too long: it stays there, since its log decides who runs it, and a
worker comes across it later, as it does across one that was cancelled. For that it must be known
to lie in that queue, and none other: `_pe_home`.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures._base import (
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    LOGGER,
    PENDING,
    RUNNING,
    CancelledError,
    Future,
    InvalidStateError,
)
from typing import TYPE_CHECKING, Any, TypeVar

from ._condition import CONDITIONS, FutureCondition
from ._future import (
    _CANCELLED_STATES,
    Arrival,
    ByHand,
    Claim,
    Failed,
    PoolFuture,
    Unretrieved,
    mark_cancellation,
)
from ._stats import Tally
from .errors import RequestExpired

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Only to recognise the usual one; others, gevent's for one, go the thorough way.
_RAW_LOCK = type(threading.Lock())
# Nothing takes itself out of the log but sleepers: where one of these is first, it stays so.
_STAYING = frozenset([list, FutureCondition])


class WorkRequest(PoolFuture[T]):
    """A call to be made and the future of its result."""

    _pe_kwargs: dict[str, Any] | None = None
    _pe_home: Any = None  # the queue in which it was put; None, not known

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # All of it inline: this is the hot path of submit.
        self._pe_log = []
        self._pe_fn: Callable[..., T] | None = fn
        self._pe_args: tuple[Any, ...] | None = args
        if kwargs:
            self._pe_kwargs = kwargs

    def _run(self, claim: Claim) -> None:
        """Make the call, if it is still to be made, and settle the future."""
        log = self._pe_log
        log.append(claim)
        # First event of all, or first of those that count: the call is ours alone.
        first = log[0]
        if (
            first is not claim
            # As _won, without the call. A sleeper may be leaving: only behind what stays is a [1].
            and (type(first) not in _STAYING or log[1] is not claim)
            and not self._won(claim)
        ):
            return
        self._state = RUNNING
        [last] = log[-1:]  # as _begin, without the call
        if last is not claim:
            self._restore()
        fn: Any = self._pe_fn
        args: Any = self._pe_args
        kwargs = self._pe_kwargs
        self._pe_fn = self._pe_args = None  # taken out for good
        if kwargs is not None:
            self._pe_kwargs = None
        try:
            result = fn(*args) if kwargs is None else fn(*args, **kwargs)
        except BaseException as error:
            # The traceback holds this frame, so the frame must hold nothing of the request.
            fn = args = kwargs = None
            self._finish_with(error, claim)
            del self, log, first
        else:
            self._result = result
            log.append(FINISHED)
            claim.completed += 1  # between the event and the waking: who was woken sees it counted
            if log[1] is FINISHED:  # claim and end: nobody asked for anything
                self._state = FINISHED
            elif type(first) is list and log[2] is FINISHED:  # one callback, claim, and end
                self._state = FINISHED
                self._call(first)
            elif type(first) is FutureCondition and log[2] is FINISHED:  # `wait`, claim, and end
                self._settle_waited(first)
            else:
                self._settle_own()

    def _won(self, claim: Claim) -> bool:
        counted = False
        for event in self._pe_log[:]:
            if event is claim:
                return True
            if type(event) is Claim:
                counted = event.counts  # see _claim_awaited
                break
            if isinstance(event, (str, ByHand)):
                break
        # Its author may have been interrupted between the event and the waking.
        if self._fold()[1] is not None:
            self._settle()
        if counted:
            pass
        elif self._state in _CANCELLED_STATES:
            claim.cancelled += 1
        elif self._has_expired():
            claim.expired += 1
        elif self._exception is not None:  # by hand
            claim.failed += 1
        else:
            claim.completed += 1
        return False

    def _finish_with(self, error: BaseException, claim: Claim) -> None:
        """Settle a call that raised. Errors that nobody looks at are logged when they go."""
        self._pe_unretrieved = Unretrieved(error)
        self._exception = error
        self._pe_log.append(FINISHED)
        claim.failed += 1
        self._settle_own()

    def _settle_own(self) -> None:
        """Settle after FINISHED. One pass for the usual logs, which no hand has meddled with."""
        sleepers, cells = [], []
        condition = None
        for event in self._pe_log[:]:
            kind = type(event)
            if kind is list:
                cells.append(event)
            elif kind is _RAW_LOCK:
                sleepers.append(event)
            elif kind in CONDITIONS:
                condition = condition or event
            elif event is FINISHED:
                break
            elif kind is not Claim:
                self._settle_thoroughly()
                return
        if condition is None:
            self._state = FINISHED
        else:
            self._settle_waited(condition)
        for sleeper in sleepers:
            try:
                sleeper.release()
            except RuntimeError:
                pass  # released before
        for cell in cells:
            self._call(cell)

    def _settle_waited(self, condition: FutureCondition) -> None:
        self._pe_condition = condition
        with condition:
            if self._state is not FINISHED:  # else it was interrupted, and is done anew
                self._pe_notices = condition.future_waiters[::-1]
                self._state = FINISHED
            condition.notify_sleepers()
            condition.log = ()  # as close, without the call
            condition.future_waiters.future = None
        self._tell_waiters()

    def _settle_thoroughly(self) -> None:
        if isinstance(self._fold()[1], ByHand):  # it came first, so it stands
            self._pe_unretrieved = None  # which logs the error of the call, if it raised
        self._settle()

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        owner, final, _ = self._fold()
        if owner is None and final is None:
            return False
        if owner is claim:
            if final is None:
                self._let_go()
                self._exception = error
                self._pe_log.append(FINISHED)
                claim.failed += 1
            self._settle_own()
        return True

    def _fail(self, error: BaseException) -> None:
        outcome = Failed(None, error)
        self._pe_log.append(outcome)
        if self._fold()[1] is outcome:
            try:
                self._let_go()
            finally:
                self._settle()
            self._leave()

    # --- for those who wait for it in a task --------------------------------------------------

    def _waits_in(self, requests: Any) -> bool:
        """Perhaps, where only a search would tell; nobody has begun it."""
        return self._pe_home in (None, requests) and self._fold()[:2] == (None, None)

    def _next_in(self, requests: Any) -> WorkRequest[T] | None:
        if not self._waits_in(requests):
            return None
        if self._pe_home is None and not requests.remove_if_near(self):
            requests.tell_homes()
            if self._pe_home is None:
                return None
        return self

    def _claim_awaited(self, claim: Claim) -> bool:
        """For a worker that got it from `_next_in`: whether it is to `_run` it."""
        home = self._pe_home
        if home is None or home.remove_if_near(self):
            return True
        self._pe_log.append(claim)  # and `_run` will, once more, behind it
        if self._fold()[:2] != (claim, None):
            return False
        mark_cancellation()  # for it lies in the queue, and does not wait
        return True

    def _is_helped(self) -> bool:
        claim = self._fold()[0]
        return claim is not None and claim.counts

    def _tally(self) -> Tally:
        final = self._fold()[1]
        if final is CANCELLED_AND_NOTIFIED:
            return Tally(cancelled=1)
        if self._has_expired():
            return Tally(expired=1)
        failed = isinstance(final, ByHand) and final.exception is not None
        return Tally(failed=1) if failed else Tally(completed=1)

    def _has_expired(self) -> bool:
        return False

    def _withdraw(self) -> bool:
        """See to it that the call is never made; False if a worker has it."""
        return self.cancel() or type(self._fold()[1]) is Failed

    def _orphan(self, error: BaseException) -> None:
        """Settle it in the child of a fork, whatever its state.

        Other threads are gone, perhaps with its condition held. The done-callbacks belong to the
        parent and run there: "always called by a thread in the same process in which it was added".
        """
        _, final, condition = self._fold()
        if condition is not None:
            # That these are assigned in a method of this class has CPython keep room for them in
            # each instance; otherwise the first `wait` gives each future a dict.
            self._condition = condition
            self._waiters = condition.future_waiters
            condition._at_fork_reinit()  # type: ignore[attr-defined]  # a lock has it
            for waiter in self._waiters:
                for part in (getattr(waiter, "lock", None), getattr(waiter, "event", None)):
                    if part is not None:
                        part._at_fork_reinit()
        if final is None:
            self._pe_log.append(ByHand(None, error))
        self._let_go()
        self._publish()
        self._wake()
        for event in self._pe_log[:]:
            if type(event) is list and event and type(event[0]) is Arrival:
                self._call(event)

    def _let_go(self) -> None:
        self._pe_fn = self._pe_args = self._pe_kwargs = None


class BoundedRequest(WorkRequest[T]):
    """A request that may have a place in a bounded queue, and gives it back when it leaves."""

    _pe_priority: float = 0
    _pe_number: int | None = None  # of its arrival in the heap of its kind
    _pe_remove: Callable[[Any], object] | None = None  # takes it out of the bounded queue
    _pe_deadline: float | None = None  # when it expires, on the monotonic clock

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(fn, args, kwargs)
        # Called by who pops it, so once.
        self._pe_leave: list[Callable[[Any, list[None]], None]] = []
        self._pe_is_queued = False  # it was put into the queue

    def _run(self, claim: Claim) -> None:
        leave_queue(self, self._pe_leave)
        super()._run(claim)

    def _let_go(self) -> None:
        super()._let_go()
        leave_queue(self, self._pe_leave)

    def _leave(self) -> None:
        # Last: interrupted before, it is still there for a worker to meet, who makes up for it.
        if self._pe_is_queued and self._pe_remove is not None:
            self._pe_remove(self)


class OptionedRequest(BoundedRequest[T]):
    """A request with a priority, or a time within which it must be started, or both.

    Whoever finds that its time is up says so in its log, as the author of a cancellation does: its
    worker, a thread that waits for its result, one that waits for a place in a bounded queue.

    Args:
        priority: The lowest is run first.
        expires: Seconds from now on within which it must be started; None, without limit.
    """

    def __init__(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        priority: float,
        expires: float | None,
    ) -> None:
        super().__init__(fn, args, kwargs)
        self._pe_priority = priority
        self._pe_deadline = None if expires is None else time.monotonic() + expires

    def _run(self, claim: Claim) -> None:
        if self._is_overdue():
            self._expire()
        super()._run(claim)

    def _claim_awaited(self, claim: Claim) -> bool:
        if self._is_overdue():
            self._expire()
        return super()._claim_awaited(claim)

    def _is_overdue(self) -> bool:
        return self._pe_deadline is not None and time.monotonic() >= self._pe_deadline

    def _look_at_the_clock(self) -> float | None:
        if self._pe_deadline is None or self._fold()[0] is not None:
            return None
        if self._is_overdue():
            self._expire()
            return None
        return max(0.0, self._pe_deadline - time.monotonic())

    def _expire(self) -> None:
        """It shall not run, unless it runs already."""
        self._fail(RequestExpired("the call was not started in time"))
        mark_cancellation()

    def _has_expired(self) -> bool:
        final = self._fold()[1]
        return type(final) is Failed and type(final.exception) is RequestExpired

    def _sleep(self, sleeper: Any, timeout: float | None) -> None:
        """As for any future, but not longer than up to its expiry, unless it runs then."""
        if self._pe_deadline is not None:
            start = time.monotonic()
            left = max(0.0, self._pe_deadline - start)
            if timeout is None or left <= timeout:
                super()._sleep(sleeper, left)
                if not self.done() and self._fold()[1] is None:
                    self._expire()
                if self._fold()[1] is not None:
                    return
                if timeout is not None:
                    timeout = max(0.0, timeout - (time.monotonic() - start))
        super()._sleep(sleeper, timeout)


def leave_queue(request: Any, leave: list[Callable[[Any, list[None]], None]]) -> None:
    """Give the request's place back, if it has one and has not done so."""
    given: list[None] = []
    give_back = None
    try:
        for give_back in map(list.pop, (leave,)):
            give_back(request, given)
    except IndexError:
        pass  # none, or given back
    except BaseException:
        if give_back is not None and not given:
            leave.append(give_back)  # interrupted: it still has it
        raise


def relay(
    future: Future[Any],
    request: WorkRequest[Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Have `request` make this call in the stead of a work item with `future`, and each of the two
    come out as the other does.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        if not future.set_running_or_notify_cancel():
            raise CancelledError
        return fn(*args, **kwargs)

    def settle(request: Future[Any]) -> None:
        try:
            if request.cancelled():
                future.cancel()
            if future._state == PENDING and not future.set_running_or_notify_cancel():
                return
            # Not by `result()`: whether anybody looks at the error is seen on the request.
            if request._exception is not None:
                future.set_exception(request._exception)
            else:
                future.set_result(request._result)
        except (InvalidStateError, RuntimeError):
            pass  # cancelled, or settled by hand

    request._pe_fn, request._pe_args, request._pe_kwargs = call, args, kwargs or None
    request.add_done_callback(settle)
    future.add_done_callback(lambda future: future.cancelled() and request.cancel())


class ForeignRequest:
    """A work item that somebody else put into the pool's queue, with its standard future.

    The standard `submit` does so when a tracing library has patched it, and so do programs that
    carry a copy of it.
    """

    __slots__ = ("_context", "_is_over", "_pe_leave", "item")

    def __init__(self, item: Any, context: tuple[Any, ...]) -> None:
        self.item = item
        self._pe_leave: list[Any] = []  # as of a BoundedRequest
        self._is_over = False  # before it is counted
        self._context = context  # what item.run takes: a worker context since Python 3.14

    def _run(self, claim: Claim) -> None:
        leave_queue(self, self._pe_leave)
        try:
            self.item.run(*self._context)
        except BaseException:
            # Raised by a done-callback, or because the user finished the future himself.
            LOGGER.critical("Exception in worker", exc_info=True)
        self._is_over = True
        future = getattr(self.item, "future", None)  # programs bring items of their own making
        if getattr(future, "_state", None) in _CANCELLED_STATES:
            claim.cancelled += 1
        elif getattr(future, "_exception", None) is not None:
            claim.failed += 1
        else:
            claim.completed += 1

    def _has_ended(self) -> bool:
        return self._is_over

    def _tally(self) -> Tally:
        return Tally(cancelled=1) if self.cancelled() else Tally(failed=1)

    def _has_expired(self) -> bool:
        return False

    _is_helped = _has_expired

    def _abandon(self, claim: Claim, error: BaseException) -> bool:
        if self.item.future._state == PENDING:
            return False
        if self.item.future._state == RUNNING:
            self._settle(error)
        return True

    def _fail(self, error: BaseException) -> None:
        self._settle(error)

    def _orphan(self, error: BaseException) -> None:
        future = self.item.future
        future._condition._at_fork_reinit()
        future._done_callbacks.clear()
        self._settle(error)

    def _settle(self, error: BaseException) -> None:
        leave_queue(self, self._pe_leave)
        try:
            self.item.future.set_exception(error)
        except InvalidStateError:
            pass  # done or cancelled before

    def cancel(self) -> bool:
        leave_queue(self, self._pe_leave)
        future: Future[Any] = self.item.future
        cancelled = future.cancel()
        if cancelled:
            # `wait` and `as_completed` hear of it from whoever would have run it.
            try:
                future.set_running_or_notify_cancel()
            except RuntimeError:
                pass  # told before
        return cancelled

    def cancelled(self) -> bool:
        future = getattr(self.item, "future", None)
        return getattr(future, "_state", None) in _CANCELLED_STATES
