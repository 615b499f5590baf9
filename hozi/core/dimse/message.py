"""A received DIMSE message: its command set, and its dataset while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hozi.core.dimse.command import Command
from hozi.core.dimse.terms import Context
from hozi.core.errors import Unreadable

DATASET_LIMIT: Final = 4 << 20


class Message:
    """One request or response. Its dataset, if any, can be read once, before the association is used for more."""

    __slots__ = ("_fragments", "command", "context")

    def __init__(
        self, command: Command, context: Context, fragments: Callable[[Message], Iterator[memoryview]]
    ) -> None:
        self.command = command
        self.context = context
        self._fragments = fragments

    def fragments(self) -> Iterator[memoryview]:
        """Yield the dataset as it arrives, in pieces of at most 512 KiB straight from the receive buffer.

        A piece is valid only until the next one is asked for. Nothing is yielded without a dataset, or when it has
        been read or skipped already. Raises what ``Association.receive`` raises when the connection fails midway:
        then the dataset is incomplete and must not be kept.
        """
        return self._fragments(self)

    def dataset(self, limit: int = DATASET_LIMIT) -> bytes:
        """Return the whole dataset, b"" if there is none.

        Raises Unreadable when it is longer than ``limit`` bytes; the association remains usable.
        """
        whole = bytearray()
        for piece in self.fragments():
            if len(whole) + len(piece) > limit:
                raise Unreadable(f"a dataset of more than {limit} bytes where a short one is expected")
            whole += piece
        return bytes(whole)
