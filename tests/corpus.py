"""The real DICOM files that tests read. They are kept beside the checkout, or where HOZI_CORPUS says."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(os.environ.get("HOZI_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus") / "dicom"


class Row(NamedTuple):
    """A line of the corpus' manifest, as far as tests need it."""

    path: Path
    readable: str
    transfer_syntax: str
    sop_instance_uid: str
    note: str

    @property
    def name(self) -> str:
        """The path below the corpus' folder."""
        return str(self.path.relative_to(CORPUS))


def rows() -> list[Row]:
    """Every file of the corpus; an empty list where there is no corpus."""
    manifest = CORPUS / "MANIFEST.tsv"
    if not manifest.exists():
        return []
    with manifest.open(newline="", encoding="utf-8") as lines:
        return [
            Row(
                CORPUS / line["path"],
                line["readable"],
                line["transfer_syntax"].rpartition("(")[2].rstrip(")"),
                line["sop_instance_uid"],
                line["note"],
            )
            for line in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
