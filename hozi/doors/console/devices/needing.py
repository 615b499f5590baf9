"""What of devices needs somebody: those that do not answer, those that knocked, trials that were left."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.doors.console import needs
from hozi.doors.console.needs import Need
from hozi.facilities import acceptance, knocks, liveness

_NAMED = 3


def register() -> None:
    """Says from now on at Home what of devices needs somebody."""
    needs.register("devices.see", _down)
    needs.register("devices.change", _knocked)
    needs.register("devices.change", _trials)


def _down(who: Who) -> Iterator[Need]:
    silent = liveness.down(authorise.facilities(who, "devices.see"))
    if len(silent) > _NAMED:
        text = _("%(count)d devices do not answer.") % {"count": len(silent)}
        yield Need("now", text, _("See which"), reverse("devices"), silent[0].since)
        return
    for alive in silent:
        text = _("%(name)s does not answer.") % {"name": alive.name}
        yield Need("now", text, _("See why"), reverse("device", args=[alive.number]), alive.since)


def _knocked(who: Who) -> Iterator[Need]:
    count, last = knocks.waiting()
    if count:
        text = ngettext(
            "%(count)d device called and was refused, because it is not admitted as it called.",
            "%(count)d devices called and were refused, because they are not admitted as they called.",
            count,
        )
        yield Need("soon", text % {"count": count}, _("Admit or dismiss"), reverse("devices"), last)


def _trials(who: Who) -> Iterator[Need]:
    for trial in acceptance.all_going_on(authorise.facilities(who, "devices.change"))[:_NAMED]:
        text = _("The trial of %(name)s is not finished.") % {"name": trial.name}
        yield Need("sometime", text, _("Go on"), reverse("trial", args=[trial.number]), trial.begun_at)
