"""The list of studies: fast, with filters that never stand in an address.

What somebody looks for is sent by POST and kept in their session, under a key that means nothing; the address of a page
of the list holds this key and the row id of the study behind which the page lies.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.gzip import gzip_page

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Who, may
from hozi.archive import browse as browsing
from hozi.archive import saved_filters, thumbnail
from hozi.archive.browse import Filters, Page
from hozi.archive.study_page import LOOK
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts, kept
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.study import answer_picture
from hozi.facilities import places

FIND: Final = "studies.find"
PAGE: Final = 50
_PLACE: Final = "studies"
_MOST_FACILITIES: Final = 200
#: Seconds between two looks at what arrives.
_SOON, _LATER = 5, 20
_PICTURES: Final = "hozi_pictures"
_YEAR: Final = 365 * 24 * 3600

_MODALITIES: Final = (
    ("CR", gettext_lazy("computed radiography")),
    ("DX", gettext_lazy("digital radiography")),
    ("CT", gettext_lazy("computed tomography")),
    ("MR", gettext_lazy("magnetic resonance")),
    ("US", gettext_lazy("ultrasound")),
    ("MG", gettext_lazy("mammography")),
    ("XA", gettext_lazy("angiography")),
    ("RF", gettext_lazy("fluoroscopy")),
    ("NM", gettext_lazy("nuclear medicine")),
    ("PT", gettext_lazy("positron emission")),
    ("ECG", gettext_lazy("electrocardiography")),
    ("ES", gettext_lazy("endoscopy")),
    ("IO", gettext_lazy("dental")),
    ("PX", gettext_lazy("panoramic")),
    ("OP", gettext_lazy("ophthalmic photography")),
    ("SM", gettext_lazy("slide microscopy")),
    ("SR", gettext_lazy("reports")),
    ("PR", gettext_lazy("presentation states")),
    ("OT", gettext_lazy("other")),
)
_DAY: Final = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class Search(Form):
    """What somebody looks for."""

    text = forms.CharField(
        label=gettext_lazy("Patient or number"),
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )
    since = forms.DateField(label=gettext_lazy("Studies from"), required=False, widget=_DAY)
    until = forms.DateField(label=gettext_lazy("until"), required=False, widget=_DAY)
    modality = forms.ChoiceField(label=gettext_lazy("Modality"), required=False)
    facility = forms.ChoiceField(label=gettext_lazy("Facility"), required=False)
    status = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=(
            ("", gettext_lazy("any")),
            ("arriving", gettext_lazy("arriving now")),
            ("exceptions", gettext_lazy("with open exceptions")),
            ("corrected", gettext_lazy("corrected")),
        ),
    )
    order = forms.ChoiceField(
        label=gettext_lazy("The newest"),
        required=False,
        choices=(("received", gettext_lazy("by arrival")), ("date", gettext_lazy("by day of study"))),
    )

    def __init__(self, facilities: Collection[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [("", _("any")), *((code, f"{code} · {name}") for code, name in _MODALITIES)]
        asked = self.initial.get("modality", "")
        if asked and asked not in dict(known):
            known.append((asked, asked))
        _choose(self.fields["modality"], known)
        if len(facilities) > 1:
            _choose(self.fields["facility"], [("", _("any")), *((code, name) for code, name in facilities)])
        else:
            del self.fields["facility"]

    def filters(self) -> Filters:
        """What was typed, as the archive takes it; the form is valid."""
        typed = dict(self.cleaned_data)
        days = {name: _dicom(typed[name]) for name in ("since", "until") if typed[name]}
        return Filters(**{name: value for name, value in (typed | days).items() if value})


class Keep(Form):
    """A name for a search that is kept."""

    name = forms.CharField(label=gettext_lazy("Keep this search as"), max_length=64)


def _choose(field: forms.Field, choices: Collection[tuple[str, Any]]) -> None:
    field.choices = choices  # type: ignore[attr-defined]


@page(FIND, post=FIND)
@gzip_page
def studies(request: Request) -> HttpResponse:
    """The newest studies that whoever looks may see; a search is sent here, and becomes a page of its own."""
    facilities = _facilities(request.who)
    if request.method == "POST":
        return _search(request, facilities)
    filters = _kept(request, request.GET.get("s", ""))
    try:
        shown = _with_pictures(request)
        found = browsing.browse(request.who, filters, most=PAGE, pictures=shown, **_where(request))
    except NotThere:  # the study at which the page began has gone, or is out of reach now
        return acts.there(request, _address(request.GET.get("s", "")))
    except Refused:  # what was kept before the program was changed
        return acts.there(request, "studies")
    form = Search(facilities, initial=_initial(filters))
    return render(request, "console/studies/list.html", _context(request, form, filters, found, facilities))


def _search(request: Request, facilities: Collection[tuple[str, str]]) -> HttpResponse:
    form = Search(facilities, request.POST)
    if form.is_valid():
        filters = _within_days(form.filters(), request.POST.get("days", ""))
        try:
            wanted = browsing.checked(filters)
        except Refused as refused:
            form.refuse(refused)
        else:
            return acts.there(request, _address(_keep(request, wanted)))
    context = _context(request, form, Filters(), Page((), older=False, newer=False), facilities)
    return render(request, "console/studies/list.html", context, status=422)


def _within_days(filters: Filters, days: str) -> Filters:
    """The filters with a number of days until today, when one of the buttons for that was pressed."""
    if not days.isdecimal() or len(days) > 3:
        return filters
    today = timezone.localdate()
    return replace(filters, since=_dicom(today - timedelta(days=int(days))), until=_dicom(today), order="date")


def _dicom(day: date) -> str:
    return f"{day:%Y%m%d}"


def _context(
    request: Request, form: Search, filters: Filters, found: Page, facilities: Collection[tuple[str, str]]
) -> dict[str, Any]:
    key = request.GET.get("s", "")
    lines = found.lines
    return {
        "place": "studies",
        "form": form,
        "page": found,
        "lines": lines,
        "searched": filters != Filters(),
        "key": key if filters != Filters() else "",
        "older": _address(key, after=lines[-1].pk) if found.older and lines else "",
        "newer": _address(key, before=lines[0].pk) if found.newer and lines else "",
        "newest": _address(key),
        "several_facilities": len(facilities) > 1,
        "saved": saved_filters.saved(request.who) if request.who.person is not None else [],
        "keep": Keep(auto_id="keep_%s"),
        "live": _live(request.who, filters, found, key) if not found.newer and not form.errors else None,
        "may_have_pictures": may(request.who, LOOK),
        "pictures": {line.pk: _ticket(request, line.pk) for line in lines} if _with_pictures(request) else {},
    }


# Pictures in the list ---------------------------------------------------------------------------------------


@page(LOOK)
def picture(request: Request, pk: int, ticket: str) -> HttpResponse:
    """A tiny picture of a study, for whom it stood in a list: the audit knows which list that was."""
    if not constant_time_compare(ticket, _ticket(request, pk)):
        raise NotThere("There is no such picture.")
    return answer_picture(request, lambda: thumbnail.of_listed(request.who, pk))


@action(LOOK)
def pictures(request: Request) -> HttpResponse:
    """Shows pictures in lists, or none: kept by this browser, as its link is what they cost."""
    answer = acts.there(request, _address(request.POST.get("s", "")))
    chosen = "on" if request.POST.get("pictures") == "on" else "off"
    secure = request.is_secure()
    answer.set_cookie(_PICTURES, chosen, max_age=_YEAR, httponly=True, samesite="Lax", secure=secure)
    return answer


def _with_pictures(request: Request) -> bool:
    """Whether the list has pictures: as was chosen; else unless the browser says that it saves data."""
    chosen = request.COOKIES.get(_PICTURES, "")
    wanted = chosen == "on" if chosen in ("on", "off") else request.headers.get("Save-Data", "").lower() != "on"
    return wanted and may(request.who, LOOK)


def _ticket(request: Request, pk: int) -> str:
    """What stands in the address of a study's picture: good for this study in this session."""
    return salted_hmac(_PICTURES, f"{request.session.session_key} {pk}", algorithm="sha256").hexdigest()[:20]


