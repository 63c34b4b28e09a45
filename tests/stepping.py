"""Workers, locks and starters that tests step by hand: no thread, no clock."""

from __future__ import annotations

from poolexecutor._sizing import Bounds
from poolexecutor._workforce import Workforce


class WouldBlockError(Exception):
    """The code under test came to where a thread would sleep."""


class FakeLock:
    """A raw lock whose blocking acquire tells instead of blocking.

    With `expires` set, the next acquire with a time-out comes back at once without the lock.
    """

    def __init__(self) -> None:
        self.locked = False
        self.expires = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.locked:
            if not blocking or (timeout >= 0 and self.expires):
                self.expires = False
                return False
            raise WouldBlockError
        self.locked = True
        return True

    def release(self) -> None:
        if not self.locked:
            raise RuntimeError("release unlocked lock")
        self.locked = False

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def held() -> FakeLock:
    """A lock as a worker brings it to `park`."""
    lock = FakeLock()
    lock.acquire()
    return lock


class Crew:
    """A workforce whose workers are started by name only; `step` runs one of them.

    A stepped worker takes and runs requests until it would park; there the step ends, with the
    worker listed as idle. When it has been called, the next step goes on behind the parking.
    """

    def __init__(self, limit: int, minimum: int = 0, **kwargs) -> None:
        self.started = []
        self.parked = set()
        # As daemons, so that interpreter exit does not join what was never started.
        self.workforce = Workforce(start=self.started.append, daemon=True, **kwargs)
        self.workforce.bounds = Bounds(limit, minimum)
        self.workforce.name_prefix = "step"

    def give(self, request) -> None:
        """What submit does with a request."""
        self.workforce.requests.append(request)
        self.workforce.summon()

    def step(self, worker) -> str:
        """Run `worker` until it would sleep ("parked") or has left ("gone")."""
        if worker not in self.parked:
            worker.birth.pop()
            worker.lock = held()
        elif worker.lock.locked:
            raise AssertionError("this worker has not been called")
        else:
            worker.lock.acquire()
            worker.wakes += 1
        return self._run(worker)

    def expire(self, worker) -> str:
        """Let the time pass for which a parked worker may be idle."""
        assert self.workforce.requests.unpark(worker.lock)
        # One that finds a request runs it, and is idle for no time after that.
        worker.lock.expires = not self.workforce.requests.has_requests()
        return self._run(worker)

    def _run(self, worker) -> str:
        try:
            worker._work()
        except WouldBlockError:
            self.parked.add(worker)
            return "parked"
        self.workforce.depart(worker)
        return "gone"

    def step_all(self) -> None:
        """Step each living worker that is new or was called, until none is left to step."""
        while ready := [
            worker
            for worker in self.started
            if worker in self.workforce.workers
            and (worker not in self.parked or not worker.lock.locked)
        ]:
            self.step(ready[0])
