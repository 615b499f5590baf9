"""The listener's memory while four objects of a gigabyte arrive at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from bench import images
from bench.archives import Archive, hozi, listener
from bench.clients import associate_to_store
from bench.ground import Broken, Ground
from bench.images import Identity, Template
from bench.report import Measured
from hozi.core.dimse.status import SUCCESS

ASSOCIATIONS = 4
_MOST_RUNS = 3
_SAMPLE_SECONDS = 0.02
_MB = 1e6


def listener_memory(ground: Ground) -> list[Measured]:
    """By how many MB the resident memory of all listener processes grows, in a fresh Hozi for each run.

    Before it is first looked at, each association has stored a small image: what is loaded once is not growth.
    """
    measured = Measured()
    for run in range(min(ground.sizes.runs, _MOST_RUNS)):
        with hozi(ground) as archive:
            _store_at_once(archive, images.ct(ground.seed), run, "warm-up")
            before = _resident(archive)
            with _watched(archive) as peak:
                _store_at_once(archive, images.large(ground.seed, ground.sizes.object_bytes), run, "large")
            measured.ours.append(max(0.0, peak[0] - before))
    return [measured]


def _store_at_once(archive: Archive, template: Template, *key: object) -> None:
    with ThreadPoolExecutor(ASSOCIATIONS) as pool:
        for status in pool.map(lambda number: _store(archive, template, *key, number), range(ASSOCIATIONS)):
            if status != SUCCESS:
                raise Broken(f"{archive.name} answered {status:04X} to a large object")


def _store(archive: Archive, template: Template, *key: object) -> int:
    study, series, instance = (images.uid("memory", *key, level) for level in ("study", "series", "instance"))
    return store(archive, template, Identity(study, series, instance))


def store(archive: Archive, template: Template, identity: Identity) -> int:
    """Stores one image, made while it is sent; the status of the answer."""
    association = associate_to_store(archive, template.sop_class)
    [context] = association.contexts.values()
    answer = association.store(context, template.sop_class, identity.instance, template.dataset(identity))
    association.release()
    association.close()
    return answer.status


def _resident(archive: Archive) -> float:
    """Resident memory of all its listener processes, in MB."""
    total = 0
    for process in listener(archive):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / _MB


@contextmanager
def _watched(archive: Archive) -> Iterator[list[float]]:
    """Watches the memory meanwhile; the list holds the most that was seen."""
    peak, over = [_resident(archive)], threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], _resident(archive))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
