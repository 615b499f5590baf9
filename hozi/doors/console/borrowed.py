"""What allauth and Django say on our pages, so that it is in our translations: they know neither of our languages.

Django looks for a text in the translations of all applications together: who says it does not matter. Nothing calls
this; it is read by what collects the texts.
"""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext_noop

SIGN_IN: Final = (
    gettext_noop("Username"),
    gettext_noop("Password"),
    gettext_noop("Current Password"),
    gettext_noop("New Password"),
    gettext_noop("New Password (again)"),
    gettext_noop("Code"),
    gettext_noop("Authenticator code"),
    gettext_noop("Incorrect code."),
    gettext_noop("Change Password"),
    gettext_noop("Please type your current password."),
    gettext_noop("You must type the same password each time."),
    gettext_noop("The username and/or password you specified are not correct."),
    gettext_noop("This account is currently inactive."),
    gettext_noop("Too many failed login attempts. Try again later."),
)
"""From allauth."""

FORMS: Final = (
    gettext_noop("This field is required."),
    gettext_noop("Enter a valid date."),
    gettext_noop("Enter a whole number."),
    gettext_noop("Enter a valid email address."),
)
"""From Django's forms."""
