"""A study goes out as one ZIP archive, while it is made: a DICOM medium with its DICOMDIR, named by numbers only.

Memory holds a piece, the scratch folder one object: each is written there first, seen to be what was received, and
then sent. That somebody begins is in the audit before the first byte, and so is how it ended, also when it broke off.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from django.utils import timezone, translation

from hozi.accounts.authorise import Reach, Who, reach
from hozi.archive import index_page, pictures
from hozi.archive import reach as reaching
from hozi.archive.export import Place, Run, places
from hozi.archive.fetch import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Holding, Selection
from hozi.archive.models import Series, Study
from hozi.archive.pictures import Look, NoPicture
from hozi.archive.place import scratch
from hozi.archive.printing import SERIES_DESCRIPTION, hospital
from hozi.archive.study_page import study_of
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import directory
from hozi.core.errors import NotThere, Refused, Unavailable

PERMISSION: Final = "studies.download"
_PIECE: Final = 256 << 10
_SHOWN: Final = 400
"""Pixels of the pictures that stand beside an index, the longer side."""
_QUICK: Final = 1
"""Of the levels of compression: images of sixteen bits become a third smaller with the quickest, hardly more with
others, which take ten times as long."""


@dataclass(frozen=True, slots=True)
class Download:
    """A ZIP archive that is made while ``pieces`` is read; ``name`` is that of the file, without patient data.

    ``pieces`` is to be closed, also when it was not read to its end.
    """

    name: str
    objects: int
    pieces: Iterator[bytes]


def download(who: Who, pk: int, *, series: Collection[int] = (), index: bool = False) -> Download:
    """The study as a ZIP archive, corrections applied; of ``series`` (row ids) only those.

    ``index``: with a page to look at (`index_page`). Raises `NotThere` out of reach, `Refused` for an empty study.
    """
    study = study_of(who, PERMISSION, pk)
    reached = reach(who, PERMISSION)
    names = {STUDY_INSTANCE_UID: [study.uid]}
    if series:
        found = Series.objects.filter(reaching.series(reached), study=study, pk__in=series).values_list(
            "uid", flat=True
        )
        names[SERIES_INSTANCE_UID] = list(found)
        if len(names[SERIES_INSTANCE_UID]) != len(set(series)):
            raise NotThere("One of these series is not there, or not yours to see.")
    count = Selection(names, reached).count
    if not count:
        raise Refused("The study has no objects.")
    name = f"study-{study.pk}.zip"
    record(
        Entry(
            code=Code.EXPORT,
            action="R",
            actor=who.actor,
            address=who.address,
            issuer=study.patient.issuer,
            patient_id=study.patient.patient_id,
            study_uid=study.uid,
            facility=study.facility,
            detail={"target": name, "objects": count, "begun": True, **({"series": len(series)} if series else {})},
        )
    )
    shown = _Shown(study, count) if index else None
    return Download(name, count, _pieces(who, study, reached, names, name, shown))


def _pieces(
    who: Who, study: Study, reached: Reach, names: dict[int, list[str]], name: str, shown: _Shown | None
) -> Iterator[bytes]:
    stream = _Stream()
    with tempfile.TemporaryFile(dir=scratch()) as listing:
        run = Run(stream, directory.Writer(listing, "HOZI"), name, who.actor, who.address, study.facility)
        whole = False
        try:
            for place in places(names, reached):
                for holding in Selection({SERIES_INSTANCE_UID: [place.series]}, reached):
                    run.take(place, holding)
                    kept = stream.kept
                    yield from stream.entry()
                    if shown is not None and kept:
                        for picture, data in shown.add(place, holding, kept):
                            yield from stream.file(picture, data)
            if shown is not None:
                yield from stream.file(index_page.NAME, shown.page())
            run.directory.finish()
            yield from stream.end(listing)
            whole = True
        finally:
            stream.drop()
            run.finish(interrupted=not whole)


class _Shown:
    """What the index shows of the objects that have gone out so far."""

    def __init__(self, study: Study, count: int) -> None:
        self._study = study
        self._language = translation.get_language()  # that of who asks: what streams comes later
        self._step = -(-count // index_page.MOST_PICTURES)
        self._seen = 0
        self._blocks: dict[int, index_page.Block] = {}
        self._numbers: dict[str, int | None] = {}

    def add(self, place: Place, holding: Holding, file: str) -> Iterator[tuple[str, bytes]]:
        """Notes an object; gives the name and the bytes of its picture, when it is to have one."""
        if place.row not in self._blocks:
            self._begin(place)
        line = index_page.Line(file, self._numbers.get(holding.sop_instance))
        self._blocks[place.row].lines.append(line)
        self._seen += 1
        if (self._seen - 1) % self._step or directory.record_type(holding.sop_class) != "IMAGE":
            return
        with suppress(NoPicture, Unavailable):
            made = pictures.picture(holding, Look(width=_SHOWN, height=_SHOWN, quality=75))
            line.picture = f"{index_page.PICTURES}/{self._seen:06d}.jpg"
            yield line.picture, made.data

    def _begin(self, place: Place) -> None:
        row = Series.objects.get(pk=place.row)
        told = str(row.attributes.get(SERIES_DESCRIPTION, ""))
        self._blocks[place.row] = index_page.Block(row.number, row.modality, told)
        self._numbers = dict(row.instances.values_list("uid", "number"))

    def page(self) -> bytes:
        """The page, when all has gone out."""
        with translation.override(self._language):
            return index_page.page(self._study, self._blocks.values(), hospital(self._study.facility))


class _Sink:
    """Where `zipfile` writes to: what has come is taken away by who sends it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        if parts:
            yield b"".join(parts)


