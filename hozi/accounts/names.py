"""How people are called: the rules for names to sign in with, names to read, addresses, and the names of referrers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import date
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone

from hozi.accounts.models import Person
from hozi.core.errors import Refused

_USERNAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()/-]{4,30}")


def username(text: str, *, taken_by: int = 0) -> str:
    """The name to sign in with, as it is kept. Raises Refused when it will not do, or somebody else has it."""
    name = shaped_username(text)
    if Person.objects.filter(username__iexact=name).exclude(pk=taken_by).exists():
        raise Refused(f"Somebody else signs in as {name} already; choose another name", field="username")
    return name


def shaped_username(text: str) -> str:
    """The name to sign in with, as it is kept, whoever has it. Raises Refused when it will not do."""
    name = text.strip().lower()
    if not _USERNAME.fullmatch(name):
        raise Refused(
            "A name to sign in with has 2 to 64 letters (a to z), digits, dots, - and _, for example t.moyo",
            field="username",
        )
    return name


def username_for(full_name: str, taken: Collection[str] | None = None) -> str:
    """A name to sign in with, made from the name that people read: ``tendai.moyo``; one that is not ``taken``.

    Without ``taken``: one that nobody has.
    """
    plain = unicodedata.normalize("NFKD", full_name).encode("ascii", "ignore").decode().lower()
    base = ".".join(re.findall(r"[a-z0-9]+", plain))[:56] or "person"
    base = base if len(base) > 1 else f"{base}.1"
    if taken is None:
        taken = set(Person.objects.filter(username__istartswith=base).values_list("username", flat=True))
    return next(name for n in range(1, len(taken) + 2) if (name := base if n == 1 else f"{base}{n}") not in taken)


def looks_like_username(text: str) -> bool:
    """Whether the text could be a name to sign in with as it stands."""
    return _USERNAME.fullmatch(text) is not None


def full_name(text: str) -> str:
    """The name that people read. Raises Refused when it will not do."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= 128 or not name.isprintable():
        raise Refused("A name has 1 to 128 characters", field="full_name")
    return name


def email(text: str, *, taken_by: int = 0) -> str:
    """The address, or an empty text. Raises Refused when it is none, or somebody else has it."""
    address = shaped_email(text)
    if address and Person.objects.filter(email__iexact=address).exclude(pk=taken_by).exists():
        raise Refused("Somebody else has that e-mail address already", field="email")
    return address


def shaped_email(text: str) -> str:
    """The address, whoever has it, or an empty text. Raises Refused when it is none."""
    address = text.strip()
    if not address:
        return ""
    try:
        validate_email(address)
    except ValidationError:
        raise Refused("That is no e-mail address", field="email") from None
    if len(address) > 254:
        raise Refused("An e-mail address has 254 characters at most", field="email")
    return address


def phone(text: str) -> str:
    """The number, or an empty text. Raises Refused when it is none."""
    number = text.strip()
    if number and not _PHONE.fullmatch(number):
        raise Refused("A telephone number has digits, for example +263 77 123 4567", field="phone")
    return number


def referring(names: Iterable[str]) -> list[str]:
    """Names as ReferringPhysicianName has them, without empty ones and repetitions. Raises Refused."""
    kept = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(kept) > 20 or any(len(name) > 64 or not name.isprintable() or "\\" in name for name in kept):
        raise Refused(
            "At most 20 names of 64 characters, as they stand on requests: Moyo^Tendai", field="referring_names"
        )
    return kept


def last_day(day: date | None) -> date | None:
    """An end date that is not past. Raises Refused."""
    if day is not None and day < timezone.localdate():
        raise Refused("The last day is past already", field="ends_on")
    return day


def note(text: str, *, longest: int, field: str) -> str:
    """Words of a person, on one line. Raises Refused when there are too many."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(words) > longest:
        raise Refused(f"At most {longest} characters", field=field)
    return words
