"""The rows of the benchmark, and what is demanded of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import audit, clients, dicomweb, dicomweb_full, first_image, images
from bench.archives import Archive, dcmqrscp, hozi, orthanc
from bench.browsing import LOOKS, browse_full
from bench.ground import Ground
from bench.images import Series, Template, write_series
from bench.memory import listener_memory
from bench.million import find_full, store_full
from bench.pairs import interleaved
from bench.population import QUESTIONS
from bench.report import Demand, Measured

_RATE: Final = "images/s"
_TUNED: Final = "Orthanc with TCP_NODELAY"
_ON_POSTGRESQL: Final = "Orthanc with TCP_NODELAY and its PostgreSQL index plugin, same server"


@dataclass(frozen=True)
class Row:
    """One thing that is measured: the lines that it gives, and the work that gives their figures in that order."""

    name: str
    demands: tuple[Demand, ...]
    measure: Callable[[Ground], list[Measured]]


Peer = Callable[[Ground], AbstractContextManager[Archive]]


def _store(
    ground: Ground,
    *,
    kind: Callable[[int], Template] = images.ct,
    count: Callable[[Ground], int] = lambda ground: ground.sizes.images,
    associations: int = 1,
    nodelay: bool = True,
    peer: Peer | None = None,
    postgresql: bool = False,
) -> list[Measured]:
    """Images a second that `storescu` stores: Hozi, and Orthanc unless another ``peer`` is given."""

    @contextmanager
    def prepare(run: int) -> Iterator[list[Series]]:
        with ground.scratch() as folder:
            key = (kind.__name__, associations, nodelay, postgresql, run)
            yield [
                write_series(folder / str(number), kind(ground.seed), count(ground), ground.seed, *key, number)
                for number in range(associations)
            ]

    def rate(archive: Archive, series: list[Series]) -> float:
        return sum(one.count for one in series) / clients.store(ground, archive, series, nodelay=nodelay)

    other = peer or partial(orthanc, nodelay=nodelay, database="orthanc" if postgresql else "")
    with other(ground) as theirs, hozi(ground, "hozi" if postgresql else "") as ours:
        return [
            interleaved(ground.sizes, prepare, lambda series: rate(ours, series), lambda series: rate(theirs, series))
        ]


def _fetch(ground: Ground, *, move: bool) -> list[Measured]:
    """Images a second of one series that is fetched by C-GET, or sent to `storescp` by C-MOVE."""

    @contextmanager
    def prepare(run: int) -> Iterator[None]:
        yield

    with (
        clients.destination(ground) as (port, log),
        orthanc(ground, nodelay=True, destination=port) as theirs,
        hozi(ground, destination=port) as ours,
    ):
        with ground.scratch() as folder:
            series = write_series(
                folder / "series", images.ct(ground.seed), ground.sizes.series, ground.seed, "fetched"
            )
            for archive in (ours, theirs):
                clients.store(ground, archive, [series])

        def rate(archive: Archive) -> float:
            if move:
                return series.count / clients.move(ground, archive, series, log)
            return series.count / clients.get(ground, archive, series)

        return [interleaved(ground.sizes, prepare, lambda _: rate(ours), lambda _: rate(theirs))]


def _row(name: str, work: str, beside: str, measure: Callable[[Ground], list[Measured]], *demanded: float) -> Row:
    """A row of one line of images a second; ``demanded``: at least, and the aim, or nothing."""
    least, aim = demanded or (None, None)
    return Row(name, (Demand(name, work, beside, _RATE, least, aim),), measure)


def _storing() -> Iterator[Row]:
    shipped = "C-STORE of CT slices, 1 association, storescu as it ships"
    one, four = "C-STORE of CT slices, 1 association", "C-STORE of CT slices, 4 associations at once"
    as_shipped = partial(_store, nodelay=False, count=lambda ground: ground.sizes.images_as_shipped)
    yield _row("store-shipped", shipped, "Orthanc as it ships", as_shipped, 8, 15)
    yield _row("store", one, _TUNED, _store, 1.3, 2.5)
    yield _row("store-4", four, _TUNED, partial(_store, associations=4), 1.15, 2)
    on_postgresql = partial(_store, postgresql=True)
    yield _row("store-postgresql", one + ", PostgreSQL", _ON_POSTGRESQL, on_postgresql, 1.5, 2.5)
    on_postgresql = partial(_store, associations=4, postgresql=True)
    yield _row("store-4-postgresql", four + ", PostgreSQL", _ON_POSTGRESQL, on_postgresql, 1.5, 2.5)


def _fetching() -> Iterator[Row]:
    yield _row("get", "C-GET of one CT series by getscu", _TUNED, partial(_fetch, move=False), 1.4, 2)
    yield _row("move", "C-MOVE of one CT series to storescp", _TUNED, partial(_fetch, move=True), 1.15, 1.5)


def _full(suffix: str, on: str, *, postgresql: bool) -> Iterator[Row]:
    name = f"find-million{suffix}"
    work = "95th percentile of C-FIND by {} in a full archive, " + on
    yield Row(
        name,
        tuple(
            Demand(
                f"{name}-{question.name}",
                work.format(question.keyword),
                "Hozi with a hundredth of it",
                "ms",
                least=1.5,
                aim=1.0,
                more_is_better=False,
            )
            for question in QUESTIONS
        ),
        partial(find_full, postgresql=postgresql),
    )
    work = f"C-STORE of CT slices into a full archive, 1 association, {on}"
    full = partial(store_full, postgresql=postgresql)
    yield _row(f"store-million{suffix}", work, "Hozi with an empty archive", full, 0.9, 1.0)


def _browsing(suffix: str, on: str, *, postgresql: bool) -> Iterator[Row]:
    name = f"browse-million{suffix}"
    work = "95th percentile of the time to the last byte of a page of the console: {}; in a full archive, " + on
    demands = tuple(
        Demand(
            f"{name}-{look.name}",
            work.format(look.what),
            "nothing",
            "ms",
            150,
            100,
            more_is_better=False,
            absolute=True,
        )
        for look in LOOKS
    )
    yield Row(name, demands, partial(browse_full, postgresql=postgresql))


def _memory() -> Iterator[Row]:
    growth = "growth of the listener's resident memory while 4 associations each send a large multi-frame object"
    memory = Demand("memory", growth, "nothing", "MB", 96, 48, more_is_better=False, absolute=True)
    yield Row("memory", (memory,), listener_memory)


def _audit(suffix: str, on: str, *, postgresql: bool) -> Iterator[Row]:
    name = f"audit{suffix}"
    work = "95th percentile of the first page of the audit, {}, at 1,000,000 rows, " + on
    cost = (150, 60) if postgresql else (60, 20)  # there the server's work is in it
    limit = partial(Demand, more_is_better=False, absolute=True)
    yield Row(
        name,
        (
            *(limit(f"{name}-{one}", work.format(one), "nothing", "ms", 200, 50) for one in audit.QUESTIONS),
            limit(f"{name}-record", f"what one row costs its writer, of 64 together, {on}", "nothing", "µs", *cost),
        ),
        partial(audit.search_full, postgresql=postgresql),
    )


def _web() -> Iterator[Row]:
    """DICOMweb beside Orthanc's; each line: name, work, unit, at least, aim."""
    beside = "Orthanc with its DICOMweb plugin"

    def row(name: str, measure: Callable[[Ground], list[Measured]], *lines: tuple[str, str, str, float, float]) -> Row:
        demands = tuple(Demand(line, work, beside, unit, least, aim) for line, work, unit, least, aim in lines)
        return Row(name, demands, measure)

    four = "4 connections"
    yield row(
        "web-qido",
        dicomweb.qido,
        ("web-qido-patient", f"QIDO-RS of studies by PatientID, {four}", "answers/s", 3.5, 6),
        ("web-qido-ten", f"QIDO-RS of the ten studies of a day, {four}", "answers/s", 5, 8),
    )
    yield row("web-frame", dicomweb.frame, ("web-frame", f"frames/1 of a CT slice, {four}", "frames/s", 2, 4))
    of_series = "WADO-RS metadata of a series of 250"
    yield row(
        "web-metadata",
        dicomweb.metadata,
        ("web-metadata-cold", f"{of_series}, one request, the first after a restart", "answers/s", 20, 50),
        ("web-metadata-warm", f"{of_series}, one request, asked for before", "answers/s", 8, 40),
        ("web-metadata-4", f"{of_series}, {four}", "answers/s", 20, 60),
    )
    yield row("web-series", dicomweb.series, ("web-series", "a series of 131 MB in one answer", "MB/s", 0.8, 1.5))
    one_by_one = "the frames of 250 images one after the other, 1 connection"
    yield row("web-frames", dicomweb.frames, ("web-frames", one_by_one, "frames/s", 1.5, 2.5))
    yield row("web-stow", dicomweb.stow, ("web-stow", "STOW-RS of 250 CT slices in one request", _RATE, 1.3, 2))
    fresh = f"JPEG of a CT slice, each another one or with another window, {four}"
    yield row("web-rendered", dicomweb.rendered, ("web-rendered", fresh, "pictures/s", 1, 2))


