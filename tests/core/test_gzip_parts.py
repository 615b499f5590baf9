"""Parts that were compressed before make one gzip stream that everybody reads."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from hozi.core.gzip_parts import Part, combined, stream


@given(st.lists(st.lists(st.binary(max_size=300), max_size=3), max_size=5))
def test_the_stream_is_one_member_and_holds_what_the_parts_hold(contents: list[list[bytes]]) -> None:
    parts = [Part.of(content) for content in contents]
    data, places = stream(b"[", b",", b"]", parts)

    once = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert once.decompress(data) == b"[" + b",".join(b"".join(content) for content in contents) + b"]"
    assert once.eof
    assert not once.unused_data
    assert gzip.decompress(data)
    assert [data[place : place + len(part.data)] for place, part in zip(places, parts, strict=True)] == [
        part.data for part in parts
    ]


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_checksums_are_put_together_without_what_they_are_of(first: bytes, second: bytes) -> None:
    assert combined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)
