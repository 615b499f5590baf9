"""Searching the audit, one row of it, who saw a patient, and taking rows out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from hozi.accounts import authorise
from hozi.audit import export as exporting
from hozi.audit import message, search, words
from hozi.audit.search import Page, Question, Seen
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.audit.asking import EXPORT, READ, Search, by, keep, kept, typed


@page(READ, post=READ)
def audit(request: Request) -> HttpResponse:
    """The newest rows that whoever looks may see; a search is sent here, and becomes a page of its own."""
    if request.method == "POST":
        return _search(request)
    key = request.GET.get("s", "")
    question = kept(request, key)
    try:
        found = search.search(question, **by(request), before=request.GET.get("before", ""))
    except Refused:  # an address that somebody changed, or what was kept before the program was changed
        return acts.there(request, "audit")
    return render(
        request,
        "console/audit/list.html",
        _listed(request, Search(request.who, initial=typed(question)), question, found),
    )


def _search(request: Request) -> HttpResponse:
    form = Search(request.who, request.POST)
    if form.is_valid():
        question = form.question()
        try:
            search.matching(question, authorise.facilities(request.who, READ))
            if "who" in request.POST and not question.patient_id:
                raise Refused(_("Whose? Type the patient's number."), field="patient_id")
        except Refused as refused:
            form.refuse(refused)
        else:
            if "who" in request.POST:
                return _to_who_saw(request, question)
            return acts.there(request, _address("audit", keep(request, question)))
    return render(request, "console/audit/list.html", _listed(request, form, Question(), Page([])), status=422)


def _listed(request: Request, form: Search, question: Question, found: Page) -> dict[str, Any]:
    key = request.GET.get("s", "") if question != Question() else ""
    return {
        "place": "audit",
        "form": form,
        "lines": found.lines,
        "searched": question != Question(),
        "rare": bool(question.address or question.study_uid or form.errors),
        "key": key,
        "older": _address("audit", key, before=found.older) if found.older else "",
        "newest": _address("audit", key) if request.GET.get("before") else "",
        "may_export": authorise.may(request.who, EXPORT),
    }


@page(READ)
def row(request: Request, number: int) -> HttpResponse:
    """One row, with where it stands in the chain."""
    line = search.one(number, **by(request))
    chained = search.place(line.id)
    context = {
        "place": "audit",
        "line": line,
        "detail": [(name, _shown(value)) for name, value in line.detail.items()],
        "action": words.ACTIONS.get(line.action, line.action),
        "outcome": words.OUTCOMES.get(line.outcome, line.outcome),
        "meaning": [(code, words.MEANING.get(code, "")) for code in (line.code, line.type) if code],
        "chained": chained,
        "chained_day": date.fromisoformat(chained.day) if chained else None,
        "message": message.message(line),
    }
    return render(request, "console/audit/row.html", context)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Who saw a patient -----------------------------------------------------------------------------------


@page(READ, post=READ)
def who_saw(request: Request) -> HttpResponse:
    """Everybody who had to do with a patient. The patient is sent: by a row of the audit, or by number and issuer."""
    if request.method == "POST":
        return _to_who_saw(request, _asked(request))
    question = kept(request, request.GET.get("s", ""))
    if not question.patient_id:
        return acts.there(request, "audit")
    found = search.who_saw(
        question.issuer, question.patient_id, **by(request), since=question.since, until=question.until
    )
    context = {
        "place": "audit",
        "question": question,
        "seen": [(one, _ways(one)) for one in found],
        "saw": sum(one.saw > 0 for one in found),
        "emergency": sum(one.emergency for one in found),
        "all": _address("audit", keep(request, Question(issuer=question.issuer, patient_id=question.patient_id))),
        "days": typed(question),
    }
    return render(request, "console/audit/who.html", context)


def _asked(request: Request) -> Question:
    number = request.POST.get("row", "")
    if number.isdecimal() and len(number) < 19:
        line = search.one(int(number), **by(request))
        if not line.patient_id:
            raise NotThere("This row names no patient")
        return Question(issuer=line.issuer, patient_id=line.patient_id)
    return Question(issuer=request.POST.get("issuer", "")[:64], patient_id=request.POST.get("patient_id", "")[:256])


def _to_who_saw(request: Request, question: Question) -> HttpResponse:
    asked = replace(
        Question(), **{name: getattr(question, name) for name in ("issuer", "patient_id", "since", "until")}
    )
    return acts.there(request, _address("audit_who_saw", keep(request, asked)))


def _ways(seen: Seen) -> list[tuple[str, int]]:
    """In words what somebody did, the most often first."""
    told = sorted(seen.ways.items(), key=lambda way: -way[1])
    return [(str(words.BY_KEY[key].label) if key in words.BY_KEY else key, count) for key, count in told]


# Taking rows out -------------------------------------------------------------------------------------


@action(EXPORT)
def export(request: Request) -> HttpResponseBase:
    """The rows on the page and all older ones that fit, as a file."""
    form = request.POST.get("form", "")
    if form not in ("csv", "xml"):
        raise NotThere("There is no such form of file")
    question = kept(request, request.POST.get("s", ""))
    as_form: exporting.Form = "csv" if form == "csv" else "xml"
    pieces = exporting.export(question, as_form, **by(request, EXPORT))
    return file_of(pieces, exporting.CONTENT_TYPES[as_form], f"audit-{timezone.localdate():%Y-%m-%d}.{form}")


def file_of(pieces: Any, kind: str, name: str) -> HttpResponseBase:
    """An answer that is kept as a file."""
    response = StreamingHttpResponse(pieces, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _address(name: str, key: str, **where: str) -> str:
    told = [f"s={key}"] if key else []
    told += [f"{key}={value}" for key, value in where.items()]
    return reverse(name) + ("?" + "&".join(told) if told else "")
