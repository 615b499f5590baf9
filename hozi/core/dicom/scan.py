"""Reads through a dataset once, from the first byte to the last: is it whole, and what does the index want of it?

This is what the receive path uses. Nothing is decoded: values stay bytes, pixel data is stepped over. Time grows
with the number of elements and never faster than the length; memory does not grow with the dataset. Whatever the
bytes are, the answer is a `Scan` or `Unreadable`.

What devices get wrong and a reader can get over is let pass and told in `Scan.findings`; see `walk`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from hozi.core.dicom import encodings, walk
from hozi.core.dicom.inflate import Buffer, Inflating, Whole
from hozi.core.dicom.limits import Limits as Limits
from hozi.core.dicom.syntaxes import TransferSyntax


@dataclass(frozen=True)
class Scan:
    """What was found in a dataset. Holds patient data.

    ``values``: the bytes of the wanted elements of the top level that are there, padding and all; binary numbers are
    in the byte order that ``little_endian`` tells. ``sequences``: the items of the wanted sequences, each with its
    wanted elements. ``findings``: oddities that were let pass, in plain words. ``has_pixel_data``: pixel data that is
    not empty. ``encapsulated``: it is encapsulated, whatever the transfer syntax says.
    """

    values: dict[int, bytes]
    sequences: dict[int, list[dict[int, bytes]]]
    findings: tuple[str, ...]
    has_pixel_data: bool
    encapsulated: bool
    element_count: int
    little_endian: bool

    def unsigned(self, tag: int) -> int | None:
        """The number in a wanted US element (UL and UV too, as some devices encode it), or None where there is none."""
        raw = self.values.get(tag, b"")
        return int.from_bytes(raw, "little" if self.little_endian else "big") if len(raw) in (2, 4, 8) else None


_DEFAULT_LIMITS: Final = Limits()


def scan(
    buffer: Buffer,
    syntax: TransferSyntax,
    limits: Limits = _DEFAULT_LIMITS,
    wanted: Collection[int] | None = None,
    sequences: Mapping[int, Collection[int]] | None = None,
) -> Scan:
    """Walks the whole dataset in ``buffer`` (no file header) and picks out what is wanted.

    ``wanted`` are tags of the top level, ``sequences`` tags of the top level with the tags that are wanted of their
    items; the default of both is what the index keeps (`keys`). Where an element stands twice, the last one counts,
    as it does for pydicom. ``buffer`` may be a mapped file; nothing of it is held on to.

    Raises `Unreadable` when the dataset is cut short, is no dataset, or exceeds a limit. The text says where, and
    never what stands there.
    """
    if isinstance(buffer, memoryview) and buffer.format != "B":
        buffer = buffer.cast("B")
    index_values, index_sequences = _wanted_by_the_index() if wanted is None or sequences is None else ((), {})
    if sequences is None:
        sequences = index_sequences
    wanted = index_values if wanted is None else frozenset(wanted).difference(sequences)
    source = Inflating(buffer, limits.inflated_bytes) if syntax.deflated else Whole(buffer)
    walker = walk.Walk(source, encodings.of(syntax), limits, wanted, sequences)
    walker.run()
    findings = [text for bit, text in walk.ODDITIES.items() if walker.oddities & bit]
    if source.has_surplus() and walk.ODDITIES[walk.TRAILING] not in findings:
        findings.append(walk.ODDITIES[walk.TRAILING])
    if walker.has_pixel_data and walker.encapsulated != syntax.encapsulated:
        findings.append("pixel data is encapsulated, or is not, against the transfer syntax")
    return Scan(
        walker.values,
        walker.sequences,
        tuple(findings),
        walker.has_pixel_data,
        walker.encapsulated,
        walker.count,
        syntax.little_endian,
    )


@functools.cache
def _wanted_by_the_index() -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    from hozi.core.dicom import keys  # not needed by those who say what they want

    sequences = {key.tag: frozenset(key.sequence_elements) for key in keys.KEYS if key.sequence_elements}
    return frozenset(keys.WANTED).difference(sequences), sequences
