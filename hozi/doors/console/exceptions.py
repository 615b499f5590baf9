"""Exceptions: what waits for a decision, beside what it collides with; and the decision, seen before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts.authorise import Who, may
from hozi.archive import decide, quarantine
from hozi.archive.decide import Options, Plan
from hozi.archive.quarantine import Compared, Looked
from hozi.core.errors import HoziError, Refused
from hozi.doors.console import acts, needs, paged
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need
from hozi.doors.console.study import answer_picture
from hozi.doors.console.templatetags.console import dicom_date, dicom_time, person_name

_LINES: Final = 50

REASONS: Final[dict[str, str | Promise]] = {
    "same-uid-other-content": gettext_lazy("Same number, other content"),
    "study-of-other-patient": gettext_lazy("Study of another patient"),
    "series-of-other-study": gettext_lazy("Series of another study"),
    "contradicts-command": gettext_lazy("Contradicts its announcement"),
    "unreadable": gettext_lazy("Cannot be read"),
    "invalid-identifiers": gettext_lazy("Numbers missing or wrong"),
    "interrupted": gettext_lazy("Cut off"),
    "patient-differs": gettext_lazy("Patient's name or birth date differs"),
    "executable-preamble": gettext_lazy("Program in front of the image"),
    "study-of-other-facility": gettext_lazy("Study of another facility"),
    "unexplained": gettext_lazy("Reason lost with the database"),
}
"""What each reason is called in lists."""

DECISIONS: Final[dict[str, str | Promise]] = {
    "taken-as-it-is": gettext_lazy("taken in as it is"),
    "taken-same-patient": gettext_lazy("taken in under the archive's patient"),
    "taken-as-own": gettext_lazy("taken in under new numbers"),
    "discarded": gettext_lazy("discarded"),
    "acknowledged": gettext_lazy("acknowledged"),
}
"""What each decision is called."""

_WAYS: Final[dict[str, str | Promise]] = {
    "as-it-is": gettext_lazy("Take it in as it is"),
    "same-patient": gettext_lazy("Take it in: it belongs to the archive's patient"),
    "as-own": gettext_lazy("Take it in: what it says of itself is right, it gets numbers of its own"),
    "discard": gettext_lazy("Discard it: it stays on the disk and is no part of the archive"),
    "acknowledge": gettext_lazy("Acknowledge it: it is stored, somebody has looked"),
    "undo": gettext_lazy("Take the decision back"),
}

_LABELS: Final[dict[str, str | Promise]] = {
    "name": gettext_lazy("Name"),
    "patient_id": gettext_lazy("Patient ID"),
    "issuer": gettext_lazy("Issuer of the ID"),
    "birth_date": gettext_lazy("Born"),
    "sex": gettext_lazy("Sex"),
    "date": gettext_lazy("Study date"),
    "time": gettext_lazy("Study time"),
    "accession_number": gettext_lazy("Accession"),
    "description": gettext_lazy("Description"),
    "referring": gettext_lazy("Referred by"),
    "study": gettext_lazy("Study Instance UID"),
    "series": gettext_lazy("Series Instance UID"),
    "modality": gettext_lazy("Modality"),
    "series_number": gettext_lazy("Series number"),
    "series_description": gettext_lazy("Series description"),
    "kind": gettext_lazy("Kind"),
    "number": gettext_lazy("Number in the series"),
    "object": gettext_lazy("SOP Instance UID"),
    "transfer_syntax": gettext_lazy("Encoding"),
    "length": gettext_lazy("Size"),
    "sha256": gettext_lazy("SHA-256 of the content"),
}
_SHOWN_AS: Final[dict[str, Callable[[str], str]]] = {
    "name": person_name,
    "referring": person_name,
    "birth_date": dicom_date,
    "date": dicom_date,
    "time": dicom_time,
    "length": lambda text: f"{int(text):,} B",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a comparison, ready to be shown."""

    label: str | Promise
    here: str
    there: str
    differs: bool


