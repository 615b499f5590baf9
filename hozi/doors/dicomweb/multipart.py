"""An answer in parts (RFC 2046 §5.1, RFC 2387), made of pieces that nobody joins in memory."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence


class Parts:
    """What stands around the parts of one answer.

    ``source``: what the parts are made of, so that the same parts get the same boundary (and their answer can have an
    ETag): it must name their content by a hash. Nothing can hold a hash of itself, so the boundary is in no part.
    Without it, the boundary is a number that nobody could know.
    """

    def __init__(self, media: str, source: Sequence[str] = ()) -> None:
        told = (
            hashlib.sha256("\n".join((media, *source)).encode()).hexdigest()[:40] if source else secrets.token_hex(20)
        )
        self._boundary = f"hozi-{told}"
        self.content_type = f'multipart/related; type="{media}"; boundary={self._boundary}'
        self._begun = False

    def head(self, content_type: str, length: int | None = None, location: str = "") -> bytes:
        """What stands before the next part."""
        lines = [f"--{self._boundary}", f"Content-Type: {content_type}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if location:
            lines.append(f"Content-Location: {location}")
        said = "\r\n".join(lines) + "\r\n\r\n"
        said = f"\r\n{said}" if self._begun else said
        self._begun = True
        return said.encode("ascii")

    def end(self) -> bytes:
        """What stands behind the last part."""
        return f"\r\n--{self._boundary}--\r\n".encode("ascii")
