"""What matches and what does not: one table for the matcher and for the index (PS3.4 §C.2.2.2)."""

from __future__ import annotations

from typing import NamedTuple

from hozi.core.dicom.keys import tag_of


class Case(NamedTuple):
    """A query for a key, a value that an object has, and whether they match."""

    keyword: str
    query: str | list[dict[int, str]]
    value: str | list[dict[int, str]]
    expected: bool
    fuzzy: bool = False

    def __str__(self) -> str:
        return f"{self.keyword}: {self.query!r} {'~' if self.fuzzy else '='} {self.value!r}"


NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"
PROCEDURE, STEP = tag_of("RequestedProcedureID"), tag_of("ScheduledProcedureStepID")
_ITEMS = [{PROCEDURE: "RP1", STEP: "S1"}, {PROCEDURE: "RP2", STEP: "S2"}]

TEXT = [
    Case("PatientID", "P1", "P1", True),
    Case("PatientID", " P1 ", "P1", True),
    Case("PatientID", "P1", "p1", False),
    Case("PatientID", "P1", "P12", False),
    Case("PatientID", "P1*", "P12", True),
    Case("PatientID", "*1?", "P12", True),
    Case("PatientID", "?*", "", False),
    Case("PatientSex", "F", "F", True),
    Case("StudyDescription", "CT*", "CT CHEST", True),
]

LITERAL = [
    Case("PatientID", "A[1]*", "A[1]B", True),
    Case("PatientID", "A[1]*", "A1B", False),
    Case("PatientID", "100%", "100%", True),
    Case("PatientID", "100%", "1000", False),
    Case("PatientID", "A_B", "A_B", True),
    Case("PatientID", "A_B", "AxB", False),
    Case("PatientID", "A_?", "A_B", True),
    Case("PatientID", "'; DROP TABLE archive_patient; --", "'; DROP TABLE archive_patient; --", True),
]

NOT_WILD = [
    Case("StudyDate", "2026*", "20260101", False),
    Case("StudyTime", "10*", "104500", False),
    Case("StudyInstanceUID", "1.2.*", "1.2.3", False),
    Case("InstanceNumber", "1*", "12", False),
    Case("InstanceNumber", "?", "1", False),
]

SEVERAL = [
    Case("Modality", "MR\\XA", "XA", True),
    Case("Modality", "MR\\XA", "CT", False),
    Case("Modality", "M*\\XA", "MR", True),
    Case("Modality", "MR\\", "CT", False),
    Case("StudyDate", "20260101\\20260201-20260228", "20260210", True),
    Case("StudyDate", "20260101\\rubbish", "20260101", True),
    Case("InstanceNumber", "1\\3", "003", True),
    Case("PatientName", "Moyo*\\Dube*", "Dube^Rudo", True),
    Case("PatientName", "Moyo*\\*", "", True),
    Case("ModalitiesInStudy", "MR", "CT\\MR", True),
    Case("ModalitiesInStudy", "PT\\MR", "CT\\MR", True),
    Case("ModalitiesInStudy", "PT", "CT\\MR", False),
    Case("ImageType", "AXIAL", "ORIGINAL\\PRIMARY\\AXIAL", True),
]

NUMBERS = [
    Case("InstanceNumber", "7.0", "7", True),
    Case("InstanceNumber", "7.5", "7", False),
    Case("InstanceNumber", "7", "+7", True),
    Case("InstanceNumber", "007", "7", True),
    Case("InstanceNumber", " 7 ", "7 ", True),
    Case("InstanceNumber", "-7", "7", False),
    Case("InstanceNumber", "7", "70", False),
    Case("InstanceNumber", "seven", "7", False),
    Case("InstanceNumber", "7", "", False),
    Case("InstanceNumber", "9" * 40, "9" * 40, True),
]

