"""A study goes out as one ZIP archive, while it is made: a DICOM medium with its DICOMDIR, named by numbers only.

Memory holds a piece, the scratch folder one object: each is written there first, seen to be what was received, and
then sent. That somebody begins is in the audit before the first byte, and so is how it ended, also when it broke off.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from django.utils import timezone

from hozi.accounts.authorise import Reach, Who, reach
from hozi.archive.export import Run, places
from hozi.archive.fetch import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, Selection
from hozi.archive.models import Study
from hozi.archive.place import scratch
from hozi.archive.study_page import study_of
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import directory
from hozi.core.errors import Refused

PERMISSION: Final = "studies.download"
_PIECE: Final = 256 << 10
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


def download(who: Who, pk: int) -> Download:
    """The study as a ZIP archive, corrections applied. Raises `NotThere` out of reach, `Refused` for an empty study."""
    study = study_of(who, PERMISSION, pk)
    reached = reach(who, PERMISSION)
    count = Selection({STUDY_INSTANCE_UID: [study.uid]}, reached).count
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
            detail={"target": name, "objects": count, "begun": True},
        )
    )
    return Download(name, count, _pieces(who, study, reached, name))


def _pieces(who: Who, study: Study, reached: Reach, name: str) -> Iterator[bytes]:
    stream = _Stream()
    with tempfile.TemporaryFile(dir=scratch()) as listing:
        run = Run(stream, directory.Writer(listing, "HOZI"), name, who.actor, who.address, study.facility)
        whole = False
        try:
            for place in places({STUDY_INSTANCE_UID: [study.uid]}, reached):
                for holding in Selection({SERIES_INSTANCE_UID: [place.series]}, reached):
                    run.take(place, holding)
                    yield from stream.entry()
            run.directory.finish()
            yield from stream.end(listing)
            whole = True
        finally:
            stream.drop()
            run.finish(interrupted=not whole)


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
