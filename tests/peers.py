"""Programs that are not ours and that tests talk to: other people's DICOM tools, servers and browsers.

A test that needs one carries its marker (`@pytest.mark.dcmtk`); where the program is missing, the test is left out
and the end of the run says so. In CI (`HOZI_TEST_ALL=1`) nothing may be left out.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LUCK: Final = random.SystemRandom()
_LISTEN: Final = "0A"


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
        ("echoscu", "storescu", "findscu", "movescu", "getscu", "storescp", "dcmqrscp", "dcmdump", "dsrdump"),
    ),
    "orthanc": Peer("Orthanc", "orthanc", ("Orthanc",)),
    "postgresql": Peer("PostgreSQL", "postgresql", ("initdb", "postgres"), compiled=False),
    "slapd": Peer("OpenLDAP", "slapd", ("slapd", "slapadd")),
    "curl": Peer("curl", "curl", ("curl",)),
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


def free_port() -> int:
    """A port of loopback that nobody listens at, for a program that wants to be told one.

    Below those that the kernel gives to outgoing connections: none of these takes it before the program does.
    """
    for _ in range(1000):
        port = _LUCK.randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port of loopback is free")


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Returns when a program that was started listens at a port.

    Looked up in the kernel's tables: a connection would be the first one, which some programs wait for.
    """
    deadline = time.monotonic() + seconds
    while not _listens(port):
        assert process.poll() is None, f"{process.args!r} has ended"
        assert time.monotonic() < deadline, f"{process.args!r} does not listen at port {port}"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    lines = (line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:])
    return any(line[1].endswith(f":{port:04X}") and line[3] == _LISTEN for line in lines)
