"""Who may open which page: every view has a rule, and one without is not there (`middleware.Gate`).

A view is decorated with exactly one of these:

- `page`: for whoever holds the permission; ``post`` says which one sending the page's form needs (without: GET only);
- `action`: a form is sent to it, nothing is shown (POST only);
- `signed_in`: everybody who is signed in (``post``: its form may be sent);
- `settling`: the same, even before a second factor is set up where one is required;
- `public`: everybody.

The rule only opens the door. How far a permission reaches (which studies, which facilities) the room decides with
`authorise.reach` and `authorise.facilities`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from django.http import HttpRequest, HttpResponseBase

from hozi.accounts.authorise import Who
from hozi.accounts.permissions import BY_KEY

Level = Literal["public", "settling", "signed-in", "permission"]


class Request(HttpRequest):
    """A request behind the gate: ``who`` asks (nobody: without permissions), in the words of `authorise`."""

    who: Who
    address: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What a view needs: one of ``permissions`` to look, one of ``post`` to send (None: nothing is sent)."""

    level: Level
    permissions: tuple[str, ...] = ()
    post: tuple[str, ...] | None = None
    get: bool = True

    def allows(self, method: str) -> bool:
        """Whether the page has this method at all."""
        return (self.get and method in ("GET", "HEAD")) or (self.post is not None and method == "POST")

    def needed(self, method: str) -> tuple[str, ...]:
        """The permissions of which one is needed for the method; none: nobody is asked for one."""
        return (self.post or ()) if method == "POST" else self.permissions


View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def page(*permissions: str, post: str | tuple[str, ...] | None = None) -> Callable[[View], View]:
    """A page for whoever holds one of the permissions; ``post``: which one (or one of which) sending needs."""
    if not permissions:
        raise ValueError("a page needs a permission; `signed_in` is for everybody")
    return _with(Rule("permission", _known(permissions), None if post is None else _known(_tuple(post))))


def action(*permissions: str) -> Callable[[View], View]:
    """A form is sent here by whoever holds one of the permissions."""
    if not permissions:
        raise ValueError("an action needs a permission")
    return _with(Rule("permission", (), _known(permissions), get=False))


def signed_in(*, post: bool = False, get: bool = True) -> Callable[[View], View]:
    """A page for everybody who is signed in."""
    return _with(Rule("signed-in", (), () if post else None, get))


def settling(*, post: bool = False, get: bool = True) -> Callable[[View], View]:
    """A page for everybody who is signed in, be the second factor set up or not."""
    return _with(Rule("settling", (), () if post else None, get))


def public(*, post: bool = False) -> Callable[[View], View]:
    """A page for everybody."""
    return _with(Rule("public", (), () if post else None))


def rule_of(view: Callable[..., Any], url_name: str | None = None) -> Rule | None:
    """The rule of a view, or None. Those of others (allauth) have theirs in `OF_OTHERS`, by the name of the address."""
    rule = getattr(view, "access", None)
    if isinstance(rule, Rule):
        return rule
    return OF_OTHERS.get(url_name or "")


def _with(rule: Rule) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        view.access = rule  # type: ignore[attr-defined]
        return view

    return decorate


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _known(permissions: tuple[str, ...]) -> tuple[str, ...]:
    for permission in permissions:
        if permission not in BY_KEY:
            raise ValueError(f"there is no permission {permission!r}")
    return permissions


_PUBLIC: Final = Rule("public", (), ())
_SETTLING: Final = Rule("settling", (), ())

OF_OTHERS: Final[dict[str, Rule]] = {
    "healthz": _PUBLIC,
    "readyz": _PUBLIC,
    "account_login": _PUBLIC,
    "account_logout": _PUBLIC,
    "account_inactive": _PUBLIC,
    "account_reauthenticate": _SETTLING,
    "account_change_password": _SETTLING,
    "openid_connect_callback": _PUBLIC,
    "mfa_login_webauthn": _PUBLIC,
    "mfa_authenticate": _PUBLIC,
    "mfa_reauthenticate": _SETTLING,
    "mfa_index": _SETTLING,
    "mfa_activate_totp": _SETTLING,
    "mfa_deactivate_totp": _SETTLING,
    "mfa_view_recovery_codes": _SETTLING,
    "mfa_generate_recovery_codes": _SETTLING,
    "mfa_download_recovery_codes": _SETTLING,
    "mfa_list_webauthn": _SETTLING,
    "mfa_add_webauthn": _SETTLING,
    "mfa_reauthenticate_webauthn": _SETTLING,
    "mfa_remove_webauthn": _SETTLING,
    "mfa_edit_webauthn": _SETTLING,
}

OTHER_DOORS: Final = frozenset({"api"})
"""URL namespaces behind which another door asks `authorise` itself."""
