"""`install`, `uninstall`, and whole programs under ``python -m poolexecutor run``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKSUM = Path(__file__).parents[1] / "benchmarks" / "jobs" / "checksum.py"


def python(*words: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    """Run the interpreter."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **kwargs,
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


class TestInstall:
    """In interpreters of their own, since it changes the process."""

    def check(self, code: str) -> None:
        done = python("-W", "error", "-c", "import poolexecutor as p\n" + code)
        assert outcome(done) == (0, "", "")

    def test_both_names(self) -> None:
        self.check(
            "import concurrent.futures as f, concurrent.futures.thread as t\n"
            "standard = f.ThreadPoolExecutor\n"
            "p.install(); p.install()\n"
            "assert f.ThreadPoolExecutor is t.ThreadPoolExecutor is p.PoolExecutor\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "assert ThreadPoolExecutor(1).submit(pow, 2, 3).result() == 8\n"
            "p.uninstall(); p.uninstall()\n"
            "assert f.ThreadPoolExecutor is t.ThreadPoolExecutor is standard"
        )

    def test_leaves_a_third_class_alone(self) -> None:
        self.check(
            "import concurrent.futures as f, concurrent.futures.thread as t\n"
            "p.install()\n"
            "t.ThreadPoolExecutor = f.ThreadPoolExecutor = int\n"
            "p.uninstall()\n"
            "assert f.ThreadPoolExecutor is t.ThreadPoolExecutor is int"
        )

    def test_default_executor_of_asyncio(self) -> None:
        self.check(
            "import asyncio\n"
            "p.install()\n"
            "async def main():\n"
            "    assert await asyncio.to_thread(pow, 2, 3) == 8\n"
            "    assert type(asyncio.get_running_loop()._default_executor) is p.PoolExecutor\n"
            "asyncio.run(main())"
        )

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters came with 3.14")
    def test_interpreter_pool_above_ours(self) -> None:
        self.check(
            "p.install()\n"
            "from concurrent.futures import InterpreterPoolExecutor\n"
            "assert issubclass(InterpreterPoolExecutor, p.PoolExecutor)\n"
            "with InterpreterPoolExecutor(2) as e:\n"
            "    assert list(e.map(abs, [-1, -2])) == [1, 2]"
        )


PROGRAM = """
import atexit, sys, __main__
from concurrent.futures import ThreadPoolExecutor
print(sys.argv, __name__, __file__, __package__, sys.path[0], sorted(vars(__main__)))
print(ThreadPoolExecutor(1).submit(pow, 2, 3).result())
atexit.register(lambda: print("at exit", sys.modules["__main__"] is __main__))
def fail():
    raise KeyError("as planned")
def hook(kind, value, traceback):
    print("hook", kind.__name__, traceback.tb_frame.f_code.co_name, file=sys.stderr)
how = sys.argv[1]
if how == "code": sys.exit(7)
if how == "text": sys.exit("bye")
if how == "raise": fail()
if how == "interrupt": raise KeyboardInterrupt
if how == "hook":
    sys.excepthook = hook
    fail()
"""
WAYS = ["end", "code", "text", "raise", "interrupt", "hook"]


