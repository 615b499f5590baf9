"""What somebody asks the audit: typed into a form, kept in their session, never in an address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.audit import words
from hozi.audit.search import Question
from hozi.doors.console import kept as store
from hozi.doors.console.access import Request
from hozi.doors.console.forms import Form
from hozi.facilities import places

READ: Final = "audit.read"
EXPORT: Final = "audit.export"

_PLACE: Final = "audit"
_MOST_FACILITIES: Final = 200
_DAY: Final = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
_TYPED: Final = {"autocomplete": "off", "spellcheck": "false"}


def _text(label: Any, most: int, **more: Any) -> forms.CharField:
    return forms.CharField(label=label, required=False, max_length=most, widget=forms.TextInput(attrs=_TYPED), **more)


class Days(Form):
    """A time in days; both are included."""

    since = forms.DateField(label=gettext_lazy("From"), required=False, widget=_DAY)
    until = forms.DateField(label=gettext_lazy("to"), required=False, widget=_DAY)

    def times(self) -> dict[str, datetime]:
        """When the first day begins and when the last one is over; the form is valid."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        times = {"since": _begin(since)} if since else {}
        return times | ({"until": _begin(until + timedelta(days=1))} if until and until < date.max else {})


class Search(Days):
    """What somebody looks for."""

    field_order = ["patient_id", "issuer", "actor", "kind", "ended", "since", "until", "facility"]

    patient_id = _text(gettext_lazy("Patient number"), 256)
    issuer = forms.ChoiceField(label=gettext_lazy("given by"), required=False)
    actor = _text(gettext_lazy("Person or device"), 128)
    kind = forms.ChoiceField(label=gettext_lazy("What"), required=False)
    ended = forms.ChoiceField(
        label=gettext_lazy("How it ended"),
        required=False,
        choices=(
            ("", gettext_lazy("any")),
            ("well", gettext_lazy("done")),
            ("badly", gettext_lazy("refused or failed")),
        ),
    )
    facility = forms.ChoiceField(label=gettext_lazy("Facility"), required=False)
    address = _text(gettext_lazy("From the address"), 64)
    study_uid = _text(gettext_lazy("Study Instance UID"), 64)

    def __init__(self, who: Who, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = places.listed(authorise.facilities(who, READ), most=_MOST_FACILITIES)
        _choose(self.fields["kind"], [("", _("anything")), *((kind.key, kind.label) for kind in words.KINDS)])
        # Rows may name hospitals that are no facilities here: what came from a row is a choice, too.
        given = {str(self.initial.get("issuer") or ""), str(self.data.get("issuer") or "")[:64]}
        issuers = sorted(({place.issuer for place in known} | given) - {""})
        _choose(self.fields["issuer"], [("", _("anybody")), *((name, name) for name in issuers)])
        if len(known) > 1:
            _choose(self.fields["facility"], [("", _("any")), *((place.code, place.name) for place in known)])
        else:
            del self.fields["facility"]

    def question(self) -> Question:
        """What was typed, as the audit takes it; the form is valid."""
        typed: dict[str, Any] = {name: value for name, value in self.cleaned_data.items() if isinstance(value, str)}
        return Question(**typed | self.times())


def _choose(field: forms.Field, choices: Collection[tuple[str, Any]]) -> None:
    field.choices = choices  # type: ignore[attr-defined]


def by(request: Request, permission: str = READ) -> Any:
    """Who asks, for the room: actor, address, and the facilities that the permission reaches. Raises Denied."""
    who = request.who
    return {"actor": who.actor, "address": who.address, "facilities": authorise.facilities(who, permission)}


def keep(request: Request, question: Question) -> str:
    """Puts the question into the session; returns the key for it. The one that asks for nothing has none."""
    return store.keep(request, _PLACE, {name: _kept_text(value) for name, value in asdict(question).items() if value})


def kept(request: Request, key: str) -> Question:
    """The question under that key; an unknown or forgotten key means none."""
    told: dict[str, Any] = dict(store.under(request, _PLACE, key))
    for name in ("since", "until"):
        if name in told:
            told[name] = datetime.fromisoformat(told[name])
    return Question(**told)


def typed(question: Question) -> dict[str, Any]:
    """The question as the form showed it."""
    days = {
        "since": timezone.localtime(question.since).date() if question.since else None,
        "until": timezone.localtime(question.until - timedelta(seconds=1)).date() if question.until else None,
    }
    return {**asdict(question), **days}


def _kept_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.get_default_timezone())
