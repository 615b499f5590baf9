"""Turns datasets into transfer syntaxes that everybody reads, in worker processes that may hang or crash."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hozi.core.dicom import syntaxes
from hozi.core.pixels.pool import TranscodeFailed as TranscodeFailed
from hozi.core.pixels.pool import Workers

NATIVE: Final = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})
"""What datasets can be turned into: implicit and explicit little endian, explicit big endian, deflated."""


class Transcoder(Workers):
    """`Workers` that transcode whole datasets."""

    def can_transcode(self, from_syntax: str, to_syntax: str) -> bool:
        """Whether datasets in the one can be turned into the other; some may be damaged all the same."""
        if to_syntax not in NATIVE or to_syntax == from_syntax:
            return False
        if from_syntax in NATIVE:
            return True
        from hozi.core.pixels import decode  # heavy; most archives are never asked for this

        return decode.can_decode(from_syntax)

    def transcode(self, source: Path, offset: int, from_syntax: str, to_syntax: str) -> Path:
        """Writes the dataset that begins at ``offset`` of ``source`` into a new file, without a header, in
        ``to_syntax``. The caller removes the file. Raises `TranscodeFailed`.
        """
        if not self.can_transcode(from_syntax, to_syntax):
            known = syntaxes.get(from_syntax)
            raise TranscodeFailed(f"{known.name if known else 'This transfer syntax'} cannot be converted.")
        request = {"source": str(source.absolute()), "offset": offset, "from": from_syntax, "to": to_syntax}
        return self.ask(request, "transcoded")
