"""What a user may catch."""

import concurrent.futures
import queue
import sys
from concurrent.futures.thread import BrokenThreadPool

__all__ = ["BrokenThreadPool", "NoResultsPending", "NoWorkersAvailable", "RequestExpired"]

if sys.version_info >= (3, 11):
    _TimeoutError = TimeoutError
else:  # there are two

    class _TimeoutError(concurrent.futures.TimeoutError, TimeoutError):
        pass


class NoResultsPending(queue.Empty):  # the name users know
    """Nothing is outstanding: all that was submitted has been taken."""


class NoWorkersAvailable(RuntimeError):  # noqa: N818  # the name users know
    """There is work, but no worker, nor will there be one: the pool is paused."""


class RequestExpired(_TimeoutError):  # noqa: N818  # the name users know
    """A call was not started in time: see `PoolExecutor.options`. It will not be made."""
