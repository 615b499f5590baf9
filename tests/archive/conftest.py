"""An archive without a listener: an empty database, an empty storage folder, and who takes files in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hozi.archive import bring
from hozi.archive.arrived import Origin
from hozi.archive.bring import Summary
from hozi.archive.place import volume
from hozi.archive.receive import Receiver
from hozi.settings import HOZI


@dataclass
class Counter:
    """The place where people hand in files."""

    receiver: Receiver
    journals: Path

    def bring(self, *paths: Path, facility: str = "MAIN", issuer: str = "MAIN") -> Summary:
        """Imports, as `hozi import` does; the sums must add up whatever comes."""
        origin = Origin(actor="clerk", address="", facility=facility, issuer=issuer, source="import")
        summary = bring.bring(list(paths), self.receiver, origin, journals=self.journals)
        counts = summary.counts
        assert counts.pop("seen") == len(summary.files) == sum(counts.values())
        return summary


@pytest.fixture
def counter(transactional_db: None, tmp_path: Path) -> Iterator[Counter]:
    """An empty archive that takes files in."""
    for folder in ("objects", "incoming", "scratch"):
        shutil.rmtree(HOZI.storage / folder, ignore_errors=True)
    volume.cache_clear()
    receiver = Receiver()
    yield Counter(receiver, tmp_path / "journals")
    receiver.close()
