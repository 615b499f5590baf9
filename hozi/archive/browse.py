"""The list of studies for people: what they look for, page by page, the newest first, and only what they reach.

Studies are never counted: a page says whether there are more. What somebody looked for is in the audit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, QuerySet
from django.utils import timezone

from hozi.accounts.authorise import Reach, Who, home, reach
from hozi.archive import narrow, related
from hozi.archive import reach as reaching
from hozi.archive.models import ExceptionCase, Study
from hozi.archive.narrow import Newest, Part, Spot
from hozi.archive.study_page import SEE, PatientBlock, patient_of
from hozi.audit.record import Code, Entry, record
from hozi.core.dicom import uids
from hozi.core.dicom.times import date_key
from hozi.core.errors import NotThere, Refused

STATUSES: Final = ("", "arriving", "exceptions", "corrected")
ORDERS: Final = ("received", "date")
MOST: Final = 100
"""So many studies stand on a page at most."""

ARRIVING: Final = timedelta(minutes=3)
"""A study arrives for as long after its last object."""

_LONGEST: Final = 128
_BEGINNING: Final = 3  # characters; a shorter number is looked up as it is
_PERSONAL: Final = ("text", "name", "patient_id", "accession")


@dataclass(frozen=True, slots=True)
class Filters:
    """What somebody looks for; what is empty does not matter. Holds patient data.

    ``text``: the beginning of a patient's number, or of words of the name, an accession number, or the UID of a study.
    ``since`` and ``until``: days of the study, ``YYYYMMDD``. ``facility``: a code. ``status``: one of `STATUSES`.
    ``order``: one of `ORDERS`: the newest by arrival, or by the day of the study.
    """

    text: str = ""
    name: str = ""
    patient_id: str = ""
    accession: str = ""
    since: str = ""
    until: str = ""
    modality: str = ""
    facility: str = ""
    status: str = ""
    order: str = "received"


@dataclass(frozen=True, slots=True)
class Line:
    """One study of the list. ``exceptions``: how many about it wait for a person, as far
    as whoever asks may see them; ``corrected``: it, or its patient.
    """

    pk: int
    uid: str
    patient: PatientBlock
    date: str
    time: str
    modalities: tuple[str, ...]
    description: str
    accession_number: str
    referring: str
    facility: str
    department: str
    series_count: int
    instance_count: int
    received_at: datetime
    changed_at: datetime
    arriving: bool
    exceptions: int
    corrected: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list: its studies, and whether there are others behind it (older) and in front of it (newer)."""

    lines: tuple[Line, ...]
    older: bool
    newer: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What can change of a line while somebody looks at it."""

    pk: int
    series_count: int
    instance_count: int
    arriving: bool
    exceptions: int
    corrected: bool


def browse(
    who: Who, filters: Filters, *, after: int = 0, before: int = 0, most: int = 50, pictures: bool = False
) -> Page:
    """The studies that who asks reaches and looks for, the newest first; recorded as a query.

    ``pictures``: each is shown with a tiny picture (`thumbnail.of_listed`), so the audit names them (by row id).
    ``after`` (``before``): the row id of a study, behind (in front of) which the page lies. Raises `Denied`; `Refused`,
    naming the filter, when a filter is none; `NotThere` when the study is not there.
    """
    reached = reach(who, SEE)
    wanted = checked(filters)
    most = max(1, min(most, MOST))
    spot = _spot(after or before, bool(before) and not after, reached) if after or before else None
    found = Newest(_branches(who, wanted, reached), wanted.order).ids(most + 1, spot)
    forward = spot is None or not spot.newer
    more = len(found) > most
    kept = found[:most] if forward else found[-most:]
    page = Page(tuple(_lines(who, kept, reached)), more if forward else True, spot is not None if forward else more)
    _audit(who, wanted, page, pictures=pictures)
    return page


def newer(who: Who, filters: Filters, newest: int, *, most: int = MOST) -> int:
    """How many studies that are looked for have come since the one with the row id ``newest``, up to ``most``."""
    reached = reach(who, SEE)
    wanted = replace(checked(filters), order="received")
    return len(Newest(_branches(who, wanted, reached)).ids(most, Spot(newest, "", newer=True)))


def progress(who: Who, studies: Collection[int]) -> list[Progress]:
    """How far these studies are, those of them that who asks reaches."""
    lines = _lines(who, list(studies)[:MOST], reach(who, SEE))
    return [
        Progress(one.pk, one.series_count, one.instance_count, one.arriving, one.exceptions, one.corrected)
        for one in lines
    ]


def checked(filters: Filters) -> Filters:
    """The filters as they are searched for. Raises `Refused`, naming the field."""
    texts = {name: _clean(name, getattr(filters, name)) for name in (*_PERSONAL, "modality", "facility")}
    days = {name: _day(name, getattr(filters, name)) for name in ("since", "until")}
    if days["since"] and days["until"] and days["since"] > days["until"]:
        raise Refused("The last day lies before the first one.", field="until")
    if filters.status not in STATUSES:
        raise Refused("There is no such state.", field="status")
    if filters.order not in ORDERS:
        raise Refused("There is no such order.", field="order")
    texts["modality"] = texts["modality"].upper()
    return replace(filters, **texts, **days)


def _clean(name: str, value: str) -> str:
    text = "".join(char for char in value if char.isprintable()).strip()
    if len(text) > _LONGEST:
        raise Refused(f"At most {_LONGEST} characters can be searched for.", field=name)
    return text


def _day(name: str, value: str) -> str:
    said = value.strip().replace("-", "")
    found = date_key(said)
    if said and not found:
        raise Refused("This is no day.", field=name)
    return found


# What is looked for -----------------------------------------------------------------------------------------


def _branches(who: Who, filters: Filters, reached: Reach) -> list[list[Part]]:
    common = [*_common(who, filters, reached)]
    if not filters.text:
        return [common]
    return [[*branch, *common] for branch in _meanings(filters.text)]


def _meanings(text: str) -> list[list[Part]]:
    """What a text may be: a name, a patient's number, an accession number, a UID."""
    found = [narrow.named(text)] if any(char.isalpha() for char in text) else []
    for number in dict.fromkeys((text, text.upper())):
        begins = _begins(number)
        found += [[narrow.of_patient(number, begins=begins)], [narrow.of_request(number, begins=begins)]]
    if uids.is_valid(text):
        found.append([narrow.of_uid(text)])
    return [branch for branch in found if branch]


