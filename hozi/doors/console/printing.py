"""A study on paper: what of it, how many on a page; the PDF opens in a window of its own."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext_lazy

from hozi.archive import key_images, printing, study_page
from hozi.archive.printing import PERMISSION, Wanted
from hozi.core.errors import NotThere, Refused, Unavailable
from hozi.doors.console.access import Request, page
from hozi.doors.console.forms import Form
from hozi.doors.console.paged import number

_LAYOUTS: Final = (
    ("1x1", gettext_lazy("one image")),
    ("2x1", gettext_lazy("two")),
    ("2x2", "4 (2 × 2)"),
    ("3x2", "6 (3 × 2)"),
    ("4x3", "12 (4 × 3)"),
    ("5x4", "20 (5 × 4)"),
    ("6x5", "30 (6 × 5)"),
    ("8x6", "48 (8 × 6)"),
)
_SERIES: Final = 200
_MOST_NAMED: Final = 500

PDF_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""Of PDFs that we made ourselves: they load nothing."""


class Choose(Form):
    """What of a study is printed, and how."""

    what = forms.ChoiceField(label=gettext_lazy("Images"))
    layout = forms.ChoiceField(label=gettext_lazy("On a page"), choices=_LAYOUTS, initial="4x3")
    every = forms.IntegerField(
        label=gettext_lazy("Of these, every … image (1: all)"), min_value=1, max_value=1000, initial=1
    )
    paper = forms.ChoiceField(
        label=gettext_lazy("Paper"),
        choices=(("a4", "A4"), ("a3", "A3"), ("us-letter", gettext_lazy("US Letter"))),
        initial="a4",
    )
    landscape = forms.BooleanField(label=gettext_lazy("Across (landscape)"), required=False)
    remark = forms.CharField(label=gettext_lazy("Remark on every page"), required=False, max_length=300)

    def __init__(self, choices: list[tuple[str, Any]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["what"].choices = choices  # type: ignore[attr-defined]

    def wanted(self, images: tuple[tuple[int, int], ...]) -> Wanted:
        """What was chosen, as the archive takes it; the form is valid."""
        told = self.cleaned_data
        rows, columns = map(int, told["layout"].split("x"))
        what = told["what"]
        return Wanted(
            images=images if what == "images" else (),
            key_images=what == "key",
            series=number(what.removeprefix("series-")) if what.startswith("series-") else 0,
            every=told["every"],
            rows=rows,
            columns=columns,
            paper=told["paper"],
            landscape=told["landscape"],
            remark=told["remark"],
        )


@page(PERMISSION, post=PERMISSION)
def print_study(request: Request, pk: int) -> HttpResponse:
    """What is to be printed; and, when the form is sent, the PDF."""
    sent = request.method == "POST"
    images = named((request.POST if sent else request.GET).getlist("image"))
    head = study_page.open_study(request.who, pk)
    lines = study_page.series_lines(request.who, pk, most=_SERIES)
    choices = _choices(lines, len(images), len(key_images.frames(request.who, pk, PERMISSION)))
    initial = {"what": choices[0][0], "layout": "1x1" if len(images) == 1 else "4x3"}
    if not images and any(line.pk == number(request.GET.get("series")) for line in lines):
        initial["what"] = f"series-{number(request.GET.get('series'))}"
    form = Choose(choices, request.POST if sent else None, initial=initial)
    status = 200
    if sent and form.is_valid():
        made = _made(request, pk, form, images)
        if made is not None:
            return made
    if sent:
        status = 422
    context = {"place": "studies", "study": head, "patient": head.patient, "form": form, "images": images}
    return render(
        request, "console/study/print.html", {**context, "most": printing.MOST, "told": _told(images)}, status=status
    )


def named(texts: list[str]) -> tuple[tuple[int, int], ...]:
    """Images that an address or a form names: row id, and with a dot the frame (``17.3``); nonsense is left out."""
    found: dict[tuple[int, int], None] = {}
    for text in texts[:_MOST_NAMED]:
        pk, _dot, frame = text.partition(".")
        if pk.isascii() and pk.isdecimal() and len(pk) < 19:
            found[int(pk), number(frame)] = None
    return tuple(found)


def _told(images: tuple[tuple[int, int], ...]) -> list[str]:
    return [f"{pk}.{frame}" if frame else str(pk) for pk, frame in images]


def _choices(lines: list[study_page.SeriesLine], images: int, marked: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if images:
        found.append(("images", gettext_lazy("the chosen ones") + f" ({images})"))
    if marked:
        found.append(("key", gettext_lazy("key images") + f" ({marked})"))
    found.append(("study", gettext_lazy("the whole study")))
    for line in lines:
        called = " · ".join(filter(None, (str(line.number or ""), line.modality, line.description or line.body_part)))
        found.append((f"series-{line.pk}", f"{called} ({line.instance_count})"))
    return found


def _made(request: Request, pk: int, form: Choose, images: tuple[tuple[int, int], ...]) -> HttpResponse | None:
    """The PDF; None when it was refused, which then stands in the form."""
    by = getattr(request.user, "full_name", "") or request.who.actor
    try:
        made = printing.print_study(request.who, pk, form.wanted(images), by=by)
    except NotThere:
        raise
    except Refused as refused:
        form.refuse(refused)
        return None
    except Unavailable as busy:
        form.add_error(None, str(busy))
        return None
    response = HttpResponse(made.pdf, content_type="application/pdf")
    response.headers["Content-Disposition"] = f'inline; filename="study-{pk}.pdf"'
    response.headers["Content-Security-Policy"] = PDF_POLICY
    return response


urlpatterns = [path("studies/<int:pk>/print/", print_study, name="study_print")]
