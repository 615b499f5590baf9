"""Emergency access in the browser: opened with a reason, seen while it lasts, reviewed afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts import emergency as room
from hozi.accounts.authorise import Who, may
from hozi.choices import answers
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need
from hozi.facilities import places

USE: Final = "emergency.use"
REVIEW: Final = "emergency.review"
_PAGE: Final = 50
_ELSEWHERE: Final = "*"


class Opening(Form):
    """Whom to open, and why."""

    issuer = forms.ChoiceField(label=gettext_lazy("Hospital that gave the number"))
    other = forms.CharField(
        label=gettext_lazy("Another issuer"),
        max_length=64,
        required=False,
        help_text=gettext_lazy("Only if the number was given somewhere else: as it stands beside patient IDs."),
    )
    patient_id = forms.CharField(
        label=gettext_lazy("Patient ID"),
        max_length=256,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("As it stands on the wristband or the request, letter by letter."),
    )
    reason = forms.CharField(
        label=gettext_lazy("What is the emergency?"),
        max_length=room.LONGEST_TEXT,
        min_length=room.LEAST_REASON,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Somebody reads it afterwards and asks when it is not clear."),
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        known = [(place.issuer, f"{place.name} ({place.issuer})") for place in places.listed()]
        first = [] if len(known) == 1 else [("", "–")]
        self.fields["issuer"].choices = [*first, *known, (_ELSEWHERE, _("Another"))]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, object]:
        """The issuer that was chosen, or written."""
        cleaned: dict[str, object] = super().clean() or {}
        other = str(cleaned.pop("other", "") or "").strip()
        if cleaned.get("issuer") == _ELSEWHERE:
            if not other:
                self.add_error("other", _("Write who gave the number."))
            cleaned["issuer"] = other
        elif other and "issuer" in cleaned:
            self.add_error("other", _("Choose “Another” above, or leave this empty."))
        return cleaned


class Verdict(Form):
    """What a reviewer says."""

    verdict = forms.ChoiceField(
        label=gettext_lazy("Was it justified?"),
        widget=forms.RadioSelect,
        choices=(("justified", gettext_lazy("Yes, justified")), ("not-justified", gettext_lazy("No, not justified"))),
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=room.LONGEST_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Needed when it was not justified; what still lasts ends at once then."),
    )


@page(USE, post=USE)
def emergency(request: Request) -> HttpResponse:
    """What is open to whoever looks, and another patient to open."""
    form = Opening(request.POST or None)
    if request.method == "POST":
        opened = form.take(room.open, who=request.who)
        if opened is not None:
            until = f"{timezone.localtime(opened.until):%H:%M}"
            text = _("The patient is open to you until %(until)s.") % {"until": until}
            return acts.done(request, text, "emergency")
    minutes = int(answers.emergency_length().total_seconds() // 60)
    context = {
        "place": "studies",
        "form": form,
        "mine": room.mine(request.who),
        "minutes": minutes,
        "may_review": may(request.who, REVIEW),
    }
    return render(request, "console/emergency/open.html", context, status=422 if form.errors else 200)


@action(USE, REVIEW)
def end(request: Request, number: int) -> HttpResponse:
    """Ends one before its time: one's own, or one that is to be reviewed."""
    there = "emergencies" if request.POST.get("from") == "review" else "emergency"
    try:
        room.end(request.who, number)
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), there)
    return acts.done(request, _("Emergency access is ended."), there)


@page(REVIEW)
def to_review(request: Request) -> HttpResponse:
    """What nobody has reviewed yet."""
    rows = room.to_review(request.who)
    return render(request, "console/emergency/review.html", {"place": "people", "tab": "emergencies", "rows": rows})


@page(REVIEW)
def log(request: Request) -> HttpResponse:
    """All emergency access, the newest first."""
    digits = request.GET.get("before", "")
    before = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 17 else None
    rows = room.log(request.who, before=before, limit=_PAGE + 1)
    context = {
        "place": "people",
        "tab": "emergencies",
        "rows": rows[:_PAGE],
        "more": rows[_PAGE - 1].id if len(rows) > _PAGE else 0,
    }
    return render(request, "console/emergency/log.html", context)


@page(REVIEW, post=REVIEW)
def verdict(request: Request, number: int) -> HttpResponse:
    """One of them, and what a reviewer says of it."""
    access = room.one(request.who, number)
    form = Verdict(request.POST or None)
    if request.method == "POST":
        done = form.take(lambda **said: room.review(request.who, number, **said))
        if done is not None:
            return acts.done(request, _("The review is written down."), "emergencies")
    context = {
        "place": "people",
        "tab": "emergencies",
        "one": access,
        "form": form,
        "own": access.person == request.who.person,
    }
    return render(request, "console/emergency/one.html", context, status=422 if form.errors else 200)


def _open(who: Who) -> Iterable[Need]:
    mine = room.mine(who)
    if mine:
        text = ngettext(
            "%(count)d patient is open to you by emergency access until %(until)s.",
            "%(count)d patients are open to you by emergency access, the first until %(until)s.",
            len(mine),
        )
        said = {"count": len(mine), "until": f"{timezone.localtime(mine[0].until):%H:%M}"}
        yield Need("soon", text % said, _("Look, or end it"), reverse("emergency"), mine[0].opened_at)


def _waiting(who: Who) -> Iterable[Need]:
    waits = room.waiting(who)
    if waits.to_review:
        text = ngettext(
            "%(count)d emergency access has not been reviewed.",
            "%(count)d emergency accesses have not been reviewed.",
            waits.to_review,
        ) % {"count": waits.to_review}
        if waits.lasting:
            text += " " + ngettext(
                "%(count)d patient is open by it at this moment.",
                "%(count)d patients are open by it at this moment.",
                waits.lasting,
            ) % {"count": waits.lasting}
        yield Need("now", text, _("Review it"), reverse("emergencies"))


needs.register(USE, _open)
needs.register(REVIEW, _waiting)

urlpatterns: list[URLPattern] = [
    path("emergency/", emergency, name="emergency"),
    path("emergency/<int:number>/end/", end, name="emergency_end"),
    path("emergency/review/", to_review, name="emergencies"),
    path("emergency/log/", log, name="emergency_log"),
    path("emergency/<int:number>/", verdict, name="emergency_one"),
]
