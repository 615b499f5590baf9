"""Rows beside the index by which queries find studies and objects: words of names, referrers, items of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hozi.archive.facts import referrers
from hozi.archive.models import NameWord, Referral, SequenceValue, Study
from hozi.core.dicom import names


def insert_name_words(study: Study) -> None:
    """Adds the words of the patient's name, by which fuzzy queries find the study."""
    NameWord.objects.bulk_create(
        NameWord(study=study, word=word[:64], sound=names.sound(word)[:64])
        for word in dict.fromkeys(word[:64] for word in names.words(study.patient_name)[:32])
    )


def insert_referrals(study: Study) -> None:
    """Adds who referred the study, by which its referrers see it."""
    Referral.objects.bulk_create(Referral(study=study, name=name) for name in referrers(study.referring))


def insert_sequence_rows(owner: str, owner_id: int, values: Sequence[dict[str, Any]]) -> None:
    """Adds what the items of sequences hold, by which queries find their ``owner`` (study, series or instance)."""
    if values:
        SequenceValue.objects.bulk_create(SequenceValue(**{f"{owner}_id": owner_id}, **value) for value in values)
