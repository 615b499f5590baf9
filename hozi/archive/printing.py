"""Images on paper: contact sheets and single images as a PDF, with the patient on every page; in the audit.

What is printed is bounded: so many images, and so long. Whoever wants more is told how to ask for less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from hozi.accounts.authorise import Who, reach
from hozi.archive import key_images, pictures
from hozi.archive import reach as reaching
from hozi.archive.fetch import SOP_INSTANCE_UID, Holding, Selection
from hozi.archive.models import Instance, Series, Study
from hozi.archive.pictures import Look, NoPicture
from hozi.archive.place import scratch
from hozi.archive.study_page import frame_count, patient_of, study_of
from hozi.audit.record import Code, Entry, record
from hozi.choices.values import get_or_default as chosen
from hozi.core import paper
from hozi.core.dicom import directory, syntaxes
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import HoziError, NotThere, Refused
from hozi.facilities import places

PERMISSION: Final = "studies.print"
MOST: Final = 200
"""Images in one print."""
MOST_ROWS: Final = 8
MOST_COLUMNS: Final = 6

_SECONDS: Final = 60.0
_MM: Final = {"a4": (186.0, 252.0), "us-letter": (192.0, 234.0), "a3": (273.0, 375.0)}
"""Paper, with the millimetres that are left for images, upright."""
_DOTS_A_MM: Final = 8
_MOST_PIXELS: Final = 1800
_MOST_COUNTED: Final = 20_000
_PICTURED: Final = ("IMAGE", "RT DOSE")
SERIES_DESCRIPTION: Final = f"{tag_of('SeriesDescription'):08X}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be printed of a study: chosen images (row id and frame, 0 for the first), or the key images, or one
    series, or all; every so many-th of them; how many stand on a page.
    """

    images: tuple[tuple[int, int], ...] = ()
    key_images: bool = False
    series: int = 0
    every: int = 1
    rows: int = 4
    columns: int = 3
    paper: str = "a4"
    landscape: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Print:
    """A print: the PDF, how many images and pages it has, and whether any of them lost something on the way."""

    pdf: bytes = field(repr=False)
    images: int
    pages: int
    lossy: bool


@dataclass(frozen=True, slots=True)
class _One:
    """An image that is to be printed."""

    holding: Holding
    frame: int
    caption: str


