"""`ThreadPoolExecutor.submit` replaced by one that carries the context, as many programs do."""

import concurrent.futures
import contextlib
import contextvars

import child
import contexts

request = contextvars.ContextVar("request", default=None)
NOTHING = None


def patch():
    """Returns what takes the patch back."""
    patched = concurrent.futures.ThreadPoolExecutor
    original = patched.submit

    def submit(self, fn, *args, **kwargs):
        return original(self, contextvars.copy_context().run, fn, *args, **kwargs)

    def restore():
        patched.submit = original

    patched.submit = submit
    return restore


@contextlib.contextmanager
def caller(name):
    token = request.set(name)
    try:
        yield name
    finally:
        request.reset(token)


def seen():
    return request.get()


def job(pool, default):
    """Patched before and after there is a pool, twice over, and patched no more."""
    original = default.submit
    with pool(1) as used:
        assert list(used.map(abs, [-1, 2])) == [1, 2]
        contexts.arrive_not(used, caller, seen)
        for _ in range(2):
            restore = patch()
            contexts.arrive(used, caller, seen)
            restore_too = patch()  # around the first, by somebody else
            with pool(1) as new:
                contexts.arrive(new, caller, seen)
                restore_too()
                contexts.arrive(new, caller, seen)
                restore()
                assert new.submit(pow, 2, 10).result() == 1024
            assert default.submit is original
            contexts.arrive_not(used, caller, seen)
            with pool(1) as later:
                contexts.arrive_not(later, caller, seen)
    child.run(contexts.PATCHED_FIRST, "home_made_patch", child.mode_of(pool, default))
