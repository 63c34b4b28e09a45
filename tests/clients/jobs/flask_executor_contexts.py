"""Flask-Executor: tasks in copies of the request's contexts, under a real threaded HTTP server."""

import concurrent.futures
import contextvars
import logging
import threading
import urllib.request

import flask
import flask_executor
from werkzeug.serving import make_server

REQUESTS, AT_ONCE, WORKERS = 100, 10, 4

number = contextvars.ContextVar("number", default=-1)


def seen(expected):
    """What a task sees of its request, and the thread that it is in."""
    assert flask.has_request_context()
    values = (
        flask.request.args["n"],
        flask.g.number,
        flask.session["number"],
        flask.url_for("one"),
        flask.current_app.config["GREETING"],
    )
    assert values == (str(expected), expected, expected, "/one", "hello"), (values, expected)
    return threading.current_thread().name


def make_app(make):
    """The application, its executor for anything, and one for `map`."""
    app = flask.Flask("app")
    app.secret_key = "key"
    app.config.update(GREETING="hello", EXECUTOR_MAX_WORKERS=WORKERS)
    executor = make(app, "")
    # All calls of one `map` get the same copy of Flask's context, which only one thread at a time
    # may enter: on any pool.
    app.config["MAPPER_EXECUTOR_MAX_WORKERS"] = 1
    mapper = make(app, "mapper")
    from_callbacks = []
    executor.add_default_done_callback(lambda future: from_callbacks.append(future.exception()))

    def remember():
        flask.g.number = flask.session["number"] = n = int(flask.request.args["n"])
        number.set(n)
        return n

    @app.get("/one")
    def one():
        n = remember()
        futures = [executor.submit(seen, n) for _ in range(3)]
        finished, pending = concurrent.futures.wait(futures, timeout=30)
        assert not pending
        assert finished == set(futures)
        # A variable of the program's own is copied by the program.
        assert executor.submit(contextvars.copy_context().run, number.get).result(30) == n
        assert executor.submit(number.get).result(30) == -1  # nothing is left in the worker
        return flask.jsonify([future.result() for future in futures])

    @app.get("/map")
    def map_():
        n = remember()
        names = list(mapper.map(seen, [n] * 5))
        run = contextvars.copy_context().run
        assert list(mapper.map(run, [number.get] * 5, timeout=30)) == [n] * 5
        return flask.jsonify(names)

    @app.get("/store")
    def store():
        n = remember()
        executor.submit_stored(n, seen, n)
        return flask.jsonify([])

    @app.get("/fetch")
    def fetch():
        n = remember()
        noted = threading.Event()
        # A callback has the contexts of the request that adds it.
        future = executor.futures.pop(n)
        future.add_done_callback(lambda _: seen(n) and noted.set())
        name = future.result(30)
        assert noted.wait(30)
        assert executor.futures.done(n) is None  # it has been popped
        return flask.jsonify([name])

    @app.get("/fail")
    def fail():
        n = remember()
        assert isinstance(executor.submit(seen, n + 1).exception(30), AssertionError)
        return flask.jsonify([])

    return app, executor, mapper, from_callbacks


def work(make, type_, prefix):
    """Send it requests, several at a time; the workers are fewer and serve them all."""
    app, executor, mapper, from_callbacks = make_app(make)
    assert type(executor._self) is type(mapper._self) is type_
    assert executor._max_workers == WORKERS  # through the proxy
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy

    def ask(n):
        names = []
        for page in ["one", "map", "store", "fetch", "fail"]:
            url = f"http://127.0.0.1:{server.server_port}/{page}?n={n}"
            with opener.open(url, timeout=60) as reply:
                names += flask.json.loads(reply.read())
        return names

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as users:
        names = {name for reply in users.map(ask, range(REQUESTS)) for name in reply}
    workers = {thread.name for thread in executor._threads} | {
        thread.name for thread in mapper._threads
    }
    assert names <= workers
    assert all(name.startswith(prefix) for name in names), names
    executor.shutdown()
    mapper.shutdown()
    server.shutdown()
    server.server_close()
    serving.join()
    assert len(from_callbacks) == REQUESTS * 7  # submit and submit_stored
    failures = [error for error in from_callbacks if error is not None]
    assert len(failures) == REQUESTS


def job(pool, default):
    """Executors on our pool, and those that make their pools themselves."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request

    def given(app, name):
        executor = flask_executor.Executor(name=name)
        # On the instance: a subclass would be taken for what it is a proxy of.
        executor._make_executor = lambda app: pool(
            app.config[executor.EXECUTOR_MAX_WORKERS], "flask"
        )
        executor.init_app(app)
        return executor

    work(given, pool, "flask")
    work(flask_executor.Executor, default, "")
