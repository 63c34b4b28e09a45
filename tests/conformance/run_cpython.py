"""Run CPython's own executor tests with `PoolExecutor` in the standard pool's place.

    python tests/conformance/run_cpython.py [--standard] [unittest options]

The tests are those installed with the running interpreter. Exit code 77: it ships none.
"""

from __future__ import annotations

import importlib.util
import sys
import unittest

import poolexecutor

NO_TESTS = 77
MODULES = ("test_thread_pool", "test_wait", "test_as_completed", "test_shutdown", "test_init")
# The scripts import the class by its __name__.
SWAP = (
    "import concurrent.futures, poolexecutor; poolexecutor.install(); "
    "concurrent.futures.PoolExecutor = poolexecutor.PoolExecutor\n"
)


def swap_in_children() -> None:
    """Have the scripts that the tests run in interpreters of their own begin with the swap."""
    from test.support import script_helper

    plain = script_helper.assert_python_ok

    def swapped(*args: str, **env: str) -> object:
        words = list(args)
        if "-c" in words:
            code = words.index("-c") + 1
            words[code] = SWAP + words[code]
        return plain(*words, **env)

    script_helper.assert_python_ok = swapped


def load_tests() -> unittest.TestSuite:
    """Every test class for thread pools."""
    try:
        modules = [importlib.import_module(f"test.test_concurrent_futures.{m}") for m in MODULES]
    except ModuleNotFoundError:
        modules = [importlib.import_module("test.test_concurrent_futures")]  # one file, once
    suite = unittest.TestSuite()
    for module in modules:
        for name, value in sorted(vars(module).items()):
            is_test = isinstance(value, type) and issubclass(value, unittest.TestCase)
            if is_test and name.startswith("ThreadPool"):
                suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(value))
    return suite


def main() -> int:
    """Run them; 0 if all passed."""
    if "--standard" not in sys.argv:
        poolexecutor.install()
    if importlib.util.find_spec("test.test_concurrent_futures") is None:
        print("this interpreter ships no executor tests")
        return NO_TESTS
    if "--standard" not in sys.argv:
        swap_in_children()
    result = unittest.TextTestRunner(verbosity=2).run(load_tests())
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
