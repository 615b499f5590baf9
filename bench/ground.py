"""The ground that a benchmark stands on: its folders, its sizes, and programs that end whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
_STOP_SECONDS: Final = 60
_SETTINGS: Final = ("HOZI_", "DJANGO_", "PG")
_LAST_LINES: Final = 12


class Missing(Exception):
    """Something that a row needs is not on this machine; the text says what, and how to get it."""


class Broken(Exception):
    """A run that did not do its whole work, or not durably: it does not count. The text names no paths."""


@dataclass(frozen=True)
class Sizes:
    """How much is done in one run of each row. ``runs`` are those that count; a first one warms up.

    ``asked``: so many requests go over HTTP, fewer where each is dear.

    ``look_seconds``: for how long the disk's flushes are counted, and before each row what others do on the machine.
    """

    runs: int
    warm_up: bool
    images: int
    images_as_shipped: int
    series: int
    radiographs: int
    loops: int
    instances: int
    studies: int
    few_instances: int
    few_studies: int
    queries: int
    asked: int
    object_bytes: int
    disk_bytes: int
    look_seconds: float


FULL: Final = Sizes(
    runs=7,
    warm_up=True,
    images=200,
    images_as_shipped=100,
    series=250,
    radiographs=20,
    loops=4,
    instances=1_000_000,
    studies=20_000,
    few_instances=10_000,
    few_studies=200,
    queries=200,
    asked=2_000,
    object_bytes=1 << 30,
    disk_bytes=20 << 30,
    look_seconds=1.0,
)

SHORT: Final = Sizes(
    runs=1,
    warm_up=False,
    images=10,
    images_as_shipped=5,
    series=10,
    radiographs=2,
    loops=1,
    instances=1_200,
    studies=60,
    few_instances=400,
    few_studies=20,
    queries=10,
    asked=40,
    object_bytes=32 << 20,
    disk_bytes=2 << 30,
    look_seconds=0.1,
)


@dataclass
class Ground:
    """What all rows of one benchmark share.

    ``disk`` lies on the disk that is measured, ``memory`` in memory: images to be sent and images that came back.
    ``kept`` holds what is dear to make and used by several rows; ``stack`` ends it with the benchmark.
    """

    disk: Path
    memory: Path
    sizes: Sizes
    seed: int
    stack: ExitStack
    kept: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A new folder on the disk. Afterwards its files are empty; they go when the benchmark ends.

        For minutes after files were removed, ext4 without a journal looks long for room for a new one.
        """
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.disk))
        # PostgreSQL, when root starts it, runs as somebody else and has to get through.
        path.chmod(0o711)
        try:
            yield path
        finally:
            for file in path.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    os.truncate(file, 0)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder in memory, gone afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.memory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def prepared(parent: Path, sizes: Sizes, seed: int) -> Iterator[Ground]:
    """Makes the folders, below ``parent`` and in memory, and leaves nothing of them behind."""
    shared = Path("/dev/shm")  # where it is missing, the images lie in the temporary folder
    with ExitStack() as stack:
        paths = []
        for place in (parent, shared if os.access(shared, os.W_OK) else None):
            path = Path(tempfile.mkdtemp(prefix="hozi-bench-", dir=place))
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            path.chmod(0o711)
            paths.append(path)
        yield Ground(paths[0], paths[1], sizes, seed, stack)


def environment(**more: str) -> dict[str, str]:
    """The environment for a program that is measured: the caller's, without what would change how it works."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    kept.pop("TCP_NODELAY", None)
    return {**kept, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def running(
    name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str], **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is started, and stopped in any case. What it says goes to ``log``, shown when something fails."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT, env=dict(environment), **options
        )
    try:
        yield process
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt | SystemExit | Missing):
            show_end(name, log)
        raise
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Ends a program that we started; kills it when it does not listen."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_end(name: str, log: Path) -> None:
    """Prints the last lines of what a program said, for people, on the error channel."""
    if log.exists():
        for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]:
            print(f"  {name}: {line}", file=sys.stderr)
