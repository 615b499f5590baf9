"""Small datasets that go with messages: what a query asks, what an answer says (PS3.7 §6.3.2, PS3.4 Annexes C, J).

Values are kept plain, so that nothing is checked, warned about or lost on the way: text elements are `str` (a list of
them when there are several values), binary numbers `int` or `float`, sequences pydicom's, everything else `bytes`.
Not for objects: those are never read and written again.
"""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32
from pydicom.values import convert_SQ

from hozi.core.dicom import charset, syntaxes
from hozi.core.dicom.scan import Limits, scan
from hozi.core.errors import Unreadable

LIMITS: Final = Limits(depth=16, elements=200_000, inflated_bytes=16 << 20, value_bytes=0, items=100_000)

SPECIFIC_CHARACTER_SET: Final = 0x00080005
_BYTES_VRS: Final = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN"})
_SINGLE_VALUED_VRS: Final = frozenset({"ST", "LT", "UT", "UR"})
_BINARY: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d", "AT": "L"}
_LONGEST_SHORT: Final = 0xFFFE

# What pydicom says to bytes that it reads otherwise than the scan does.
_UNREADABLE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    NotImplementedError,
    RecursionError,
    struct.error,
)

# pydicom warns about what it does not know (a misspelt character set); the filters of warnings belong to the process.
_silence = threading.Lock()


def read(data: bytes, transfer_syntax: str, default_charset: str = "", *, limits: Limits = LIMITS) -> Dataset:
    """Read an identifier or the information of an action.

    Group lengths and group 0002 are left out (E16, E17). Texts are decoded, by ``default_charset`` (a defined term)
    when the dataset names no character set. Raises Unreadable when the bytes are no dataset or exceed the limits.
    """
    syntax = syntaxes.get(transfer_syntax) or syntaxes.for_unknown(transfer_syntax)
    scan(data, syntax, limits, wanted=(), sequences={})
    if syntax.deflated:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limits.inflated_bytes)
    try:
        with _silence, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _plain(read_dataset(BytesIO(data), not syntax.explicit, syntax.little_endian), "", default_charset)
    except _UNREADABLE:
        # pydicom's reasons may quote values
        raise Unreadable("the identifier cannot be read") from None


