"""A page that stands beside the images in a ZIP archive: whose they are, series by series, with small pictures.

It works from a disc without network, program or viewer: one file of HTML without scripts, and JPEG files. All that
strangers wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Final

from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hozi.archive.models import Study
from hozi.archive.study_page import patient_of
from hozi.core import paper

NAME: Final = "index.html"
PICTURES: Final = "pictures"
MOST_PICTURES: Final = 300
_MOST_NAMED: Final = 5000

_STYLE: Final = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem;color:#16181c;"
    "background:#fff}h1{font-size:1.35rem;margin:.2rem 0}"
    "h2{font-size:1.1rem;margin:1.4rem 0 .4rem;border-bottom:1px solid #ccc}"
    "dl{display:flex;flex-wrap:wrap;gap:.2rem 2rem;margin:.4rem 0}dt{color:#555;font-size:.85rem}dd{margin:0}"
    ".p{display:grid;grid-template-columns:repeat(auto-fill,minmax(160px,1fr));gap:.6rem}figure{margin:0}"
    "figure img{width:100%;height:160px;object-fit:contain;background:#000}"
    "figcaption,small{color:#555;font-size:.82rem;overflow-wrap:anywhere}"
    ".w{background:#fff3d6;border:1px solid #c99a2e;padding:.5rem .8rem}"
    "@media print{.p{grid-template-columns:repeat(4,1fr)}}"
)


@dataclass(slots=True)
class Line:
    """One object: its file in the archive, its number, and the name of its picture (empty: none)."""

    file: str
    number: int | None
    picture: str = ""


@dataclass(slots=True)
class Block:
    """One series."""

    number: int | None
    modality: str
    description: str
    lines: list[Line] = field(default_factory=list)


def page(study: Study, blocks: Iterable[Block], hospital: str) -> bytes:
    """The page as a file, in the language of whoever asked for it."""
    blocks = list(blocks)
    patient = patient_of(study)
    facts = (
        (_("ID"), f"{patient.patient_id or '–'}{f' ({patient.issuer})' if patient.issuer else ''}"),
        (_("Born"), paper.day(patient.birth_date)),
        (_("Sex"), patient.sex or "–"),
        (_("Study"), f"{paper.day(study.date)} {paper.clock(study.time)}".strip()),
        (_("Description"), study.description or "–"),
        (_("Accession"), study.accession_number or "–"),
        (_("Hospital"), hospital),
    )
    told = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    name = escape(paper.name(patient.name))
    made = _("Made %(at)s. The images themselves are in the folder DICOM: open the file DICOMDIR with a viewer.") % {
        "at": paper.moment(timezone.localtime())
    }
    warning = _("These small pictures are not for diagnosis.")
    left = [_MOST_NAMED]
    body = "".join(_block(block, left) for block in sorted(blocks, key=_rank))
    return (
        f'<!doctype html>\n<html lang="{escape(translation.get_language() or "en")}"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file:; style-src"
        " 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head>\n<body><h1>{name}</h1><dl>{told}</dl>"
        f'<p class="w">{escape(warning)}</p><p><small>{escape(made)}</small></p>\n{body}</body></html>\n'
    ).encode()


def _rank(block: Block) -> tuple[bool, int]:
    return block.number is None, block.number or 0


def _block(block: Block, left: list[int]) -> str:
    lines = sorted(block.lines, key=lambda line: (line.number is None, line.number or 0, line.file))
    count = len(lines)
    heading = " · ".join(part for part in (str(block.number or ""), block.modality, block.description) if part) or _(
        "Series"
    )
    figures = "".join(
        f'<figure><a href="{escape(line.picture)}"><img src="{escape(line.picture)}" alt="" loading="lazy"></a>'
        f"<figcaption>{line.number if line.number is not None else ''} {escape(line.file)}</figcaption></figure>"
        for line in lines
        if line.picture
    )
    named = [line for line in lines if not line.picture][: left[0]]
    left[0] -= len(named)
    others = ", ".join(escape(line.file) for line in named)
    told = ngettext("%(count)d object", "%(count)d objects", count) % {"count": count}
    rest = f"<p><small>{others}</small></p>" if others else ""
    return f'<h2>{escape(heading)} <small>{escape(told)}</small></h2><div class="p">{figures}</div>{rest}\n'
