"""Orthanc sends to the archive, asks it, receives from it; and its answers are held beside ours."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import IS
from pynetdicom import AE

from hozi.core.dicom import part10
from tests.archive_running import PATIENT_ROOT, STUDY_ROOT, Caller, RunningArchive, identifier
from tests.corpus import CORPUS, rows
from tests.doors.dimse.test_corpus import quick
from tests.orthanc import Orthanc, orthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]

SUCCESS = 0x0000
#: Bytes of the largest file that both get.
LARGEST = 2_000_000

#: What an archive is asked at each level: its unique key, then the keys that people see.
KEYS = {
    "PATIENT": (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies"),
        *("NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"),
    ),
    "STUDY": (
        *("StudyInstanceUID", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
        *("AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName", "ModalitiesInStudy"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    "SERIES": (
        *("SeriesInstanceUID", "StudyInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
        *("BodyPartExamined", "NumberOfSeriesRelatedInstances"),
    ),
    "IMAGE": ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID", "InstanceNumber"),
}
_PADDED = "its patient number is padded with a space, which Orthanc takes as another number: PS3.5 6.2, LO"
_WADO = "syntax/cornerstonejs__cornerstoneWADOImageLoader/CTImage.dcm_"

#: Files that neither gets, and why.
LEFT_OUT = {
    f"{_WADO}JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": _PADDED,
    f"{_WADO}JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": _PADDED,
    f"{_WADO}JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": _PADDED,
    "malformed/pydicom__pydicom/SC_rgb_jpeg.dcm": "Orthanc does not read it",
}


#: Values that both answer, but not the same: as (ours, Orthanc's), and why ours are right.
_KANJI = ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ﾔﾏﾀﾞ^ﾀﾛｳ=;3ED^B@O:=$d$^$@^$?$m$&")
_LONG = "dc50837eb6bb62647d76554c41994098d221b404b7335eb902f6bf66064a60af"
DIFFERENT: dict[str, dict[tuple[str, str, str], tuple[str, str]]] = {
    "the old form of a date is not to be used: PS3.5 table 6.2-1, DA": {
        ("STUDY", "1.2.840.113619.2.21.848.246800003.0.1952805748.3", "StudyDate"): ("19970424", "1997.04.24"),
        ("STUDY", "1.3.46.670589.11.0.1.1996021610440011", "StudyDate"): ("19950501", "1995.05.01"),
        ("STUDY", "999.999.2.19941105.112000", "StudyDate"): ("19941105", "1994.11.05"),
    },
    "the name is that of PS3.5 H.3.2, in which character sets are switched: PS3.5 6.1.2.5.3": {
        ("PATIENT", "H32EXAMPLE", "PatientName"): _KANJI,
        ("STUDY", "1.3.6.1.4.1.5962.1.2.0.1175775771.5705.0", "PatientName"): _KANJI,
    },
    "a hash in the place of a date is no date; a date is never so long: PS3.5 table 6.2-1, DA": {
        ("PATIENT", "PID001", "PatientBirthDate"): (_LONG[:16], _LONG),
        ("STUDY", "1.2.276.0.7230010.3.1.2.2016833501.4084.1717599177.671", "PatientBirthDate"): (_LONG[:16], _LONG),
    },
}

LONG_NAMES_IN_OTHER_SCRIPTS = {"Люкceмбypг", "قباني^لنزار", "Διονυσιος", "やまだ^たろう", "שרון^דבורה"}

#: What level PATIENT says of somebody, beside the number. Where people share a number, no answer to it is right.
OF_ONE_PERSON = ("PatientName", "PatientBirthDate", "PatientSex")

Table = dict[str, dict[str, dict[str, str]]]
"""Values: by level, by unique key, by keyword."""

#: Questions at level STUDY on which the standard leaves no choice: the answers have to be equal.
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"PatientName": "anon*"},  # of several people with one number: by the names on their studies
    {"PatientSex": "F"},  # likewise
    {"PatientID": "*1*"},
    {"PatientID": "LIDC-IDRI-0314"},
    {"PatientID": "lidc-idri-0314"},
    {"StudyDate": "20000101"},
    {"StudyDate": "20050101-"},
    {"StudyDate": "20000101-20101231"},
    {"ModalitiesInStudy": "CT"},
    {"ModalitiesInStudy": "MR", "StudyDate": "19000101-20301231"},
    {"ModalitiesInStudy": ["SR", "SEG"]},
    {"StudyID": "1"},
]

#: Questions at the other levels, of everybody, of every study with several series, of every series with several images.
FURTHER: list[tuple[str, dict[str, Any]]] = [
    ("PATIENT", {"PatientID": "*1*"}),
    ("PATIENT", {"PatientID": "LIDC-IDRI-0314"}),
    ("SERIES", {"Modality": "CT"}),
    ("SERIES", {"Modality": ["SR", "SEG"]}),
    ("SERIES", {"SeriesNumber": "2"}),
    ("SERIES", {"SeriesDescription": "*a*"}),
    ("IMAGE", {"InstanceNumber": "2"}),
    ("IMAGE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
]

#: Questions that we answer with everything and Orthanc does not, and why we are right.
UNIVERSAL = {
    "a star alone is universal matching, also of what is absent: PS3.4 C.2.2.2.3, C.2.2.2.4": {"AccessionNumber": "*"},
    "the same of a description": {"StudyDescription": "*"},
    "the same of a name": {"PatientName": "*"},
    "delimiters of empty components may be left out, so every name has a caret: PS3.5 6.2.1.2": {"PatientName": "*^*"},
}


@pytest.fixture
def both(archive: RunningArchive, tmp_path: Path) -> Iterator[tuple[RunningArchive, Orthanc]]:
    """The archive and an Orthanc that know each other."""
    with orthanc(tmp_path / "orthanc", archive.port) as peer:
        archive.admit("ORTHANC", port=peer.dicom)
        yield archive, peer


def pixels(data: bytes) -> bytes:
    return bytes(dcmread(io.BytesIO(data)).PixelData)


def test_orthanc_echoes_sends_finds_and_fetches(both: tuple[RunningArchive, Orthanc]) -> None:
    _, peer = both
    peer.call("/modalities/hozi/echo", {})
    sent = {}
    for path in sorted((CORPUS / "series" / "ct-lidc-idri-0314").rglob("*.dcm"))[:6]:
        sent[str(dcmread(path).SOPInstanceUID)] = path.read_bytes()
        peer.call("/instances", path.read_bytes())
    [study] = peer.call("/studies")
    uid = peer.call(f"/studies/{study}")["MainDicomTags"]["StudyInstanceUID"]
    done = peer.call("/modalities/hozi/store", study)
    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (len(sent), 0)

    found = peer.call("/modalities/hozi/query", {"Level": "Study", "Query": {"StudyInstanceUID": uid}})
    [answer] = peer.call(f"/queries/{found['ID']}/answers")
    content = peer.call(f"/queries/{found['ID']}/answers/{answer}/content?simplify")
    assert content["StudyInstanceUID"] == uid

    peer.call(f"/studies/{study}", method="DELETE")
    assert peer.call("/instances") == []
    peer.call(f"/queries/{found['ID']}/answers/{answer}/retrieve", b"ORTHANC")
    got = {}
    for instance in peer.call("/instances"):
        data = peer.call(f"/instances/{instance}/file")
        got[str(dcmread(io.BytesIO(data)).SOPInstanceUID)] = pixels(data)
    assert got == {uid: pixels(data) for uid, data in sent.items()}


def stored_in_both(caller: Caller, peer: Orthanc) -> int:
    """Puts the same objects into both: what can be read and is not too large. Returns how many objects they are.

    What the archive keeps aside, Orthanc does not get.
    """
    batches: dict[str, list[tuple[str, str, bytes, int]]] = {}
    for row in rows():
        if row.readable != "yes" or row.path.stat().st_size > LARGEST or row.name in LEFT_OUT:
            continue
        data = row.path.read_bytes()
        header = part10.read_header(data)
        own = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        if "SOPClassUID" in own and "SOPInstanceUID" in own:
            found = (str(own.SOPClassUID), str(own.SOPInstanceUID), data, header.dataset_offset)
            batches.setdefault(header.transfer_syntax, []).append(found)
    taken = set()
    for syntax, batch in batches.items():
        contexts = [(sop_class, [syntax]) for sop_class in sorted({found[0] for found in batch})]
        with caller.associated(*contexts) as established, quick(established) as sending:
            for sop_class, uid, data, offset in batch:
                if caller.store_on(sending, data[offset:], sop_class, uid)[0] == SUCCESS:
                    peer.call("/instances", data)
                    taken.add(uid)
    return len(taken)


def answers(port: int, called: str, questions: list[Dataset], root: dict[str, Any] = STUDY_ROOT) -> list[Dataset]:
    """What an archive answers to all these questions, asked on a few associations at once."""

    def some(part: list[Dataset]) -> list[Dataset]:
        ae = AE(ae_title="CT1")
        ae.add_requested_context(root["find"])
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
        association = ae.associate("127.0.0.1", port, ae_title=called)
        assert association.is_established
        found = []
        with quick(association):
            for question in part:
                said = list(association.send_c_find(question, root["find"]))
                assert said[-1][0].Status == SUCCESS
                found += [match for _, match in said if match is not None]
        association.release()
        return found

    parts = [part for part in (questions[first::4] for first in range(4)) if part]
    with ThreadPoolExecutor(4) as pool:
        return [match for found in pool.map(some, parts) for match in found]


class Sides:
    """Both archives, to be asked the same, and all that they answered to one who looks through everything."""

    def __init__(self, archive: RunningArchive, peer: Orthanc) -> None:
        self._sides = ((archive.port, "HOZI"), (peer.dicom, "ORTHANC"))
        self.ours, self.theirs = (everything(*side) for side in self._sides)

    def studies(self, **keys: Any) -> tuple[set[str], set[str]]:
        """The studies that each of them finds."""
        return self.found([identifier("STUDY", **{"StudyInstanceUID": "", **keys})])

    def found(self, questions: list[Dataset]) -> tuple[set[str], set[str]]:
        """What each of them finds in answer to these questions of one level, by its unique key."""
        level = questions[0].QueryRetrieveLevel
        root = PATIENT_ROOT if level == "PATIENT" else STUDY_ROOT
        ours, theirs = (by_key(level, answers(*side, questions, root)) for side in self._sides)
        return set(ours), set(theirs)


def everything(port: int, called: str) -> Table:
    """All that an archive answers, level by level.

    Without people who have no number: it is the key by which a person is one (PS3.4 C.6.1.1.2).
    """

    def question(level: str, **above: str) -> Dataset:
        return identifier(level, SpecificCharacterSet="ISO_IR 192", **{**dict.fromkeys(KEYS[level], ""), **above})

    patients = answers(port, called, [question("PATIENT")], PATIENT_ROOT)
    table = {
        "PATIENT": by_key("PATIENT", [patient for patient in patients if patient.PatientID]),
        "STUDY": by_key("STUDY", answers(port, called, [question("STUDY")])),
    }
    of_series = [question("SERIES", StudyInstanceUID=study) for study in table["STUDY"]]
    table["SERIES"] = by_key("SERIES", answers(port, called, of_series))
    of_images = [
        question("IMAGE", StudyInstanceUID=series["StudyInstanceUID"], SeriesInstanceUID=uid)
        for uid, series in table["SERIES"].items()
    ]
    table["IMAGE"] = by_key("IMAGE", answers(port, called, of_images))
    return table


def by_key(level: str, found: list[Dataset]) -> dict[str, dict[str, str]]:
    """The values of the answers by the level's unique key, which none shares with another."""
    table = {text(match, KEYS[level][0]): {keyword: text(match, keyword) for keyword in KEYS[level]} for match in found}
    assert len(table) == len(found), level
    return table


