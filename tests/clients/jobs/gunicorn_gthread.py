"""gunicorn: a server with two `gthread` workers, each on a pool of its own after the fork.

The server is a process of its own, and imports this module as its configuration, its application
and the home of its worker class.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import child
from gunicorn.workers.gthread import ThreadWorker

import poolexecutor

REQUESTS, CLIENTS, WORKERS, THREADS = 200, 20, 2, 4
SECONDS = 15  # within which the server must have ended
worker = None  # gunicorn's, in a server process


class GivenWorker(ThreadWorker):
    """With our pool beside the standard one."""

    def get_thread_pool(self):
        return poolexecutor.PoolExecutor(max_workers=self.cfg.threads)


def post_worker_init(initialised):
    """Called by gunicorn when a worker is about to serve."""
    global worker
    worker = initialised


def app(environ, start_response):
    """Report who answers. To ``/stop``, when the server has been told to."""
    if environ["PATH_INFO"] == "/stop":
        os.kill(os.getppid(), signal.SIGTERM)
        while worker.alive:
            time.sleep(0.01)  # gunicorn has nothing to wait on
    thread = threading.current_thread()
    with worker.tpool._shutdown_lock:  # the standard pool starts a thread before it notes it
        in_pool = thread in worker.tpool._threads
    answer = {
        "pid": os.getpid(),
        "thread": thread.name,
        "in_pool": in_pool,
        "executor": name_of(type(worker.tpool)),
        "default": name_of(concurrent.futures.ThreadPoolExecutor),
        "echo": environ["wsgi.input"].read().decode(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


def name_of(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def command(mode, listener):
    program = ["-m", "gunicorn"]
    if mode == "swapped":
        program = ["-m", "poolexecutor", "run", *program]
    kind = f"{__name__}.GivenWorker" if mode == "given" else "gthread"
    return [
        *[sys.executable, "-X", "faulthandler", *program],
        *["--config", f"python:{__name__}", "--bind", f"fd://{listener.fileno()}"],
        *["--workers", str(WORKERS), "--threads", str(THREADS), "--worker-class", kind],
        *["--log-level", "warning", "--no-control-socket", f"{__name__}:app"],
    ]


def ask(port, *paths):
    """A connection for one client, kept alive over its requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    answers = []
    for n, path in enumerate(paths):
        connection.request("POST", path, body=str(n))
        reply = connection.getresponse()
        answers.append(json.load(reply))
        assert reply.status == 200
        assert answers[-1]["echo"] == str(n)
    connection.close()
    return answers


def serve(mode):
    """All answers, and what the server has written."""
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listener:
        server = subprocess.Popen(
            command(mode, listener),
            env=child.environment(),
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        port = listener.getsockname()[1]
    try:
        # The clients may come before the server is ready: they wait in the socket's backlog.
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            paths = ["/"] * (REQUESTS // CLIENTS)
            answers = list(clients.map(lambda _: ask(port, *paths), range(CLIENTS)))
        answers.append(ask(port, "/stop"))
        written = server.communicate(timeout=SECONDS)[1]
    except BaseException:
        server.terminate()
        print(server.communicate(timeout=SECONDS)[1], file=sys.stderr)  # why it did not answer
        raise
    finally:
        server.kill()  # its workers notice
    assert server.returncode == 0, written
    return [answer for some in answers for answer in some], written


def job(pool, default):
    """200 requests of 20 clients, and one that is being answered when the server must stop."""
    answers, written = serve(child.mode_of(pool, default))
    assert len(answers) == REQUESTS + 1
    assert "Traceback" not in written, written
    assert {answer["executor"] for answer in answers} == {name_of(pool)}
    assert {answer["default"] for answer in answers} == {name_of(default)}
    assert all(answer["in_pool"] for answer in answers)
    threads = collections.defaultdict(set)
    for answer in answers:
        threads[answer["pid"]].add(answer["thread"])
    assert len(threads) <= WORKERS
    assert all(len(names) <= THREADS for names in threads.values())
