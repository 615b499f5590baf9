"""Text of datasets: from bytes and back (Specific Character Set: PS3.5 §6.1, PS3.3 §C.12.1.1.2).

Reading never fails: a wrong or missing declaration gives the best guess. Texts come without padding and without NUL
characters; the values of an element stay in one text with backslashes between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

UTF8: Final = "ISO_IR 192"
LATIN1: Final = "ISO_IR 100"

# The value representations that Specific Character Set is about (PS3.5 §6.1.2.2).
TEXT_VRS: Final = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_SINGLE_VALUED: Final = frozenset({"ST", "LT", "UT", "UR"})

_ESCAPE: Final = 0x1B
# Escape sequence: which half of the code table it sets (0: below 0x80, 1: above), and to which codec.
_ESCAPES: Final[dict[bytes, tuple[int, str]]] = {
    b"(B": (0, "ascii"),
    b"(J": (0, "ascii"),
    b"$B": (0, "jis-0208"),
    b"$@": (0, "jis-0208"),
    b"$(D": (0, "jis-0212"),
    b")I": (1, "shift_jis"),
    b"-A": (1, "iso8859_1"),
    b"-B": (1, "iso8859_2"),
    b"-C": (1, "iso8859_3"),
    b"-D": (1, "iso8859_4"),
    b"-F": (1, "iso8859_7"),
    b"-G": (1, "iso8859_6"),
    b"-H": (1, "iso8859_8"),
    b"-L": (1, "iso8859_5"),
    b"-M": (1, "iso8859_9"),
    b"-T": (1, "iso8859_11"),
    b"-b": (1, "iso8859_15"),
    b"$)C": (1, "euc_kr"),
    b"$)A": (1, "gb2312"),
}
_ESCAPE_OF: Final = {codec: escape for escape, (_, codec) in reversed(_ESCAPES.items())}
_JIS: Final[dict[str, bytes]] = {"jis-0208": b"\x1b$B", "jis-0212": b"\x1b$(D"}

# ISO registration number: codec.
_REGISTERED: Final[dict[str, str]] = {
    "6": "ascii",
    "13": "shift_jis",
    "58": "gb2312",
    "87": "jis-0208",
    "100": "iso8859_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "jis-0212",
    "166": "iso8859_11",
    "192": "utf_8",
    "203": "iso8859_15",
}
# Terms without a registration number; spellings that devices use are among them (CP-1234).
_NAMED: Final[dict[str, str]] = {
    "GB18030": "gb18030",
    "GBK": "gbk",
    "ISO 2022 GBK": "gbk",
    "UTF 8": "utf_8",
    "UTF8": "utf_8",
    "ISO 8859 1": "iso8859_1",
    "LATIN1": "iso8859_1",
}
_TERM: Final = re.compile(r"(?:ISO )?(?:2022 )?(?:IR ?)?(\d{1,3})")
_PUNCTUATION: Final = re.compile(r"[^0-9A-Z]+")
# After these, the first character set holds again (PS3.5 §6.1.2.5.3); between them, values are encoded one by one.
_RESETS: Final = frozenset(b"\\\r\n\f\t")
_NAME_RESETS: Final = _RESETS | frozenset(b"^=")
_PIECES: Final = re.compile(r"([\\\r\n\f\t])")
_NAME_PIECES: Final = re.compile(r"([\\\r\n\f\t^=])")


@dataclass(frozen=True)
class CharacterSet:
    """What a Specific Character Set says: the codec at the start (None: nothing said), and those of extensions."""

    first: str | None
    others: tuple[str, ...]
    known: bool

    @property
    def alone(self) -> bool:
        """Whether code extensions do not exist in it, so that an escape character means nothing."""
        return self.first in ("utf_8", "gb18030", "gbk")


@lru_cache(maxsize=256)
def character_set(specific_character_set: str) -> CharacterSet:
    """Understand a Specific Character Set, several values with backslashes between them, in usual misspellings."""
    terms = [_codec(term) for term in specific_character_set.strip(" \0").split("\\")]
    known = all(codec is not None for codec in terms)
    first = None if terms[0] in (None, "ascii") else terms[0]
    return CharacterSet(first, tuple(codec for codec in terms[1:] if codec not in (None, "ascii")), known)


def decode(raw: bytes, vr: str, specific_character_set: str, default: str = "") -> str:
    """Decode the bytes of a text element; never fails.

    ``default`` is the defined term that counts when the dataset names no character set. Bytes that the set does not
    know are read as UTF-8 if they are, else as Latin-1 or with replacement characters.
    """
    if raw.isascii() and _ESCAPE not in raw:  # true of every character set
        return _trim(raw.decode("ascii"), vr)
    declared = character_set(specific_character_set)
    if declared.first is None and not declared.others:
        declared = character_set(default)
    plain = _ESCAPE not in raw and not declared.others and declared.first not in _JIS
    if plain or declared.alone or vr not in TEXT_VRS:
        text = _lenient(raw, _python_codec(declared.first or "ascii"))
    else:
        text = _extended(raw, declared, _NAME_RESETS if vr == "PN" else _RESETS)
    return _trim(text, vr)


def encode(text: str, vr: str, specific_character_set: str) -> bytes | None:
    """Encode a text (values with backslashes between them, not padded); None when the set cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    declared = character_set(specific_character_set)
    if vr not in TEXT_VRS or not declared.known:
        return None
    pieces = (_NAME_PIECES if vr == "PN" else _PIECES).split(text)
    encoded = [_encode_piece(piece, declared) for piece in pieces]
    return None if None in encoded else b"".join(piece for piece in encoded if piece is not None)


