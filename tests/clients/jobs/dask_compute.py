"""dask: array and dataframe computations by the threaded scheduler."""

import contextvars
import threading

import dask
import dask.array
import dask.config
import dask.dataframe
import dask.threaded
import numpy
import pandas

number = contextvars.ContextVar("number", default=0)


def compute():
    """Compute an array, a dataframe and a graph of functions; return the threads that did it."""
    threads = set()

    def note(block):
        threads.add(threading.current_thread().name)
        return block

    plain = numpy.arange(1_000_000, dtype="float64").reshape(1000, 1000)
    # With `meta` dask need not try `note` in this thread.
    array = dask.array.from_array(plain, chunks=(250, 250)).map_blocks(note, meta=plain[:0, :0])
    total, product = dask.compute(array.sum(), (array @ array.T)[:5, :5])
    assert total == plain.sum()
    numpy.testing.assert_allclose(product, (plain @ plain.T)[:5, :5])

    table = pandas.DataFrame({"group": [n % 7 for n in range(10_000)], "value": range(10_000)})
    means = dask.dataframe.from_pandas(table, npartitions=20).groupby("group").value.mean()
    expected = table.groupby("group").value.mean()
    pandas.testing.assert_series_equal(
        means.compute(scheduler="threads").sort_index(), expected, check_index_type=False
    )

    leaves = [dask.delayed(note)(n) for n in range(500)]
    assert dask.delayed(sum)(leaves).compute(scheduler="threads") == sum(range(500))

    failing = dask.delayed(int)("x")
    try:
        failing.compute(scheduler="threads")
    except ValueError:
        pass
    else:
        raise AssertionError("the exception was lost")
    return threads


def given(pool):
    """The pool is given in the configuration, and as a scheduler."""
    with pool(4, "dask") as executor:
        with dask.config.set(pool=executor):
            threads = compute()
            assert threads
            assert all(name.startswith("dask") for name in threads), threads
        name = dask.delayed(lambda: threading.current_thread().name)
        assert name().compute(scheduler=executor).startswith("dask")


def makes_its_own(default):
    """dask makes its own pool, of a subclass that runs each task in its submitter's context."""
    assert issubclass(dask.threaded.ContextAwareThreadPoolExecutor, default)
    compute()  # the workers are there before the variable is set
    number.set(7)
    assert dask.delayed(number.get)().compute(scheduler="threads") == 7
    executor = dask.threaded.default_pool
    assert type(executor).__mro__[1] is default
    threads = compute()
    assert threads
    assert threads <= {thread.name for thread in executor._threads}

    def elsewhere():
        """In another thread dask makes another pool, and ends it when that thread has ended."""
        others = compute()
        [mine] = dask.threaded.pools[threading.current_thread()].values()
        assert type(mine).__mro__[1] is default
        assert others <= {thread.name for thread in mine._threads}
        pools.append(mine)

    pools = []
    for _ in range(2):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    first, second = pools
    assert first._shutdown  # the second thread has cleared away what the first left
    second.shutdown()
    executor.shutdown()


def job(pool, default):
    """dask on our pool, and with pools that it makes."""
    given(pool)
    makes_its_own(default)
