"""asyncio: the default executor, `to_thread`, `getaddrinfo`, a future awaited."""

import asyncio
import contextvars
import threading

number = contextvars.ContextVar("number", default=0)


async def work(executor):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)

    async def one(n):
        number.set(n)
        name, seen = await asyncio.to_thread(
            lambda: (threading.current_thread().name, number.get())
        )
        assert name.startswith("loop")
        assert seen == n

    await asyncio.gather(*map(one, range(100)))
    assert await loop.run_in_executor(None, pow, 2, 10) == 1024
    assert await loop.run_in_executor(executor, pow, 2, 11) == 2048
    assert await asyncio.wrap_future(executor.submit(pow, 2, 12)) == 4096
    addresses = await loop.getaddrinfo("localhost", 80)
    assert any(address[4][0] in {"127.0.0.1", "::1"} for address in addresses)
    try:
        await loop.run_in_executor(None, int, "x")
    except ValueError:
        pass
    else:
        raise AssertionError("the exception was lost")
    blocker = threading.Event()
    waiting = [asyncio.wrap_future(executor.submit(blocker.wait)) for _ in range(5)]
    queued = executor.submit(int)
    task = asyncio.wrap_future(queued)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    blocker.set()
    await asyncio.gather(*waiting)
    assert queued.cancelled()


async def make_its_own(default):
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(pow, 2, 3) == 8
    assert type(loop._default_executor) is default


def job(pool, default):
    """A loop on our pool, and a loop that makes its own."""
    with pool(4, "loop") as executor:
        asyncio.run(work(executor))
    asyncio.run(make_its_own(default))