# What somebody looks for, in their session ------------------------------------------------------------------


def _keep(request: Request, filters: Filters) -> str:
    """Puts the filters into the session; returns the key for them. Nothing looked for has no key."""
    told = {name: value for name, value in asdict(filters).items() if value}
    return kept.keep(request, _PLACE, told if filters != Filters() else {})


def _kept(request: Request, key: str) -> Filters:
    """The filters under that key; an unknown or forgotten key means none."""
    return Filters(**kept.under(request, _PLACE, key))


def _initial(filters: Filters) -> dict[str, Any]:
    days = {name: _html_day(getattr(filters, name)) for name in ("since", "until")}
    return {**asdict(filters), **days}


def _html_day(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else ""


def _where(request: Request) -> dict[str, int]:
    """Where in the list the page lies."""
    found = {name: request.GET.get(name, "") for name in ("after", "before")}
    return {name: int(value) for name, value in found.items() if value.isdecimal() and len(value) < 19}


def _address(key: str, **where: int) -> str:
    told = [f"s={key}"] if key else []
    told += [f"{name}={value}" for name, value in where.items()]
    return reverse("studies") + ("?" + "&".join(told) if told else "")


def _facilities(who: Who) -> list[tuple[str, str]]:
    """Code and name of the facilities whose studies whoever looks may see; none for those who see single patients."""
    try:
        within = authorise.facilities(who, FIND)
    except Denied:
        return []
    return [(place.code, place.name) for place in places.listed(within, most=_MOST_FACILITIES)]


# What arrives meanwhile -------------------------------------------------------------------------------------


@page(FIND)
def now(request: Request) -> HttpResponse:
    """What has changed of the studies that somebody sees arriving, and how many have come since: a few bytes."""
    key = request.GET.get("s", "")
    filters = _kept(request, key)
    shown = [int(pk) for pk in request.GET.get("of", "").split(".") if pk.isdecimal() and len(pk) < 19]
    newest = request.GET.get("newest", "")
    moving = browsing.progress(request.who, shown[:PAGE])
    context = {
        "moving": moving,
        "live": _next(
            request.who,
            filters,
            key,
            int(newest) if newest.isdecimal() and len(newest) < 19 else 0,
            [one.pk for one in moving if one.arriving],
        ),
    }
    return render(request, "console/studies/now.html", context)


def _live(who: Who, filters: Filters, found: Page, key: str) -> dict[str, Any]:
    arriving = [line.pk for line in found.lines if line.arriving]
    return _next(who, filters, key, max((line.pk for line in found.lines), default=0), arriving, count=False)


def _next(
    who: Who, filters: Filters, key: str, newest: int, arriving: Collection[int], *, count: bool = True
) -> dict[str, Any]:
    """When to look again, where, and how many new ones there are."""
    told = [f"newest={newest}", *([f"s={key}"] if key else [])]
    if arriving:
        told.append("of=" + ".".join(map(str, arriving)))
    return {
        "url": f"{reverse('studies_now')}?{'&'.join(told)}",
        "seconds": _SOON if arriving else _LATER,
        "new": browsing.newer(who, filters, newest) if count else 0,
        "most": browsing.MOST,
        "there": _address(key),
    }


# Searches that are kept -------------------------------------------------------------------------------------


@action(FIND)
def keep(request: Request) -> HttpResponse:
    """Keeps the search on the page under a name."""
    form = Keep(request.POST)
    key = request.POST.get("s", "")
    saved = form.take(saved_filters.save, who=request.who, filters=_kept(request, key))
    if saved is None:
        wrong = " ".join(str(text) for texts in form.errors.values() for text in texts)
        return acts.not_done(request, wrong, _address(key))
    return acts.done(request, _("Kept as “%(name)s”.") % {"name": saved.name}, _address(key))


@action(FIND)
def use(request: Request, pk: int) -> HttpResponse:
    """Searches again for what was kept."""
    return acts.there(request, _address(_keep(request, saved_filters.saved_one(request.who, pk).filters)))


@action(FIND)
def forget(request: Request, pk: int) -> HttpResponse:
    """Removes a search that was kept."""
    gone = saved_filters.forget(request.who, pk)
    return acts.done(request, _("“%(name)s” is not kept any more.") % {"name": gone.name}, "studies")


urlpatterns = [
    path("studies/", studies, name="studies"),
    path("studies/pictures/", pictures, name="studies_pictures"),
    path("studies/<int:pk>/picture/<str:ticket>/", picture, name="study_picture"),
    path("studies/now/", now, name="studies_now"),
    path("studies/kept/", keep, name="studies_keep"),
    path("studies/kept/<int:pk>/", use, name="studies_use"),
    path("studies/kept/<int:pk>/forget/", forget, name="studies_forget"),
]
