"""A thread pool to be used wherever `concurrent.futures.ThreadPoolExecutor` is."""

from ._executor import PoolExecutor, current_worker
from ._future import PoolFuture
from ._result_queue import ResultQueue
from ._stats import PoolStats
from ._swap import install, uninstall
from .errors import BrokenThreadPool, NoResultsPending, NoWorkersAvailable, RequestExpired

__all__ = [
    "BrokenThreadPool",
    "NoResultsPending",
    "NoWorkersAvailable",
    "PoolExecutor",
    "PoolFuture",
    "PoolStats",
    "RequestExpired",
    "ResultQueue",
    "current_worker",
    "install",
    "uninstall",
]
__version__ = "0.1.0"
