"""Every transfer syntax of the standard: how it encodes a dataset, and whether an archive can keep it (PS3.6 §A)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a dataset is written as bytes (PS3.5 §10).

    ``lossy`` says whether pixels were changed by it: always, never, or (None) as the encoder chose.
    ``deflated`` is the whole dataset, not the pixel data alone. ``video`` has one stream for all frames.
    """

    uid: str
    name: str
    explicit: bool = True
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = False
    lossy: bool | None = False
    retired: bool = False
    video: bool = False


def _native() -> Iterator[TransferSyntax]:
    """Those whose pixel data is a plain array (PS3.5 §A.1 to A.3, A.5)."""
    yield TransferSyntax(IMPLICIT_LITTLE, "Implicit VR Little Endian", explicit=False)
    yield TransferSyntax(EXPLICIT_LITTLE, "Explicit VR Little Endian")
    yield TransferSyntax(DEFLATED, "Deflated Explicit VR Little Endian", deflated=True)
    yield TransferSyntax(EXPLICIT_BIG, "Explicit VR Big Endian", little_endian=False, retired=True)
    yield TransferSyntax(
        "1.2.840.10008.1.20", "Papyrus 3 Implicit VR Little Endian", explicit=False, lossy=None, retired=True
    )


_COMPRESSED: Final[tuple[tuple[str, str, bool | None, bool], ...]] = (
    # UID below 1.2.840.10008.1.2, name, lossy, retired (PS3.5 §A.4)
    ("1.98", "Encapsulated Uncompressed Explicit VR Little Endian", False, False),
    ("4.50", "JPEG Baseline (Process 1)", True, False),
    ("4.51", "JPEG Extended (Process 2 and 4)", True, False),
    ("4.52", "JPEG Extended (Process 3 and 5)", True, True),
    ("4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)", True, True),
    ("4.54", "JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)", True, True),
    ("4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)", True, True),
    ("4.56", "JPEG Full Progression, Non-Hierarchical (Process 11 and 13)", True, True),
    ("4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", False, False),
    ("4.58", "JPEG Lossless, Non-Hierarchical (Process 15)", False, True),
    ("4.59", "JPEG Extended, Hierarchical (Process 16 and 18)", True, True),
    ("4.60", "JPEG Extended, Hierarchical (Process 17 and 19)", True, True),
    ("4.61", "JPEG Spectral Selection, Hierarchical (Process 20 and 22)", True, True),
    ("4.62", "JPEG Spectral Selection, Hierarchical (Process 21 and 23)", True, True),
    ("4.63", "JPEG Full Progression, Hierarchical (Process 24 and 26)", True, True),
    ("4.64", "JPEG Full Progression, Hierarchical (Process 25 and 27)", True, True),
    ("4.65", "JPEG Lossless, Hierarchical (Process 28)", False, True),
    ("4.66", "JPEG Lossless, Hierarchical (Process 29)", False, True),
    (
        "4.70",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
        False,
        False,
    ),
    ("4.80", "JPEG-LS Lossless Image Compression", False, False),
    ("4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression", True, False),
    ("4.90", "JPEG 2000 Image Compression (Lossless Only)", False, False),
    ("4.91", "JPEG 2000 Image Compression", None, False),
    ("4.92", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)", False, False),
    ("4.93", "JPEG 2000 Part 2 Multi-component Image Compression", None, False),
    ("4.110", "JPEG XL Lossless", False, False),
    ("4.111", "JPEG XL JPEG Recompression", True, False),
    ("4.112", "JPEG XL", None, False),
    ("4.201", "High-Throughput JPEG 2000 Image Compression (Lossless Only)", False, False),
    ("4.202", "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)", False, False),
    ("4.203", "High-Throughput JPEG 2000 Image Compression", None, False),
    ("5", "RLE Lossless", False, False),
    ("8.1", "Deflated Image Frame Compression", False, False),
)

_VIDEO: Final[tuple[tuple[str, str, bool], ...]] = (
    # UID below 1.2.840.10008.1.2.4, name, whether there is a fragmentable form of it (PS3.5 §A.4.5 to A.4.10)
    ("100", "MPEG2 Main Profile / Main Level", True),
    ("101", "MPEG2 Main Profile / High Level", True),
    ("102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", True),
    ("103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", True),
    ("104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", True),
    ("105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", True),
    ("106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", True),
    ("107", "HEVC/H.265 Main Profile / Level 5.1", False),
    ("108", "HEVC/H.265 Main 10 Profile / Level 5.1", False),
)


def _encapsulated() -> Iterator[TransferSyntax]:
    for suffix, name, lossy, retired in _COMPRESSED:
        yield TransferSyntax(f"1.2.840.10008.1.2.{suffix}", name, encapsulated=True, lossy=lossy, retired=retired)
    for suffix, name, fragmentable in _VIDEO:
        uid = f"1.2.840.10008.1.2.4.{suffix}"
        yield TransferSyntax(uid, name, encapsulated=True, lossy=True, video=True)
        if fragmentable:
            yield TransferSyntax(f"{uid}.1", f"Fragmentable {name}", encapsulated=True, lossy=True, video=True)


def _elsewhere() -> Iterator[TransferSyntax]:
    """Those whose pixels stand somewhere else, or that are no dataset at all: an archive cannot keep them."""
    yield TransferSyntax("1.2.840.10008.1.2.4.94", "JPIP Referenced", lossy=None)
    yield TransferSyntax("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", deflated=True, lossy=None)
    yield TransferSyntax("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced", lossy=None)
    yield TransferSyntax("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", deflated=True, lossy=None)
    yield TransferSyntax("1.2.840.10008.1.2.6.1", "RFC 2557 MIME encapsulation", lossy=None, retired=True)
    yield TransferSyntax("1.2.840.10008.1.2.6.2", "XML Encoding", lossy=None, retired=True)
    yield TransferSyntax("1.2.840.10008.1.2.7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video", video=True)
    yield TransferSyntax("1.2.840.10008.1.2.7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", video=True)
    yield TransferSyntax("1.2.840.10008.1.2.7.3", "SMPTE ST 2110-30 PCM Digital Audio")


_KEPT: Final = (*_native(), *_encapsulated())

ALL: Final[tuple[TransferSyntax, ...]] = (*_KEPT, *_elsewhere())
"""Every transfer syntax of the standard, retired ones too."""

STORABLE: Final[frozenset[str]] = frozenset(syntax.uid for syntax in _KEPT)
"""The UIDs of those that Hozi takes in, keeps as they came and gives back."""

_BY_UID: Final[dict[str, TransferSyntax]] = {syntax.uid: syntax for syntax in ALL}


def get(uid: str) -> TransferSyntax | None:
    """The transfer syntax of this UID, or None when the standard has none."""
    return _BY_UID.get(uid)


def for_unknown(uid: str) -> TransferSyntax:
    """The transfer syntax of this UID; one that the standard does not know is taken for a compression of a vendor.

    PS3.5 §A.4 wants explicit VR little endian with encapsulated pixel data for all compressed ones; private ones keep
    to that nearly always.
    """
    return _BY_UID.get(uid) or TransferSyntax(uid, "Unknown transfer syntax", encapsulated=True, lossy=None)