def _web_limits() -> Iterator[Row]:
    """What of DICOMweb must not grow, and who must not wait."""
    work = "95th percentile of QIDO-RS by {} in a full archive, SQLite"
    yield Row(
        "web-qido-million",
        tuple(
            Demand(
                f"web-qido-million-{question.name}",
                work.format(question.keyword),
                "Hozi with a hundredth of it",
                "ms",
                least=1.5,
                aim=1.0,
                more_is_better=False,
            )
            for question in QUESTIONS
        ),
        dicomweb_full.qido_full,
    )
    growth = "growth of the web process that grows most while 8 clients each download a large multi-frame object"
    limit = Demand("web-memory", growth, "nothing", "MB", 64, None, more_is_better=False, absolute=True)
    yield Row("web-memory", (limit,), dicomweb_full.download_memory)
    work = "Quick view's first image at 512 kbit/s and 300 ms, for the first time: 60 s divided by the time until then"
    wait = Demand("web-first-image", work, "OHIF in the same browser", "views/min", 10, 30)
    yield Row("web-first-image", (wait,), first_image.first_image)


def _not_judged() -> Iterator[Row]:
    """Nothing is demanded of these: they say what other sizes do, and what it costs to make things durable."""
    radiographs = partial(_store, kind=images.cr, count=lambda ground: ground.sizes.radiographs)
    yield _row("store-cr", "C-STORE of radiographs of 10 MB, 1 association", _TUNED, radiographs)
    loops = partial(_store, kind=images.us, count=lambda ground: ground.sizes.loops)
    yield _row("store-us", "C-STORE of ultrasound loops of 55 MB, 1 association", _TUNED, loops)
    beside = "DCMTK's dcmqrscp with TCP_NODELAY, which makes nothing durable"
    yield _row("store-dcmqrscp", "C-STORE of CT slices, 1 association", beside, partial(_store, peer=dcmqrscp))


_ALL: Final = (
    *_storing(),
    *_fetching(),
    *_full("", "SQLite", postgresql=False),
    *_full("-postgresql", "PostgreSQL", postgresql=True),
    *_browsing("", "SQLite", postgresql=False),
    *_browsing("-postgresql", "PostgreSQL", postgresql=True),
    *_memory(),
    *_audit("", "SQLite", postgresql=False),
    *_audit("-postgresql", "PostgreSQL", postgresql=True),
    *_not_judged(),
    *_web(),
    *_web_limits(),
)

ROWS: Final = {row.name: row for row in _ALL}
"""All rows by their names, in the order in which they run."""
