"""Whether somebody still has to set up a second factor before anything else, as was chosen."""

from __future__ import annotations

from typing import Final

from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from hozi.accounts.authorise import Who
from hozi.accounts.permissions import BY_KEY
from hozi.choices import answers

_FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
_KNOWN: Final = "second_factor"


def is_missing(request: HttpRequest) -> bool:
    """Whether one is required of whoever is signed in, and none is set up. What is set up is asked once a session."""
    if not is_required(request.who):  # type: ignore[attr-defined]
        return False
    if request.session.get(_KNOWN):
        return False
    if Authenticator.objects.filter(user_id=request.user.pk, type__in=_FACTORS).exists():
        request.session[_KNOWN] = True
        return False
    return True


def forget(request: HttpRequest) -> None:
    """Asks again at the next page: a factor was set up or taken away."""
    request.session.pop(_KNOWN, None)


def is_required(who: Who) -> bool:
    """Whether the setting requires one of whoever asks: of those who can change what others may, or of everybody."""
    required = answers.mfa_required()
    if required != "admins":
        return required == "all"
    return any(BY_KEY[key].scope == "admin" for held in who.held for key in held.permissions)
