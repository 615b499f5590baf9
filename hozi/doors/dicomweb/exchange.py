"""What a view of this door is given, what it gives back, and the errors that only this protocol knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, TypeAlias

from hozi.accounts.authorise import Who
from hozi.core.errors import HoziError, Refused, Unavailable
from hozi.doors.dicomweb.accept import NotAcceptable as NotAcceptable

Piece: TypeAlias = bytes | memoryview

PRIVATE: Final = "private, no-cache"
"""What names a patient: kept by the one browser only, and asked about before it is shown again."""


class Unsupported(HoziError):
    """What came is of a kind that is not taken here (`Content-Type`): 415."""


class Unprocessable(HoziError):
    """What is asked for cannot be made of what there is, however it is asked (a picture of a report): 422."""


class TooLarge(HoziError):
    """More came than is taken, or more would have to be given: 413."""


class NoRoom(Unavailable):
    """There is no room now for what came: 503, with ``Retry-After``."""


class Malformed(Refused):
    """A request that does not follow the protocol: 400. ``field`` names the parameter or the header."""


@dataclass(slots=True)
class Request:
    """A request whose sender is known and holds the route's permission; how far it reaches, the view asks.

    ``names``: from the path, UIDs checked. ``query``: decoded pairs, in their order. ``headers``: names in small
    letters. ``base``: ``https://host/dicom-web``. ``body`` blocks; ``length`` is None when none was told.
    """

    who: Who
    method: str
    names: dict[str, str]
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    base: str
    body: BinaryIO
    length: int | None

    def asked(self, name: str) -> list[str]:
        """The values of that query parameter, in their order."""
        return [value for key, value in self.query if key == name]


@dataclass(slots=True)
class Response:
    """An answer: ``pieces`` are streamed instead of ``body``, and closed when they were sent or nobody wants them."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    pieces: Iterable[Piece] | None = None

    def header(self, name: str) -> str:
        """The value of that header (in small letters); empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")
