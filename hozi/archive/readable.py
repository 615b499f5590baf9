"""What people read that is no image: which kinds of object are reports, waveforms and documents."""

from __future__ import annotations

from typing import Final, Literal

from hozi.core.dicom import directory

Readable = Literal["report", "waveform", "document", ""]

_RECORDS: Final[dict[str, Readable]] = {
    "SR DOCUMENT": "report",
    "KEY OBJECT DOC": "report",
    "ENCAP DOC": "document",
    "WAVEFORM": "waveform",
}


def readable(sop_class: str) -> Readable:
    """How objects of a SOP class are read by people, judged by their directory record; empty when they are images."""
    return _RECORDS.get(directory.record_type(sop_class), "")