def _begins(number: str) -> bool:
    return len(number) >= _BEGINNING and not set("*?") & set(number)


def _common(who: Who, filters: Filters, reached: Reach) -> Iterable[Part]:
    if filters.patient_id:
        yield narrow.of_patient(filters.patient_id, begins=_begins(filters.patient_id))
    if filters.accession:
        yield narrow.of_request(filters.accession, begins=_begins(filters.accession))
    if filters.name:
        yield from narrow.named(filters.name) or [narrow.NOTHING]
    if filters.status == "exceptions":
        yield narrow.with_exceptions(reaching.exceptions_beside(who, reached))
    elif filters.status == "corrected":
        yield narrow.corrected()
    elif filters.status == "arriving":
        yield narrow.arriving(timezone.now() - ARRIVING)
    yield from narrow.within(reached)
    if filters.since or filters.until:
        yield narrow.of_days(filters.since or "00000101", filters.until or "99991231")
    if filters.modality:
        yield narrow.with_modality(filters.modality, reached)
    if filters.facility:
        yield narrow.of_facility(filters.facility)


def _spot(pk: int, newer_than: bool, reached: Reach) -> Spot:
    found = Study.objects.filter(reaching.studies(reached), pk=pk).values_list("date", flat=True).first()
    if found is None:
        raise NotThere("There is no such study, or it is not yours to see.")
    return Spot(pk, found, newer_than)


# What is shown ----------------------------------------------------------------------------------------------


def _lines(who: Who, ids: Collection[int], reached: Reach) -> list[Line]:
    """The lines of these studies, in this order, of those that are (still) reached."""
    rows = Study.objects.filter(reaching.studies(reached), pk__in=ids).select_related("patient").in_bulk()
    studies = [rows[pk] for pk in ids if pk in rows]
    if not studies:
        return []
    worked_out = _WORKED_OUT if reaching.by_series(reached) else _WORKED_OUT[:1]
    told = related.of_page(worked_out, {"STUDY": set(rows), "PATIENT": set()}, reached)
    waiting = _waiting(studies, reaching.exceptions_beside(who, reached))
    touched = narrow.touched(studies)
    since = timezone.now() - ARRIVING
    recent = [study.pk for study in studies if study.changed_at >= since]
    arriving = narrow.still_arriving(recent, since) if recent else set()
    return [
        _line(
            study,
            {tag: values.get(study.pk, "") for tag, values in told.items()},
            study.pk in arriving,
            waiting.get(study.uid, 0),
            study.pk in touched,
        )
        for study in studies
    ]


_SERIES, _OBJECTS = related.STUDY_COUNTS
_WORKED_OUT: Final = (related.MODALITIES_IN_STUDY, _SERIES, _OBJECTS)


def _line(study: Study, told: dict[int, str], arriving: bool, exceptions: int, corrected: bool) -> Line:
    return Line(
        pk=study.pk,
        uid=study.uid,
        patient=patient_of(study),
        date=study.date,
        time=study.time,
        modalities=tuple(filter(None, told.get(related.MODALITIES_IN_STUDY, "").split("\\"))),
        description=study.description,
        accession_number=study.accession_number,
        referring=study.referring,
        facility=study.facility,
        department=study.department,
        series_count=int(told.get(_SERIES, study.series_count) or 0),
        instance_count=int(told.get(_OBJECTS, study.instance_count) or 0),
        received_at=study.received_at,
        changed_at=study.changed_at,
        arriving=arriving,
        exceptions=exceptions,
        corrected=corrected,
    )


def _waiting(studies: Collection[Study], cases: QuerySet[ExceptionCase]) -> dict[str, int]:
    """How many of the exceptions wait about each of these studies, by UID."""
    waiting = cases.filter(state=ExceptionCase.State.OPEN, study_uid__in=[one.uid for one in studies])
    return dict(waiting.order_by().values_list("study_uid").annotate(Count("pk")))


def _audit(who: Who, filters: Filters, page: Page, *, pictures: bool) -> None:
    """The filters stand in the audit without what they say of a patient, who has columns of their own in it."""
    told = {
        name: value
        for name, value in asdict(filters).items()
        if value and name not in _PERSONAL and (name, value) != ("order", "received")
    }
    asked = [name for name in _PERSONAL if getattr(filters, name)]
    shown = {"pictures": [line.pk for line in page.lines]} if pictures and page.lines else {}
    people = {(line.patient.issuer, line.patient.patient_id) for line in page.lines}
    issuer, patient_id = people.pop() if asked and len(people) == 1 else ("", filters.patient_id)
    record(
        Entry(
            code=Code.QUERY,
            action="E",
            actor=who.actor,
            address=who.address,
            issuer=issuer,
            patient_id=patient_id,
            facility=home(who) or filters.facility,
            detail={"level": "STUDY", "filters": told, "asked": asked, "matches": len(page.lines), **shown},
        )
    )
