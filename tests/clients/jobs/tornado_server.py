"""tornado: `run_on_executor` under a real HTTP server, and the client side on the same loop."""

import threading

import tornado.concurrent
import tornado.httpclient
import tornado.httpserver
import tornado.ioloop
import tornado.testing
import tornado.web


def job(pool, default):
    """50 requests at a time, each computed in a worker."""
    executor = pool(4, "tornado")

    class Square(tornado.web.RequestHandler):
        def initialize(self):
            self.executor = executor

        @tornado.concurrent.run_on_executor
        def compute(self, number):
            assert threading.current_thread().name.startswith("tornado")
            return number * number

        async def get(self, number):
            self.write(str(await self.compute(int(number))))

    async def main():
        socket, port = tornado.testing.bind_unused_port()
        server = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/(\d+)", Square)]))
        server.add_socket(socket)
        client = tornado.httpclient.AsyncHTTPClient(max_clients=50)
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(200)]
        replies = await tornado.gen.multi([client.fetch(url) for url in urls])
        assert [int(reply.body) for reply in replies] == [n * n for n in range(200)]
        loop = tornado.ioloop.IOLoop.current()
        assert await loop.run_in_executor(executor, pow, 2, 5) == 32
        assert await loop.run_in_executor(None, pow, 2, 6) == 64
        assert type(loop.asyncio_loop._default_executor) is default  # tornado has made it
        server.stop()
        await server.close_all_connections()
        client.close()

    with executor:
        tornado.ioloop.IOLoop().run_sync(main)
