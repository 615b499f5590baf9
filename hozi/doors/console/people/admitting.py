"""How people come in: requests, who waits for an account, and the steps from request to link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts import authorise, clock, invitations, lifecycle
from hozi.accounts.authorise import Who
from hozi.accounts.lifecycle import Account
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need
from hozi.doors.console.people import choosing, once
from hozi.doors.console.people.choosing import set_choices

_MOST_AT_ONCE: Final = 200
_LOOKED_BACK: Final = timedelta(days=90)


class Newcomer(Form):
    """Somebody for whom an account is asked."""

    full_name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    role = forms.ChoiceField(label=gettext_lazy("What they will be"))
    facility = forms.ChoiceField(label=gettext_lazy("Where they work"), required=False)
    email = forms.CharField(label=gettext_lazy("E-mail"), max_length=254, required=False)
    phone = forms.CharField(label=gettext_lazy("Telephone"), max_length=32, required=False)
    username = forms.CharField(
        label=gettext_lazy("Name to sign in with"),
        max_length=64,
        required=False,
        help_text=gettext_lazy("Left empty, it is made from the name: tendai.moyo"),
    )
    ends_on = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=choosing.Day,
        help_text=gettext_lazy("For students, vendors and everybody who comes for a time."),
    )
    referring_names = forms.CharField(
        label=gettext_lazy("Names as a referrer"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("As they stand on requests, one on each line: Moyo^Tendai. Referrers see only these."),
    )
    is_program = forms.BooleanField(
        label=gettext_lazy("This is a program, not a person: it uses tokens"), required=False
    )
    note = forms.CharField(
        label=gettext_lazy("For whoever approves it"),
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, who: Who, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_choices(self, "role", choosing.all_roles(), empty="–")
        set_choices(self, "facility", choosing.facilities(who, "people.request"))

    def clean_referring_names(self) -> list[str]:
        """One name a line."""
        return str(self.cleaned_data["referring_names"]).splitlines()


@page("people.request", post="people.request")
def new(request: Request) -> HttpResponse:
    """Asks for an account."""
    form = Newcomer(request.who, request.POST or None)
    if request.method == "POST":
        asked = form.take(lifecycle.request, who=request.who)
        if asked is not None:
            text = _("An account for %(name)s is asked for. It should be usable within 24 hours.")
            to = ("person", asked.id) if authorise.may(request.who, "people.see") else ("person-new",)
            return acts.done(request, text % {"name": asked.full_name}, *to)
    return render(request, "console/people/new.html", {"place": "people", "form": form})


@page("people.see", post="people.approve")
def waiting(request: Request) -> HttpResponse:
    """Who waits for an account, those due first; several can be admitted at once."""
    admitted: list[Account] = []
    refused: list[str] = []
    if request.method == "POST":
        chosen = [int(number) for number in request.POST.getlist("person") if number.isdigit()][:_MOST_AT_ONCE]
        for number in chosen:
            try:
                admitted.append(lifecycle.admit(request.who, number))
            except Refused as error:
                refused.append(str(error))
    late, asked = clock.breaches(request.who, timezone.now() - _LOOKED_BACK)
    context = {
        "place": "people",
        "tab": "waiting",
        "waiting": clock.waiting(request.who, most=_MOST_AT_ONCE),
        "late": late,
        "asked": asked,
        "days": _LOOKED_BACK.days,
        "may_admit": lifecycle.may_decide_alone(request.who),
        "admitted": [(account, absolute(request, account)) for account in admitted],
        "refused": refused,
        "may_request": authorise.may(request.who, "people.request"),
    }
    return render(request, "console/people/waiting.html", context)


_STEPS: Final = {
    "approve": lifecycle.approve,
    "admit": lifecycle.admit,
    "invite": lifecycle.invite,
    "reactivate": lifecycle.reactivate,
}


@action("people.approve")
def step(request: Request, number: int) -> HttpResponse:
    """One step of an account that needs no words: approve, admit, invite, give back, or a new link."""
    name, version = request.POST.get("step", ""), request.POST.get("version", "")
    try:
        if name == "link":
            account = lifecycle.link(request.who, number)
        elif name in _STEPS:
            account = _STEPS[name](request.who, number, version=int(version) if version.isdigit() else None)
        else:
            raise NotThere("There is no such step")
    except NotThere:
        raise
    except Refused as error:
        return acts.not_done(request, str(error), "person", number)
    return told(request, account)


def told(request: Request, account: Account) -> HttpResponse:
    """Says what became of the account, on its page; a link is shown there once."""
    word = choosing.STATES[account.state][1]
    text = _("%(name)s: %(state)s.") % {"name": account.full_name, "state": word}
    answer = acts.done(request, text, "person", account.id)
    if account.secret:
        once.hand(answer, request, once.Secret("link", account.id, absolute(request, account)))
    return answer


def absolute(request: Request, account: Account) -> str:
    """The one-time link, as it is handed over; empty without one."""
    return request.build_absolute_uri(invitations.path(account.secret)) if account.secret else ""


def _needs(who: Who) -> list[Need]:
    found = clock.waiting(who)
    if not found:
        return []
    late = sum(one.clock.breached for one in found)
    text = ngettext("%(count)d person waits for an account", "%(count)d people wait for an account", len(found)) % {
        "count": len(found)
    }
    if late:
        text += ", " + _("%(count)d for more than 24 hours") % {"count": late}
    since = found[0].clock.due_at - clock.ALLOWED
    return [Need("now" if late else "soon", text + ".", _("Admit them"), reverse("people-waiting"), since)]


needs.register("people.approve", _needs)
