"""requests-futures: sessions against a real HTTP server, with hooks, on both kinds of pools."""

import threading
from concurrent.futures import CancelledError, as_completed, wait

import loopback
import requests
from requests_futures.sessions import FuturesSession

REQUESTS = 200


class Held(loopback.Echo):
    """Lets requests for "/held" wait."""

    held, release = threading.Event(), threading.Event()

    def do_GET(self):  # noqa: N802  # the name is the base class's
        if self.path == "/held":
            self.held.set()
            self.release.wait(30)
        super().do_GET()


def note(response, *args, **kwargs):
    """A response hook: in the background, so that nobody waits for it in the foreground."""
    response.parsed = int(response.text.rpartition("/")[2])
    response.thread = threading.current_thread()


def requests_in(session, base):
    """Send requests of all kinds; return the threads in which the responses were worked on."""
    session.trust_env = False  # no proxy
    futures = [session.get(f"{base}/{n}", hooks={"response": note}) for n in range(REQUESTS)]
    done, pending = wait(futures, timeout=60)
    assert not pending
    assert done == set(futures)
    threads = set()
    for number, future in enumerate(futures):
        response = future.result()
        assert response.status_code == 200
        assert response.parsed == number
        threads.add(response.thread)

    posts = {session.post(base, data=str(n).encode()): n for n in range(REQUESTS)}
    for future in as_completed(posts, timeout=60):
        assert future.result().content == str(posts[future]).encode()

    try:
        session.get("http://127.0.0.1:1/").result(timeout=60)  # where nobody listens
    except requests.ConnectionError:
        pass
    else:
        raise AssertionError("the exception was lost")
    return threads


def close_while_busy(session, base, workers):
    """Closing a session cancels what waits, and waits for what runs."""
    session.trust_env = False
    Held.held.clear()
    Held.release.clear()
    running = [session.get(f"{base}/held") for _ in range(workers)]
    waiting = [session.get(f"{base}/{n}") for n in range(20)]
    assert Held.held.wait(30)
    closing = threading.Thread(target=session.close)
    closing.start()
    for future in waiting:
        try:
            future.result(timeout=60)
        except CancelledError:
            pass
        else:
            raise AssertionError("it was not cancelled")
    assert closing.is_alive()
    Held.release.set()
    closing.join()
    assert [future.result().text for future in running if not future.cancelled()]
    try:
        session.get(base)
    except RuntimeError:
        pass
    else:
        raise AssertionError("the session is closed")


def job(pool, default):
    """Sessions with our pool, and with one that the session makes."""
    with loopback.http_server(Held) as base:
        with pool(8, "requests") as executor:
            with FuturesSession(executor=executor) as session:
                threads = requests_in(session, base)
                assert all(thread.name.startswith("requests") for thread in threads)
            assert executor.submit(pow, 2, 5).result() == 32  # given, so the session left it open
        with pool(2, "requests") as executor:
            close_while_busy(FuturesSession(executor=executor), base, 2)

        with FuturesSession(max_workers=4) as session:
            assert type(session.executor) is default
            threads = requests_in(session, base)
            assert threads <= set(session.executor._threads)
        assert session.executor._shutdown
        close_while_busy(FuturesSession(max_workers=2), base, 2)