DATES_AND_TIMES = [
    Case("StudyDate", "20260101-", "20261399", False),
    Case("StudyDate", "20260101-20260131", "20260101", True),
    Case("StudyTime", "104512-", "104512", True),
    Case("StudyDate", "20260124", "2026.01.24", True),
    Case("StudyDate", "2026.01.24", "20260124", True),
    Case("StudyDate", "20260101-20260131", "20260131", True),
    Case("StudyDate", "20260101-20260131", "20260201", False),
    Case("StudyDate", "-20260131", "", False),
    Case("StudyDate", "20260101-", "rubbish", False),
    Case("StudyTime", "10", "104512.5", True),
    Case("StudyTime", "1045", "104600", False),
    Case("StudyTime", "10-12", "125959.999", True),
    Case("StudyTime", "10-12", "13", False),
    Case("StudyTime", "10:45", "1045", True),
    Case("PatientBirthDate", "not a date", "not a date", False),
]

NAMES = [
    Case("PatientName", "MOYO^TENDAI", "Moyo^Tendai", True),
    Case("PatientName", "muller", "Müller", True),
    Case("PatientName", "Müller", "MULLER", True),
    Case("PatientName", "Moyo^Tendai^^", "Moyo^Tendai", True),
    Case("PatientName", "Moyo^Tendai", "Moyo^Tendai^^^", True),
    Case("PatientName", "Moyo ^ Tendai", "Moyo^Tendai", True),
    Case("PatientName", "Moyo", "Moyo^Tendai", False),
    Case("PatientName", "Moyo^*", "Moyo", True),
    Case("PatientName", "Moyo^*", "Moyo^Tendai", True),
    Case("PatientName", "Moyo^*", "Moyoxo", False),
    Case("PatientName", "Moyo^*^*", "Moyo", True),
    Case("PatientName", "*^*", "Moyo", True),
    Case("PatientName", "^*", "Moyo", False),
    Case("PatientName", "*^Tendai", "Moyo^Tendai", True),
    Case("PatientName", "M?yo^*", "Moyo^Tendai", True),
    Case("PatientName", "yamada*", NAME, True),
    Case("PatientName", "山田*", NAME, True),
    Case("PatientName", "やまだ^*", NAME, True),
    Case("PatientName", "=山田*", NAME, True),
    Case("PatientName", "=yamada*", NAME, False),
    Case("PatientName", "Yamada*=山田*", NAME, True),
    Case("PatientName", "Yamada*=大田*", NAME, False),
    Case("PatientName", "*=山田*", NAME, True),
    Case("PatientName", "Yamada^Tarou=", NAME, True),
    Case("PatientName", "*da^*rou=*", NAME, True),
    Case("PatientName", "Y*たろう", NAME, False),
    Case("PatientName", "Moyo*", "", False),
]

FUZZY = [
    Case("PatientName", "tendai moyo", "Moyo^Tendai", True, True),
    Case("PatientName", "ten mo", "Moyo^Tendai", True, True),
    Case("PatientName", "meyer", "Mayer^Anna", True, True),
    Case("PatientName", "Smyth^J*", "Smith^John", True, True),
    Case("PatientName", "moyo rudo", "Moyo^Tendai", False, True),
    Case("PatientName", "^", "", True, True),
    Case("PatientName", "山", NAME, True, True),
    Case("PatientName", "M?yo", "Moyo", True, True),
    Case("PatientName", "M?yo", "Moyo^Tendai", False, True),
    Case("PatientName", "moyo", "", False, True),
]

ITEMS = [
    Case("RequestAttributesSequence", query, _ITEMS, expected)
    for query, expected in [
        ([], True),
        ([{}], True),
        ([{PROCEDURE: "", STEP: "*"}], True),
        ([{PROCEDURE: "RP2"}], True),
        ([{PROCEDURE: "RP?"}], True),
        ([{PROCEDURE: "RP1", STEP: "S1"}], True),
        ([{PROCEDURE: "RP1", STEP: "S2"}], False),
        ([{PROCEDURE: "RP*", STEP: "S2"}], True),
        ([{PROCEDURE: "RP3"}], False),
        ([{PROCEDURE: "RP3"}, {STEP: "S2"}], True),
        ([{tag_of("PatientID"): "not an element of it"}], True),
    ]
]

ALL = [*TEXT, *LITERAL, *NOT_WILD, *SEVERAL, *NUMBERS, *DATES_AND_TIMES, *NAMES, *FUZZY, *ITEMS]
