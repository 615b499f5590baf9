"""The DICOMDIR: the list of the files on a medium, as a tree of records (PS3.3 Annex F, PS3.10 §8)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from hozi.core.dicom import encodings, keys, part10, scan, sop_classes, syntaxes, uids
from hozi.core.dicom.inflate import Buffer
from hozi.core.dicom.limits import Limits
from hozi.core.errors import Refused

NAME: Final = "DICOMDIR"
LEVELS: Final = ("PATIENT", "STUDY", "SERIES")
"""The records above those of objects."""

_FIRST_ROOT: Final = 0x00041200
_LAST_ROOT: Final = 0x00041202
_SEQUENCE: Final = 0x00041220
_FILE_ID: Final = 0x00041500
_CHARACTER_SET: Final = 0x00080005

_NEXT_AT: Final = 16
_LOWER_AT: Final = 38
"""Where the two offsets of a record lie, in bytes from the first of its item (they are its first elements)."""

_IN_USE: Final = b"\xff\xff"
_NUMBERS: Final = {"US": 2, "UL": 4}
_ITEM: Final = struct.Struct("<HHL")
_UL: Final = struct.Struct("<L")

#: A DICOMDIR lists what fits on a medium; a disk may hold many images.
_LIMITS: Final = Limits(depth=16, elements=30_000_000, value_bytes=64 << 20)

# What a record holds. What stands before the bar may not be empty and is invented if need be (type 1).
_DATED: Final = "InstanceNumber ContentDate ContentTime"
_LABELLED: Final = f"{_DATED} ContentLabel | ContentDescription ContentCreatorName"
_KEYS: Final[dict[str, str]] = {
    "PATIENT": "PatientID | PatientName IssuerOfPatientID PatientBirthDate PatientSex",
    "STUDY": "StudyDate StudyTime StudyInstanceUID StudyID | AccessionNumber StudyDescription",
    "SERIES": "Modality SeriesInstanceUID SeriesNumber | SeriesDescription InstitutionName",
    "IMAGE": "InstanceNumber | ImageType NumberOfFrames Rows Columns",
    "SR DOCUMENT": f"{_DATED} CompletionFlag VerificationFlag ConceptNameCodeSequence | VerificationDateTime",
    "KEY OBJECT DOC": f"{_DATED} ConceptNameCodeSequence |",
    "ENCAP DOC": "InstanceNumber MIMETypeOfEncapsulatedDocument |"
    " ContentDate ContentTime DocumentTitle HL7InstanceIdentifier ConceptNameCodeSequence",
    "PRESENTATION": "InstanceNumber PresentationCreationDate PresentationCreationTime ContentLabel"
    " | ContentDescription ContentCreatorName",
    "WAVEFORM": f"{_DATED} |",
    "RAW DATA": f"{_DATED} |",
    "SPECTROSCOPY": f"{_DATED} ImageType | NumberOfFrames Rows Columns DataPointRows DataPointColumns",
    "RT DOSE": "InstanceNumber DoseSummationType | DoseComment",
    "RT STRUCTURE SET": "InstanceNumber StructureSetLabel | StructureSetDate StructureSetTime",
    "RT PLAN": "InstanceNumber RTPlanLabel | RTPlanDate RTPlanTime",
    "RT TREAT RECORD": "InstanceNumber | TreatmentDate TreatmentTime",
    "RADIOTHERAPY": "InstanceNumber | UserContentLabel UserContentLongLabel ContentDescription ContentCreatorName",
    "PLAN": "|",
    "REGISTRATION": _LABELLED,
    "FIDUCIAL": _LABELLED,
    "VALUE MAP": _LABELLED,
    "STEREOMETRIC": "|",
    "SURFACE": _LABELLED,
    "SURFACE SCAN": "ContentDate ContentTime |",
    "TRACT": _LABELLED,
    "ANNOTATION": _LABELLED,
    "MEASUREMENT": f"{_DATED} |",
    "ASSESSMENT": "InstanceNumber InstanceCreationDate | InstanceCreationTime",
}

_ROOT: Final = "1.2.840.10008.5.1.4."
_TYPES: Final[dict[str, str]] = {
    **dict.fromkeys(("1.1.88.59",), "KEY OBJECT DOC"),
    **dict.fromkeys(("1.1.88", "1.1.79.1", "1.1.78.6"), "SR DOCUMENT"),
    **dict.fromkeys(("1.1.104",), "ENCAP DOC"),
    **dict.fromkeys(("1.1.11", "1.1.9.100", "1.1.131"), "PRESENTATION"),
    **dict.fromkeys(("1.1.9",), "WAVEFORM"),
    **dict.fromkeys(("1.1.4.2",), "SPECTROSCOPY"),
    **dict.fromkeys(("1.1.481.2",), "RT DOSE"),
    **dict.fromkeys(("1.1.481.3",), "RT STRUCTURE SET"),
    **dict.fromkeys(("1.1.481.5", "1.1.481.8"), "RT PLAN"),
    **dict.fromkeys(("1.1.481.4", "1.1.481.6", "1.1.481.7", "1.1.481.9"), "RT TREAT RECORD"),
    **dict.fromkeys([f"1.1.481.{number}" for number in (*range(10, 23), 25)], "RADIOTHERAPY"),
    **dict.fromkeys(("34.7", "34.10"), "PLAN"),
    **dict.fromkeys(("1.1.66.1", "1.1.66.3"), "REGISTRATION"),
    **dict.fromkeys(("1.1.66.2",), "FIDUCIAL"),
    **dict.fromkeys(("1.1.66.5",), "SURFACE"),
    **dict.fromkeys(("1.1.66.6",), "TRACT"),
    **dict.fromkeys(("1.1.66.4", "1.1.66.7", "1.1.66.8", "1.1.481.1"), "IMAGE"),
    **dict.fromkeys(("1.1.66",), "RAW DATA"),
    **dict.fromkeys(("1.1.67",), "VALUE MAP"),
    **dict.fromkeys(("1.1.68",), "SURFACE SCAN"),
    **dict.fromkeys(("1.1.77.1.5.3",), "STEREOMETRIC"),
    **dict.fromkeys(("1.1.78", "1.1.80"), "MEASUREMENT"),
    **dict.fromkeys(("1.1.90",), "ASSESSMENT"),
    **dict.fromkeys(("1.1.91.1",), "ANNOTATION"),
}
"""Types of record by the beginning of the SOP class; the longest that fits counts (PS3.4 §I.4, PS3.3 §F.5)."""

_DEFAULTS: Final[dict[str, str]] = {
    "Modality": "OT",
    "CompletionFlag": "PARTIAL",
    "VerificationFlag": "UNVERIFIED",
    "ImageType": "ORIGINAL\\PRIMARY",
    "DoseSummationType": "UNKNOWN",
    "MIMETypeOfEncapsulatedDocument": "application/octet-stream",
}
_BY_VR: Final[dict[str, str]] = {"DA": "19000101", "TM": "000000"}


def _tags(listed: str) -> tuple[int, ...]:
    return tuple(keys.tag_of(keyword) for keyword in listed.split())


_NEEDED: Final = {kind: _tags(listed.partition("|")[0]) for kind, listed in _KEYS.items()}
_ALL: Final = {kind: _tags(listed.replace("|", " ")) for kind, listed in _KEYS.items()}
_CODE: Final = keys.tag_of("ConceptNameCodeSequence")
_CODE_ELEMENTS: Final = frozenset(_tags("CodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning"))

WANTED: Final = frozenset(tag for tags in _ALL.values() for tag in tags) - {_CODE} | {_CHARACTER_SET}
"""What a `scan` has to pick out of an object for its records: ``wanted``."""

SEQUENCES: Final[Mapping[int, frozenset[int]]] = {_CODE: _CODE_ELEMENTS}
"""... and its ``sequences``."""


def record_type(sop_class: str) -> str:
    """The type of record that stands for objects of a class; IMAGE for those that nobody knows."""
    name = sop_class.removeprefix(_ROOT)
    while name and name not in _TYPES:
        name = name.rpartition(".")[0]
    return _TYPES.get(name, "IMAGE")


def referenced_files(file: Buffer) -> Iterator[tuple[str, ...]]:
    """The File IDs that a DICOMDIR names, component by component, as they stand there: they may be anything.

    ``file`` is the whole DICOMDIR. Raises `Unreadable` when it is damaged, or lists absurdly much.
    """
    header = part10.read_header(file)
    with memoryview(file) as view, view[header.dataset_offset :] as dataset:
        syntax = syntaxes.for_unknown(header.transfer_syntax)
        found = scan.scan(dataset, syntax, _LIMITS, (), {_SEQUENCE: frozenset({_FILE_ID})})
    for record in found.sequences.get(_SEQUENCE, ()):
        if raw := record.get(_FILE_ID, b"").strip(b"\0 "):
            yield tuple(part.strip(" ") for part in raw.decode("latin_1").split("\\"))


@dataclass(frozen=True, slots=True)
class Reference:
    """The file that a record names: its File ID, and what lies in it."""

    file_id: tuple[str, ...]
    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Writer:
    """Writes a DICOMDIR while its records come, in the order of the tree: each one before those below it.

    Nothing but the places of four records is kept in memory: what a record says about a later one is filled in when
    that one comes.
    """

    def __init__(self, file: BinaryIO, file_set_id: str) -> None:
        """``file`` is empty, seekable and readable by nobody else; ``file_set_id`` has at most 16 characters."""
        self._file = file
        head = part10.write_header(
            sop_classes.MEDIA_STORAGE_DIRECTORY, uids.new_uid(), syntaxes.EXPLICIT_LITTLE
        ) + _element(0x00041130, "CS", file_set_id.encode("ascii"))
        self._roots_at = len(head) + 8
        head += _element(_FIRST_ROOT, "UL", bytes(4)) + _element(_LAST_ROOT, "UL", bytes(4))
        head += _element(0x00041212, "US", bytes(2)) + _element(_SEQUENCE, "SQ", b"")
        self._begin = len(head)
        self._end = len(head)
        self._open: list[int] = []
        file.write(head)

    def add(self, level: int, kind: str, found: scan.Scan, number: int, reference: Reference | None = None) -> None:
        """Adds a record of a type (`LEVELS` at 0 to 2, a `record_type` at 3) with what a scan found in an object.

        ``number`` tells it apart from its siblings where the object has no number of its own. Raises `Refused` when
        the directory becomes larger than its 32-bit offsets reach.
        """
        start = self._end
        record = b"".join(_record(kind, found, number, reference))
        self._end = start + _ITEM.size + len(record)
        if self._end > encodings.UNDEFINED - 1:
            raise Refused("a DICOMDIR cannot list so many objects: export in parts")
        if len(self._open) > level:
            self._patch(self._open[level] + _NEXT_AT, start)
        elif level:
            self._patch(self._open[level - 1] + _LOWER_AT, start)
        else:
            self._patch(self._roots_at, start)
        del self._open[level:]
        self._open.append(start)
        if not level:
            self._patch(self._roots_at + 12, start)
        self._file.write(_ITEM.pack(0xFFFE, 0xE000, len(record)) + record)

    def finish(self) -> None:
        """Completes the file; it is not closed."""
        self._patch(self._begin - 4, self._end - self._begin)

    def _patch(self, place: int, number: int) -> None:
        self._file.seek(place)
        self._file.write(_UL.pack(number))
        self._file.seek(0, io.SEEK_END)


def _record(kind: str, found: scan.Scan, number: int, reference: Reference | None) -> Iterator[bytes]:
    yield _element(0x00041400, "UL", bytes(4))
    yield _element(0x00041410, "US", _IN_USE)
    yield _element(0x00041420, "UL", bytes(4))
    yield _element(0x00041430, "CS", kind.encode("ascii"))
    if reference is not None:
        yield _element(_FILE_ID, "CS", "\\".join(reference.file_id).encode("ascii"))
        yield _element(0x00041510, "UI", reference.sop_class.encode("ascii", "replace"))
        yield _element(0x00041511, "UI", reference.sop_instance.encode("ascii", "replace"))
        yield _element(0x00041512, "UI", reference.transfer_syntax.encode("ascii", "replace"))
    for tag in sorted({_CHARACTER_SET, *_ALL[kind]}):
        needed = tag in _NEEDED[kind]
        key = keys.element(tag)
        if tag == _CODE:
            items = found.sequences.get(tag, ())
            yield _element(tag, "SQ", b"".join(_item(item) for item in items[:1]))
        elif key.vr in _NUMBERS:
            value = found.unsigned(tag)
            if value is not None and value < 1 << 8 * _NUMBERS[key.vr]:
                yield _element(tag, key.vr, value.to_bytes(_NUMBERS[key.vr], "little"))
        else:
            raw = found.values.get(tag, b"")
            if needed and not raw.strip(b"\0 "):
                raw = (_DEFAULTS.get(key.keyword) or _BY_VR.get(key.vr) or _numbered(key.vr, number)).encode("ascii")
            if raw or tag != _CHARACTER_SET:
                yield _element(tag, key.vr, raw)


def _numbered(vr: str, number: int) -> str:
    return str(number) if vr == "IS" else f"UNKNOWN {number}"


def _item(elements: Mapping[int, bytes]) -> bytes:
    content = b"".join(_element(tag, keys.element(tag).vr, raw) for tag, raw in sorted(elements.items()))
    return _ITEM.pack(0xFFFE, 0xE000, len(content)) + content


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    if vr == "SQ":
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value[:0xFFFE])) + value[:0xFFFE]
