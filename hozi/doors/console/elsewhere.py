"""Signing in at the hospital's own sign-in service (OpenID Connect), for people who have an account here.

The service says who somebody is, never what they may do: nobody gets an account by having one there. The first time,
an account here is recognised by the e-mail address that the service has verified; from then on by the service's own
number for the person.
"""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.openid_connect import views
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from requests import RequestException

from hozi.accounts.authorise import home_of
from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.doors.console.access import public
from hozi.doors.http.signed_in import address_of


class Elsewhere(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Lets in whom the service names and who is known here; everybody else is refused and audited."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Never: accounts are requested, approved and invited."""
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Recognises somebody who comes this way for the first time, or refuses."""
        if sociallogin.is_existing:
            return
        verified = [address.email for address in sociallogin.email_addresses if address.verified and address.email]
        people = get_user_model()._default_manager.filter(is_active=True)
        found = [person for email in verified for person in people.filter(email__iexact=email)[:2]]
        if len(found) != 1:
            raise ImmediateHttpResponse(_refused(request))
        sociallogin.connect(request, found[0])
        _audit(request, found[0].get_username(), Outcome.SUCCESS, "account linked to the sign-in service")

    def on_authentication_error(self, request: HttpRequest, provider: Any, **details: Any) -> None:
        """The service refused, did not answer, or answered something that cannot be trusted."""
        raise ImmediateHttpResponse(_refused(request))


@public(post=True)
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Goes to the service; when it does not answer, says so."""
    try:
        answer: HttpResponse = views.login(request, provider_id)
    except RequestException:
        return _refused(request)
    return answer


def _refused(request: HttpRequest) -> HttpResponse:
    _audit(request, "nobody", Outcome.MINOR_FAILURE, "sign-in service")
    return render(request, "console/no_account.html", status=403)


def _audit(request: HttpRequest, actor: str, outcome: Outcome, what: str) -> None:
    record(
        Entry(
            Code.USER_AUTHENTICATION,
            "E",
            actor,
            outcome,
            address=address_of(request),
            facility=home_of(actor),
            detail={"type": Type.LOGIN, "way": what},
        )
    )
