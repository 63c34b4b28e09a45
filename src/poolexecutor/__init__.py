"""A thread pool to be used wherever `concurrent.futures.ThreadPoolExecutor` is."""

from ._executor import PoolExecutor
from ._future import PoolFuture
from ._swap import install, uninstall
from .errors import BrokenThreadPool

__all__ = ["BrokenThreadPool", "PoolExecutor", "PoolFuture", "install", "uninstall"]
__version__ = "0.1.0"
