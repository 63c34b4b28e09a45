"""The standard pool that ours is built on, and whether its `submit` is still its own.

Tracing libraries (OpenTelemetry, Sentry, ddtrace) replace the standard `submit`, or its code in
place, to carry the caller's context into the task. A pool that has a `submit` of its own would
bypass them, and a worker would run later tasks in the context of the first caller. So ours asks
here, at each call, and takes the standard one's way while that is patched.
"""

from __future__ import annotations

from concurrent.futures import thread as _thread
from types import CodeType, FunctionType
from typing import Any

StandardExecutor = _thread.ThreadPoolExecutor


def is_pristine(submit: Any) -> bool:
    """Whether `submit` is the standard library's own function with its own code.

    Judged by what it is, not by comparing: a patch may have been there before us, and may have
    left the function object in place.
    """
    return (
        type(submit) is FunctionType
        and submit.__code__.co_filename == _thread.__file__
        and submit.__code__.co_name == "submit"
        and "_WorkItem" in submit.__code__.co_names
        and not hasattr(submit, "__wrapped__")
    )


def starts_threads_its_own_way() -> bool:
    """Whether somebody has replaced the standard `_adjust_thread_count`."""
    function = StandardExecutor.__dict__["_adjust_thread_count"]
    return not (type(function) is FunctionType and function.__code__ is _ADJUST)


def _own_code(name: str) -> CodeType | None:
    """The code of a method of the standard pool; None if it is not the standard library's."""
    function = StandardExecutor.__dict__[name]
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename != _thread.__file__ or code.co_name != name:
        return None
    return code  # type: ignore[no-any-return]  # a CodeType


_ADJUST = _own_code("_adjust_thread_count")


class Verdict:
    """The last `submit` that was found pristine; to be compared by identity."""

    submit: Any = None
    code: CodeType | None = None

    @classmethod
    def renew(cls) -> bool:
        """Look again; True if the standard `submit` is pristine."""
        submit = StandardExecutor.__dict__["submit"]
        if is_pristine(submit):
            cls.submit, cls.code = submit, submit.__code__
            return True
        return False


Verdict.renew()
