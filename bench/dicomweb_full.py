"""What must not grow: QIDO-RS in a full archive beside a small one, and the memory that large downloads take."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import psutil

from bench import images, web
from bench.archives import Archive, new_home, serving
from bench.dicomweb import INSTANCES
from bench.ground import Broken, Ground
from bench.images import Identity, Template
from bench.memory import store
from bench.million import filled, percentile
from bench.population import QUESTIONS, Population, Question
from bench.report import Measured
from bench.web import JSON, Side, count_of
from hozi.core.dimse.status import SUCCESS

CLIENTS: Final = 8
_LOOKS: Final = 3
_MOST_RUNS: Final = 3
_SAMPLE_SECONDS: Final = 0.02
_MS: Final = 1000.0
_MB: Final = 1e6


def qido_full(ground: Ground, *, postgresql: bool = False) -> list[Measured]:
    """For each question the 95th percentile of the time to the whole answer, in ms: full archive, and small one.

    The questions go to both in turn, over one connection that stays open.
    """
    sizes, luck = ground.sizes, random.Random(ground.seed)
    results = [Measured() for _ in QUESTIONS]
    with (
        _asked(ground, sizes.instances, sizes.studies, postgresql) as full,
        _asked(ground, sizes.few_instances, sizes.few_studies, postgresql) as few,
    ):
        sides = ((full, Population(sizes.studies)), (few, Population(sizes.few_studies)))
        for run in range(-1 if sizes.warm_up else 0, sizes.runs):
            for question, measured in zip(QUESTIONS, results, strict=True):
                ours, peer = (_percentile(side, question, people, luck, sizes.queries) for side, people in sides)
                if run >= 0:
                    measured.ours.append(ours)
                    measured.peer.append(peer)
    return results


@contextmanager
def _asked(ground: Ground, instances: int, studies: int, postgresql: bool) -> Iterator[Side]:
    """A running Hozi whose index holds so many instances."""
    home = filled(ground, instances, studies, postgresql=postgresql)
    tokens: dict[str, str] = ground.kept.setdefault("tokens", {})
    key = str(home.folder)
    if key not in tokens:
        tokens[key] = web.token(home)
    side = Side(lambda: serving(home), lambda: web.dicomweb(home), {"Authorization": f"Bearer {tokens[key]}"})
    side.begin()
    try:
        yield side
    finally:
        side.end()


def _percentile(side: Side, question: Question, people: Population, luck: random.Random, queries: int) -> float:
    values = [question.value(people, luck) for _ in range(queries)]
    paths = [f"/studies?{question.keyword}={quote(value)}" for value in values]
    for path in paths[:_LOOKS]:
        side.look(path, JSON, count_of(question.answers))
    told = side.load([[side.request(path, JSON) for path in paths]], warm=True, each=True)
    return percentile(told["each"], 0.95) * _MS


def download_memory(ground: Ground) -> list[Measured]:
    """By how many MB the resident memory of the web process that grows most grows, while each client takes an object.

    Before it is first looked at, each client has taken a small image: what is loaded once is not growth.
    """
    measured = Measured()
    sizes = ground.sizes
    home = new_home(ground, ground.stack.enter_context(ground.folder("downloads")))
    headers = {"Authorization": f"Bearer {web.token(home)}"}
    for _ in range(min(sizes.runs, _MOST_RUNS)):
        side = Side(lambda: serving(home), lambda: web.dicomweb(home), headers)
        side.begin()
        try:
            small = _kept(ground, side, images.ct(ground.seed), "small")
            large = _kept(ground, side, images.large(ground.seed, sizes.object_bytes), "large")
            asked = [side.request(small, INSTANCES)]
            side.load([asked * 4] * CLIENTS, sources=True)
            before = _resident(side.archive)
            with _watched(side.archive) as peaks:
                side.load([[side.request(large, INSTANCES)]] * CLIENTS, sources=True)
            measured.ours.append(max(max(0.0, peak - before.get(pid, peak)) for pid, peak in peaks.items()))
        finally:
            side.end()
    return [measured]


def _kept(ground: Ground, side: Side, template: Template, name: str) -> str:
    """The path of an image that is stored there, once."""
    study, series, instance = (images.uid("download", name, level) for level in ("study", "series", "instance"))
    if name not in ground.kept.setdefault("downloads", set()):
        if (status := store(side.archive, template, Identity(study, series, instance))) != SUCCESS:
            raise Broken(f"{side.archive.name} answered {status:04X} to an image")
        ground.kept["downloads"].add(name)
    return f"/studies/{study}/series/{series}/instances/{instance}"


def _web_processes(archive: Archive) -> list[psutil.Process]:
    """The processes that answer over HTTP, and the one above them."""
    found = []
    for part in psutil.Process(archive.process.pid).children():
        if "web" in part.cmdline():
            found += [part, *part.children(recursive=True)]
    return found


def _resident(archive: Archive) -> dict[int, float]:
    """Resident memory of each, in MB."""
    told = {}
    for process in _web_processes(archive):
        try:
            told[process.pid] = process.memory_info().rss / _MB
        except psutil.NoSuchProcess:
            continue
    return told


@contextmanager
def _watched(archive: Archive) -> Iterator[dict[int, float]]:
    """Watches the memory meanwhile; what is yielded holds the most that was seen of each process."""
    peaks, over = _resident(archive), threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            for pid, size in _resident(archive).items():
                peaks[pid] = max(size, peaks.get(pid, 0.0))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()
