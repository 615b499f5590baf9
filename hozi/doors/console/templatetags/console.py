"""How values look on every page: one form for moments, days, durations and sizes, icons, states and fields."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django import template
from django.forms.boundfield import BoundField
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hozi.accounts import authorise
from hozi.choices import values
from hozi.doors.console.navigation import Shown, shown

register = template.Library()

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STATES: Final = {
    "ok": ("green", "circle-check"),
    "warn": ("yellow", "alert-triangle"),
    "bad": ("red", "alert-octagon"),
    "off": ("secondary", "circle-minus"),
    "wait": ("azure", "clock"),
}


@register.filter
def moment(value: dt.datetime | None) -> str:
    """``24 Nov 2026 08:31``, in the hospital's time zone; a dash for None."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return f"{day(local.date())} {local:%H:%M}"


@register.filter
def day(value: dt.date | dt.datetime | None) -> str:
    """``24 Nov 2026``; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, dt.datetime):
        value = timezone.localtime(value).date()
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


@register.filter
def dicom_date(value: str) -> str:
    """A DICOM date (PS3.5 §6.2, DA) as ``24 Nov 2026``; what is no date, as it came."""
    try:
        return day(dt.datetime.strptime(value, "%Y%m%d").date())
    except (ValueError, TypeError):
        return value or "–"


@register.filter
def dicom_time(value: str) -> str:
    """A DICOM time (TM) as ``08:31``; what is no time, as it came."""
    digits = (value or "").replace(":", "")
    return f"{digits[:2]}:{digits[2:4]}" if len(digits) >= 4 and digits[:4].isdigit() else value or ""


@register.filter
def dicom_moment(value: str) -> str:
    """A DICOM date and time (DT) as ``24 Nov 2026 08:31``; its offset from UTC, if any, is not shown."""
    text = value or ""
    return f"{dicom_date(text[:8])} {dicom_time(text[8:14])}".strip() if text[:8].isdigit() else text or "–"


@register.filter
def of(table: dict[Any, Any], key: Any) -> Any:
    """What stands under a key of a table."""
    return table.get(key, "")


@register.filter
def stairs(depth: int) -> int:
    """How far something is set in that stands so deep: six steps at most."""
    return min(int(depth), 6)


@register.filter
def person_name(value: str) -> str:
    """A DICOM person name (PN) as people write it: ``MOYO, Tendai``; other groups follow in brackets."""
    groups = [_name_group(group) for group in (value or "").split("=")]
    first, *others = [group for group in groups if group] or ["–"]
    return f"{first} ({', '.join(others)})" if others else first


def _name_group(group: str) -> str:
    family, *rest = [part.strip() for part in group.split("^")]
    given = " ".join(part for part in rest if part)
    return f"{family}, {given}" if family and given else family or given


@register.filter
def duration(value: dt.timedelta | float | int | None) -> str:
    """``12 min``, ``3 h 5 min``, ``2 days``; seconds when given as a number."""
    if value is None:
        return "–"
    seconds = int(value.total_seconds() if isinstance(value, dt.timedelta) else value)
    sign, seconds = ("−" if seconds < 0 else ""), abs(seconds)
    if seconds < 60:
        return f"{sign}{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min" if minutes else f"{sign}{hours} h"
    days = hours // 24
    return sign + ngettext("%(count)d day", "%(count)d days", days) % {"count": days}


@register.filter
def size(value: int | None) -> str:
    """``1.2 GB``: bytes as people say them, in steps of 1000."""
    if value is None:
        return "–"
    number, unit = float(value), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{int(number)} B" if unit == "B" else f"{number:.1f} {unit}"


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite; with a label it speaks, without it only adorns."""
    source = static("console/icons.svg")
    if label:
        return format_html(
            '<svg class="hz-icon" role="img" aria-label="{}"><use href="{}#{}"></use></svg>', label, source, name
        )
    return format_html('<svg class="hz-icon" aria-hidden="true"><use href="{}#{}"></use></svg>', source, name)


@register.simple_tag
def state(kind: str, text: str) -> SafeString:
    """A state: never colour alone, always with a shape and a word. Kinds: ok, warn, bad, off, wait."""
    colour, shape = _STATES[kind]
    return format_html('<span class="hz-state text-{}-fg-soft">{}<span>{}</span></span>', colour, icon(shape), text)


@register.simple_tag(takes_context=True)
def places(context: template.Context) -> list[Shown]:
    """The entries of the navigation for whoever looks; pages say where they are by ``place`` in their context."""
    request: HttpRequest = context["request"]
    return shown(request, str(context.get("place", "")))


@register.simple_tag(takes_context=True)
def may(context: template.Context, permission: str) -> bool:
    """Whether whoever looks holds the permission: for links that lead nowhere without it."""
    return authorise.may(context["request"].who, permission)


@register.simple_tag
def chosen(key: str) -> str:
    """What was chosen under Settings, as text; ``{% chosen "console.hospital_name" as hospital %}``."""
    return str(values.get_or_default(key))


@register.inclusion_tag("console/field.html")
def field(bound: BoundField, **attributes: Any) -> dict[str, Any]:
    """A field with label, help and what was wrong, tied together for those who listen. ``attributes`` for the input
    with ``_`` for ``-`` (``autocomplete="off"``).
    """
    described = []
    if bound.help_text:
        described.append(f"{bound.auto_id}_help")
    if bound.errors:
        described.append(f"{bound.auto_id}_wrong")
    kind = getattr(bound.field.widget, "input_type", "select" if hasattr(bound.field, "choices") else "")
    group = bound.field.widget.__class__.__name__ in ("RadioSelect", "CheckboxSelectMultiple")
    css = (
        "form-check-input"
        if kind == "checkbox" and not group
        else "form-select"
        if kind == "select"
        else "form-control"
    )
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    if not group:
        given["class"] = f"{css} is-invalid" if bound.errors else css
    if described:
        given["aria-describedby"] = " ".join(described)
    if bound.errors:
        given["aria-invalid"] = "true"
    return {
        "field": bound,
        "widget": bound.as_widget(attrs=given),
        "check": kind == "checkbox" and not group,
        "group": group,
        "optional": _("optional") if not bound.field.required and kind != "checkbox" else "",
    }
