"""What a client takes, and what of it there is: negotiation of media types and transfer syntaxes (PS3.18 §8.7).

Headers come from strangers: a limited part of one is looked at, in linear time, and what makes no sense is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from hozi.core.errors import HoziError

MOST_BYTES: Final = 4096
MOST_ALTERNATIVES: Final = 64
ANY: Final = "*/*"
MULTIPART: Final = "multipart/related"

_ENOUGH_TOLD: Final = 12
_ALIASES: Final = {
    # How media types were called before the standard settled, and what clients still send.
    "image/dicom+jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/jll": "image/jpeg",
    "image/dicom+jpeg-ls": "image/jls",
    "image/x-jls": "image/jls",
    "image/dicom+jp2": "image/jp2",
    "image/x-jp2": "image/jp2",
    "image/dicom+rle": "image/dicom-rle",
    "image/x-dicom-rle": "image/dicom-rle",
    "application/dicom-rle": "image/dicom-rle",
    "multipart/related+dicom": MULTIPART,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One alternative that a client takes: a media type or range of them, its parameters (names in small letters), and
    how much it is liked. For ``multipart/related``, ``parameters["type"]`` is what the parts are.
    """

    media: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    q: float = 1.0

    @property
    def inner(self) -> str:
        """The media type of what is wanted itself: of the parts, where it comes in parts."""
        if self.is_multipart:
            named = self.parameters.get("type", "").lower()
            return _ALIASES.get(named, named) or ANY
        return self.media

    @property
    def is_multipart(self) -> bool:
        """Whether it is to come in parts."""
        return self.media.startswith("multipart/")

    @property
    def syntax(self) -> str:
        """The transfer syntax: a UID, ``*`` for any, or empty when none is named."""
        return self.parameters.get("transfer-syntax", "")


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be given: ``media``, in parts or alone, in a transfer syntax (where that means something).

    ``unnamed``: whoever names the media type without a transfer syntax means this one too.
    """

    media: str
    syntax: str = ""
    multipart: bool = False
    unnamed: bool = True

    @property
    def content_type(self) -> str:
        """The Content-Type of the thing itself, or of each part."""
        return f"{self.media}; transfer-syntax={self.syntax}" if self.syntax else self.media

    def __str__(self) -> str:
        said = f'{MULTIPART}; type="{self.media}"' if self.multipart else self.media
        return f"{said}; transfer-syntax={self.syntax}" if self.syntax else said


class NotAcceptable(HoziError):
    """Nothing that there is, is what the client takes; the text says what there is."""


ANYTHING: Final = (Wanted(ANY),)


def wanted(header: str, query_accept: str | None = None) -> Sequence[Wanted]:
    """What the client takes, in its order: as the parameter ``accept`` says, else the header, else anything."""
    if query_accept:
        # A plus sign in an address reads as a space.
        said = _parsed(
            query_accept[: MOST_BYTES + 1].replace("dicom json", "dicom+json").replace("dicom xml", "dicom+xml")
        )
        if said:
            return said
    return _parsed(header[: MOST_BYTES + 1]) or ANYTHING


def choose(wanted: Sequence[Wanted], offers: Sequence[Offer]) -> Offer:
    """The offer that the client likes best; of equals the first one. Raises `NotAcceptable`."""
    best, liked = None, 0.0
    for offer in offers:
        q = _quality(wanted, offer)
        if q > liked:
            best, liked = offer, q
    if best is None:
        told = dict.fromkeys(str(offer) for offer in offers)
        there = ", ".join(list(told)[:_ENOUGH_TOLD]) or "nothing"
        raise NotAcceptable(f"This cannot be given in what the Accept header names. There is: {there}.")
    return best


def takes(wanted: Sequence[Wanted], offer: Offer) -> bool:
    """Whether the client takes this."""
    return _quality(wanted, offer) > 0


def _quality(wanted: Sequence[Wanted], offer: Offer) -> float:
    """How much the client likes it: as the most specific of its alternatives that means it says (RFC 9110 §12.5.1)."""
    found, q = -1, 0.0
    for one in wanted:
        specific = _specific(one, offer)
        if specific > found:
            found, q = specific, one.q
    return q


def _specific(one: Wanted, offer: Offer) -> int:
    """How exactly the alternative names the offer; -1: not at all."""
    if one.media == ANY:
        return 0 if one.syntax in ("", "*", offer.syntax) else -1
    if one.is_multipart != offer.multipart:
        return -1
    inner = one.inner
    if inner == offer.media:
        if one.syntax == offer.syntax:
            return 6
        if one.syntax == "*" or not offer.syntax:
            return 5
        return 4 if not one.syntax and offer.unnamed else -1
    if one.syntax not in ("", "*", offer.syntax):
        return -1
    if inner == ANY:
        return 1
    return 2 if inner.endswith("/*") and offer.media.startswith(inner[:-1]) else -1


@lru_cache(maxsize=512)
def _parsed(header: str) -> tuple[Wanted, ...]:
    """The alternatives of a header, those that make sense of the first ones; clients say the same again and again."""
    if len(header) > MOST_BYTES:
        # What is cut in the middle would be another alternative.
        header = header[:MOST_BYTES].rpartition(",")[0]
    alternatives = _split(header, ",", MOST_ALTERNATIVES)
    return tuple(found for one in alternatives if (found := _alternative(one)) is not None)


def _alternative(text: str) -> Wanted | None:
    media, *rest = _split(text, ";", MOST_ALTERNATIVES)
    media = media.strip().lower()
    kind, slash, subtype = media.partition("/")
    if media == "*":
        kind, slash, subtype, media = "*", "/", "*", ANY
    if not kind or not slash or not subtype or (kind == "*" and subtype != "*") or " " in media:
        return None
    parameters: dict[str, str] = {}
    q = 1.0
    for part in rest:
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), _unquoted(value.strip())
        if name == "q":
            q = _weight(value)
        elif name and equals:
            parameters.setdefault(name, value)
    return Wanted(_ALIASES.get(media, media), parameters, q)


def _weight(value: str) -> float:
    """A weight (RFC 9110 §12.4.2). One that is none counts as if it had not been said."""
    if len(value) <= 8 and value.replace(".", "", 1).isdigit() and value.isascii():
        return min(float(value), 1.0)
    return 1.0


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].replace("\\", "").strip()
    return value.strip('"')


def _split(text: str, separator: str, most: int) -> list[str]:
    """The first parts of the text; separators between quotation marks do not count."""
    parts: list[str] = []
    begin, quoted = 0, False
    for place, letter in enumerate(text):
        if letter == '"' and (place == 0 or text[place - 1] != "\\"):
            quoted = not quoted
        elif letter == separator and not quoted:
            parts.append(text[begin:place])
            begin = place + 1
            if len(parts) == most:
                return parts
    parts.append(text[begin:])
    return parts
