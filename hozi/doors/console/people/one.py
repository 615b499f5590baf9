"""One person: what is known, what can be done, the roles they hold, and where they are signed in."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise, grants, lifecycle, profile, tokens
from hozi.accounts.authorise import Who
from hozi.accounts.profile import Profile
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.people import admitting, choosing, once
from hozi.doors.console.people.choosing import set_choices

_APPROVE: Final = "people.approve"


class Change(Form):
    """What is known of somebody."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    full_name = forms.CharField(label=gettext_lazy("Name"), max_length=128)
    email = forms.CharField(label=gettext_lazy("E-mail"), max_length=254, required=False)
    phone = forms.CharField(label=gettext_lazy("Telephone"), max_length=32, required=False)
    facility = forms.ChoiceField(label=gettext_lazy("Where they work"), required=False)
    ends_on = forms.DateField(label=gettext_lazy("Last day"), required=False, widget=choosing.Day)
    referring_names = forms.CharField(
        label=gettext_lazy("Names as a referrer"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("As they stand on requests, one on each line: Moyo^Tendai."),
    )
    never_idle = forms.BooleanField(
        label=gettext_lazy("Kept for emergencies: not disabled when nobody uses it"), required=False
    )

    def __init__(self, who: Who, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_choices(self, "facility", choosing.facilities(who, _APPROVE))

    def clean_referring_names(self) -> list[str]:
        """One name a line."""
        return str(self.cleaned_data["referring_names"]).splitlines()


class Reason(Form):
    """Why an account is ended."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Why"),
        max_length=200,
        help_text=gettext_lazy("It stands in the audit, and others will ask."),
    )


class Give(Form):
    """A role, and how far it reaches."""

    role = forms.ChoiceField(label=gettext_lazy("Role"))
    where = forms.ChoiceField(label=gettext_lazy("Where"), required=False)
    modality = forms.CharField(
        label=gettext_lazy("Only images of this kind"),
        max_length=16,
        required=False,
        help_text=gettext_lazy("CT, MR, US ... Left empty: all."),
    )
    own_referrals = forms.BooleanField(label=gettext_lazy("Only studies that they asked for"), required=False)
    deidentified = forms.BooleanField(
        label=gettext_lazy("Only studies in which nobody can be recognised"), required=False
    )
    ends_on = forms.DateField(label=gettext_lazy("Last day of the account"), required=False, widget=choosing.Day)

    def __init__(self, who: Who, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_choices(self, "role", choosing.roles_to_give(who), empty="–")
        set_choices(self, "where", choosing.scopes(who, "people.grant"))

    def refuse(self, refused: Refused) -> None:
        """Facility and department are one field here."""
        if refused.field in ("facility", "department"):
            self.add_error("where", str(refused))
        else:
            super().refuse(refused)


@page("people.see")
def person(request: Request, number: int) -> HttpResponse:
    """One person."""
    who, shown = request.who, profile.of(request.who, number)
    own = who.person == number
    looks_after = authorise.may(who, _APPROVE) and not own
    secret = once.seen(request, number)
    context = {
        "place": "people",
        "person": shown,
        "state": choosing.STATES[shown.state],
        "steps": _steps(who, shown) if looks_after else [],
        "ends": _ends(shown) if looks_after else [],
        "own": own,
        "may_change": looks_after,
        "may_grant": authorise.may(who, "people.grant") and not own and shown.state != "disabled",
        "tokens": tokens.listed(who, number),
        "sessions": profile.signed_in_at(who, number) if looks_after else None,
        "secret": secret,
        "may_audit": authorise.may(who, "audit.read"),
    }
    answer = render(request, "console/people/one.html", context)
    return once.forget(answer) if secret else answer


@page(_APPROVE, post=_APPROVE)
def change(request: Request, number: int) -> HttpResponse:
    """Changes what is known of somebody."""
    shown = profile.of(request.who, number)
    known = {name: getattr(shown, name) for name in Change.base_fields}
    known["referring_names"] = "\n".join(shown.referring_names)
    form = Change(request.who, request.POST or None, initial=known)
    if request.method == "POST" and form.take(profile.change, who=request.who, number=number) is not None:
        return acts.done(
            request, _("%(name)s is changed.") % {"name": form.cleaned_data["full_name"]}, "person", number
        )
    return render(request, "console/people/change.html", {"place": "people", "person": shown, "form": form})


_WAYS: Final = {"suspend": lifecycle.suspend, "disable": lifecycle.disable, "decline": lifecycle.decline}


@page(_APPROVE, post=_APPROVE)
def end(request: Request, number: int, way: str) -> HttpResponse:
    """Suspends, disables or declines somebody, with a reason."""
    if way not in _WAYS:
        raise NotThere("There is no such way")
    shown = profile.of(request.who, number)
    form = Reason(request.POST or None, initial={"version": shown.version})
    if request.method == "POST":
        account = form.take(_WAYS[way], who=request.who, number=number)
        if account is not None:
            return admitting.told(request, account)
    return render(request, "console/people/end.html", {"place": "people", "person": shown, "form": form, "way": way})


@page("people.grant", post="people.grant")
def give(request: Request, number: int) -> HttpResponse:
    """Gives somebody a role."""
    shown = profile.of(request.who, number)
    wanted = {"role": "" if shown.held else shown.wanted_role, "where": shown.facility or None}
    form = Give(request.who, request.POST or None, initial=wanted)
    if request.method == "POST" and form.take(_grant, who=request.who, number=number) is not None:
        return acts.done(request, _("The role is given."), "person", number)
    return render(request, "console/people/give.html", {"place": "people", "person": shown, "form": form})


@action("people.grant")
def take_away(request: Request, number: int, grant: int) -> HttpResponse:
    """Takes a role away."""
    try:
        ended = grants.end(request.who, grant)
    except NotThere:
        raise
    except Refused as error:
        return acts.not_done(request, str(error), "person", number)
    text = _("The role %(role)s is taken away. To undo that, give it again.") % {"role": ended.role_name}
    return acts.done(request, text, "person", number)


@action(_APPROVE)
def sign_out(request: Request, number: int) -> HttpResponse:
    """Signs somebody out of one browser, or of all."""
    session = request.POST.get("session", "")
    count = profile.sign_out(request.who, number, int(session) if session.isdigit() else None)
    return acts.done(request, _("Signed out of %(count)d browsers.") % {"count": count}, "person", number)


def _grant(*, who: Who, number: int, where: str, **more: Any) -> grants.Given:
    facility, _slash, department = where.partition("/")
    return grants.grant(who, number, facility=facility, department=department, **more)


def _steps(who: Who, shown: Profile) -> list[tuple[str, str]]:
    """What can follow without words, the likeliest first."""
    admits = lifecycle.may_decide_alone(who) and (shown.wanted_role or shown.held)
    if shown.state == "requested":
        return [*([("admit", _("Admit"))] if admits else []), ("approve", _("Approve only"))]
    if shown.state == "approved":
        return (
            [("invite", _("Invite"))] if shown.held else ([("admit", _("Give the role and invite"))] if admits else [])
        )
    if shown.state in ("invited", "active"):
        return [] if shown.is_program else [("link", _("New one-time link"))]
    return [("reactivate", _("Give the account back"))]


def _ends(shown: Profile) -> list[tuple[str, str]]:
    if shown.state in ("requested", "approved"):
        return [("decline", _("Decline"))]
    if shown.state in ("invited", "active"):
        return [("suspend", _("Suspend")), ("disable", _("Disable"))]
    return [("disable", _("Disable"))] if shown.state == "suspended" else []
