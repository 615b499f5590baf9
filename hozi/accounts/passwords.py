"""What a password must be: long, not like the person's names, not one of the many that everybody uses.

No rules of composition: they make passwords worse (NIST SP 800-63B §5.1.1.2).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from django.contrib.auth.password_validation import CommonPasswordValidator, UserAttributeSimilarityValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from hozi.accounts.models import Person
from hozi.choices import answers
from hozi.core.errors import Refused

LONGEST: Final = 128
_WORD: Final = re.compile(r"\w+")
_LEAST_LEFT: Final = 5


class Policy:
    """The rule, in the form in which Django asks (AUTH_PASSWORD_VALIDATORS)."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises ValidationError with everything that is wrong, in words."""
        wrong: list[ValidationError] = []
        shortest = answers.password_min_length()
        if len(password) < shortest:
            wrong.append(_error(_("A password has at least %(count)d characters.") % {"count": shortest}))
        if len(password) > LONGEST:
            # Not hashed, not compared: both cost time that grows with the length.
            raise _error(_("A password has at most %(count)d characters.") % {"count": LONGEST})
        if user is not None and _is_names_only(password, user):
            wrong.append(_error(_("The password is too much like the person's names.")))
        for validator in _others():
            try:
                validator.validate(password, user)
            except ValidationError as error:
                wrong.append(error)
        if wrong:
            raise ValidationError(wrong)

    def get_help_text(self) -> str:
        """The rule in a sentence."""
        return _("At least %(count)d characters, not like your names, and not a password that many people use.") % {
            "count": answers.password_min_length()
        }


def check(password: str, person: Person) -> None:
    """Raises Refused when the password will not do for this person."""
    try:
        Policy().validate(password, person)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), field="password") from None


def _is_names_only(password: str, person: Any) -> bool:
    """Whether little is left of the password without the person's names: a name said three times is no password."""
    whole = left = password.casefold()
    words = {word for text in (person.username, person.full_name, person.email) for word in _WORD.findall(text or "")}
    for word in sorted((word.casefold() for word in words if len(word) > 2), key=len, reverse=True):
        left = left.replace(word, " ")
    return left != whole and len(set("".join(_WORD.findall(left)))) < _LEAST_LEFT


def _error(text: str) -> ValidationError:
    return ValidationError(text)


@cache
def _others() -> tuple[CommonPasswordValidator, UserAttributeSimilarityValidator]:
    """Django's list of common passwords takes a while to read: once."""
    return CommonPasswordValidator(), UserAttributeSimilarityValidator(("username", "full_name", "email"))
