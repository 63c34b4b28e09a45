"""What a user may catch."""

from concurrent.futures.thread import BrokenThreadPool

__all__ = ["BrokenThreadPool"]
