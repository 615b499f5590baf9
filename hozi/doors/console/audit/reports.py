"""Reports of the audit on the page and as a table, and whether the audit is whole."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from django import forms
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.audit import chain, forward, reports, verify
from hozi.audit import export as exporting
from hozi.audit.reports import Report
from hozi.core.errors import Refused
from hozi.doors.console import needs
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.audit.asking import EXPORT, READ, Days, by
from hozi.doors.console.audit.pages import file_of
from hozi.doors.console.needs import Need

_DAYS: Final = 30
_LONG_DAYS: Final = 62
_SEALS: Final = 31
_AWAY_TOO_LONG: Final = timedelta(minutes=10)
_WAITS_TOO_LONG: Final = timedelta(minutes=5)
_LOOKED_TOO_LONG_AGO: Final = timedelta(days=3)

COLUMNS: Final = {
    "actor": gettext_lazy("Who"),
    "address": gettext_lazy("From"),
    "issuer": gettext_lazy("Number given by"),
    "patient_id": gettext_lazy("Patient number"),
    "code": gettext_lazy("What"),
    "type": gettext_lazy("What exactly"),
}


class Choose(Days):
    """Which report, of which days."""

    field_order = ["report"]
    report = forms.ChoiceField(label=gettext_lazy("Report"), choices=[(kind.key, kind.label) for kind in reports.KINDS])


@page(READ)
def report(request: Request) -> HttpResponse:
    """One report: of the last thirty days, where nothing else is chosen."""
    form = Choose(_chosen(request.GET))
    context: dict[str, Any] = {"place": "audit", "form": form, "may_export": authorise.may(request.who, EXPORT)}
    if form.is_valid():
        try:
            found = reports.report(form.cleaned_data["report"], **_times(form), **by(request))
        except Refused as refused:
            form.refuse(refused)
        else:
            context |= {"report": found, "columns": [COLUMNS[name] for name in found.kind.by]}
            context |= {"groups": [(_shown(found, group.values), group) for group in found.groups]}
            context |= {"bars": bars(found), "days": len(found.days)}
    return render(request, "console/audit/report.html", context, status=422 if form.errors else 200)


@action(EXPORT)
def export(request: Request) -> HttpResponseBase:
    """The groups of a report as a table."""
    form = Choose(_chosen(request.POST))
    if not form.is_valid():
        raise Refused(_("There is no such report"))
    found = reports.report(form.cleaned_data["report"], **_times(form), **by(request, EXPORT))
    head, rows = reports.table(found)
    pieces = (exporting.record(cells) for cells in [list(head), *rows])
    return file_of(pieces, exporting.CONTENT_TYPES["csv"], f"{found.kind.key}-{timezone.localdate():%Y-%m-%d}.csv")


def _chosen(given: Any) -> dict[str, str]:
    """What was chosen, and for the rest the first report and the last thirty days."""
    today = timezone.localdate()
    usual = {
        "report": reports.KINDS[0].key,
        "since": f"{today - timedelta(days=_DAYS - 1):%Y-%m-%d}",
        "until": f"{today:%Y-%m-%d}",
    }
    return {name: given.get(name) or value for name, value in usual.items()}


def _times(form: Choose) -> Any:
    times = form.times()
    return {"since": times["since"], "until": times["until"]} if len(times) == 2 else _refuse()


def _refuse() -> Any:
    raise Refused(_("Choose the first and the last day"), field="since")


def _shown(found: Report, values: tuple[str, ...]) -> list[str]:
    return [reports.value_in_words(name, value) or "–" for name, value in zip(found.kind.by, values, strict=True)]


def bars(found: Report) -> list[tuple[str, int, float, float, float]]:
    """A bar for each day, or for each week of a long time: day, rows, and where it stands (x, y, height of 100)."""
    zone = timezone.get_default_timezone()
    first = found.since.astimezone(zone).date()
    last = (found.until - timedelta(seconds=1)).astimezone(zone).date()
    step = 1 if (last - first).days < _LONG_DAYS else 7 if (last - first).days < 7 * _LONG_DAYS else 31
    count = (last - first).days // step + 1
    sums = [0] * count
    for day, rows in found.days:
        sums[min(count - 1, max(0, (day - first).days // step))] += rows
    most = max([*sums, 1])
    return [
        (f"{first + timedelta(days=place * step)}", rows, place * 10.0, 40 - 40 * rows / most, 40 * rows / most)
        for place, rows in enumerate(sums)
    ]


# Is it whole? ----------------------------------------------------------------------------------------


@page(READ)
def state(request: Request) -> HttpResponse:
    """How the chain stands, when it was looked at last, which days are sealed, and the copy elsewhere."""
    context: dict[str, Any] = {"place": "audit", "looked": verify.last()}
    try:
        context["chain"] = chain.standing()
    except chain.Broken as broken:
        context["broken"] = str(broken)
    context["seals"] = [(date.fromisoformat(seal.day), seal) for seal in chain.seals(_SEALS)]
    context["copy"] = forward.standing()
    return render(request, "console/audit/state.html", context)


def _needs(who: Who) -> list[Need]:
    """What is wrong with the audit as a whole, for those who answer for all of it."""
    if authorise.facilities(who, READ) is not None:
        return []
    found: list[Need] = []
    now = timezone.now()
    looked = verify.last()
    url = reverse("audit_state")
    if looked is not None and looked.findings:
        text = ngettext(
            "The audit is not whole: %(count)d finding.", "The audit is not whole: %(count)d findings.", looked.findings
        )
        found.append(Need("now", text % {"count": looked.findings}, _("Look at it"), url, looked.at))
    elif looked is not None and now - looked.at > _LOOKED_TOO_LONG_AGO:
        days = (now - looked.at).days
        text = ngettext(
            "Nobody looked for %(count)d day whether the audit is whole.",
            "Nobody looked for %(count)d days whether the audit is whole.",
            days,
        )
        found.append(Need("soon", text % {"count": days}, _("Look at it"), url, looked.at))
    waiting = chain.waiting_since()
    if waiting is not None and now - waiting > _WAITS_TOO_LONG:
        minutes = int((now - waiting).total_seconds() // 60)
        text = ngettext(
            "Rows of the audit wait for %(count)d minute to be chained: the worker does not run.",
            "Rows of the audit wait for %(count)d minutes to be chained: the worker does not run.",
            minutes,
        )
        found.append(Need("now", text % {"count": minutes}, _("Look at it"), url, waiting))
    copy = forward.standing()
    if copy is not None and copy.failing_since is not None and now - copy.failing_since > _AWAY_TOO_LONG:
        text = ngettext(
            "The copy of the audit is %(count)d row behind.",
            "The copy of the audit is %(count)d rows behind.",
            copy.behind,
        )
        found.append(Need("soon", text % {"count": copy.behind}, _("Look at it"), url, copy.failing_since))
    return found


needs.register(READ, _needs)