def print_study(who: Who, study: int, wanted: Wanted, *, by: str = "") -> Print:
    """The print, which the audit then knows. ``by``: who prints, as people call them.

    Raises `NotThere` out of reach, and `Refused` when there is nothing to print, or too much at once.
    """
    row = study_of(who, PERMISSION, study)
    _check(wanted)
    asked = _asked(who, row, wanted)[:: wanted.every]
    if not asked:
        raise Refused(_("There is no image to be printed in that."), field="what")
    if len(asked) > MOST:
        told = {"count": len(asked), "most": MOST, "every": -(-len(asked) // MOST) * wanted.every}
        raise Refused(
            _(
                "These are %(count)d images; at most %(most)d are printed at once. Choose one series, or set “every”"
                " to %(every)d."
            )
            % told,
            field="every",
        )
    ones = _ones(who, row, asked)
    if not ones:
        raise Refused(_("There is no image to be printed in that."), field="what")
    cells, shown, lossy = _drawn(ones, wanted)
    size = wanted.rows * wanted.columns
    pages = [cells[at : at + size] for at in range(0, len(cells), size)]
    template = files("hozi.archive").joinpath("print.typ").read_bytes()
    sheet = _sheet(row, wanted, pages, lossy=lossy, by=by or who.actor)
    made = paper.pdf_with_pictures(template, paper.clean(sheet), shown, scratch())
    _record(who, row, wanted, len(cells), len(pages))
    return Print(made, len(cells), len(pages), lossy)


def _check(wanted: Wanted) -> None:
    if not 1 <= wanted.rows <= MOST_ROWS or not 1 <= wanted.columns <= MOST_COLUMNS:
        raise Refused(_("A page has 1 to 8 rows and 1 to 6 columns."), field="layout")
    if wanted.paper not in _MM:
        raise Refused(_("That size of paper is not known."), field="paper")
    if not 1 <= wanted.every <= 1000:
        raise Refused(_("Say every which image is to be printed: 1 to 1000."), field="every")


# What is printed --------------------------------------------------------------------------------------


def _asked(who: Who, study: Study, wanted: Wanted) -> list[tuple[int, int]]:
    """Row ids and frames, in the order in which they are printed."""
    if wanted.images:
        return list(wanted.images)
    if wanted.key_images:
        return key_images.frames(who, study.pk, PERMISSION)
    series = Series.objects.filter(reaching.series(reach(who, PERMISSION)), study=study)
    if wanted.series and not series.filter(pk=wanted.series).exists():
        raise NotThere("There is no such series, or it is not yours to see.")
    if wanted.series:
        series = series.filter(pk=wanted.series)
    asked: list[tuple[int, int]] = []
    for one in series.order_by(F("number").asc(nulls_last=True), "pk"):
        rows = Instance.objects.filter(series=one).order_by(F("number").asc(nulls_last=True), "pk")
        for row in rows.iterator():
            if directory.record_type(row.sop_class) in _PICTURED:
                asked += [(row.pk, frame) for frame in range(1, frame_count(row) + 1)]
            if len(asked) > _MOST_COUNTED:
                return asked
    return asked


def _ones(who: Who, study: Study, asked: Sequence[tuple[int, int]]) -> list[_One]:
    reached = reach(who, PERMISSION)
    rows = Instance.objects.filter(reaching.series(reached, "series__"), series__study=study)
    found = {row.pk: row for row in rows.filter(pk__in={pk for pk, _ in asked}).select_related("series")}
    if {pk for pk, _ in asked} - set(found):
        raise NotThere("One of these images is not there, or not yours to see.")
    uids = [row.uid for row in found.values()]
    held = {one.sop_instance: one for one in Selection({SOP_INSTANCE_UID: uids}, reached)}
    return [
        _One(held[found[pk].uid], max(frame, 1), _caption(found[pk], frame))
        for pk, frame in asked
        if found[pk].uid in held
    ]


def _caption(row: Instance, frame: int) -> str:
    description = row.series.attributes.get(SERIES_DESCRIPTION, "")
    told = [f"{row.series.modality} {row.series.number if row.series.number is not None else ''}".strip()]
    told.append(f"{_('image')} {row.number if row.number is not None else '?'}")
    if frame_count(row) > 1:
        told.append(f"{_('frame')} {max(frame, 1)}")
    return " · ".join([*told, str(description)[:60]]).rstrip(" ·")


def _drawn(ones: Sequence[_One], wanted: Wanted) -> tuple[list[dict[str, str]], dict[str, bytes], bool]:
    """The cells of the pages, the pictures by their names, and whether anything was lost in any of them."""
    width, height = _room(wanted)
    single = wanted.rows == wanted.columns == 1
    cells, shown, lossy = [], {}, False
    until = time.monotonic() + _SECONDS
    for number, one in enumerate(ones):
        if time.monotonic() > until:
            raise Refused(
                _("It takes too long to draw so many images: print %(count)d of them, or every second.")
                % {"count": max(number // 2, 1)},
                field="every",
            )
        name, problem = f"{number}.{'png' if single else 'jpg'}", ""
        look = Look(one.frame, width=width, height=height, quality=90, kind="png" if single else "jpeg")
        try:
            shown[name] = pictures.picture(one.holding, look).data
        except NoPicture as error:
            name, problem = "", str(error)
        syntax = syntaxes.get(one.holding.transfer_syntax)
        lossy = lossy or not single or (syntax is not None and bool(syntax.lossy))
        cells.append({"picture": name, "problem": problem, "caption": one.caption})
    return cells, shown, lossy


def _room(wanted: Wanted) -> tuple[int, int]:
    """Pixels for one image: as many as paper can show."""
    across, down = _MM[wanted.paper]
    if wanted.landscape:
        across, down = down + 20, across - 20
    return (
        min(int(across / wanted.columns * _DOTS_A_MM), _MOST_PIXELS),
        min(int(down / wanted.rows * _DOTS_A_MM), _MOST_PIXELS),
    )


# The page ---------------------------------------------------------------------------------------------


def _sheet(study: Study, wanted: Wanted, pages: list[list[dict[str, str]]], *, lossy: bool, by: str) -> dict[str, Any]:
    patient = patient_of(study)
    issuer = f" ({patient.issuer})" if patient.issuer else ""
    return {
        "title": f"Study {study.pk}",
        "paper": wanted.paper,
        "landscape": wanted.landscape,
        "hospital": hospital(study.facility),
        "patient": paper.name(patient.name),
        "identity": f"{_('ID')} {patient.patient_id or '–'}{issuer} · {_('born')} {paper.day(patient.birth_date)} ·"
        f" {_('sex')} {patient.sex or '–'}",
        "study": f"{paper.day(study.date)} {paper.clock(study.time)}".strip(),
        "description": study.description,
        "accession": f"{_('Accession')} {study.accession_number or '–'}",
        "made": _("Printed by %(by)s, %(at)s") % {"by": by, "at": paper.moment(timezone.localtime())},
        "warning": _("Not for diagnosis") if lossy else "",
        "words": {"page": _("page")},
        "rows": wanted.rows,
        "columns": wanted.columns,
        "pages": pages,
        "remark": wanted.remark.strip()[:300],
    }


def hospital(code: str) -> str:
    """What the hospital of a study is called: as was chosen for this archive, and as its facility is."""
    named = str(chosen("console.hospital_name"))
    try:
        name = places.get(code).name
    except HoziError:
        name = code
    return f"{named} · {name}" if named and named != name else name


def _record(who: Who, study: Study, wanted: Wanted, images: int, pages: int) -> None:
    what = (
        "chosen images"
        if wanted.images
        else "key images"
        if wanted.key_images
        else "one series"
        if wanted.series
        else "whole study"
    )
    with transaction.atomic():
        record(
            Entry(
                code=Code.EXPORT,
                action="R",
                actor=who.actor,
                address=who.address,
                issuer=study.patient.issuer,
                patient_id=study.patient.patient_id,
                study_uid=study.uid,
                facility=study.facility,
                detail={"target": "paper", "printed": what, "objects": images, "pages": pages},
            )
        )
