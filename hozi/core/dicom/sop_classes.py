"""The kinds of object that an archive stores, and the services that it offers (PS3.4, PS3.6 §A)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom._uid_dict import UID_dictionary  # the public module does not export it to type checkers

VERIFICATION: Final = "1.2.840.10008.1.1"
MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"

STORAGE_COMMITMENT_PUSH: Final = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_PUSH_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The one instance of it, which every request names (PS3.4 §J.3.5)."""

PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_STUDY_ONLY_FIND: Final = "1.2.840.10008.5.1.4.1.2.3.1"
"""Patient/Study Only is retired, and asked for by old workstations."""
PATIENT_STUDY_ONLY_MOVE: Final = "1.2.840.10008.5.1.4.1.2.3.2"
PATIENT_STUDY_ONLY_GET: Final = "1.2.840.10008.5.1.4.1.2.3.3"

_NOT_STORAGE: Final = frozenset({MEDIA_STORAGE_DIRECTORY, STORAGE_COMMITMENT_PUSH, "1.2.840.10008.1.20.2"})
"""SOP classes with "Storage" in their name whose instances are not sent by C-STORE."""

_NEWER: Final = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
"""Storage SOP classes that pydicom's dictionary does not have yet."""


def _storage() -> Iterator[tuple[str, str]]:
    for uid, (name, kind, _note, _retired, _keyword) in UID_dictionary.items():
        if kind == "SOP Class" and "Storage" in name and uid not in _NOT_STORAGE:
            yield uid, name.removesuffix(" SOP Class")


STORAGE: Final[dict[str, str]] = dict(sorted({**_NEWER, **dict(_storage())}.items()))
"""Every storage SOP class of the standard, retired ones too, with its name (PS3.4 §B.5, B.6)."""


def name(uid: str) -> str:
    """What people call the SOP class; its UID when it is a private one."""
    entry = UID_dictionary.get(uid)
    return STORAGE.get(uid) or (entry[0] if entry and entry[0] else uid)
