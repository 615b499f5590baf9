"""Access reviews in the browser: who waits to be attested, what they hold, and how far each review is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from hozi.accounts import authorise
from hozi.accounts import reviews as room
from hozi.accounts.authorise import Who
from hozi.core.errors import NotThere, Refused
from hozi.doors.console import acts, needs
from hozi.doors.console.access import Request, action, page
from hozi.doors.console.forms import Form
from hozi.doors.console.needs import Need
from hozi.doors.console.templatetags.console import day

DECIDE: Final = room.DECIDE
_PAGE: Final = 50
_DECISIONS: Final = ("open", "attested", "revoked", "suspended")


class Revoke(Form):
    """Why somebody loses what they hold; ``seen`` is what the page has shown."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=16)
    note = forms.CharField(
        label=gettext_lazy("Why"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("The person will ask, and it stays in the audit."),
    )


@page(DECIDE, post=DECIDE)
def reviews(request: Request) -> HttpResponse:
    """What waits for whoever looks, and the reviews so far; a new one is opened here."""
    who = request.who
    if request.method == "POST":
        try:
            opened = room.open(who)
        except Refused as refused:
            return acts.not_done(request, str(refused), "reviews")
        text = ngettext(
            "A review of %(total)d person is open.", "A review of %(total)d people is open.", opened.total
        ) % {"total": opened.total}  # fmt: skip
        return acts.done(request, text, "reviews")
    rows = room.to_decide(who, after=_number(request.GET.get("after")), limit=_PAGE + 1)
    past = room.listed(who, limit=20)
    running = any(review.closed_at is None for review in past)
    context = {
        "place": "people",
        "tab": "reviews",
        "items": rows[:_PAGE],
        "count": room.waiting(who)[0],
        "more": rows[_PAGE - 1].id if len(rows) > _PAGE else 0,
        "reviews": past,
        "running": running,
        "may_open": not running and authorise.facilities(who, DECIDE) is None,
    }
    return render(request, "console/reviews/list.html", context)


@page(DECIDE)
def review(request: Request, number: int) -> HttpResponse:
    """One review: everybody in it about whom whoever looks decides, and what was decided."""
    progress = room.of(request.who, number)
    asked = request.GET.get("decision", "")
    decision = asked if asked in _DECISIONS else ""
    after = _number(request.GET.get("after"))
    rows = room.items(request.who, number, decision=decision, after=after, limit=_PAGE + 1)
    context = {
        "place": "people",
        "tab": "reviews",
        "review": progress,
        "items": rows[:_PAGE],
        "decision": decision,
        "choices": _choices(progress),
        "more": rows[_PAGE - 1].id if len(rows) > _PAGE else 0,
    }
    return render(request, "console/reviews/one.html", context)


@action(DECIDE)
def attest(request: Request, number: int) -> HttpResponse:
    """The person still needs what they hold."""
    try:
        item = room.attest(request.who, number, seen=str(request.POST.get("seen", ""))[:16])
    except NotThere:
        raise
    except Refused as refused:
        return acts.not_done(request, str(refused), "reviews")
    return acts.done(request, _("%(name)s is attested.") % {"name": item.full_name}, "reviews")


@page(DECIDE, post=DECIDE)
def revoke(request: Request, number: int) -> HttpResponse:
    """What somebody would lose, and why."""
    item = room.one(request.who, number)
    form = Revoke(request.POST or None, initial={"seen": item.seen})
    if request.method == "POST":
        done = form.take(lambda **said: room.revoke(request.who, number, **said))
        if done is not None:
            text = _("%(name)s holds no role any more. The account stays.") % {"name": done.full_name}
            return acts.done(request, text, "reviews")
        if form.data.get("seen") != item.seen or item.decision != "open":
            # What is shown now is what counts when it is sent again; the reason that was typed stays.
            typed = request.POST.copy()
            typed["seen"] = item.seen
            form.data = typed
    return render(
        request, "console/reviews/revoke.html", {"place": "people", "tab": "reviews", "item": item, "form": form}
    )


def _choices(progress: room.Progress) -> list[tuple[str, Any, int]]:
    """The decisions by which a review can be narrowed, with how many there are of each."""
    return [
        ("", _("all"), progress.total),
        ("open", _("waiting"), progress.waiting),
        ("attested", _("attested"), progress.attested),
        ("revoked", _("revoked"), progress.revoked),
        ("suspended", _("suspended"), progress.suspended),
    ]


def _number(text: object) -> int:
    digits = str(text or "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 17 else 0


def _waiting(who: Who) -> Iterable[Need]:
    count, due_at = room.waiting(who)
    if not count or due_at is None:
        return
    late = due_at <= timezone.now()
    said = {"count": count, "day": day(due_at)}
    text = ngettext(
        "%(count)d person waits for you in the access review, due %(day)s.",
        "%(count)d people wait for you in the access review, due %(day)s.",
        count,
    )
    yield Need("now" if late else "soon", text % said, _("Decide"), reverse("reviews"))


needs.register(DECIDE, _waiting)

urlpatterns: list[URLPattern] = [
    path("people/reviews/", reviews, name="reviews"),
    path("people/reviews/<int:number>/", review, name="review"),
    path("people/reviews/items/<int:number>/attest/", attest, name="review_attest"),
    path("people/reviews/items/<int:number>/revoke/", revoke, name="review_revoke"),
]
