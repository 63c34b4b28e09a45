"""``python -m poolexecutor run``: a whole program with our pool in the standard pool's place."""

from __future__ import annotations

import sys

from ._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
