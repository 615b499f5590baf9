"""In which media types and transfer syntaxes objects and their frames can be given (PS3.18 §8.7.3)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hozi.core.dicom import syntaxes
from hozi.core.dicom.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hozi.doors.dicomweb.accept import Offer

DICOM: Final = "application/dicom"
OCTETS: Final = "application/octet-stream"
ZIP: Final = "application/zip"

_JPEG: Final = "1.2.840.10008.1.2.4."
_MEDIA: Final = {
    **dict.fromkeys((f"{_JPEG}{number}" for number in (*range(50, 67), 70)), "image/jpeg"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (80, 81)), "image/jls"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (110, 111, 112)), "image/jxl"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (201, 202, 203)), "image/jphc"),
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
_HTJ2K: Final = (f"{_JPEG}201", f"{_JPEG}202")
_MPEG2: Final = (f"{_JPEG}100", f"{_JPEG}101")


def media_of(syntax: str) -> str:
    """The media type of one frame (of a video, of all) as a transfer syntax compresses it."""
    if found := _MEDIA.get(syntax):
        return found
    known = syntaxes.get(syntax)
    if known is not None and known.video:
        return "video/mpeg" if syntax.startswith(_MPEG2) else "video/mp4"
    return OCTETS


@lru_cache(maxsize=512)
def of_object(syntax: str, alone: bool) -> tuple[Offer, ...]:
    """An object stored in this transfer syntax, in parts, and where it may be ``alone`` also so.

    Who names no transfer syntax gets explicit VR little endian; what is compressed with loss, as it is stored.
    """
    known = syntaxes.for_unknown(syntax)
    kept = syntax == EXPLICIT_LITTLE or known.lossy is True or known.video
    offers = [Offer(DICOM, syntax, unnamed=kept)]
    if not known.video:
        others = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, syntaxes.DEFLATED, syntaxes.EXPLICIT_BIG)
        offers += [Offer(DICOM, other, unnamed=other == EXPLICIT_LITTLE) for other in others if other != syntax]
    return _in_parts_and(offers, alone)


@lru_cache(maxsize=512)
def of_frames(syntax: str, alone: bool) -> tuple[Offer, ...]:
    """Frames that are stored in this transfer syntax: as they are compressed, and as plain octets."""
    known = syntaxes.for_unknown(syntax)
    others = [Offer(OCTETS, EXPLICIT_LITTLE), Offer(OCTETS, IMPLICIT_LITTLE, unnamed=False)]
    others += [Offer("image/jphc", other, unnamed=other == _HTJ2K[0]) for other in _HTJ2K if other != syntax]
    if not known.encapsulated:
        return _in_parts_and(others, alone)
    stored = [Offer(media_of(syntax), syntax)] if media_of(syntax) != OCTETS else []
    stored.append(Offer(OCTETS, syntax, unnamed=False))
    return _in_parts_and(stored if known.video else [*stored, *others], alone)


def _in_parts_and(offers: list[Offer], alone: bool) -> tuple[Offer, ...]:
    parts = (Offer(offer.media, offer.syntax, multipart=True, unnamed=offer.unnamed) for offer in offers)
    return (*parts, *(offers if alone else ()))
