"""Run an unmodified program after `install`, as plain ``python`` would run it.

The program gets a `__main__` module of its own, which stays to the interpreter's end, `sys.argv`
and `sys.path` as it expects them, and the interpreter's own handling of whatever it raises: the
exception leaves through our frames, and only the display of its traceback leaves them out.
"""

from __future__ import annotations

import io
import os
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any

from ._swap import install

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = """\
usage: python -m poolexecutor run PROGRAM [ARGUMENT ...]
       python -m poolexecutor run -m MODULE [ARGUMENT ...]

Runs a program, unmodified, with poolexecutor.PoolExecutor in the place of
concurrent.futures.ThreadPoolExecutor.
"""
WRONG_USAGE = 2


def main(words: list[str]) -> int:
    """Do what the command line says; returns the exit code, or raises what the program raises."""
    if words[:1] in (["-h"], ["--help"]) or words[:2] in (["run", "-h"], ["run", "--help"]):
        print(USAGE, end="")
        return 0
    if words[:1] != ["run"]:
        return _complain(f"unknown command: {words[0]}" if words else "a command is missing")
    if len(words) < 2 or words[1:] == ["-m"]:
        return _complain("the program is missing")
    if words[1] == "-m":
        start = _module(words[2], words[3:])
    elif words[1].startswith("-"):
        return _complain(f"unknown option: {words[1]}")
    else:
        start = _program(words[1], words[2:])
    install()
    try:
        start()
    except SystemExit:
        raise
    except BaseException as error:
        _hide_our_frames(error)
        raise
    return 0


def _complain(what: str) -> int:
    print(f"{USAGE}\n{what}", file=sys.stderr)
    return WRONG_USAGE


def _module(name: str, arguments: list[str]) -> Callable[[], object]:
    """As ``python -m name``: `sys.path` already begins as it must."""
    from runpy import _run_module_as_main  # type: ignore[attr-defined]  # what python -m calls

    _new_main_module()
    sys.argv = ["-m", *arguments]
    return lambda: _run_module_as_main(name)


def _program(path: str, arguments: list[str]) -> Callable[[], object]:
    """As ``python path``, for a source file, or a folder or zip file with a `__main__.py`."""
    sys.argv = [path, *arguments]
    full = os.path.abspath(path)
    if os.path.isdir(full) or _is_zip(full):
        from runpy import _run_module_as_main  # type: ignore[attr-defined]  # as above

        _new_main_module()
        sys.path[0] = full
        return lambda: _run_module_as_main("__main__", alter_argv=False)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {full!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(WRONG_USAGE)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(full))
    module = _new_main_module()
    module.__dict__.update(__file__=full, __loader__=SourceFileLoader("__main__", full))
    if sys.version_info < (3, 15):
        module.__dict__["__cached__"] = None
    return lambda: exec(compile(source, full, "exec", dont_inherit=True), module.__dict__)


def _is_zip(path: str) -> bool:
    from zipfile import is_zipfile

    return is_zipfile(path)


def _new_main_module() -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    _kept.append(sys.modules["__main__"])  # our own, whose code is still being run
    sys.modules["__main__"] = module
    return module


_kept: list[types.ModuleType] = []


def _hide_our_frames(error: BaseException) -> None:
    """Have the interpreter show `error` without the frames that are ours.

    It calls `sys.excepthook` when the exception has left the last of them, so that is the place to
    cut them off; the hook that the program has set, if any, is then called in turn.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__") == __name__:
        traceback = traceback.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, _: Any) -> None:
        sys.excepthook = hook
        sys.last_traceback = traceback
        hook(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = show
