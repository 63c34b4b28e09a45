"""`Entrance`: how a request comes into a bounded queue, or what becomes of it if it does not.

`_admission` has the places; here are the policies for when there is none.
"""

from __future__ import annotations

import functools
import queue
import time
from typing import TYPE_CHECKING, Any, Protocol

from ._admission import GIVE_UP
from ._future import Claim
from ._request import leave_queue
from ._stats import Tally
from ._waiting import NOTHING, wait_here, while_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._admission import Admission, Applicant
    from ._bell import Bell
    from ._request import BoundedRequest
    from ._request_queue import RequestQueue


class Crew(Protocol):
    """What is asked of the workers' common affairs; see `_workforce`."""

    changes: Bell
    is_open: bool
    requests: RequestQueue

    def count(self, tally: Tally) -> None: ...
    def is_mine(self) -> bool: ...
    def refuse(self) -> None: ...


class Entrance:
    """The way into the queue of one pool.

    Args:
        admission: The places.
        crew: The pool's workforce.

    Attributes:
        running: The claims on requests that their submitters run themselves.
    """

    def __init__(self, admission: Admission, crew: Crew) -> None:
        self.admission = admission
        self.running: list[Claim] = []
        self._crew = crew
        admission.set_up(self._leave_queue)

    def admit(self, request: BoundedRequest[Any]) -> bool:
        """Find a place for a request in the bounded queue, as its policy says.

        Returns:
            False if the request is not to be queued: it has been run here, discarded, or has
            expired before there was a place.

        Raises:
            queue.Full: There is none, or none within the time-out.
        """
        admission = self.admission
        admitted = False
        request._pe_remove = self._remove
        try:
            if request._pe_deadline is not None:
                admission.expiring[request] = None
            admitted = (
                bool(request._pe_leave)  # found in a coroutine
                or admission.try_take(request._pe_leave)
                or self._find_place(request)
            )
            if admitted and admission.on_full == "discard_oldest":
                admission.present[request] = None
        finally:
            if not admitted:
                admission.expiring.pop(request, None)
        return admitted

    def _find_place(self, request: BoundedRequest[Any]) -> bool:
        """As `admit`, where none is free."""
        admission = self.admission
        policy = admission.on_full
        while self._look(request) != GIVE_UP:
            if admission.try_take(request._pe_leave):
                return self._has_kept(request)
            if policy == "raise":
                raise queue.Full("max_queue_size requests wait already")
            if policy == "discard":
                request.cancel()
                self._crew.count(request._tally())
                return False
            if policy == "discard_oldest" and self._discard_oldest(request):
                return self._has_kept(request)
            # Its own worker must not wait for a place, nor who is on top of one that has or awaits
            # one in this thread: a signal handler or finalizer.
            if policy == "caller_runs" or self._crew.is_mine() or admission.is_below():
                self._run_here(request)
                return False
            # With "discard_oldest", all who have a place are coming or going: look again soon.
            again_soon = policy == "discard_oldest"
            timeout = 0.005 if again_soon else admission.timeout
            look = functools.partial(self._look, request)
            take = functools.partial(admission.take, request._pe_leave, timeout, look)
            if wait_here(take, self._crew):
                return self._has_kept(request)
            if not again_soon and not request._has_expired():
                raise queue.Full("max_queue_size requests wait already")
        return self._has_kept(request)

    async def find_place_in_loop(self, place: list[Any], applicant: Applicant) -> None:
        """For a request that a coroutine is about to submit: find a place, if need be and if that
        is to be waited for.

        Args:
            place: Gets it.
            applicant: In the stead of the request; needs no place after its deadline.

        Raises:
            queue.Full: There is none within the time-out.
        """
        admission = self.admission
        if admission.on_full != "block" or not self._crew.is_open:
            return

        # In this thread, it asks for a place now, and not while it sleeps.
        def ask(question: Callable[[], Any]) -> Any:
            admission.enter(applicant)
            try:
                return question()
            finally:
                admission.exit(applicant)

        if admission.try_take(place) or self._crew.is_mine() or ask(admission.is_below):
            return
        timeout, left = admission.timeout, applicant.seconds_left()
        if left is not None:
            admission.expiring[applicant] = None
            timeout = left if timeout is None else min(left, timeout)
        look = functools.partial(ask, self._look)
        with while_waiting(NOTHING, bool):
            found = await admission.take_in_loop(place, timeout, look)
        if not found and not applicant._is_overdue():
            self._crew.refuse()
            raise queue.Full("max_queue_size requests wait already")

    def _has_kept(self, request: BoundedRequest[Any]) -> bool:
        """Whether a request, which may have a place, has not expired on the way.

        Who has it expire says so first and takes its place, if it has one, then.
        """
        if not request._has_expired():
            return True
        leave_queue(request, request._pe_leave)
        self._crew.count(Tally(expired=1))
        return False

    def _look(self, request: BoundedRequest[Any] | None = None) -> float | None:
        """For one who waits for a place: end the requests whose time is up.

        Returns:
            After how many seconds to look again, if at all; `GIVE_UP` if its own time is up.
        """
        soonest = None
        for other in list(self.admission.expiring):
            if other._is_overdue():
                self.admission.expiring.pop(other, None)
                other._expire()
            elif soonest is None or other._pe_deadline < soonest:
                soonest = other._pe_deadline
        if request is not None and request._has_expired():
            return GIVE_UP
        return None if soonest is None else max(0.0, soonest - time.monotonic())

    def leave_to_another(self, request: BoundedRequest[Any]) -> None:
        """The request's place is for another one, which will be queued in its stead."""
        self._forget(request)
        request._pe_leave.clear()

    def _leave_queue(self, request: BoundedRequest[Any], given: list[None]) -> None:
        """Give its place back."""
        self._forget(request)
        self.admission.give_back(given)

    def _forget(self, request: BoundedRequest[Any]) -> None:
        self.admission.expiring.pop(request, None)
        self.admission.present.pop(request, None)

    def _remove(self, request: BoundedRequest[Any]) -> None:
        """Take one that has ended out of the queue."""
        tally = request._tally()
        removed = False
        try:
            removed = self._crew.requests.remove(request)
        finally:
            if removed:  # else who has taken it out counts it
                self._crew.count(tally)
        self._crew.changes.ring()

    def _run_here(self, request: BoundedRequest[Any]) -> None:
        claim = Claim()
        try:
            self.running.append(claim)
            request._run(claim)
        finally:
            try:
                self.running.remove(claim)
            except ValueError:
                pass  # this is the child of a fork
            self._crew.count(claim.tally())
            self._crew.changes.ring()
        if isinstance(request._exception, KeyboardInterrupt):
            request.result()  # pressed in this thread, so it is raised here

    def _discard_oldest(self, request: BoundedRequest[Any]) -> bool:
        """Cancel what has waited for longest and has a place, and give that to `request`."""
        present = self.admission.present
        while True:
            try:
                oldest = next(iter(present))
            except StopIteration:
                return False
            except RuntimeError:
                continue  # changed meanwhile
            present.pop(oldest, None)
            try:
                # From the one to the other, in one step of C code.
                next(map(request._pe_leave.append, iter(oldest._pe_leave.pop, None)))
            except IndexError:
                continue  # it is just leaving
            self._forget(oldest)
            oldest.cancel()  # if a worker has just begun it, its place is free anyway
            return True

    def forget_running(self) -> None:
        """In the child of a fork: what others run is the parent's, and so is what this one does."""
        self.running.clear()

    def after_fork(self) -> None:
        """In the child, when all that was queued has given its place back."""
        # A signal handler may have forked on top of one who waits for a place.
        self.admission.release_all()
        self.admission.set_up(self._leave_queue)
