"""How people sign in: what allauth asks us, and what of it stands in the audit.

Rate limits are allauth's (per address, and per name from anywhere); wrong names cost as much time as wrong passwords
and read the same, so that nobody finds out who exists.
"""

from __future__ import annotations

import time
from typing import Any, Final

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from hozi.accounts.authorise import home_of
from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.doors.http import second_factor
from hozi.doors.http.signed_in import address_of

#: What allauth writes e-mails about is a change of how somebody signs in (PS3.16 CID 401, User Attributes Changed).
_CHANGES: Final = {
    "mfa/email/totp_activated": "code app set up",
    "mfa/email/totp_deactivated": "code app taken away",
    "mfa/email/recovery_codes_generated": "recovery codes made",
    "mfa/email/webauthn_added": "passkey added",
    "mfa/email/webauthn_removed": "passkey removed",
    "account/email/password_changed": "password changed",
}
_LOCK_SECONDS: Final = 300
_JUST_NOW_SECONDS: Final = 300


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Nobody signs up by themselves; every sign-in, refusal, lock-out and sign-out is audited."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: accounts are requested, approved and invited."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that the gate found, which trusts no header that anybody can send."""
        return address_of(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuses when too many have failed; the first refusal of a time is audited as a lock-out."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            name = _name(credentials)
            if cache.add(f"locked:{address_of(request)}:{name.lower()}", 1, _LOCK_SECONDS):
                _audit(request, name, Outcome.SERIOUS_FAILURE, {"type": Type.LOGIN, "locked": True})
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """A wrong name or password."""
        _audit(request, _name(credentials), Outcome.MINOR_FAILURE, {"type": Type.LOGIN})

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """Signs in; Django gives the session a new key."""
        super().login(request, user)
        _audit(request, user.get_username(), Outcome.SUCCESS, {"type": Type.LOGIN})

    def logout(self, request: HttpRequest) -> None:
        """Signs out."""
        name = request.user.get_username() if request.user.is_authenticated else ""
        super().logout(request)
        if name:
            _audit(request, name, Outcome.SUCCESS, {"type": Type.LOGOUT})

    def is_reauthentication_required(self, *, app: str, **more: Any) -> bool:
        """Not of those who have just signed in: they showed a moment ago what would be asked of them again."""
        records = get_authentication_records(self.request, self.request.user)
        if any(time.time() - record["at"] < _JUST_NOW_SECONDS for record in records):
            return False
        required: bool = super().is_reauthentication_required(app=app, **more)
        return required

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """None about signing in and out: the page shows it."""
        if message_template and "logged_" in message_template:
            return
        super().add_message(request, level, message_template, *args, **kwargs)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """No mail: a hospital may have no way to send any."""

    def send_notification_mail(
        self, template_prefix: str, user: AbstractBaseUser, context: Any = None, email: Any = None
    ) -> None:
        """A change of how somebody signs in: audited."""
        second_factor.forget(self.request)
        what = _CHANGES.get(template_prefix, template_prefix.rsplit("/", 1)[-1])
        record(
            Entry(
                Code.SECURITY_ALERT,
                "U",
                user.get_username(),
                address=address_of(self.request),
                facility=home_of(user.get_username()),
                detail={"type": Type.USER_ATTRIBUTES_CHANGED, "person": user.get_username(), "change": what},
            )
        )

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        """Somebody with the right password whose account is not in use."""
        _audit(request, user.get_username(), Outcome.MINOR_FAILURE, {"type": Type.LOGIN, "inactive": True})
        answer: HttpResponse = super().respond_user_inactive(request, user)
        return answer


def _name(credentials: dict[str, Any]) -> str:
    """The name that was tried, fit to be shown."""
    name = str(credentials.get("username") or credentials.get("email") or "")
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:64] or "nobody"


def _audit(request: HttpRequest, actor: str, outcome: Outcome, detail: dict[str, Any]) -> None:
    address, facility = address_of(request), home_of(actor)
    record(Entry(Code.USER_AUTHENTICATION, "E", actor, outcome, address=address, facility=facility, detail=detail))