class _Stream:
    """A `Medium` whose files are sent as soon as they are there."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._archive = zipfile.ZipFile(self._sink, "w")  # type: ignore[call-overload]  # it only writes
        self._kept: tuple[BinaryIO, str, bool] | None = None

    @contextmanager
    def begin(self) -> Iterator[BinaryIO]:
        file = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115 - closed here, or when it has been sent
        try:
            yield file
        finally:
            if self._kept is None:
                file.close()

    def keep(self, file: BinaryIO, file_id: tuple[str, ...], *, compress: bool) -> None:
        self._kept = file, "/".join(file_id), compress

    def complete(self, listing: BinaryIO) -> None:
        """Nothing: `end` sends the directory."""

    @property
    def kept(self) -> str:
        """The name of the file that was kept last and has not been sent; empty when none was."""
        return self._kept[1] if self._kept is not None else ""

    def file(self, name: str, data: bytes) -> Iterator[bytes]:
        """A file that is no object, as an entry of the archive."""
        yield from self._sent(io.BytesIO(data), name, name.endswith(".html"))

    def entry(self) -> Iterator[bytes]:
        """The file that was kept last, as an entry of the archive; nothing when none was."""
        kept, self._kept = self._kept, None
        if kept is not None:
            with kept[0]:
                yield from self._sent(*kept)

    def end(self, listing: BinaryIO) -> Iterator[bytes]:
        """The DICOMDIR, and what a ZIP archive ends with."""
        yield from self._sent(listing, directory.NAME, True)
        self._archive.close()
        yield from self._sink.taken()

    def drop(self) -> None:
        """Gives up what was kept and will not be sent."""
        if self._kept is not None:
            self._kept[0].close()
        # So that it does not complain, when it goes, of an archive without an end.
        self._archive.fp = None

    def _sent(self, file: BinaryIO, name: str, compress: bool) -> Iterator[bytes]:
        info = zipfile.ZipInfo(name, timezone.localtime().timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        info._compresslevel = _QUICK  # type: ignore[attr-defined]  # Python has a public name for it since 3.13
        info.file_size = file.seek(0, os.SEEK_END)
        info.external_attr = 0o644 << 16
        file.seek(0)
        with self._archive.open(info, "w") as entry:
            while piece := file.read(_PIECE):
                entry.write(piece)
                yield from self._sink.taken()
        yield from self._sink.taken()
