"""The choices that people have in the browser: one list. Type, default and bounds are those of the setting.

Each choice is also a setting of `hozi.settings`, so that an environment variable of the same meaning can fix it (for
many machines that are set up alike); it is then shown as fixed. A new choice needs a field there and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.choices import kinds
from hozi.choices.kinds import Bounds, Kind
from hozi.settings import Settings

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be chosen. ``setting`` is the field of `Settings` that it stands for.

    ``unit`` is what a number counts. ``options`` are values with what people call them, where there are only a few.
    ``security``: a rule of access, changed with a reason only.
    """

    key: str
    setting: str
    label: Text
    help: Text
    group: str
    unit: Text = ""
    options: tuple[tuple[str, Text], ...] = ()
    security: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that fixes it."""
        return f"HOZI_{self.setting.upper()}"

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        return kinds.kind(kinds.field_of(self.setting))

    @property
    def default(self) -> Any:
        """What holds while nothing was chosen."""
        return kinds.field_of(self.setting).default

    @property
    def bounds(self) -> Bounds:
        """The bounds of its values."""
        return kinds.bounds(kinds.field_of(self.setting))

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return kinds.takes(kinds.field_of(self.setting))


GROUPS: Final[tuple[tuple[str, Text], ...]] = (
    ("look", _("Name and look")),
    ("sign-in", _("Signing in")),
    ("access", _("Accounts and access")),
    ("archive", _("Archive")),
)
"""Groups of choices in the order in which they are shown, with their names."""

CHOICES: Final[tuple[Choice, ...]] = (
    Choice(
        "console.hospital_name",
        "hospital_name",
        _("Name of the hospital"),
        _("Stands at the top of every page, so that nobody works in the wrong archive."),
        "look",
    ),
    Choice(
        "console.support_contact",
        "support_contact",
        _("Whom to call for help"),
        _("A name and a number. Stands on the sign-in page, on error pages and under About."),
        "look",
    ),
    Choice(
        "console.default_language",
        "default_language",
        _("Language"),
        _("For those who have chosen none. Everybody can choose another for themselves."),
        "look",
        options=(("en", "English"), ("sn", "chiShona"), ("nd", "isiNdebele")),
    ),
    Choice(
        "console.default_theme",
        "default_theme",
        _("Light or dark"),
        _("For those who have chosen neither. Reading rooms want dark."),
        "look",
        options=(("auto", _("As the device is set")), ("light", _("Light")), ("dark", _("Dark"))),
    ),
    Choice(
        "accounts.session_hours",
        "session_hours",
        _("Sign in again after"),
        _("A long shift is 12 hours. Shorter is safer where several people share a workstation."),
        "sign-in",
        unit=_("hours"),
        security=True,
    ),
    Choice(
        "accounts.password_min_length",
        "password_min_length",
        _("Shortest password"),
        _("Counts when a password is set from now on. Length protects better than odd characters."),
        "sign-in",
        unit=_("characters"),
        security=True,
    ),
    Choice(
        "accounts.mfa_required",
        "mfa_required",
        _("Second factor"),
        _("Who signs in with a code app or a passkey as well. It is set up at the next sign-in, by everybody alone."),
        "sign-in",
        options=(
            ("none", _("Whoever wants one")),
            ("admins", _("Those who may change what others can do")),
            ("all", _("Everybody")),
        ),
        security=True,
    ),
    Choice(
        "accounts.inactive_days",
        "inactive_days",
        _("Disable unused accounts after"),
        _("An account that nobody used for so long is disabled, and its tokens end. It can be opened again."),
        "access",
        unit=_("days"),
        security=True,
    ),
    Choice(
        "accounts.review_grace_days",
        "review_grace_days",
        _("Grace after an access review"),
        _("Whoever was not attested when the review ended is suspended so many days later."),
        "access",
        unit=_("days"),
        security=True,
    ),
    Choice(
        "accounts.emergency_minutes",
        "emergency_minutes",
        _("Emergency access lasts"),
        _("Somebody who opens a patient in an emergency, with a reason, sees the images for so long."),
        "access",
        unit=_("minutes"),
        security=True,
    ),
    Choice(
        "archive.max_results",
        "max_query_results",
        _("Most answers to one query"),
        _("Protects the archive from questions for everything. A workstation is told when its answer was cut."),
        "archive",
        unit=_("answers"),
    ),
)

BY_KEY: Final = {choice.key: choice for choice in CHOICES}


def _declared_twice_or_nowhere() -> list[str]:
    keys = [choice.key for choice in CHOICES]
    groups = {key for key, _name in GROUPS}
    return [
        choice.key
        for choice in CHOICES
        if keys.count(choice.key) > 1 or choice.group not in groups or choice.setting not in Settings.model_fields
    ]


if _wrong := _declared_twice_or_nowhere():
    raise ValueError(f"choices that stand here twice, or for no setting, or in no group: {_wrong}")
