"""A real HTTP server on the loopback interface, for the clients that need one."""

import contextlib
import http.server
import threading


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the path, or with what was sent."""

    protocol_version = "HTTP/1.1"  # connections are kept, as clients with a pool of them expect
    wbufsize = -1  # head and body in one packet: the second would wait for the first one's receipt

    def do_GET(self):
        self.answer(self.path.encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # so closing waits for them


@contextlib.contextmanager
def http_server(handler=Echo):
    """The address of a server that answers while the block runs."""
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
