"""The scan against those who mean harm: whatever the bytes are, it answers soon, and with `Unreadable` or a `Scan`."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
import zlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import part10, scan, syntaxes
from hozi.core.errors import Unreadable
from tests.core.dicom.encoded import UNDEFINED, explicit, fragments, implicit, item, sequence
from tests.corpus import rows

EXPLICIT = syntaxes.for_unknown(syntaxes.EXPLICIT_LITTLE)
IMPLICIT = syntaxes.for_unknown(syntaxes.IMPLICIT_LITTLE)
BIG = syntaxes.for_unknown(syntaxes.EXPLICIT_BIG)
DEFLATED = syntaxes.for_unknown(syntaxes.DEFLATED)

SQ = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff"
ITEM = b"\xfe\xff\0\xe0\xff\xff\xff\xff"
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SQ_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
INTERESTING = [
    *(b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff", b"\x10\0\0\0", b"\0\0", b"SQ\0\0"),
    *(b"UN\0\0", b"UN\0\0\xff\xff\xff\xff", b"OB\0\0\xff\xff\xff\xff", b"ZZ", b"\xfe\xff\0\xe0", b"\xff\xfe\xe0\0"),
    *(SQ, ITEM, ITEM_END, SQ_END, b"\xe0\x7f\x10\0", b"\x02\0\x10\0", b"\x40\0\x75\x02"),
]


@cache
def datasets() -> list[tuple[bytes, syntaxes.TransferSyntax]]:
    found = []
    for row in rows():
        content = row.path.read_bytes()
        if len(content) < 100_000 and "no_meta.dcm" not in row.name:
            header = part10.read_header(content)
            found.append((content[header.dataset_offset :], syntaxes.for_unknown(header.transfer_syntax)))
    return found


def mutated(chance: random.Random, dataset: bytes) -> bytes:
    content = bytearray(dataset)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        where = chance.randrange(min(len(content), chance.choice((100, 1000, 100_000))) or 1)
        match chance.randrange(7):
            case 0:
                content[where : where + 1] = chance.randbytes(1)
            case 1 | 2:
                piece = chance.choice(INTERESTING)
                content[where : where + len(piece)] = piece
            case 3:
                content[where:where] = chance.choice(INTERESTING)
            case 4:
                del content[where : where + chance.randrange(40)]
            case 5:
                begin = chance.randrange(len(content) or 1)
                content[where:where] = content[begin : begin + chance.randrange(400)]
            case 6 if chance.random() < 0.3:
                del content[where:]
    return bytes(content)


def outcome(dataset: bytes, syntax: syntaxes.TransferSyntax) -> scan.Scan | str:
    try:
        return scan.scan(dataset, syntax)
    except Unreadable as refused:
        return str(refused)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_real_files_are_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    read = refused = 0
    for _ in range(500 if datasets() else 0):
        dataset, syntax = chance.choice(datasets())
        found = outcome(mutated(chance, dataset), syntax)
        if isinstance(found, str):
            refused += 1
            assert found.isascii()
            assert len(found) < 200
        else:
            read += 1
    assert not datasets() or (read > 50 and refused > 50)


def test_mutated_files_say_deflated_what_they_say_inflated() -> None:
    chance = random.Random(99)
    for _ in range(400 if datasets() else 0):
        dataset, syntax = chance.choice(datasets())
        if syntax.deflated or len(dataset) > 50_000:
            continue
        changed = mutated(chance, dataset)
        stream = zlib.compressobj(1, wbits=-15)
        packed = stream.compress(changed) + stream.flush()
        plain, inflated = outcome(changed, EXPLICIT), outcome(packed, DEFLATED)
        assert plain == inflated or isinstance(plain, str) == isinstance(inflated, str) is True


@given(st.binary(max_size=600), st.sampled_from([EXPLICIT, IMPLICIT, BIG, DEFLATED]))
def test_no_bytes_make_it_fail_otherwise(dataset: bytes, syntax: syntaxes.TransferSyntax) -> None:
    outcome(dataset, syntax)


@given(st.lists(st.sampled_from(INTERESTING), max_size=60).map(b"".join), st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
def test_no_heap_of_delimiters_makes_it_fail_otherwise(dataset: bytes, syntax: syntaxes.TransferSyntax) -> None:
    outcome(dataset, syntax)
    outcome(explicit(0x00400275, b"UN", dataset) + explicit(0x00400280, b"ST", b"end "), syntax)


Nested = st.recursive(
    st.just(b""),
    lambda deeper: st.builds(
        lambda inner, seq_open, item_open: sequence(
            0x00081115, *(item(content, open_end=item_open) for content in inner), open_end=seq_open
        ),
        st.lists(deeper, min_size=1, max_size=3),
        st.booleans(),
        st.booleans(),
    ),
    max_leaves=40,
)


@given(Nested, st.binary(min_size=2, max_size=40))
def test_sequences_of_any_shape_never_hide_what_comes_behind_them(nested: bytes, value: bytes) -> None:
    behind = explicit(0x00100020, b"LO", value)
    found = scan.scan(nested + behind, EXPLICIT)
    assert found.values == {0x00100020: value}
    assert set(found.findings) <= {"odd length"}


def deep(levels: int, *, open_end: bool, explicit_vr: bool = True) -> bytes:
    if open_end:
        return (SQ + ITEM if explicit_vr else b"\x08\0\x15\x11\xff\xff\xff\xff" + ITEM) * levels
    head = b"\x08\0\x15\x11" + (b"SQ\0\0" if explicit_vr else b"")
    pieces, size = [], 0
    for _ in range(levels):
        pieces += [b"\xfe\xff\0\xe0" + struct.pack("<L", size), head + struct.pack("<L", size + 8)]
        size += 8 + len(head) + 4
    return b"".join(reversed(pieces))


@pytest.mark.parametrize("open_end", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_a13_sequences_nested_ten_thousand_deep_are_refused(open_end: bool, syntax: syntaxes.TransferSyntax) -> None:
    dataset = deep(10_000, open_end=open_end, explicit_vr=syntax.explicit)
    with pytest.raises(Unreadable, match="nested deeper than 64"):
        scan.scan(dataset, syntax)
    # ... wherever they hide
    for vr in (b"UN", b"SQ"):
        if not open_end and syntax.explicit and len(dataset) < 2**32:
            inner = deep(100, open_end=False, explicit_vr=False)
            with pytest.raises(Unreadable, match="nested deeper than 64"):
                scan.scan(explicit(0x00091001, vr, item(inner)), syntax)


def test_a13_the_allowed_depth_is_allowed() -> None:
    assert scan.scan(deep(64, open_end=False), EXPLICIT).element_count == 128
    with pytest.raises(Unreadable):
        scan.scan(deep(65, open_end=False), EXPLICIT)
    assert scan.scan(deep(3, open_end=False), EXPLICIT, scan.Limits(depth=3)).element_count == 6
    with pytest.raises(Unreadable):
        scan.scan(deep(4, open_end=False), EXPLICIT, scan.Limits(depth=3))


@pytest.mark.parametrize("empty", [b"\xfe\xff\0\xe0\0\0\0\0", ITEM + ITEM_END], ids=["length", "delimiter"])
def test_a13_a_million_empty_items_are_refused(empty: bytes) -> None:
    dataset = SQ + empty * 1_000_000 + SQ_END
    with pytest.raises(Unreadable, match="more than 750000 items"):
        scan.scan(dataset, EXPLICIT)


@pytest.mark.parametrize(
    ("dataset", "syntax"),
    [
        (explicit(0x00080060, b"CS", b"") * 101, EXPLICIT),
        (implicit(0x00080060, b"") * 101, IMPLICIT),
        (fragments(*[b""] * 101), EXPLICIT),
        (SQ + ITEM_END * 101, EXPLICIT),
        (ITEM_END * 101, EXPLICIT),
        (sequence(0x00081115, *[item(b"")] * 101), EXPLICIT),
        ((SQ + SQ_END) * 101, EXPLICIT),
        (explicit(0x00080060, b"ZZ", b"12") * 11, EXPLICIT),  # one of unknown VR counts for ten
        (sequence(0x00081115, *[item(explicit(0x00080060, b"CS", b""))] * 51), EXPLICIT),
    ],
)
def test_a13_more_elements_than_the_limit_are_refused(dataset: bytes, syntax: syntaxes.TransferSyntax) -> None:
    with pytest.raises(Unreadable, match="more than 100 elements"):
        scan.scan(dataset, syntax, scan.Limits(elements=100))


def test_as_many_elements_as_the_limit_are_read() -> None:
    dataset = b"".join(explicit(0x00091001 + number, b"LO", b"") for number in range(100))
    assert scan.scan(dataset, EXPLICIT, scan.Limits(elements=100)).element_count == 100


@pytest.mark.parametrize("length", [17, 1000, 2**31, UNDEFINED - 1, UNDEFINED])
def test_a13_a_sequence_that_lies_about_its_length_is_refused(length: int) -> None:
    inner = item(explicit(0x00080060, b"CS", b"CT"))
    for lie in (
        explicit(0x00081115, b"SQ", inner, length=length + 10 if length < UNDEFINED - 1 else length),
        explicit(0x00081115, b"SQ", implicit(0xFFFEE000, inner, length=length), length=UNDEFINED),
        sequence(0x00081115, item(explicit(0x00081115, b"SQ", inner, length=length if length > 1000 else 9999)))[:-1],
    ):
        with pytest.raises(Unreadable):
            scan.scan(lie, EXPLICIT)


def test_a13_time_grows_no_faster_than_the_length() -> None:
    """Each shape, ten times as long, may take some ten times as long: nothing is looked at again and again."""
    shapes = {
        "elements": explicit(0x00080060, b"CS", b""),
        "zeros": bytes(8),
        "sequences": sequence(0x00081115, item(explicit(0x00080060, b"CS", b""))),
        "like sequences": explicit(0x00091001, b"UN", b"\xfe\xff\0\xe0\x04\0\0\0" + bytes(8)),
        "unknown": explicit(0x00091001, b"ZZ", b"12"),
        "delimiters": ITEM_END,
    }
    for name, shape in shapes.items():
        took = []
        for times in (2_000, 20_000):
            dataset = shape * times
            best = min(_seconds(dataset) for _ in range(3))
            took.append(best)
        assert took[1] < 40 * took[0] + 0.01, name


def _seconds(dataset: bytes) -> float:
    begin = time.perf_counter()
    outcome(dataset, EXPLICIT)
    return time.perf_counter() - begin


def bomb(mebibytes: int, head: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    packed = stream.compress(head)
    for _ in range(mebibytes):
        packed += stream.compress(bytes(1 << 20))
    return packed + stream.flush()


@pytest.mark.parametrize(
    "head",
    [
        explicit(0x7FE00010, b"OW", b"", length=200 << 20),
        b"",
        explicit(0x00104000, b"UT", b"", length=200 << 20),
        explicit(0x00081115, b"SQ", implicit(0xFFFEE000, b"", length=UNDEFINED), length=UNDEFINED),
    ],
    ids=["pixels", "zeros", "text", "sequence"],
)
def test_a14_a_deflated_bomb_is_refused(head: bytes) -> None:
    packed = bomb(200, head)
    assert len(packed) < 300_000
    with pytest.raises(Unreadable):
        scan.scan(packed, DEFLATED, scan.Limits(inflated_bytes=100 << 20))


def test_a14_inflating_takes_little_memory() -> None:
    packed = bomb(64, explicit(0x7FE00010, b"OW", b"", length=64 << 20))
    tracemalloc.start()
    found = scan.scan(packed, DEFLATED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.has_pixel_data, found.findings) == (True, ())
    assert peak < 2 << 20


def test_only_so_much_is_kept_of_a_wanted_sequence() -> None:
    inner = explicit(0x00400009, b"SH", b"x" * 1000) + explicit(0x00401001, b"SH", b"y" * 1000)
    found = scan.scan(sequence(0x00400275, *[item(inner)] * 10_000), EXPLICIT)
    kept = found.sequences[0x00400275]
    assert 10 < len(kept) < 100
    assert sum(len(value) for values in kept for value in values.values()) <= 2 * (64 << 10)
    found = scan.scan(sequence(0x00400275, *[item(b"")] * 10_000), EXPLICIT)
    assert len(found.sequences[0x00400275]) < 2000
    # ... and of the other elements as much as ever
    dataset = explicit(0x00080060, b"CS", b"CT") + sequence(0x00400275, *[item(inner)] * 100)
    dataset += explicit(0x00400280, b"ST", b"z" * 1000)
    assert scan.scan(dataset, EXPLICIT, wanted=[0x00400280]).values == {0x00400280: b"z" * 1000}


def test_refusals_say_nothing_about_the_patient() -> None:
    chance = random.Random(5)
    name = b"Moyo^Tariro"
    whole = explicit(0x00100010, b"PN", name) + explicit(0x00100020, b"LO", b"HRE-2024-17")
    told = set()
    for _ in range(2_000):
        found = outcome(mutated(chance, whole), EXPLICIT)
        if isinstance(found, str):
            told.add(found)
    assert told
    for text in told:
        assert not any(part in text for part in ("Moyo", "Tariro", "HRE", "0010", "4D6F", "4F79"))


def test_memory_does_not_grow_with_the_number_of_elements() -> None:
    element = explicit(0x00080060, b"CS", b"")
    peaks = []
    for times in (100, 10_000):
        dataset = (SQ + (ITEM + element + ITEM_END) * times + SQ_END) + element * times
        tracemalloc.start()
        scan.scan(dataset, EXPLICIT)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 10_000