def write(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Write a dataset of plain values (or of pydicom's); text in the character set that the dataset names.

    Characters that the set does not have become question marks: name one that is enough (`charset.encode_set`).
    """
    syntax = syntaxes.get(transfer_syntax) or syntaxes.for_unknown(transfer_syntax)
    data = b"".join(_encoded(dataset, syntax, ""))
    if syntax.deflated:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflate.compress(data) + deflate.flush()
        data += b"\0" * (len(data) % 2)
    return data


def text_of(element: DataElement) -> str:
    """Give an element's value as text, several values with backslashes between them; empty for bytes and sequences."""
    value = element.value
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bytes) or element.VR == "SQ":
        return ""
    if isinstance(value, list | tuple | MultiValue):
        return "\\".join(str(one) for one in value)
    return str(value)


def plain_element(tag: int, vr: str, text: str) -> DataElement:
    """Make an element of a text (several values with backslashes between them), without any check of it.

    For a binary VR, what is no whole number that fits is left out.
    """
    if vr not in _BINARY:
        return _element(tag, vr, _split(text, vr))
    most = 1 << 8 * struct.calcsize(f"<{_BINARY[vr]}")
    numbers = [int(one) for one in text.split("\\") if one.isascii() and one.isdigit() and len(one) < 20]
    numbers = [number for number in numbers if number < most]
    return _element(tag, vr, (numbers[0] if len(numbers) == 1 else numbers) if numbers else None)


def sequence_element(tag: int, items: list[Dataset]) -> DataElement:
    """Make a sequence of items."""
    return _element(tag, "SQ", Sequence(items))


def _element(tag: int, vr: str, value: Any) -> DataElement:
    return DataElement(BaseTag(tag), vr, value, already_converted=True)


def _split(text: str, vr: str) -> str | list[str]:
    return text if "\\" not in text or vr in _SINGLE_VALUED_VRS else text.split("\\")


def _plain(dataset: Dataset, declared: str, default: str) -> Dataset:
    """Copy a dataset that pydicom has only cut into elements, with plain values."""
    raw = dataset.get_item(SPECIFIC_CHARACTER_SET) if SPECIFIC_CHARACTER_SET in dataset else None
    if isinstance(raw, RawDataElement):
        declared = charset.decode(raw.value or b"", "CS", "")
    plain = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself would convert every value
        if tag.group == 0x0002 or tag.element == 0x0000:
            continue
        element = dataset.get_item(tag)
        if isinstance(element, RawDataElement):
            plain[tag] = _converted(element, declared, default)
        elif element is not None and element.VR == "SQ":
            plain[tag] = sequence_element(tag, [_plain(item, declared, default) for item in element.value])
        elif element is not None:
            plain[tag] = element
    return plain


def _converted(raw: RawDataElement, declared: str, default: str) -> DataElement:
    value = raw.value or b""
    vr = raw.VR if raw.VR and raw.VR != "UN" else _usual_vr(raw.tag)
    if vr == "SQ":
        # an UN sequence is implicit little endian whatever the dataset is (CP-246)
        implicit = raw.is_implicit_VR or raw.VR == "UN"
        items = convert_SQ(value, implicit, raw.VR == "UN" or raw.is_little_endian, None, raw.value_tell)
        return sequence_element(raw.tag, [_plain(item, declared, default) for item in items])
    if vr in _BINARY:
        return _element(raw.tag, vr, _numbers(value, vr, raw.is_little_endian))
    if vr in _BYTES_VRS or len(vr) != 2:
        return _element(raw.tag, "UN" if len(vr) != 2 else vr, value)
    return _element(raw.tag, vr, _split(charset.decode(value, vr, declared, default), vr))


def _usual_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _numbers(value: bytes, vr: str, little_endian: bool) -> Any:
    if vr == "AT":
        halves = struct.unpack(f"{_order(little_endian)}{len(value) // 2}H", value[: len(value) // 2 * 2])
        numbers = [high << 16 | low for high, low in zip(halves[::2], halves[1::2], strict=False)]
    else:
        size = struct.calcsize("=" + _BINARY[vr])
        count = len(value) // size
        numbers = list(struct.unpack(f"{_order(little_endian)}{count}{_BINARY[vr]}", value[: count * size]))
    return numbers[0] if len(numbers) == 1 else numbers or None


def _order(little_endian: bool) -> str:
    return "<" if little_endian else ">"


def _encoded(dataset: Dataset, syntax: syntaxes.TransferSyntax, declared: str) -> Iterator[bytes]:
    if SPECIFIC_CHARACTER_SET in dataset:
        declared = text_of(dataset[SPECIFIC_CHARACTER_SET])
    order = _order(syntax.little_endian)
    for tag in sorted(dataset.keys()):
        element = dataset[tag]
        vr = str(element.VR)
        value = _value(element, vr, syntax, declared)
        if len(value) % 2:
            value += b"\0" if vr == "UI" or vr in _BYTES_VRS else b" "
        yield struct.pack(order + "HH", tag.group, tag.element)
        if not syntax.explicit:
            yield struct.pack(order + "L", len(value))
        elif vr in EXPLICIT_VR_LENGTH_32 or len(value) > _LONGEST_SHORT:
            # a value that is too long for its VR's header goes as UN (PS3.5 §6.2.2)
            vr = vr if vr in EXPLICIT_VR_LENGTH_32 else "UN"
            yield vr.encode("ascii") + struct.pack(order + "HL", 0, len(value))
        else:
            yield vr.encode("ascii") + struct.pack(order + "H", len(value))
        yield value


def _value(element: DataElement, vr: str, syntax: syntaxes.TransferSyntax, declared: str) -> bytes:
    if vr == "SQ":
        order = _order(syntax.little_endian)
        items = (b"".join(_encoded(item, syntax, declared)) for item in element.value or ())
        return b"".join(struct.pack(order + "HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    if vr in _BYTES_VRS:
        return bytes(element.value or b"")
    if vr in _BINARY:
        value = element.value
        numbers = (
            [] if value is None or value == "" else value if isinstance(value, list | tuple | MultiValue) else [value]
        )
        order = _order(syntax.little_endian)
        if vr == "AT":
            return b"".join(struct.pack(order + "HH", number >> 16, number & 0xFFFF) for number in numbers)
        return struct.pack(f"{order}{len(numbers)}{_BINARY[vr]}", *numbers)
    text = text_of(element)
    encoded = charset.encode(text, vr, declared)
    return text.encode("ascii", "replace") if encoded is None else encoded