def encode_set(texts: Iterable[str], requested: str = "") -> str:
    """Choose the Specific Character Set for texts: none when they are ASCII, else the requested one if it can hold
    them, else Latin-1 when nothing was requested and it is enough, else UTF-8.
    """
    difficult = [text for text in texts if not text.isascii()]
    if not difficult:
        return ""
    for candidate in (requested,) if requested.strip(" \\") else (LATIN1,):
        if all(encode(text, "PN", candidate) is not None for text in difficult):
            return candidate
    return UTF8


def encoders(specific_character_set: str) -> list[str]:
    """List the Python codecs of a Specific Character Set, the first one's first (`ascii` when nothing is said)."""
    declared = character_set(specific_character_set)
    return [_python_codec(codec) for codec in (declared.first or "ascii", *declared.others)]


def _codec(term: str) -> str | None:
    plain = _PUNCTUATION.sub(" ", term.upper()).strip()
    if not plain:
        return "ascii"
    if plain in _NAMED:
        return _NAMED[plain]
    match = _TERM.fullmatch(plain)
    return _REGISTERED.get(match[1]) if match else None


def _python_codec(codec: str) -> str:
    return {"jis-0208": "iso2022_jp", "jis-0212": "iso2022_jp_2"}.get(codec, codec)


def _trim(text: str, vr: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "")
    if vr in _SINGLE_VALUED:
        return text.rstrip(" ")
    if "\\" not in text:
        return text.strip(" ")
    return "\\".join(value.strip(" ") for value in text.split("\\"))


def _lenient(raw: bytes, codec: str) -> str:
    """Decode with a codec; where it does not fit, guess."""
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("utf_8")
    except UnicodeDecodeError:
        pass
    if codec in ("ascii", "utf_8") or codec.startswith("iso8859"):
        return raw.decode("latin_1")
    return raw.decode(codec, "replace")


def _extended(raw: bytes, declared: CharacterSet, resets: frozenset[int]) -> str:
    """Decode text with code extensions (PS3.5 §6.1.2.5): escapes set one half of the code table or the other."""
    low_at_start = declared.first if declared.first in _JIS else "ascii"
    usual = next((codec for codec in (declared.first, *declared.others) if codec and codec not in _JIS), "ascii")
    low, high = low_at_start, usual
    texts: list[str] = []
    start = position = 0

    def finish() -> None:
        if start < position:
            texts.append(_decode_run(raw[start:position], low, high))

    while position < len(raw):
        byte = raw[position]
        if byte == _ESCAPE:
            finish()
            length, (half, codec) = _escape_at(raw, position)
            if half:
                high = codec
            elif codec:
                low = codec
            position += length
            start = position
        elif byte in resets and (low not in _JIS or byte < 0x20):
            finish()
            texts.append(chr(byte))
            low, high = low_at_start, usual
            position += 1
            start = position
        else:
            position += _character_length(raw, position, low, high)
    position = len(raw)
    finish()
    return "".join(texts)


def _escape_at(raw: bytes, position: int) -> tuple[int, tuple[int, str]]:
    """Read the escape sequence at a position: its length, and what it sets (no codec: unknown, skipped)."""
    for length in (3, 2):
        sequence = raw[position + 1 : position + 1 + length]
        if sequence in _ESCAPES:
            return length + 1, _ESCAPES[sequence]
    return 1, (0, "")


def _character_length(raw: bytes, position: int, low: str, high: str) -> int:
    """Bytes of the character at a position, so that its second byte is never taken for a delimiter."""
    if raw[position] < 0x80:
        return 2 if low in _JIS and raw[position] > 0x20 else 1
    return 2 if high in ("euc_kr", "gb2312") else 1


def _decode_run(run: bytes, low: str, high: str) -> str:
    if low not in _JIS:
        return _lenient(run, high)
    return "".join(
        _lenient(part, high) if part[0] >= 0x80 else (_JIS[low] + part).decode("iso2022_jp_2", "replace")
        for part in re.findall(rb"[\x80-\xff]+|[\x00-\x7f]+", run)
    )


def _encode_piece(piece: str, declared: CharacterSet) -> bytes | None:
    """Encode a piece without delimiters: by the first set when it fits, else by one extension."""
    if piece.isascii() and declared.first not in _JIS:
        return piece.encode("ascii")
    for codec in (declared.first, *declared.others):
        if codec is None:
            continue
        try:
            encoded = piece.encode(_python_codec(codec))
        except UnicodeEncodeError:
            continue
        if codec == "shift_jis" and len(encoded) != len(piece):  # ISO-IR 13 is its single bytes only
            continue
        if codec != declared.first and codec not in _JIS:
            encoded = b"\x1b" + _ESCAPE_OF[codec] + encoded if codec in _ESCAPE_OF else b""
        # A codec may know more than the character set: what does not come back the same does not fit.
        back = encoded.decode(codec) if declared.alone else _extended(encoded, declared, frozenset())
        if back == piece:
            return encoded
    return None
