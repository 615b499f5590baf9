"""All settings of this process, to be looked at: what holds, where it comes from, what it means. No secret is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hozi.choices import kinds
from hozi.choices.declared import CHOICES
from hozi.settings import HOZI, Settings

_MASK: Final = "•••"
_SECRET: Final = re.compile(r"(password|secret|token|passcode)$")
_IN_URL: Final = re.compile(r"(://[^/@\s]*?):[^/@\s]*@")
_IN_QUERY: Final = re.compile(r"((?:password|secret|token|key)[^=&\s]*=)[^&\s]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as people see it. ``choice`` is the key of the choice that stands for it in the browser, if any."""

    variable: str
    value: str
    default: str
    takes: str
    description: str
    source: Literal["environment", "default"]
    choice: str


def shown(settings: Settings = HOZI, chosen: Mapping[str, Any] | None = None) -> list[Shown]:
    """Every setting, in the order in which it is declared; ``chosen`` has what holds of choices, by their keys."""
    choices = {choice.setting: choice.key for choice in CHOICES}
    return [
        Shown(
            variable=f"HOZI_{name.upper()}",
            value=masked(name, (chosen or {}).get(choices.get(name, ""), getattr(settings, name))),
            default=masked(name, field.default),
            takes=kinds.takes(field),
            description=field.description or "",
            source="environment" if name in settings.model_fields_set else "default",
            choice=choices.get(name, ""),
        )
        for name, field in Settings.model_fields.items()
    ]


def masked(name: str, value: Any) -> str:
    """The value as text, without what must stay secret: passwords in URLs, and whole values of settings named so."""
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    if _SECRET.search(name) and text:
        return _MASK
    return _IN_QUERY.sub(rf"\1{_MASK}", _IN_URL.sub(rf"\1:{_MASK}@", text))
