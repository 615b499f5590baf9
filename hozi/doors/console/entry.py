"""One-time links: the first administrator, and everybody who was invited or needs a new password."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from django import forms
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from hozi.accounts import invitations
from hozi.choices import answers
from hozi.core.errors import NotThere
from hozi.doors.console.access import public
from hozi.doors.console.forms import Form


class NewPassword(Form):
    """A password, twice."""

    password = forms.CharField(
        label=_("Password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        strip=False,
    )
    again = forms.CharField(
        label=_("The same again"), widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), strip=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rule = _("At least %(count)d characters. A sentence is easier to remember than a riddle.")
        self.fields["password"].help_text = rule % {"count": answers.password_min_length()}

    def clean(self) -> dict[str, Any]:
        """Both must be the same."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("password") and cleaned.get("again") and cleaned["password"] != cleaned["again"]:
            self.add_error("again", _("The two passwords are not the same."))
        cleaned.pop("again", None)
        return cleaned


class FirstAdministrator(NewPassword):
    """Who looks after the archive first."""

    field_order = ["full_name", "username", "email", "password", "again"]
    full_name = forms.CharField(label=_("Your name"), max_length=128)
    username = forms.CharField(label=_("Name to sign in with"), max_length=64, help_text=_("For example: tmoyo"))
    email = forms.EmailField(label=_("E-mail"), required=False)


@sensitive_post_parameters()
@public(post=True)
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link: sets a password, and signs in. One that is used up, too old or wrong is not there."""
    link = invitations.look(token, request.address)  # type: ignore[attr-defined]
    if link is None:
        return render(request, "console/link_ended.html", status=404)
    first = link.purpose == "setup"
    form = (FirstAdministrator if first else NewPassword)(request.POST or None)
    if request.method == "POST":
        try:
            person = form.take(invitations.accept, token=token, address=request.address)  # type: ignore[attr-defined]
        except NotThere:
            return render(request, "console/link_ended.html", status=404)
        if person is not None:
            return _sign_in(request, person)
    texts = {
        "title": _("The first administrator") if first else _("Choose a password"),
        "text": _("Nobody can sign in to this archive yet. Whoever you name here can do everything, and invite others.")
        if first
        else _("Welcome, %(name)s. You sign in as %(username)s.") % {"name": link.full_name, "username": link.username},
        "act": _("Begin"),
    }
    return render(request, "console/enter.html", {"form": form, **texts})


def _sign_in(request: HttpRequest, person: int) -> HttpResponse:
    """As after a right password: whoever has a second factor still has to show it."""
    user = get_user_model()._default_manager.get(pk=person)
    record_authentication(request, user, method="password", username=user.get_username())
    answer: HttpResponse = perform_login(request, user, redirect_url="/")
    return answer
