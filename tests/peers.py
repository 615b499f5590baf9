"""Programs that are not ours and that tests talk to: other people's DICOM tools, servers and browsers.

A test that needs one carries its marker (`@pytest.mark.dcmtk`); where the program is missing, the test is left out
and the end of the run says so. In CI (`HOZI_TEST_ALL=1`) nothing may be left out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """A package of programs: what people call it, how Debian calls it, which programs tests use of it."""

    name: str
    package: str
    programs: tuple[str, ...]
    compiled: bool = True

    def missing(self) -> list[str]:
        """Its programs that are not on this machine."""
        return [name for name in self.programs if find(name, compiled=self.compiled) is None]


PEERS = {
    "dcmtk": Peer(
        "DCMTK",
        "dcmtk",
        ("echoscu", "storescu", "findscu", "movescu", "getscu", "storescp", "dcmqrscp", "dcmdump"),
    ),
    "orthanc": Peer("Orthanc", "orthanc", ("Orthanc",)),
    "postgresql": Peer("PostgreSQL", "postgresql", ("initdb", "postgres"), compiled=False),
    "chromium": Peer("Chromium", "chromium", ("chromium",), compiled=False),
}


def program(name: str) -> str:
    """Path of a peer's program, by its name (`storescu`, `Orthanc`, `initdb` ...).

    Only for tests that carry the peer's marker: raises FileNotFoundError where the program is missing.
    """
    compiled = next((peer.compiled for peer in PEERS.values() if name in peer.programs), True)
    path = find(name, compiled=compiled)
    if path is None:
        raise FileNotFoundError(f"{name} is not on this machine")
    return path


def find(name: str, *, compiled: bool) -> str | None:
    """The first program of that name, or None.

    With ``compiled``, scripts do not count: pynetdicom installs Python scripts that are called `storescu`,
    `findscu` ... as DCMTK's programs are, and an activated environment puts them first.
    """
    for folder in _folders():
        path = shutil.which(name, path=str(folder))
        if path and not (compiled and _is_script(Path(path))):
            return path
    return None


def _folders() -> Iterator[Path]:
    yield from (Path(folder) for folder in os.get_exec_path() if folder)
    yield from (Path("/usr/local/sbin"), Path("/usr/sbin"))  # Orthanc; not on everybody's PATH
    # Debian keeps the server programs of each PostgreSQL version apart; the newest comes first.
    servers = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(servers, key=lambda folder: int(folder.parent.name), reverse=True)


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
