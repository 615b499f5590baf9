"""A multipart body, read once from first byte to last, in time that grows with its length alone (RFC 2046 §5.1).

Part after part comes as its headers and an iterator of its bytes; whatever pieces the body comes in, little of it is
held. A body is whole only when its last delimiter was seen: one that breaks off before is `Malformed`, also where the
connection does not tell. No library: those that there are read forms (`multipart/form-data`) and refuse other parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hozi.doors.dicomweb.exchange import Malformed, TooLarge

PIECE: Final = 256 << 10
MOST_PARTS: Final = 20_000
MOST_HEADER_BYTES: Final = 8 << 10
MOST_HEADERS: Final = 32
MOST_PREAMBLE: Final = 4 << 10
MOST_EPILOGUE: Final = 64 << 10
LONGEST_LINE_END: Final = 128
"""Blanks may stand behind a delimiter; no more than this."""

# RFC 2046 §5.1.1 allows 70 characters; Orthanc's plugin sends 73.
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,127}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER: Final = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\"]*)\s*")
_NAME: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+")
_LONGEST_TYPE: Final = 1024

Read = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """One part. ``content``: its bytes, piece by piece; what of them is not taken is passed over."""

    headers: dict[str, str]
    content: Iterator[bytes | memoryview]

    @property
    def type(self) -> tuple[str, dict[str, str]]:
        """Its media type, with parameters; empty when it says none."""
        told = self.headers.get("content-type", "")
        return media_type(told) if told else ("", {})


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """A Content-Type: the type in small letters, and its parameters, quoted or not. Raises `Malformed`."""
    if len(text) > _LONGEST_TYPE:
        raise Malformed("A Content-Type is too long", field="content-type")
    name, semicolon, rest = text.partition(";")
    rest = semicolon + rest.rstrip("; \t")
    parameters: dict[str, str] = {}
    at = 0
    while at < len(rest):
        found = _PARAMETER.match(rest, at)
        if found is None:
            raise Malformed("A Content-Type cannot be understood", field="content-type")
        key, value = found[1].lower(), found[2].strip()
        if key in parameters:
            raise Malformed("A Content-Type says something twice", field="content-type")
        parameters[key] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = found.end()
    return name.strip().lower(), parameters


def boundary_of(parameters: dict[str, str]) -> bytes:
    """The boundary that a Content-Type tells. Raises `Malformed`."""
    boundary = parameters.get("boundary", "").encode("utf-8", "replace")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("Its Content-Type tells no boundary (1 to 128 characters)", field="content-type")
    return boundary


def parts(read: Read, boundary: bytes) -> Iterator[Part]:
    """The parts of the body, each to be used before the next. Raises `Malformed`, `TooLarge`, and what ``read`` raises.

    ``read`` gives at most so many bytes, and empty bytes at the end, as `BufferedIOBase.read1` does.
    """
    return _Parts(read, boundary).walk()


class _Parts:
    """The state: ``_buffer`` holds what has come; what stands before ``_at`` is done with."""

    def __init__(self, read: Read, boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning: the line end before it is ours.
        self._buffer = b"\r\n"
        self._at = 0

    def walk(self) -> Iterator[Part]:
        preamble = 0
        for piece in self._until_delimiter():
            preamble += len(piece)
            if preamble > MOST_PREAMBLE:
                raise Malformed("Its first delimiter does not come")
        for number in range(MOST_PARTS + 1):
            if self._is_last():
                self._pass_over_epilogue()
                return
            if number == MOST_PARTS:
                raise TooLarge(f"It has more than {MOST_PARTS} parts")
            content = self._until_delimiter()
            yield Part(self._headers(), content)
            for _ in content:
                pass

    def _more(self) -> bool:
        """Brings more into the buffer; False at the end."""
        piece = self._read(PIECE)
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _until_delimiter(self) -> Iterator[bytes | memoryview]:
        """The bytes before the next delimiter, which is then done with, too."""
        keep = len(self._delimiter) - 1
        while True:
            found = self._buffer.find(self._delimiter, self._at)
            # What may be the beginning of a delimiter waits for what follows.
            end = found if found >= 0 else max(len(self._buffer) - keep, self._at)
            begin, self._at = self._at, end if found < 0 else found + len(self._delimiter)
            if end > begin:
                yield memoryview(self._buffer)[begin:end]
            if found >= 0:
                return
            if not self._more():
                raise Malformed("It ends before its last delimiter")

    def _is_last(self) -> bool:
        """What stands behind a delimiter: the end of the line, or the two hyphens of the last one."""
        self._need(2)
        if self._buffer.startswith(b"--", self._at):
            self._at += 2
            return True
        blanks = 0
        while not self._buffer.startswith(b"\r\n", self._at):
            if self._buffer[self._at] not in b" \t" or blanks == LONGEST_LINE_END:
                raise Malformed("Something stands behind a delimiter")
            self._at += 1
            blanks += 1
            self._need(2)
        # The line end stays: it may be the one of the blank line when there are no headers, and ends them else.
        return False

    def _need(self, count: int) -> None:
        while len(self._buffer) - self._at < count:
            if not self._more():
                raise Malformed("It ends before its last delimiter")

    def _headers(self) -> dict[str, str]:
        """The headers of a part, and the blank line behind them."""
        end, seen = -1, self._at
        while (end := self._buffer.find(b"\r\n\r\n", max(seen - 3, self._at))) < 0:
            seen = len(self._buffer) - self._at
            if seen > MOST_HEADER_BYTES:
                raise Malformed("The headers of a part are too long")
            if not self._more():
                raise Malformed("It ends before its last delimiter")
        if end - self._at > MOST_HEADER_BYTES:
            raise Malformed("The headers of a part are too long")
        block, self._at = self._buffer[self._at + 2 : end], end + 4
        return _parsed(block)

    def _pass_over_epilogue(self) -> None:
        """What stands behind the last delimiter means nothing; so much of it is taken that the connection can go on."""
        passed = 0
        while passed < MOST_EPILOGUE and (piece := self._read(PIECE)):
            passed += len(piece)


def _parsed(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    lines = block.decode("latin-1").split("\r\n") if block else []
    if len(lines) > MOST_HEADERS:
        raise Malformed("A part has too many headers")
    last = ""
    for line in lines:
        if line[:1] in (" ", "\t") and last:  # a header that goes on
            headers[last] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        last = name.strip().lower()
        if not colon or not _NAME.fullmatch(last) or re.search(r"[\x00\r\n]", value):
            raise Malformed("The headers of a part cannot be understood")
        if last in headers:
            raise Malformed("A part has a header twice")
        headers[last] = value.strip()
    return headers
