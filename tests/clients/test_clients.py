"""Real programs and libraries doing their real job over our pool; see `run`."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
SECONDS = 100  # for one job

# A job in `jobs`, and the distributions that it needs.
CLIENTS: dict[str, tuple[str, ...]] = {
    "apscheduler_jobs": ("apscheduler",),
    "asyncio_loop": (),
    "dask_compute": ("dask", "numpy", "pandas", "pyarrow"),
    "flask_executor_contexts": ("flask", "flask-executor"),
    "grpc_server": ("grpcio",),
    "joblib_backend": ("joblib", "numpy"),
    "requests_futures_session": ("requests", "requests-futures"),
    "s3transfer_multipart": ("boto3", "s3transfer", "moto", "flask", "flask-cors"),
    "tornado_server": ("tornado",),
    "opentelemetry_threads": ("opentelemetry-sdk", "opentelemetry-instrumentation-threading"),
    "sentry_scopes": ("sentry-sdk",),
    "ddtrace_futures": ("ddtrace",),
    "home_made_patch": (),
    "gevent_monkey": ("gevent",),
    "eventlet_monkey": ("eventlet",),
    "pubsub_scheduler": ("google-cloud-pubsub",),
    "celery_threads": ("celery",),
    "langchain_contexts": ("langchain-core",),
    "gunicorn_gthread": ("gunicorn",),
    "tqdm_map": ("tqdm",),
}


def missing(client: str) -> list[str]:
    """Which of the client's distributions are not installed."""
    names = []
    for name in CLIENTS[client]:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            names.append(name)
    return names


def test_every_job_is_run() -> None:
    jobs = {path.stem for path in RUN.with_name("jobs").glob("*.py")}
    assert jobs == set(CLIENTS)


@pytest.mark.parametrize("mode", ["given", "swapped", "standard"])
@pytest.mark.parametrize("client", CLIENTS)
def test_client(client: str, mode: str) -> None:
    if absent := missing(client):
        pytest.skip(f"not installed: {', '.join(absent)}")
    command = [sys.executable, "-X", "faulthandler", str(RUN), client, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
