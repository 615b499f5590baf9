"""The one table of the elements that are indexed, matched and answered (PS3.4 §C.6).

The receive path reads these elements, the index keeps them, queries match and return them, and the conformance
statement is made from them. Names, value representations and multiplicities come from pydicom's data dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR, tag_for_keyword

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE", "ANY"]
Usage = Literal["U", "R", "O", "-"]

LEVELS: Final[tuple[Level, ...]] = ("PATIENT", "STUDY", "SERIES", "IMAGE")


@dataclass(frozen=True)
class Key:
    """One element that a query may hold.

    ``usage``: U unique, R required, O optional, ``-`` not a query key (read for the index only); in the Patient
    Root model (in Study Root, the keys of PATIENT belong to STUDY). ``source``: ``dataset`` when the element is
    taken from the objects, ``computed`` when the archive works it out. ``level`` ANY: answered at every level.
    ``multiple``: the element may hold several values. ``sequence_elements``: what is kept of each item of a sequence.
    """

    tag: int
    keyword: str
    vr: str
    level: Level
    usage: Usage
    source: Literal["dataset", "computed"] = "dataset"
    multiple: bool = False
    sequence_elements: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The tag as the index writes it: GGGGEEEE."""
        return f"{self.tag:08X}"


def tag_of(keyword: str) -> int:
    """The tag of a DICOM keyword; KeyError when there is no such keyword."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return int(tag)


def element(tag: int) -> Key:
    """Describe an element of an item of a sequence (they stand in no table of their own)."""
    return Key(tag, dictionary_keyword(tag), dictionary_VR(tag), "ANY", "O", multiple=_multiple(tag))


def _multiple(tag: int) -> bool:
    return dictionary_VM(tag) not in ("1", "0")


def _read(level: Level, usage: Usage, keywords: str) -> list[Key]:
    """Keys that are taken from the dataset."""
    return [_key(keyword, level, usage) for keyword in keywords.split()]


def _computed(level: Level, keywords: str) -> list[Key]:
    """Optional keys that the archive works out."""
    return [
        Key(tag, keyword, dictionary_VR(tag), level, "O", "computed", _multiple(tag))
        for keyword in keywords.split()
        for tag in [tag_of(keyword)]
    ]


def _key(keyword: str, level: Level, usage: Usage, elements: str = "") -> Key:
    tag = tag_of(keyword)
    items = tuple(tag_of(name) for name in elements.split())
    return Key(tag, keyword, dictionary_VR(tag), level, usage, "dataset", _multiple(tag), items)


_CODE = "CodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning"
_ISSUER = "LocalNamespaceEntityID UniversalEntityID UniversalEntityIDType"

KEYS: Final[tuple[Key, ...]] = (
    *_read("PATIENT", "U", "PatientID"),
    *_read("PATIENT", "R", "PatientName"),
    *_read(
        "PATIENT",
        "O",
        "IssuerOfPatientID PatientBirthDate PatientBirthTime PatientSex OtherPatientIDs OtherPatientNames EthnicGroup"
        " PatientComments",
    ),
    _key("OtherPatientIDsSequence", "PATIENT", "O", "PatientID IssuerOfPatientID TypeOfPatientID"),
    *_computed(
        "PATIENT",
        "NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances",
    ),
    *_read("STUDY", "U", "StudyInstanceUID"),
    *_read("STUDY", "R", "StudyDate StudyTime AccessionNumber StudyID"),
    *_read(
        "STUDY",
        "O",
        "ReferringPhysicianName StudyDescription NameOfPhysiciansReadingStudy PhysiciansOfRecord PatientAge"
        " PatientSize PatientWeight Occupation AdditionalPatientHistory AdmittingDiagnosesDescription",
    ),
    _key("ProcedureCodeSequence", "STUDY", "O", _CODE),
    _key("IssuerOfAccessionNumberSequence", "STUDY", "O", _ISSUER),
    *_computed("STUDY", "ModalitiesInStudy SOPClassesInStudy NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances"),
    *_read("SERIES", "U", "SeriesInstanceUID"),
    *_read("SERIES", "R", "Modality SeriesNumber"),
    *_read(
        "SERIES",
        "O",
        "SeriesDescription SeriesDate SeriesTime BodyPartExamined Laterality ProtocolName StationName InstitutionName"
        " InstitutionalDepartmentName Manufacturer ManufacturerModelName OperatorsName PerformingPhysicianName"
        " PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepID"
        " PerformedProcedureStepDescription FrameOfReferenceUID",
    ),
    _key(
        "RequestAttributesSequence",
        "SERIES",
        "O",
        "RequestedProcedureID ScheduledProcedureStepID RequestedProcedureDescription"
        " ScheduledProcedureStepDescription AccessionNumber StudyInstanceUID",
    ),
    *_computed("SERIES", "NumberOfSeriesRelatedInstances"),
    *_read("IMAGE", "U", "SOPInstanceUID"),
    *_read("IMAGE", "R", "InstanceNumber"),
    *_read(
        "IMAGE",
        "O",
        "SOPClassUID RelatedGeneralSOPClassUID ContentDate ContentTime AcquisitionDate AcquisitionTime"
        " AcquisitionNumber InstanceCreationDate InstanceCreationTime ImageType ImageComments Rows Columns"
        " BitsAllocated NumberOfFrames ContentLabel ContentDescription DocumentTitle CompletionFlag VerificationFlag",
    ),
    _key("ConceptNameCodeSequence", "IMAGE", "O", _CODE),
    _key(
        "ReferencedRequestSequence",
        "IMAGE",
        "O",
        "StudyInstanceUID AccessionNumber RequestedProcedureID PlacerOrderNumberImagingServiceRequest"
        " FillerOrderNumberImagingServiceRequest",
    ),
    *_computed("ANY", "RetrieveAETitle InstanceAvailability"),
    # What the index needs to understand the others.
    *_read("ANY", "-", "SpecificCharacterSet TimezoneOffsetFromUTC"),
    # Whether whoever may see de-identified studies only may see it (PS3.3 §C.7.1.1).
    *_read("ANY", "-", "PatientIdentityRemoved"),
)

BY_TAG: Final[dict[int, Key]] = {key.tag: key for key in KEYS}
BY_KEYWORD: Final[dict[str, Key]] = {key.keyword: key for key in KEYS}

# What the scanner of the receive path picks out of a dataset's top level.
WANTED: Final[frozenset[int]] = frozenset(key.tag for key in KEYS if key.source == "dataset")
WANTED_SEQUENCES: Final[frozenset[int]] = frozenset(key.tag for key in KEYS if key.vr == "SQ")

# Dates and the times that belong to them: for ranges over both together (PS3.4 §C.2.2.2.5, combined matching).
DATE_AND_TIME: Final[tuple[tuple[int, int], ...]] = tuple(
    (key.tag, BY_KEYWORD[key.keyword[:-4] + "Time"].tag)
    for key in KEYS
    if key.vr == "DA" and key.keyword[:-4] + "Time" in BY_KEYWORD
)


def at_level(level: str) -> tuple[Key, ...]:
    """The query keys of one level, in the order of the table; those of level ANY are not among them."""
    return tuple(key for key in KEYS if key.level == level and key.usage != "-")


def unique_key(level: str) -> Key:
    """The unique key of a level (PatientID, StudyInstanceUID ...)."""
    return next(key for key in KEYS if key.level == level and key.usage == "U")
