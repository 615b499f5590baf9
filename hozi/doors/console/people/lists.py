"""The list of people."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise, listed
from hozi.doors.console.access import Request, page
from hozi.doors.console.forms import Form
from hozi.doors.console.people import choosing
from hozi.doors.console.people.choosing import set_choices

_SORTS = [
    ("name", gettext_lazy("Name")),
    ("seen", gettext_lazy("Seen last")),
    ("idle", gettext_lazy("Idle longest")),
    ("end", gettext_lazy("Last day")),
    ("new", gettext_lazy("Newest")),
]


class Filters(Form):
    """Which people, in which order."""

    text = forms.CharField(label=gettext_lazy("Name or e-mail"), required=False, max_length=100)
    state = forms.ChoiceField(label=gettext_lazy("State"), required=False)
    role = forms.ChoiceField(label=gettext_lazy("Role"), required=False)
    facility = forms.ChoiceField(label=gettext_lazy("Facility"), required=False)
    sort = forms.ChoiceField(label=gettext_lazy("Order"), choices=_SORTS, required=False)


@page("people.see")
def people(request: Request) -> HttpResponse:
    """The people whom whoever looks may see."""
    who, counts = request.who, listed.counts(request.who)
    form = Filters(request.GET or None)
    states = [(key, f"{word} ({counts[key]})") for key, (_kind, word) in choosing.STATES.items()]
    set_choices(form, "state", states, empty=_("Any"))
    set_choices(form, "role", choosing.all_roles(), empty=_("Any"))
    reach = [choice for choice in choosing.facilities(who, "people.see") if choice[0]]
    set_choices(form, "facility", reach, empty=_("Any"))
    wanted = {key: value for key, value in form.cleaned_data.items() if value} if form.is_valid() else {}
    after = request.GET.get("after", "")
    found = listed.people(
        who, after=int(after) if after.isascii() and after.isdigit() and len(after) < 19 else None, **wanted
    )
    context = {
        "place": "people",
        "tab": "people",
        "form": form,
        "lines": [(line, choosing.STATES[line.state]) for line in found.lines],
        "active": counts["active"],
        "waiting": counts["requested"] + counts["approved"],
        "more": urlencode({**wanted, "after": found.next}) if found.next else "",
        "filtered": bool(wanted),
        "may_request": authorise.may(who, "people.request"),
    }
    return render(request, "console/people/list.html", context)
