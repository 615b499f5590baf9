"""Reports, waveforms and documents, for people who read them: as they are given out, corrections applied.

Each needs the permission to look at images, and the audit says who has looked at which. What a report points to is a
link only where whoever reads may open that, too; else it cannot be told from what is not there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from hozi.accounts.authorise import Who, reach
from hozi.archive import reach as reaching
from hozi.archive import reading
from hozi.archive.fetch import holding
from hozi.archive.looks import accessed, once
from hozi.archive.models import Instance
from hozi.archive.place import scratch
from hozi.archive.readable import Readable, readable
from hozi.archive.study_page import LOOK, instance_of
from hozi.core import waveforms
from hozi.core.dicom import plain, sop_classes, structured
from hozi.core.errors import Refused
from hozi.core.waveforms import Annotation, Group

_ENCAPSULATED_DOCUMENT: Final = 0x00420011


@dataclass(frozen=True, slots=True)
class Where:
    """Where an object is that a report points to: its row, its study's, and what people call its kind."""

    pk: int
    study: int
    kind: str
    readable: Readable


@dataclass(frozen=True, slots=True)
class ShownReport:
    """A report, and by SOP Instance UID where those objects are that it points to and that who asks may open."""

    report: structured.Report
    places: dict[str, Where]


@dataclass(frozen=True, slots=True)
class ShownWaveform:
    """A waveform with what is written beside it. ``moment``: when it was recorded (DT or DA and TM)."""

    groups: list[Group]
    annotations: list[Annotation]
    moment: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is packed in an object. ``media_type``: what it says of itself; ``is_pdf``: what it is.

    ``file`` stands at its first byte and is to be closed.
    """

    title: str
    media_type: str
    is_pdf: bool
    bytes: int
    file: BinaryIO = field(repr=False)


def report_of(who: Who, pk: int) -> ShownReport:
    """The report (or key object selection) in an object. Raises `NotThere`, `Refused` when it is none, `Unreadable`."""
    told = structured.report(_read(who, pk, "report"))
    uids = {item.reference.sop_instance for item in told.items if item.reference is not None}
    return ShownReport(told, places(who, uids | {one.sop_instance for one in told.predecessors}))


def waveform_of(who: Who, pk: int) -> ShownWaveform:
    """The waveform in an object. Raises as `report_of` does."""
    dataset = _read(who, pk, "waveform")
    moment = plain.text(dataset, "AcquisitionDateTime")
    moment = moment or plain.text(dataset, "ContentDate") + plain.text(dataset, "ContentTime")
    return ShownWaveform(waveforms.groups(dataset), waveforms.written_beside(dataset), moment)


def document_of(who: Who, pk: int) -> Document:
    """The document in an object. Raises as `report_of` does."""
    file = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115 - closed by whoever reads it
    try:
        dataset = _read(who, pk, "document", file)
        length = file.tell()
        told = plain.value(dataset, "EncapsulatedDocumentLength")
        if isinstance(told, int) and length - told == 1:  # values have an even length
            length = told
            file.truncate(length)
        file.seek(0)
        is_pdf = file.read(1024).lstrip().startswith(b"%PDF-")
        file.seek(0)
        title = plain.text(dataset, "DocumentTitle") or plain.meaning(dataset, "ConceptNameCodeSequence")
        return Document(title, plain.text(dataset, "MIMETypeOfEncapsulatedDocument"), is_pdf, length, file)
    except BaseException:
        file.close()
        raise


def places(who: Who, uids: Collection[str]) -> dict[str, Where]:
    """Where objects are, by SOP Instance UID: of those that who asks may open."""
    wanted = sorted(uids)[: structured.MOST_ITEMS]
    found: dict[str, Where] = {}
    reached = reaching.series(reach(who, LOOK), "series__")
    for first in range(0, len(wanted), 500):
        rows = Instance.objects.filter(reached, uid__in=wanted[first : first + 500])
        for uid, number, study, sop_class in rows.values_list("uid", "pk", "series__study_id", "sop_class"):
            kind = sop_classes.name(sop_class).removesuffix(" Storage")
            found[uid] = Where(number, study, kind, readable(sop_class))
    return found


def _read(who: Who, pk: int, kind: Readable, beside: BinaryIO | None = None) -> Dataset:
    row = instance_of(who, LOOK, pk)
    if readable(row.sop_class) != kind:
        raise Refused("This object is something else: look at its elements, or download it.")
    held = holding(row.uid)
    into = None if beside is None else (_ENCAPSULATED_DOCUMENT, beside)
    dataset = reading.read(held, beside=into)
    once(accessed(who, row.series.study, {"opened": kind}, row.uid))
    return dataset
