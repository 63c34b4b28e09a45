"""One client's job in this process, on one of three pools.

    python tests/clients/run.py CLIENT {given,swapped,standard}

``given``: the client is handed our pool, which stands beside the standard one.
``swapped``: ours was put in the standard pool's place before the client was imported.
``standard``: the standard pool, which tells that the job is one that the client can do.

A job is a module in `jobs` with a function ``job(pool, default)``. `pool` is the class to be handed
to the client, `default` the one that a client gets when it makes a ``ThreadPoolExecutor`` itself.
It returns if all went well; it raises if not.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import sys
from pathlib import Path

import poolexecutor


def main() -> None:
    """Do the job."""
    client, mode = sys.argv[1:]
    if mode not in {"given", "swapped", "standard"}:
        raise SystemExit(f"no such mode: {mode}")
    if mode == "swapped":
        poolexecutor.install()
    default = concurrent.futures.ThreadPoolExecutor
    assert (default is poolexecutor.PoolExecutor) == (mode == "swapped")
    pool = default if mode == "standard" else poolexecutor.PoolExecutor
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module(f"jobs.{client}").job(pool, default)


if __name__ == "__main__":
    main()