class TestRun:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "program.py").write_text(PROGRAM)
        package = tmp_path / "package"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(PROGRAM)
        with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
            file.writestr("__main__.py", PROGRAM)
        return tmp_path

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize(
        "program",
        [["program.py"], ["-m", "program"], ["-m", "package"], ["package"], ["program.zip"]],
    )
    def test_as_plain_python(self, folder: Path, program: list[str], how: str) -> None:
        """Arguments, `__main__`, exit code, output and traceback are the same."""
        words = [*program, how, "-m", "--more"]
        plain = python(*words, cwd=folder)
        ours = python("-m", "poolexecutor", "run", *words, cwd=folder)
        assert outcome(ours) == outcome(plain)

    def test_our_pool_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "which.py"
        path.write_text("import concurrent.futures as f; print(f.ThreadPoolExecutor.__name__)")
        assert python("-m", "poolexecutor", "run", path).stdout == "PoolExecutor\n"

    @pytest.mark.parametrize("source", ["x = = 1", "raise", "import nowhere_to_be_found"])
    def test_programs_that_do_not_run(self, tmp_path: Path, source: str) -> None:
        path = tmp_path / "bad.py"
        path.write_text(source)
        assert outcome(python("-m", "poolexecutor", "run", path)) == outcome(python(path))

    @pytest.mark.parametrize("words", [["nowhere.py"], ["-m", "nowhere_to_be_found"]])
    def test_programs_that_are_not_there(self, tmp_path: Path, words: list[str]) -> None:
        ours = python("-m", "poolexecutor", "run", *words, cwd=tmp_path)
        assert outcome(ours) == outcome(python(*words, cwd=tmp_path))

    @pytest.mark.parametrize("words", [[], ["run"], ["run", "-m"], ["walk", "x"], ["run", "-x"]])
    def test_wrong_usage(self, words: list[str]) -> None:
        done = python("-m", "poolexecutor", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage: python -m poolexecutor run" in done.stderr

    @pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"]])
    def test_help(self, words: list[str]) -> None:
        done = python("-m", "poolexecutor", *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage: python -m poolexecutor run" in done.stdout

    def test_multiprocessing_finds_the_main_module(self, tmp_path: Path) -> None:
        path = tmp_path / "spawner.py"
        path.write_text(
            "import multiprocessing as m\n"
            "def double(n): return 2 * n\n"
            "if __name__ == '__main__':\n"
            "    with m.get_context('spawn').Pool(1) as pool: print(pool.map(double, [1, 2]))\n"
        )
        assert outcome(python("-m", "poolexecutor", "run", path)) == (0, "[2, 4]\n", "")


class TestMainJob:
    """The main job on real files."""

    def test_equals_hashlib(self, tmp_path: Path) -> None:
        names = ["plain.txt", "with space", "back\\slash", "new\nline", "empty", "folder/inner"]
        (tmp_path / "folder").mkdir()
        for name in names:
            (tmp_path / name).write_bytes(b"" if name == "empty" else name.encode() * 100_000)
        (tmp_path / "link").symlink_to(tmp_path / "plain.txt")
        done = python("-m", "poolexecutor", "run", CHECKSUM, tmp_path)
        assert done.returncode == 0
        assert "PoolExecutor" in done.stderr
        paths = sorted(p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink())
        expected = [
            f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p}".replace("\\", "\\\\").replace(
                "\n", "\\n"
            )
            for p in paths
        ]
        got = [line.removeprefix("\\") for line in done.stdout.splitlines()]
        assert sorted(got) == sorted(expected)

    @pytest.mark.skipif(
        subprocess.run(["which", "sha256sum"], capture_output=True, check=False).returncode != 0,
        reason="there is no sha256sum here to compare with",
    )
    def test_sha256sum_agrees(self, tmp_path: Path) -> None:
        """Over a part of the standard library; the names that need escaping are above."""
        import email

        folder = Path(email.__file__).parent
        done = python("-m", "poolexecutor", "run", CHECKSUM, folder)
        names = [str(p) for p in folder.rglob("*") if p.is_file()]
        expected = subprocess.run(["sha256sum", *names], capture_output=True, text=True, check=True)
        assert sorted(done.stdout.splitlines()) == sorted(expected.stdout.splitlines())

    def test_unreadable_file(self, tmp_path: Path) -> None:
        fake = tmp_path / "checksum.py"
        fake.write_text(
            CHECKSUM.read_text().replace('open(path, "rb"', 'open(str(path) + "?", "rb"')
        )
        done = python("-m", "poolexecutor", "run", fake, tmp_path)
        assert done.returncode == 1
        assert "No such file or directory" in done.stderr
