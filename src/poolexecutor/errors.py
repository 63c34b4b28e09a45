"""What a user may catch."""

import queue
from concurrent.futures.thread import BrokenThreadPool

__all__ = ["BrokenThreadPool", "NoResultsPending", "NoWorkersAvailable"]


class NoResultsPending(queue.Empty):  # the name users know
    """Nothing is outstanding: all that was submitted has been taken."""


class NoWorkersAvailable(RuntimeError):  # noqa: N818  # the name users know
    """There is work, but no worker, nor will there be one: the pool is paused."""
