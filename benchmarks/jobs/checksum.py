"""SHA-256 of every file below some folders, in the format of ``sha256sum``.

    python benchmarks/jobs/checksum.py [FOLDER ...]

An ordinary program on `concurrent.futures`; it knows nothing of poolexecutor. Without a folder it
takes the running Python's standard library.
"""

import argparse
import hashlib
import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 1 << 20


def files_below(folder):
    """Every regular file below `folder`, in a fixed order; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def sha256(path):
    """The hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def line(path, digest):
    """As sha256sum writes it, odd names escaped."""
    name = str(path)
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}"


def main():
    """Print a line for each file; 1 if one could not be read."""
    parser = argparse.ArgumentParser(description="SHA-256 of every file below some folders.")
    parser.add_argument("folders", nargs="*", default=[sysconfig.get_path("stdlib")])
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    status = 0
    with ThreadPoolExecutor(options.workers, thread_name_prefix="checksum") as executor:
        print(
            f"checksum: {ThreadPoolExecutor.__module__}.{ThreadPoolExecutor.__name__}",
            file=sys.stderr,
        )
        futures = {p: executor.submit(sha256, p) for f in options.folders for p in files_below(f)}
        for path, future in futures.items():
            try:
                print(line(path, future.result()))
            except OSError as error:
                print(f"checksum: {path}: {error.strerror}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
