"""Messages to P-DATA-TF PDUs, in as few writes as possible and without copying datasets (PS3.8 §9.3.5, annex E)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from hozi.core.dimse.failures import INVALID_PARAMETER, ProtocolError
from hozi.core.dimse.pdu import P_DATA_TF
from hozi.core.dimse.transport import Piece

LARGEST_PDU: Final = 256 * 1024
"""The largest PDU that we send, also to a peer without a limit."""

_PDV_OVERHEAD: Final = 6
_P_DATA: Final = Struct(">BxIIBB")
_COMMAND: Final = 0x01
_LAST: Final = 0x02
_BATCH_BYTES: Final = 1024 * 1024
_BATCH_PIECES: Final = 512  # systems take 1024 at once
_HELD_PIECES: Final = 64


def fragment_size(peer_max_pdu: int) -> int:
    """Return how many bytes of a message fit into one PDU for this peer, always even (PS3.8 §D.1: 0 is no limit).

    Raises ProtocolError when the peer's limit leaves no room for any.
    """
    largest = min(peer_max_pdu or LARGEST_PDU, LARGEST_PDU)
    size = (largest - _PDV_OVERHEAD) & ~1
    if size < 2:
        raise ProtocolError("a maximum PDU length that no message fits into", INVALID_PARAMETER)
    return size


def writes(context_id: int, command: bytes, dataset: Iterable[Piece] | None, fragment: int) -> Iterator[list[Piece]]:
    """Yield what to hand to the kernel, write by write: one PDU after the other, each with one fragment.

    A piece of the dataset may be overwritten by its owner once the next one is asked for. Fragments are even,
    as some peers insist; only the last one of an odd dataset is odd.
    """
    batch: list[Piece] = []
    for position in range(0, len(command), fragment):
        words = command[position : position + fragment]
        last = _LAST if position + fragment >= len(command) else 0
        batch += (_header(len(words), context_id, _COMMAND | last), words)
    if dataset is None:
        yield batch
        return
    size = 0
    held: list[Piece] = []  # less than a fragment, or exactly one that may be the last
    held_size = 0
    for piece in dataset:
        view = memoryview(piece).cast("B")
        position, length = 0, len(view)
        while position < length:
            if held_size == fragment:
                batch += (_header(fragment, context_id, 0), *held)
                size += fragment
                held, held_size = [], 0
            part = view[position : position + fragment - held_size]
            position += len(part)
            held.append(part)
            held_size += len(part)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
                yield batch
                batch, size = [], 0
        lasting = isinstance(piece, bytes)
        if size and not lasting:
            yield batch
            batch, size = [], 0
        if held and (not lasting or len(held) > _HELD_PIECES):
            held = [b"".join(held)]
    batch += (_header(held_size, context_id, _LAST), *held)
    yield batch


def _header(length: int, context_id: int, control: int) -> bytes:
    """PDU header and PDV header for one fragment (PS3.8 §9.3.5.1, §E.2)."""
    return _P_DATA.pack(P_DATA_TF, length + _PDV_OVERHEAD, length + 2, context_id, control)
