"""Messages cut into PDUs: every size, every cutting, no byte lost, no write too many."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dimse.failures import ProtocolError
from hozi.core.dimse.outbound import LARGEST_PDU, fragment_size, writes
from hozi.core.dimse.transport import Piece


def fragments(stream: bytes) -> list[tuple[int, int, bytes]]:
    """(context, control, data) of a stream of P-DATA PDUs with one fragment each."""
    found = []
    position = 0
    while position < len(stream):
        kind, length, item, context, control = struct.unpack_from(">BxIIBB", stream, position)
        assert kind == 4
        assert item == length - 4
        found.append((context, control, stream[position + 12 : position + 6 + length]))
        position += 6 + length
    return found


@given(
    command=st.binary(min_size=1, max_size=60),
    pieces=st.lists(st.binary(max_size=40), max_size=12),
    fragment=st.integers(1, 20).map(lambda half: half * 2),
)
def test_it_sends_every_byte_once_in_order_and_marks_the_last(
    command: bytes, pieces: list[bytes], fragment: int
) -> None:
    got = fragments(b"".join(b"".join(write) for write in writes(5, command, pieces, fragment)))
    assert all(context == 5 for context, _, _ in got)
    assert all(len(data) <= fragment for _, _, data in got)
    commands = [(control, data) for _, control, data in got if control & 1]
    datasets = [(control, data) for _, control, data in got if not control & 1]
    assert got[: len(commands)] == [(5, control, data) for control, data in commands]
    assert b"".join(data for _, data in commands) == command
    assert b"".join(data for _, data in datasets) == b"".join(pieces)
    for parts in (commands, datasets):
        assert [bool(control & 2) for control, _ in parts] == [False] * (len(parts) - 1) + [True]
        assert all(len(data) == fragment for _, data in parts[:-1])


@given(
    sizes=st.lists(st.integers(0, 50), max_size=12),
    fragment=st.integers(1, 20).map(lambda half: half * 2),
)
def test_it_lets_the_source_use_one_buffer_again_and_again(sizes: list[int], fragment: int) -> None:
    buffer = bytearray(64)
    expected = b""

    def source():  # type: ignore[no-untyped-def]
        nonlocal expected
        for number, size in enumerate(sizes):
            buffer[:] = bytes([number % 256]) * len(buffer)
            expected += bytes(buffer[:size])
            yield memoryview(buffer)[:size]
        buffer[:] = b"\xee" * len(buffer)

    stream = b"".join(b"".join(write) for write in writes(1, b"command!", source(), fragment))
    assert b"".join(data for _, control, data in fragments(stream) if not control & 1) == expected


def test_it_sends_a_response_in_one_write() -> None:
    assert len(list(writes(1, b"c" * 80, None, 16378))) == 1
    assert len(list(writes(1, b"c" * 80, (b"d" * 100_000,), 16378))) == 1


def test_it_copies_nothing_of_large_pieces() -> None:
    large = bytes(1 << 20)
    views = [piece for write in writes(1, b"c", (large,), 65530) for piece in write if isinstance(piece, memoryview)]
    assert sum(len(view) for view in views) == len(large)
    assert all(view.obj is large for view in views)


def test_it_hands_no_more_pieces_over_than_a_system_takes_at_once() -> None:
    many: list[Piece] = [b"x"] * 5000
    assert max(len(write) for write in writes(1, b"c", many, 16)) <= 1024
    assert max(len(write) for write in writes(1, b"c", many, 100_000)) <= 1024
    assert max(len(write) for write in writes(1, b"c", (bytes(1 << 20),), 64)) <= 1024


@pytest.mark.parametrize(
    ("limit", "size"),
    [(0, LARGEST_PDU - 6), (1 << 31, LARGEST_PDU - 6), (16384, 16378), (4096, 4090), (4097, 4090), (8, 2)],
)
def test_it_keeps_to_the_peer_s_maximum_with_even_fragments_e06(limit: int, size: int) -> None:
    assert fragment_size(limit) == size


@pytest.mark.parametrize("limit", [1, 6, 7])
def test_it_refuses_a_maximum_that_nothing_fits_into_e06(limit: int) -> None:
    with pytest.raises(ProtocolError):
        fragment_size(limit)
