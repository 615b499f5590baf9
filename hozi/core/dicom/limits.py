"""How much a dataset may ask of those who read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What `scan` refuses to read, or to keep.

    ``depth``: sequences inside one another. ``elements``: elements, items and fragments in all. ``inflated_bytes``:
    what a deflated dataset may grow to. ``value_bytes``: what is kept of one wanted value, and of all items of one
    wanted sequence together (the dataset may have more; the scan's copy is cut). ``items``: items of sequences in all,
    since every one costs those who read the dataset later an object of its own.
    """

    depth: int = 64
    elements: int = 2_000_000
    inflated_bytes: int = 1 << 30
    value_bytes: int = 64 << 10
    items: int = 750_000
