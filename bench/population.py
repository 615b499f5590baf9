"""The people and days of an invented hospital: who is examined when, so that every question has a known answer.

Everything follows from numbers: study ``s`` belongs to patient ``s % patients`` and to day ``s // STUDIES_A_DAY``.
So the same question has the same number of answers in a small archive and in a large one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

STUDIES_A_DAY = 20
STUDIES_A_PATIENT = 2
SERIES_A_STUDY = 2
NAMESAKES = 5
"""So many patients have family names that differ in the last letter only."""

REFERRERS = 97

_MODALITIES = ("CR",) * 7 + ("US",) * 4 + ("CT",) * 4 + ("MR",) * 3 + ("DX", "XA")
_FIRST_DAY = date(2018, 1, 1)
_VOWELS = "aeiou"
_CONSONANTS = "bcdfghjklmnprstvwyz"
_SYLLABLES = 4
_GIVEN = ("Rutendo", "Tatenda", "Farirai", "Munashe", "Tinashe", "Ruvimbo", "Tawanda")


@dataclass(frozen=True)
class Population:
    """The studies of an archive that was filled; ``studies`` is a multiple of 20 (whole days, whole namesakes)."""

    studies: int

    def __post_init__(self) -> None:
        if self.studies <= 0 or self.studies % STUDIES_A_DAY or self.patients % NAMESAKES:
            raise ValueError(f"not whole days and namesakes: {self.studies} studies")

    @property
    def patients(self) -> int:
        """How many patients these studies belong to."""
        return self.studies // STUDIES_A_PATIENT

    @property
    def days(self) -> int:
        """On how many days they were made."""
        return self.studies // STUDIES_A_DAY

    def patient_of(self, study: int) -> int:
        """The number of the patient whose study it is."""
        return study % self.patients


def patient_id(patient: int) -> str:
    """PatientID, 12 characters."""
    return f"P{patient * 7919 % 10**11:011d}"


def family_name(patient: int) -> str:
    """Eight letters; another one for each patient. `NAMESAKES` patients in a row share all but the last letter."""
    vowel = _VOWELS[patient % NAMESAKES]
    rest = patient // NAMESAKES
    consonant, rest = _CONSONANTS[rest % len(_CONSONANTS)], rest // len(_CONSONANTS)
    name = consonant + vowel
    for _ in range(_SYLLABLES - 1):
        number, rest = rest % (len(_CONSONANTS) * len(_VOWELS)), rest // (len(_CONSONANTS) * len(_VOWELS))
        name = _CONSONANTS[number // len(_VOWELS)] + _VOWELS[number % len(_VOWELS)] + name
    return name.capitalize()


def patient_name(patient: int) -> str:
    """PatientName, 16 characters."""
    return f"{family_name(patient)}^{_GIVEN[patient % len(_GIVEN)]}"


def modality(study: int) -> str:
    """What a study was made with: nearly all with what every hospital has, one in two hundred a mammography."""
    return "MG" if study % 200 == 19 else _MODALITIES[study % len(_MODALITIES)]


def department(study: int) -> str:
    """The code of the department that made it."""
    return {"MG": "WOMEN", "XA": "CARDIO"}.get(modality(study), "RADIO")


def referrer(study: int) -> str:
    """ReferringPhysicianName: one of `REFERRERS`."""
    return patient_name(study % REFERRERS)


def day(number: int) -> str:
    """StudyDate of a day by its number."""
    return (_FIRST_DAY + timedelta(days=number)).strftime("%Y%m%d")


@dataclass(frozen=True)
class Question:
    """A kind of query: the key that it uses, how its value is made, and how many studies answer it."""

    name: str
    keyword: str
    value: Callable[[Population, random.Random], str]
    answers: int


QUESTIONS = (
    Question(
        "patient-id", "PatientID", lambda people, luck: patient_id(luck.randrange(people.patients)), STUDIES_A_PATIENT
    ),
    Question("date-range", "StudyDate", lambda people, luck: _one_day(luck.randrange(people.days)), STUDIES_A_DAY),
    Question(
        "name-prefix",
        "PatientName",
        lambda people, luck: family_name(luck.randrange(people.patients))[:-1] + "*",
        NAMESAKES * STUDIES_A_PATIENT,
    ),
)


def _one_day(number: int) -> str:
    return f"{day(number)}-{day(number)}"
