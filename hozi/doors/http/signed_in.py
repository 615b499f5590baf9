"""Who asks with the session of the console, for doors without pages: second factor and end of shift count."""

from __future__ import annotations

from django.http import HttpRequest

from hozi.accounts import authorise
from hozi.accounts.authorise import Denied, Who
from hozi.doors.http import second_factor, shift


class FactorMissing(Denied):
    """Whoever is signed in must set up a second factor before anything else."""


def address_of(request: HttpRequest) -> str:
    """Where the request comes from; behind a trusted proxy, from where it came to the proxy."""
    return str(request.META.get("REMOTE_ADDR") or "")


def is_signed_in(request: HttpRequest) -> bool:
    """Whether somebody is signed in, and their shift is not over; a token that is shown goes before that."""
    return "Authorization" not in request.headers and request.user.is_authenticated and not shift.is_over(request)


def who_asks(request: HttpRequest) -> Who | None:
    """Whoever is signed in (`is_signed_in`); None when the account does not work any more. Raises FactorMissing."""
    who = None if request.user.pk is None else authorise.of_person(request.user.pk, address_of(request))
    if who is None:
        return None
    request.who = who  # type: ignore[attr-defined]
    if second_factor.is_missing(request):
        raise FactorMissing("Set up a second factor in the console first")
    return who
