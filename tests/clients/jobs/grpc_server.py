"""grpcio: a real server with unary and streaming handlers, one of them in a pool of its own."""

import threading

import grpc
from grpc.framework.foundation import logging_pool

THREADS, CALLS = 50, 20  # in each thread


def name_of_this_thread():
    return threading.current_thread().name.encode()


def serve(executor, handlers):
    """A started server, and its address."""
    server = grpc.server(executor)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Pool", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def connect(address):
    return grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])


def handlers(own_pool):
    def square(request, context):
        return b"%d %s" % (int(request) ** 2, name_of_this_thread())

    def own(request, context):
        return b"%s %s" % (request, name_of_this_thread())

    own.experimental_thread_pool = own_pool  # what grpc looks for; ignored if it is no thread pool

    def count(request, context):
        yield from (b"%d %s" % (n, name_of_this_thread()) for n in range(int(request)))

    def total(requests, context):
        return b"%d %s" % (sum(map(int, requests)), name_of_this_thread())

    def fail(request, context):
        context.abort(grpc.StatusCode.OUT_OF_RANGE, "no")

    return {
        "Square": grpc.unary_unary_rpc_method_handler(square),
        "Own": grpc.unary_unary_rpc_method_handler(own),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }


def check(reply, value, prefix):
    number, name = reply.split()
    assert int(number) == value, (reply, value)
    assert name.startswith(prefix), (reply, prefix)


def call_all(channel):
    """1000 calls from 50 threads, and streams."""
    square, own = channel.unary_unary("/Pool/Square"), channel.unary_unary("/Pool/Own")
    go, done = threading.Barrier(THREADS), []

    def client(thread):
        go.wait()
        for number in range(thread * CALLS, (thread + 1) * CALLS, 2):
            check(square(b"%d" % number, timeout=30), number**2, b"server")
            check(own(b"%d" % number, timeout=30), number, b"own")
        done.append(thread)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(THREADS))  # no assertion failed in any of them

    for n, reply in enumerate(channel.unary_stream("/Pool/Count")(b"100", timeout=30)):
        check(reply, n, b"server")
    assert n == 99
    numbers = (b"%d" % n for n in range(100))
    check(channel.stream_unary("/Pool/Total")(numbers, timeout=30), 4950, b"server")
    _, call = channel.unary_unary("/Pool/Square").with_call(b"3", timeout=30)
    assert call.code() is grpc.StatusCode.OK
    failed = channel.unary_unary("/Pool/Fail").future(b"", timeout=30)
    assert failed.exception().code() is grpc.StatusCode.OUT_OF_RANGE


def in_its_own(default):
    """A server on the pool that grpc makes itself."""
    with logging_pool.pool(2) as executor:
        assert type(executor._backing_pool) is default
        server, address = serve(executor, handlers(None))
        with connect(address) as channel:
            reply = channel.unary_unary("/Pool/Square")(b"12", timeout=30)
            assert reply.startswith(b"144 ")
            name = reply.split()[1].decode()
            assert name in {thread.name for thread in executor._backing_pool._threads}
        server.stop(grace=30).wait()


def job(pool, default):
    """A server on our pool, and one on a pool that grpc makes itself."""
    with pool(8, "server") as executor, pool(2, "own") as own_pool:
        server, address = serve(executor, handlers(own_pool))
        with connect(address) as channel:
            call_all(channel)
        server.stop(grace=30).wait()
    in_its_own(default)