class Decision(Form):
    """What is decided, why, and about which state of the exception."""

    what = forms.ChoiceField(label=gettext_lazy("Decision"), widget=forms.RadioSelect)
    note = forms.CharField(
        label=gettext_lazy("Why"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Whoever looks at it later reads this."),
    )
    version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, choices: list[tuple[str, str | Promise]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["what"].choices = choices  # type: ignore[attr-defined]
        if len(choices) == 1:
            self.fields["what"].initial = choices[0][0]


@page(quarantine.PERMISSION)
def exceptions(request: Request) -> HttpResponse:
    """What waits for a decision; or, asked so, what was decided."""
    asked = {name: request.GET.get(name, "")[:128] for name in ("reason", "device", "facility", "study", "after")}
    decided = request.GET.get("decided") == "1"
    study = int(asked["study"]) if asked["study"].isdecimal() and len(asked["study"]) < 19 else None
    lines = quarantine.cases(
        request.who,
        reason=asked["reason"],
        device=asked["device"],
        facility=asked["facility"],
        study=study,
        decided=decided,
        after=asked["after"],
        most=_LINES + 1,
    )
    waiting, oldest = quarantine.waiting(request.who)
    context = {
        "place": "exceptions",
        "lines": [(line, REASONS[line.reason], DECISIONS.get(line.decision, "")) for line in lines[:_LINES]],
        "more": lines[_LINES - 1].key if len(lines) > _LINES else "",
        "waiting": waiting,
        "oldest": oldest,
        "asked": asked,
        "decided": decided,
        "narrowed": any(asked[name] for name in ("reason", "device", "facility", "study")),
        "reasons": [(key, REASONS[key], count) for key, count in _choices(request.who, "reason", decided)],
        "devices": _choices(request.who, "device", decided),
        "facilities": _choices(request.who, "facility", decided),
        "may_decide": may(request.who, decide.PERMISSION) and not decided,
    }
    return render(request, "console/exceptions/list.html", context)


def _choices(who: Who, field: str, decided: bool) -> list[tuple[str, int]]:
    return quarantine.choices(who, field, decided=decided)


@page(quarantine.PERMISSION, post=decide.PERMISSION)
def exception(request: Request, pk: int) -> HttpResponse:
    """One exception: looked at, and decided."""
    if request.method == "POST":
        options = decide.options(request.who, pk)
        form = Decision(request.POST, choices=_ways(options))
        done = form.take(_decided, who=request.who, pk=pk)
        if done is not None:
            return acts.done(request, done, "exception", pk)
    found = quarantine.look(request.who, pk)
    if request.method != "POST":
        options = decide.options(request.who, pk) if may(request.who, decide.PERMISSION) else Options()
        form = Decision(choices=_ways(options), initial={"version": found.line.version})
    context = _about(found) | {"form": form, "options": options, "plans": _plans(options.plans)}
    return render(request, "console/exceptions/one.html", context, status=422 if form.errors else 200)


def _ways(options: Options) -> list[tuple[str, str | Promise]]:
    ways = [plan.way for plan in options.plans]
    others = [name for name in ("discard", "acknowledge", "undo") if getattr(options, name)]
    return [(way, _WAYS[way]) for way in (*ways, *others)]


def _decided(*, what: str, note: str, version: int, who: Who, pk: int) -> str:
    """Does what was decided; gives back what to say about it."""
    if what == "discard":
        decide.discard(who, pk, note=note, version=version)
        return _("It is discarded. It stays on the disk, and the decision can be taken back here.")
    if what == "acknowledge":
        decide.acknowledge(who, pk, note=note, version=version)
        return _("It is acknowledged.")
    if what == "undo":
        decide.undo(who, pk, note=note, version=version)
        return _("The decision is taken back: it waits for another one.")
    decide.take_in(who, pk, way=what, note=note, version=version)
    return _("It is part of the archive now. The decision can be taken back here.")


def _about(found: Looked) -> dict[str, Any]:
    line = found.line
    return {
        "place": "exceptions",
        "found": found,
        "line": line,
        "reason": REASONS[line.reason],
        "decision": DECISIONS.get(line.decision, ""),
        "differing": [_row(one) for one in found.compared if one.differs],
        "same": [_row(one) for one in found.compared if not one.differs],
    }


def _row(one: Compared) -> _Row:
    shown = _SHOWN_AS.get(one.what, str)
    here, there = (shown(text) if text else "–" for text in (one.here, one.there))
    return _Row(_LABELS[one.what], here, there, one.differs)


def _plans(plans: tuple[Plan, ...]) -> list[dict[str, Any]]:
    names = {"study": _("study"), "series": _("series"), "instance": _("object")}
    return [
        {
            "plan": plan,
            "label": _WAYS[plan.way],
            "given": [(names[name], getattr(plan, name)) for name in plan.given],
        }
        for plan in plans
    ]


@action(decide.PERMISSION)
def several(request: Request) -> HttpResponse:
    """Discards or acknowledges those that are marked, with one reason."""
    marked = [entry.partition(":") for entry in request.POST.getlist("case")[:_LINES]]
    note = request.POST.get("note", "").strip()
    if not marked or not note:
        text = _("Mark at least one.") if not marked else _("Say why: whoever looks at it later will ask.")
        return acts.not_done(request, text, "exceptions")
    done = 0
    for pk, _colon, version in marked:
        if not (pk.isdecimal() and version.isdecimal() and len(pk + version) < 18):
            continue
        try:
            _put_aside(request.who, int(pk), note, int(version))
            done += 1
        except Refused:
            continue  # decided by somebody else meanwhile, or not to be seen: what is left is said
    text = ngettext("%(count)d is put aside.", "%(count)d are put aside.", done) % {"count": done}
    left = len(marked) - done
    if left:
        text += " " + ngettext("%(count)d could not be.", "%(count)d could not be.", left) % {"count": left}
        return acts.not_done(request, text, "exceptions")
    return acts.done(request, text, "exceptions")


def _put_aside(who: Who, pk: int, note: str, version: int) -> None:
    """Discards what lies in quarantine, acknowledges what is stored."""
    quarantined = bool(quarantine.case_of(who, pk).key)
    (decide.discard if quarantined else decide.acknowledge)(who, pk, note=note, version=version)


@page("studies.open", post="studies.open")
def exception_elements(request: Request, pk: int) -> HttpResponse:
    """The elements of an object in quarantine."""
    wanted = paged.wanted(request)
    found = quarantine.elements(request.who, pk, wanted=wanted.text, first=wanted.first, most=paged.MOST)
    context = {
        "place": "exceptions",
        "line": quarantine.line_of(quarantine.case_of(request.who, pk)),
        **wanted.shown(found),
    }
    part = acts.is_part(request)
    template = "console/exceptions/elements_part.html" if part else "console/exceptions/elements.html"
    return render(request, template, context)


@page("studies.open")
def exception_picture(request: Request, pk: int) -> HttpResponse:
    """A small picture of an object in quarantine."""
    return answer_picture(request, lambda: quarantine.picture(request.who, pk))


@action("studies.download")
def exception_download(request: Request, pk: int) -> HttpResponseBase:
    """The file as it lies in quarantine."""
    given = quarantine.give_out(request.who, pk)
    response = StreamingHttpResponse(given.pieces, content_type="application/dicom")
    response.headers["Content-Disposition"] = f'attachment; filename="{given.name}"'
    response.headers["Content-Length"] = str(given.length)
    return response


def _waiting(who: Who) -> Iterator[Need]:
    try:
        count, oldest = quarantine.waiting(who)
    except HoziError:  # held for no facility
        return
    if count:
        text = ngettext("%(count)d exception waits for a decision.", "%(count)d exceptions wait for a decision.", count)
        words = _("Decide") if may(who, decide.PERMISSION) else _("See them")
        yield Need("soon", text % {"count": count}, words, reverse("exceptions"), oldest)


needs.register(quarantine.PERMISSION, _waiting)

urlpatterns = [
    path("exceptions/", exceptions, name="exceptions"),
    path("exceptions/several/", several, name="exceptions_several"),
    path("exceptions/<int:pk>/", exception, name="exception"),
    path("exceptions/<int:pk>/elements/", exception_elements, name="exception_elements"),
    path("exceptions/<int:pk>/picture/", exception_picture, name="exception_picture"),
    path("exceptions/<int:pk>/download/", exception_download, name="exception_download"),
]
