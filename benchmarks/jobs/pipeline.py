"""How often each word stands in some Python files: gzip-compressed JSON lines, through SQLite.

    python benchmarks/jobs/pipeline.py FOLDER [--copies N] [--workers N] [--check]

Makes FOLDER/parts from the files of the running Python's standard library, one JSON object for each
line, unless it is there; reads it, counts, and writes FOLDER/words.sqlite. However many parts there
are, memory stays as it is: `map_unordered` reads ahead by a few parts, and the one worker that
writes has a queue of a few.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import re
import resource
import sqlite3
import sys
import sysconfig
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path

from poolexecutor import PoolExecutor, current_worker

RECORDS = 5_000  # in a part
WORD = re.compile(r"[A-Za-z_]\w*")


def records() -> Iterator[dict[str, object]]:
    """A record for each line of the standard library's own modules."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(filter(Path.is_file, library.glob("*.py"))):  # no dangling links
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            yield {"file": path.name, "line": number, "words": WORD.findall(line)}


def make_parts(folder: Path, copies: int) -> None:
    """Write the parts; `copies` of each."""
    folder.mkdir(parents=True)
    source = records()
    for part, some in enumerate(iter(lambda: list(islice(source, RECORDS)), [])):
        data = gzip.compress("".join(json.dumps(one) + "\n" for one in some).encode())
        for copy in range(copies):
            (folder / f"part-{part:03}-{copy:03}.jsonl.gz").write_bytes(data)


def count(part: Path) -> tuple[str, Counter[str]]:
    """The words of one part."""
    words: Counter[str] = Counter()
    with gzip.open(part, "rt", encoding="utf-8") as lines:
        for line in lines:
            words.update(json.loads(line)["words"])
    return part.name, words


def connect(database: Path) -> contextlib.closing[sqlite3.Connection]:
    """The connection of the worker that writes."""
    connection = sqlite3.connect(database)
    connection.executescript(
        "create table words (word text primary key, count integer);"
        "create table parts (name text primary key)"
    )
    return contextlib.closing(connection)


def write(name: str, words: Counter[str]) -> None:
    """Add one part, or nothing of it. Runs in the worker that writes."""
    worker = current_worker()
    assert worker is not None
    with worker.context as connection:
        connection.execute("insert into parts values (?)", (name,))
        connection.executemany(
            "insert into words values (?, ?)"
            " on conflict (word) do update set count = count + excluded.count",
            words.items(),
        )


def run(parts: list[Path], database: Path, workers: int) -> None:
    """Read, count and write."""
    database.unlink(missing_ok=True)
    with (
        PoolExecutor(workers) as readers,
        PoolExecutor(1, max_queue_size=4, worker_context=lambda: connect(database)) as writer,
    ):
        written: deque[Future[None]] = deque()
        for name, words in readers.map_unordered(count, parts, buffersize=2 * workers):
            written.append(writer.submit(write, name, words))  # waits while four wait
            while written and written[0].done():
                written.popleft().result()
        for future in written:
            future.result()


def differences(parts: list[Path], database: Path) -> int:
    """In how many words the database differs from what one thread counts, one part at a time."""
    expected: Counter[str] = Counter()
    for part in parts:
        expected.update(count(part)[1])
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found = dict(connection.execute("select word, count from words"))
        assert [len(parts)] == list(connection.execute("select count(*) from parts").fetchone())
    return len(expected.items() ^ found.items())


def main() -> int:
    """Print what was done; 1 if the result differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=1, help="of each part, when they are made")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--check", action="store_true", help="count again in one thread, compare")
    options = parser.parse_args()
    folder = options.folder / "parts"
    if not folder.exists():
        make_parts(folder, options.copies)
    parts = sorted(folder.glob("*.jsonl.gz"))
    database = options.folder / "words.sqlite"
    run(parts, database, options.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{len(parts)} parts, peak memory {peak / 1024:.0f} MB")
    if options.check:
        wrong = differences(parts, database)
        print(f"{wrong} words differ from the sequential count")
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
