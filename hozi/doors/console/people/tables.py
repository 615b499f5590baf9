"""People from a table in the browser: chosen, looked at with everything that is wrong, taken in."""

from __future__ import annotations

import secrets
from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import csv_import, invitations
from hozi.core import sheets
from hozi.core.errors import Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, page
from hozi.doors.console.forms import Form

_SHOWN: Final = 200
_ONCE: Final = "people_table"


class Table(Form):
    """A file with people."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"), help_text=gettext_lazy("Saved from a spreadsheet as CSV; 5,000 lines at most.")
    )


@page("people.request", post="people.request")
def table(request: Request) -> HttpResponse:
    """Takes a file, shows what would come in and what is wrong, and takes everybody in when nothing is."""
    if request.method == "POST" and "once" in request.POST:
        return _taken(request)
    form = Table(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {"place": "people", "tab": "table", "form": form, "columns": csv_import.COLUMNS}
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data["file"].read(5 << 20)
        try:
            seen = csv_import.preview(request.who, data)
        except Refused as refused:
            form.refuse(refused)
        else:
            # Whoever sends the same page twice takes nobody in twice.
            request.session[_ONCE] = secrets.token_urlsafe(12)
            context |= {
                "seen": seen,
                "people": seen.people[:_SHOWN],
                "wrong": seen.wrong[:_SHOWN],
                "text": _as_text(data),
                "once": request.session[_ONCE],
            }
    wrong = form.errors or context.get("wrong")
    return render(request, "console/people/table.html", context, status=422 if wrong else 200)


@page("people.request")
def example(request: Request) -> HttpResponse:
    """A table to begin with."""
    return as_csv(csv_import.template(), "people.csv")


def as_csv(text: str, name: str) -> HttpResponse:
    """The text as a file that the browser saves."""
    answer = HttpResponse("\ufeff" + text, content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _taken(request: Request) -> HttpResponse:
    if request.POST["once"] != request.session.pop(_ONCE, None):
        return acts.not_done(
            request, _("That has been sent already. Choose the file again, if need be."), "people-table"
        )
    try:
        accounts = csv_import.take(request.who, request.POST.get("text", "").encode())
    except Refused as refused:
        return acts.not_done(request, str(refused), "people-table")
    linked = [account for account in accounts if account.secret]
    if request.POST.get("as") == "file" and linked:
        return as_csv(csv_import.links(linked, request.build_absolute_uri("/").rstrip("/")), "links.csv")
    shown = [(one, request.build_absolute_uri(invitations.path(one.secret)) if one.secret else "") for one in accounts]
    context = {"place": "people", "tab": "table", "accounts": shown, "linked": bool(linked)}
    return render(request, "console/people/taken.html", context)


def _as_text(data: bytes) -> str:
    """The table as it is sent back with the page, whatever its letters were coded in."""
    heading, lines = sheets.read(data)
    return sheets.plain([heading, *(values for _number, values in lines)])
