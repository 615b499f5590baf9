"""Looks at a running archive again and again, at what it holds and how large it is, and says whether that is flat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What there was at a moment; sizes in bytes, ``images``: how many had been acknowledged."""

    seconds: float
    memory: int
    threads: int
    handles: int
    database: int
    wal: int
    images: int


@dataclass(frozen=True)
class Limits:
    """How much may come on top in the second half of a soak, as the straight line through it has it.

    ``image_bytes``: what the database may grow for each image that is stored.
    """

    memory: int
    threads: float = 8
    handles: float = 16
    wal: int = 64 * MEBIBYTE
    image_bytes: float = 12_000


class Watch:
    """Samples the processes below ``program`` and the database file, until it is told to stop."""

    def __init__(self, program: int, database: Path, images: Callable[[], int], every: float) -> None:
        self.samples: list[Sample] = []
        self._program = psutil.Process(program)
        self._database = database
        self._images = images
        self._every = every
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def start(self) -> None:
        """Begins to look."""
        self._begun = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stop.set()
        self._thread.join()

    def processes(self) -> list[int]:
        """The process ids of the archive."""
        return sorted(one.pid for one in [self._program, *self._program.children(recursive=True)])

    def _look(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.samples.append(self._sample())
            except psutil.NoSuchProcess:  # a worker that had done its work went while it was looked at
                continue

    def _sample(self) -> Sample:
        running = [self._program, *self._program.children(recursive=True)]
        return Sample(
            seconds=time.monotonic() - self._begun,
            memory=sum(one.memory_info().rss for one in running),
            threads=sum(one.num_threads() for one in running),
            handles=sum(one.num_fds() for one in running),
            database=_size(self._database),
            wal=_size(self._database.with_name(f"{self._database.name}-wal")),
            images=self._images(),
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True)
class Growth:
    """What came on top in the second half, along the straight line through its samples."""

    memory: float
    threads: float
    handles: float
    wal: int
    image_bytes: float

    def complaints(self, limits: Limits) -> list[str]:
        """What is not flat."""
        found = []
        if self.memory > limits.memory:
            found.append(f"memory grew by {self.memory / MEBIBYTE:.0f} MiB")
        if self.threads > limits.threads:
            found.append(f"threads grew by {self.threads:.0f}")
        if self.handles > limits.handles:
            found.append(f"file handles grew by {self.handles:.0f}")
        if self.wal > limits.wal:
            found.append(f"the write-ahead log grew to {self.wal / MEBIBYTE:.0f} MiB")
        if self.image_bytes > limits.image_bytes:
            found.append(f"the database grew by {self.image_bytes:.0f} bytes an image")
        return found

    def __str__(self) -> str:
        return (
            f"memory {self.memory / MEBIBYTE:+.1f} MiB, threads {self.threads:+.1f}, file handles {self.handles:+.1f}, "
            f"database {self.image_bytes / 1000:.1f} kB an image, write-ahead log {self.wal / MEBIBYTE:.1f} MiB at most"
        )


def growth(samples: Sequence[Sample]) -> Growth:
    """What grew in the second half of the samples (at least ten of them)."""
    half = samples[len(samples) // 2 :]
    if len(half) < 5:
        raise ValueError("too few samples to say what grew")
    seconds = [one.seconds for one in half]
    lasted = seconds[-1] - seconds[0]
    images = half[-1].images - half[0].images
    return Growth(
        memory=slope(seconds, [one.memory for one in half]) * lasted,
        threads=slope(seconds, [one.threads for one in half]) * lasted,
        handles=slope(seconds, [one.handles for one in half]) * lasted,
        wal=max(one.wal for one in samples),
        image_bytes=slope(seconds, [one.database for one in half]) * lasted / max(images, 1),
    )


def slope(across: Sequence[float], up: Sequence[float]) -> float:
    """Of the straight line that fits best (least squares)."""
    middle, height = sum(across) / len(across), sum(up) / len(up)
    spread = sum((x - middle) ** 2 for x in across)
    return sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True)) / spread if spread else 0.0
