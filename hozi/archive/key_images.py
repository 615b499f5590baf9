"""Key images: somebody marks images of a study, and the marks are an object like any other.

A mark is a Key Object Selection Document that comes in through `receive`, so every viewer and archive that gets the
study knows it. It is in the study's facility, in a series of its own, and in the audit. Which images of a study are
marked is read from all such documents of it, also from those that came from elsewhere; a document that was taken back
(rejected) marks nothing.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils import timezone

from hozi.accounts.authorise import Who, may, reach
from hozi.archive import bringing, reading
from hozi.archive import reach as reaching
from hozi.archive import reject as rejecting
from hozi.archive.arrived import Announced, Origin
from hozi.archive.facts import Facts
from hozi.archive.fetch import Holding, holding
from hozi.archive.models import Instance, Study
from hozi.archive.receive import Receipt
from hozi.archive.study_page import LOOK, frame_count, instance_of, study_of
from hozi.audit.record import Code, Entry, brought, record
from hozi.core.dicom import key_objects, keys, scan, syntaxes, uids
from hozi.core.dicom.key_objects import SOP_CLASS, TITLES, Chosen
from hozi.core.errors import HoziError, Refused
from hozi.settings import HOZI

PERMISSION: Final = "studies.mark"
MOST: Final = 500
"""Images in one selection."""

_MOST_DOCUMENTS: Final = 100
_FAULTS: Final = ("113001", "113010", "113037", "113038", "113039")
"""Titles by which images are rejected, or their quality complained of (PS3.16 CID 7010, 7011)."""
_SERIES_NUMBER: Final = "9990"
_ABOUT: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True)
class Marks:
    """One selection of a study. ``images``: row ids of marked objects that who asks may open, each with its frames
    (none: all of it); ``document``: the row of the object that says so.
    """

    document: int
    code: str
    title: str
    description: str
    images: tuple[tuple[int, tuple[int, ...]], ...]


def keep(
    who: Who,
    study: int,
    instances: Sequence[tuple[int, int]],
    title: str,
    description: str = "",
    *,
    observer: str = "",
) -> Receipt:
    """Marks images of a study: (row id of the object, frame; 0 for all of it) each. ``title``: a code of `TITLES`;
    ``observer``: who marks, as people call them.

    Raises `NotThere` for a study or object that is out of reach, `Refused` for what cannot be marked.
    """
    row = study_of(who, PERMISSION, study)
    if title not in TITLES:
        raise Refused("Say what the images are marked for.", field="title")
    chosen = _chosen(who, row, instances)
    held = holding(chosen[0].sop_instance)
    about = _about(row, held)
    dataset = key_objects.document(
        about,
        row.uid,
        title,
        chosen,
        observer=observer or who.actor,
        at=timezone.localtime(),
        description=description.strip()[:1024],
    )
    origin = Origin(
        actor=who.actor,
        address=who.address,
        facility=row.facility,
        issuer=row.patient.issuer,
        source="console",
        department=row.department,
    )
    announced = Announced(SOP_CLASS, about["SOPInstanceUID"], key_objects.TRANSFER_SYNTAX)
    receipt = bringing.receiver().receive(announced, origin, [dataset])
    with transaction.atomic():
        record(
            Entry(
                code=Code.INSTANCES_ACCESSED,
                action="C",
                actor=who.actor,
                address=who.address,
                issuer=row.patient.issuer,
                patient_id=row.patient.patient_id,
                study_uid=row.uid,
                object_uid=about["SOPInstanceUID"],
                facility=row.facility,
                detail={"key_images": len(chosen), "title": TITLES[title], "result": receipt.result.value},
            )
        )
    return receipt


def take_back(who: Who, document: int, *, reason: str = "") -> int:
    """Rejects a selection: by who made it, or by who may reject images. Returns the row id of its study.

    Nothing is lost: whoever may reject images can take that back. Raises `NotThere` out of reach, `Refused` for what is
    no selection or somebody else's.
    """
    row = instance_of(who, PERMISSION, document)
    study = row.series.study
    if row.sop_class != SOP_CLASS:
        raise Refused("This object is no selection of key images.")
    if not may(who, rejecting.PERMISSION) and not brought(who.actor, study.uid, row.uid):
        raise Refused("Somebody else has marked these images: only they, or who may reject images, take that back.")
    why = reason.strip() or "marks taken back"
    rejecting.reject(who, study.uid, row.series.uid, row.uid, reason=why, permission=PERMISSION)
    return study.pk


def marks(who: Who, study: int, permission: str = LOOK) -> list[Marks]:
    """The selections of a study that the permission reaches, the newest first; damaged ones are left out."""
    row = study_of(who, permission, study)
    reached = reaching.series(reach(who, permission), "series__")
    documents = Instance.objects.filter(reached, series__study=row, sop_class=SOP_CLASS).order_by("-pk")
    found = []
    for document in documents[:_MOST_DOCUMENTS]:
        try:
            told = key_objects.selection(reading.read(holding(document.uid), most=4 << 20))
        except HoziError:
            continue
        rows = Instance.objects.filter(reached, series__study=row, uid__in=[one.sop_instance for one in told.chosen])
        known = dict(rows.values_list("uid", "pk"))
        images = tuple((known[one.sop_instance], one.frames) for one in told.chosen if one.sop_instance in known)
        found.append(Marks(document.pk, told.code, told.title, told.description, images))
    return found


def frames(who: Who, study: int, permission: str = LOOK) -> list[tuple[int, int]]:
    """Every marked image of a study once: row id and frame, the first frame where all of it is marked."""
    found: dict[tuple[int, int], None] = {}
    for one in reversed(marks(who, study, permission)):
        if _counts(one):
            for pk, numbers in one.images:
                found.update(dict.fromkeys((pk, number) for number in numbers or (1,)))
    return list(found)


def marked(selections: Iterable[Marks]) -> set[int]:
    """Row ids of all objects that are marked by any of the selections."""
    return {pk for one in selections if _counts(one) for pk, _ in one.images}


def _counts(one: Marks) -> bool:
    """Whether a selection marks images as good for something, and not as bad."""
    return one.code not in _FAULTS


def _chosen(who: Who, study: Study, instances: Sequence[tuple[int, int]]) -> list[Chosen]:
    if not instances:
        raise Refused("Choose at least one image.", field="images")
    if len(instances) > MOST:
        raise Refused(f"At most {MOST} images can be marked at once.", field="images")
    frames: dict[int, set[int]] = {}
    for pk, frame in instances:
        frames.setdefault(pk, set()).add(max(frame, 0))
    reached = reaching.series(reach(who, PERMISSION), "series__")
    rows = Instance.objects.filter(reached, pk__in=frames, series__study=study).select_related("series")
    found = {row.pk: row for row in rows}
    if len(found) != len(frames):
        raise Refused("One of these images is not in this study, or not yours to see.", field="images")
    chosen = []
    for pk, numbers in frames.items():
        row = found[pk]
        of_frames = () if 0 in numbers or frame_count(row) < 2 else tuple(sorted(numbers))
        chosen.append(Chosen(row.series.uid, row.sop_class, row.uid, of_frames))
    return chosen


def _about(study: Study, held: Holding) -> dict[str, str]:
    """What the document says of patient and study: what the stored objects say; corrections go over it on the way out.

    An object that was taken in for somebody else than its bytes say is no witness: then the index is.
    """
    facts = _facts(study, held)
    told = {keyword: facts.text(keys.tag_of(keyword), 512) for keyword in _ABOUT}
    if told["PatientID"] != study.patient.patient_id:
        told |= {
            "PatientName": study.patient_name,
            "PatientID": study.patient.patient_id,
            "PatientBirthDate": study.patient_birth_date,
            "PatientSex": study.patient_sex,
        }
    if study.patient.patient_id and study.patient.issuer:
        told["IssuerOfPatientID"] = study.patient.issuer
    if study.identity_removed:
        told["PatientIdentityRemoved"] = "YES"
        told["DeidentificationMethod"] = "As the images that it marks"
    series = uids.derived_uid("key images", study.uid)
    number = Instance.objects.filter(series__uid=series).count() + 1
    return told | {
        "StudyInstanceUID": study.uid,
        "SeriesInstanceUID": series,
        "SeriesNumber": _SERIES_NUMBER,
        "SeriesDescription": "Key images",
        "SOPInstanceUID": uids.new_uid(),
        "InstanceNumber": str(number),
        "Manufacturer": "Hozi",
    }


def _facts(study: Study, held: Holding) -> Facts:
    with (
        held.stored() as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
        view[file.tell() : file.tell() + held.length] as dataset,
    ):
        found = scan.scan(dataset, syntaxes.for_unknown(held.transfer_syntax))
    return Facts(found, issuer=study.patient.issuer, default_charset=HOZI.default_charset)