def text(match: Dataset, keyword: str) -> str:
    """A value as text. An integer string says a number, however it is written (PS3.5 table 6.2-1)."""
    value = match.get(keyword)
    if isinstance(value, MultiValue):
        return "\\".join(sorted(map(str, value)))
    if isinstance(value, IS):
        return str(int(value))
    return "" if value is None else str(value)


def test_answers_equal_those_of_an_independent_archive(both: tuple[RunningArchive, Orthanc]) -> None:
    archive, peer = both
    peer.call("/tools/default-encoding", b"Utf8", "PUT")
    count = stored_in_both(archive.admit("CT1"), peer)
    sides = Sides(archive, peer)
    assert count == len(sides.ours["IMAGE"]) > 200
    for level in KEYS:
        assert sides.ours[level].keys() == sides.theirs[level].keys(), level
    assert differing_values(sides) == {
        place: values for listed in DIFFERENT.values() for place, values in listed.items()
    }
    same_studies_are_found(sides)
    same_is_found_at_the_other_levels(sides)


def differing_values(sides: Sides) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Every value that is not the same on both sides."""
    people: dict[str, set[tuple[str, ...]]] = {}
    for study in sides.ours["STUDY"].values():
        people.setdefault(study["PatientID"], set()).add(tuple(study[keyword] for keyword in OF_ONE_PERSON))
    return {
        (level, uid, keyword): (value, sides.theirs[level][uid][keyword])
        for level, table in sides.ours.items()
        for uid, values in table.items()
        for keyword, value in values.items()
        if value != sides.theirs[level][uid][keyword]
        and not (level == "PATIENT" and keyword in OF_ONE_PERSON and len(people[uid]) > 1)
    }


def same_studies_are_found(sides: Sides) -> None:
    """Questions at level STUDY find the same on both sides, but where the standard's text says that we are right."""
    everything, _ = sides.studies()
    differing = {}
    for keys in QUESTIONS:
        ours, theirs = sides.studies(**keys)
        if ours != theirs:
            differing[str(keys)] = (sorted(ours - theirs), sorted(theirs - ours))
    assert differing == {}
    for why, keys in UNIVERSAL.items():
        ours, theirs = sides.studies(**keys)
        assert ours == everything > theirs, why
    # A question mark is a character of any script (PS3.4 C.2.2.2.4); for Orthanc, only of the Latin one. And empty
    # components at the end may be left out with their delimiters (PS3.5 6.2.1.2): they count for nothing.
    ours, theirs = sides.studies(PatientName="?????*")
    names = {uid: study["PatientName"] for uid, study in sides.ours["STUDY"].items()}
    assert {names[uid] for uid in theirs - ours} == {"OB^^^^"}
    assert {names[uid] for uid in ours - theirs} == LONG_NAMES_IN_OTHER_SCRIPTS
    # Orthanc compares an empty date as a text that is less than any; a range matches values only (PS3.4 C.2.2.2.5).
    ours, theirs = sides.studies(StudyDate="-20041231")
    dated, _ = sides.studies(StudyDate="19000101-20991231")
    assert ours == theirs & dated
    assert theirs - ours


def same_is_found_at_the_other_levels(sides: Sides) -> None:
    """Questions at the levels PATIENT, SERIES and IMAGE find the same on both sides, and not nothing."""
    series, images = sides.ours["SERIES"], sides.ours["IMAGE"]
    studies = Counter(one["StudyInstanceUID"] for one in series.values())
    above: dict[str, list[dict[str, str]]] = {
        "PATIENT": [{}],
        "SERIES": [{"StudyInstanceUID": uid} for uid, count in studies.items() if count > 1],
        "IMAGE": [
            {"StudyInstanceUID": series[uid]["StudyInstanceUID"], "SeriesInstanceUID": uid}
            for uid, count in Counter(one["SeriesInstanceUID"] for one in images.values()).items()
            if count > 1
        ],
    }
    for level, keys in FURTHER:
        ours, theirs = sides.found([identifier(level, **{KEYS[level][0]: "", **keys, **one}) for one in above[level]])
        assert ours == theirs != set(), (level, keys)
