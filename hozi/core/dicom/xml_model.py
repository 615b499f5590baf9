"""Datasets in the Native DICOM Model (PS3.19 §A.1), made of what the DICOM JSON model says of them.

An element at a time: no document is ever whole in memory. What XML 1.0 cannot hold (control characters) becomes
U+FFFD, the replacement character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_HEAD: Final = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
_END: Final = "</NativeDicomModel>\n"
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Json = Mapping[str, Any]


def document(dataset: Json) -> Iterator[bytes]:
    """A whole XML document about one dataset, in pieces."""
    yield _HEAD.encode()
    for piece in _elements(dataset):
        yield piece.encode()
    yield _END.encode()


def _elements(dataset: Json) -> Iterator[str]:
    creators: dict[str, str] = {}
    for tag, element in dataset.items():
        vr = str(element["vr"])
        if int(tag[3], 16) & 1 and tag[4:6] == "00":
            creators[tag[:4] + tag[6:]] = str((element.get("Value") or [""])[0])
        yield _start(tag, vr, creators)
        if "BulkDataURI" in element:
            yield f"<BulkData uri={quoteattr(_clean(element['BulkDataURI']))}/>"
        elif "InlineBinary" in element:
            yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
        for number, value in enumerate(element.get("Value") or (), 1):
            if vr == "SQ":
                yield f'<Item number="{number}">'
                yield from _elements(value or {})
                yield "</Item>"
            elif vr == "PN":
                yield _name(number, value or {})
            else:
                yield f'<Value number="{number}">{_text(value)}</Value>'
        yield "</DicomAttribute>"


def _start(tag: str, vr: str, creators: Mapping[str, str]) -> str:
    """A private element is named by its creator, and not by the block that this one happened to get."""
    creator = creators.get(tag[:6]) if int(tag[3], 16) & 1 and tag[4:6] != "00" else None
    if creator is not None:
        return f'<DicomAttribute tag="{tag[:4]}00{tag[6:]}" vr="{vr}" privateCreator={quoteattr(_clean(creator))}>'
    keyword = _keyword(tag)
    said = f' keyword="{keyword}"' if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{said}>'


@lru_cache(maxsize=8192)
def _keyword(tag: str) -> str:
    return keyword_for_tag(int(tag, 16))


def _name(number: int, groups: Mapping[str, str]) -> str:
    said = "".join(
        f"<{group}>"
        + "".join(
            f"<{component}>{_text(value)}</{component}>"
            for component, value in zip(_COMPONENTS, text.split("^", 4), strict=False)
            if value
        )
        + f"</{group}>"
        for group, text in groups.items()
    )
    return f'<PersonName number="{number}">{said}</PersonName>'


def _text(value: Any) -> str:
    return "" if value is None else escape(_clean(str(value)), {"\r": "&#13;"})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
