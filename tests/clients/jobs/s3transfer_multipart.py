"""s3transfer and boto3: files in parts to and from moto's S3 server."""

import io
import logging
import os
import random
import tempfile
import threading
from pathlib import Path

import boto3.s3.transfer
import botocore.exceptions
from made import pools_made
from moto.server import ThreadedMotoServer
from s3transfer.exceptions import FatalError
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

MB = 2**20
SIZE = 12 * MB + 12345  # S3 takes no part below 5 MB but the last, so three of them
DATA = random.Random(1).randbytes(SIZE)

# No credentials, no settings and no network but what is given here.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


class Progress(BaseSubscriber):
    """Counts the bytes, and notes the threads in which they were sent or received."""

    def __init__(self):
        self.lock, self.seen, self.threads = threading.Lock(), 0, set()
        self.done = threading.Event()

    def on_progress(self, bytes_transferred, **kwargs):
        with self.lock:
            self.seen += bytes_transferred
            self.threads.add(threading.current_thread())

    def on_done(self, **kwargs):
        self.done.set()


def finished(begin, *args, bytes_=SIZE):
    """Wait for a transfer of this many bytes; return the threads that did it."""
    progress = Progress()
    begin(*args, subscribers=[progress]).result()
    assert progress.done.wait(30)
    assert progress.seen == bytes_
    return progress.threads


def transfer(client, pool, folder):
    """Everything that a manager does, its three pools being of this class, or of its own."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(DATA)
    config = TransferConfig(multipart_threshold=5 * MB, multipart_chunksize=5 * MB)
    with TransferManager(client, config, executor_cls=pool) as manager:
        threads = finished(manager.upload, str(source), "bucket", "file")
        threads |= finished(manager.upload, io.BytesIO(DATA), "bucket", "object")
        assert client.head_object(Bucket="bucket", Key="file")["ETag"].endswith('-3"')  # parts
        place = {"Bucket": "bucket", "Key": "file"}
        threads |= finished(manager.copy, place, "bucket", "copy")
        workers = manager._request_executor._executor._threads
        assert threads
        assert threads <= workers
        missing = manager.download("bucket", "missing", str(folder / "missing"))
        try:
            missing.result()
        except botocore.exceptions.ClientError:
            pass
        else:
            raise AssertionError("the exception was lost")
        finished(manager.delete, "bucket", "object", bytes_=0)
        executors = [
            bounded._executor
            for bounded in (
                manager._request_executor,
                manager._submission_executor,
                manager._io_executor,
            )
        ]
    assert all(executor._shutdown for executor in executors)

    config = TransferConfig(multipart_threshold=MB, multipart_chunksize=MB)
    with TransferManager(client, config, executor_cls=pool) as manager:
        buffer = io.BytesIO()
        finished(manager.download, "bucket", "file", str(target))
        finished(manager.download, "bucket", "copy", buffer)
        assert target.read_bytes() == buffer.getvalue() == DATA

    try:
        with TransferManager(client, config, executor_cls=pool) as manager:
            transfers = [manager.download("bucket", "file", str(folder / f"{n}")) for n in range(9)]
            raise NotADirectoryError("the program fails meanwhile")  # which cancels them all
    except NotADirectoryError:
        pass
    for future in transfers:
        assert future.done()
    try:
        transfers[-1].result()
    except FatalError:
        pass
    else:
        raise AssertionError("it was not cancelled")
    return {type(executor) for executor in executors}


def boto(client, default, folder):
    """boto3's own calls, which make a manager and its pools each time."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(DATA)
    config = boto3.s3.transfer.TransferConfig(
        multipart_threshold=5 * MB, multipart_chunksize=5 * MB, preferred_transfer_client="classic"
    )
    threads, seen = set(), []

    def note(size):
        threads.add(threading.current_thread())
        seen.append(size)

    with pools_made(default) as made:
        client.upload_file(str(source), "bucket", "boto", Config=config, Callback=note)
        client.download_file("bucket", "boto", str(target), Config=config, Callback=note)
    assert target.read_bytes() == DATA
    assert sum(seen) == 2 * SIZE
    assert len(made) == 6  # in each of the two: for requests, for their submission, for the disk
    assert {type(executor) for executor in made} == {default}
    assert threads
    assert threads <= set().union(*(executor._threads for executor in made))


def job(pool, default):
    """Managers with our pool, managers that make their own, and boto3."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="bucket")
        with tempfile.TemporaryDirectory() as folder:
            assert transfer(client, pool, Path(folder)) == {pool}
            assert transfer(client, None, Path(folder)) == {default}
            boto(client, default, Path(folder))
        client.close()
    finally:
        server.stop()
