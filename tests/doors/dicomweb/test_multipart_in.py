"""A multipart body is read alike in whatever pieces it comes, in linear time, and never for whole when it is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hozi.core.errors import HoziError
from hozi.doors.dicomweb import multipart_in
from hozi.doors.dicomweb.exchange import Malformed

BOUNDARY = b"a--b"
#: Machines that run all tests at once are slow to think of examples, too.
UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Contents that look like what stands between them.
TRICKY = st.lists(
    st.sampled_from([b"\r\n--a--", b"\r\n--a", b"\r\n", b"--a--b", b"\r", b"\n--a--b", b"-", b"\0", b"DICM"]),
    max_size=12,
).map(b"".join)
CONTENT = st.one_of(st.binary(max_size=200), TRICKY).filter(lambda content: b"\r\n--a--b" not in b"\r\n" + content)


def reader(body: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """Reads the body in pieces of these sizes, over and over."""
    state = [0, 0]

    def read(most: int) -> bytes:
        at, turn = state
        size = min(sizes[turn % len(sizes)], most)
        state[:] = [at + size, turn + 1]
        return body[at : at + size]

    return read


def body_of(contents: list[bytes], headers: bytes = b"Content-Type: application/dicom\r\n", end: bytes = b"") -> bytes:
    parts = b"".join(b"\r\n--a--b\r\n" + headers + b"\r\n" + content for content in contents)
    return parts[2:] + b"\r\n--a--b--" + end


def read(body: bytes, sizes: list[int] | None = None, boundary: bytes = BOUNDARY) -> list[bytes]:
    found = multipart_in.parts(reader(body, sizes or [1 << 18]), boundary)
    return [b"".join(part.content) for part in found]


@UNHURRIED
@given(st.lists(CONTENT, min_size=1, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=6), st.booleans())
@example([b"", b""], [1], False)
def test_it_reads_what_was_written_in_whatever_pieces_it_comes(
    contents: list[bytes], sizes: list[int], headers: bool
) -> None:
    body = body_of(contents, b"Content-Type: application/dicom\r\nX-A: b\r\n" if headers else b"", b"\r\nan epilogue")
    assert read(body, sizes) == contents
    assert read(b"a preamble\r\n" + body, sizes) == contents


@UNHURRIED
@given(st.lists(CONTENT, min_size=1, max_size=3), st.data())
def test_a_body_that_breaks_off_anywhere_is_not_whole(contents: list[bytes], data: st.DataObject) -> None:
    body = body_of(contents)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(Malformed):
        read(body[:cut], [7])


@UNHURRIED
@given(st.binary(max_size=300), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_whatever_comes_it_is_read_or_refused_and_the_same_in_all_pieces(body: bytes, sizes: list[int]) -> None:
    def outcome(sizes: list[int]) -> object:
        try:
            return read(b"--a--b\r\n" + body, sizes)
        except HoziError as error:
            return type(error)

    assert outcome(sizes) == outcome([1 << 18])


@UNHURRIED
@given(CONTENT)
def test_a_part_that_nobody_reads_is_passed_over(content: bytes) -> None:
    found = multipart_in.parts(reader(body_of([content, b"last"]), [11]), BOUNDARY)
    next(found)
    assert b"".join(next(found).content) == b"last"
    assert next(found, None) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no delimiter at all",
        b"x" * (multipart_in.MOST_PREAMBLE + 100) + body_of([b"a"]),
        b"--a--bc\r\n\r\nb\r\n--a--b--",
        b"--a--b" + b" " * 500 + b"\r\n\r\nb\r\n--a--b--",
        b"--a--b\r\nX: " + b"y" * (multipart_in.MOST_HEADER_BYTES + 1) + b"\r\n\r\nb\r\n--a--b--",
        b"--a--b\r\n" + b"X: y\r\n" * 2 + b"\r\nb\r\n--a--b--",
        b"--a--b\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(40)) + b"\r\nb\r\n--a--b--",
        b"--a--b\r\nno header\r\n\r\nb\r\n--a--b--",
        b"--a--b\r\nContent-Type: a\r\nContent-Type: b\r\n\r\nb\r\n--a--b--",
        b"--a--b\r\nA: b\0c\r\n\r\nb\r\n--a--b--",
    ],
)
def test_it_refuses_what_is_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ("Multipart/Related;boundary=abc;type=application/dicom", b"abc"),
        ('multipart/related; boundary="a b:c"; type=x;', b"a b:c"),
        ("multipart/related; type=x", None),
        ('multipart/related; boundary=""', None),
        ('multipart/related; boundary="a "', None),
        ("multipart/related; boundary=" + "a" * 129, None),
        ("multipart/related; boundary=a; boundary=b", None),
        ('multipart/related; boundary="a\r\nb"', None),
        ("multipart/related; boundary", None),
        ("multipart/related; boundary=é", None),
        ("x" * 2000, None),
    ],
)
def test_a_boundary_is_told_once_and_is_one(text: str, expected: bytes | None) -> None:
    def boundary() -> bytes:
        return multipart_in.boundary_of(multipart_in.media_type(text)[1])

    if expected is None:
        with pytest.raises(Malformed):
            boundary()
    else:
        assert boundary() == expected


def seconds(content: bytes, boundary: bytes, size: int = 1 << 16) -> float:
    body = b"--" + boundary + b"\r\n\r\n" + content + b"\r\n--" + boundary + b"--"
    # Of this thread alone: others of the process may still be at work.
    begun = time.thread_time()
    assert sum(map(len, read(body, [size], boundary))) == len(content)
    return time.thread_time() - begun


def test_almost_boundaries_take_no_longer_for_each_byte_than_any_other_content_would_twice_over() -> None:
    boundary = b"b" * 70
    near = b"\r\n--" + b"b" * 69
    one, four = (min(seconds((near * (size // len(near))), boundary) for _ in range(5)) for size in (2 << 20, 8 << 20))
    assert four < 12 * max(one, 0.002)
    # In single bytes, as endless small chunks bring it.
    few, many = (min(seconds(near * count, boundary, 1) for _ in range(5)) for count in (200, 800))
    assert many < 12 * max(few, 0.002)
