"""What a user may catch."""

from concurrent.futures.thread import BrokenThreadPool

__all__ = ["BrokenThreadPool", "NoWorkersAvailable"]


class NoWorkersAvailable(RuntimeError):  # noqa: N818  # the name users know
    """There is work, but no worker, nor will there be one: the pool is paused."""
