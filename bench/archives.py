"""The archives that are measured, each started in a fresh folder on loopback: Hozi, Orthanc, dcmqrscp."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from bench.databases import server
from bench.ground import Broken, Ground, Missing, environment, running
from tests.peers import free_port, program

CALLER: Final = "BENCH"
DESTINATION: Final = "BENCHDEST"
_START_SECONDS: Final = 120
_PLUGIN: Final = "libOrthancPostgreSQLIndex.so"
PLUGIN_FOLDERS: Final = (
    "/usr/share/orthanc/plugins",
    "/usr/lib/orthanc",
    "/usr/local/share/orthanc/plugins",
    "/usr/local/lib/orthanc",
)


@dataclass(frozen=True)
class Archive:
    """A running archive, and where it listens; ``web``: where for HTTP, if that is known."""

    name: str
    ae_title: str
    port: int
    process: subprocess.Popen[bytes]
    web: int = 0


@dataclass(frozen=True)
class Home:
    """A home folder of Hozi with its database, in which `CALLER` is admitted."""

    folder: Path
    port: int
    database_url: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Every setting that is not the default."""
        chosen = {
            "HOZI_HOME": str(self.folder / "home"),
            "HOZI_DICOM_HOST": "127.0.0.1",
            "HOZI_DICOM_PORT": str(self.port),
            "HOZI_HTTP_BIND": "127.0.0.1:0",
        }
        return environment(**chosen, **({"HOZI_DATABASE_URL": self.database_url} if self.database_url else {}))

    def run(self, *arguments: str) -> str:
        """Runs `python -m ...` on this home; returns what it printed. Raises Broken when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=self.environment(), capture_output=True, text=True
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            raise Broken(f"{' '.join(arguments[:2])} failed")
        return done.stdout


def new_home(ground: Ground, folder: Path, database: str = "", destination: int | None = None) -> Home:
    """Makes a home in an empty folder. ``database``: name of a new one on the PostgreSQL server; empty: SQLite.

    ``destination`` is the port of a C-MOVE destination, which is admitted too.
    """
    home = Home(folder, free_port(), server(ground).create(database) if database else "")
    known = ("--host", "127.0.0.1")
    home.run("hozi", "device", "add", CALLER, "--ae", CALLER, *known, "--may", "store,query,retrieve")
    if destination is not None:
        port = ("--port", str(destination))
        home.run("hozi", "device", "add", DESTINATION, "--ae", DESTINATION, *known, *port, "--may", "receive")
    _demand_durability(ground, home)
    return home


def _demand_durability(ground: Ground, home: Home) -> None:
    """Looks once for each kind of database at what is in force; a run that is not durable does not count."""
    kind = "PostgreSQL" if home.database_url else "SQLite"
    durability = ground.kept.setdefault("durability", {})
    if kind not in durability:
        durability[kind] = json.loads(home.run("bench.filling", "durability"))
    if not durability[kind]["durable"]:
        raise Broken(f"Hozi's {kind} is not durable: {durability[kind]}")


@contextmanager
def serving(home: Home) -> Iterator[Archive]:
    """Hozi, the real program, on that home, with the settings that it has by default."""
    command = (sys.executable, "-m", "hozi", "serve", "--json")
    log = home.folder / "hozi.log"
    with running("hozi", command, log, home.environment()) as process:
        _wait("Hozi", process, lambda: '"ae_title"' in log.read_text(errors="replace"))
        yield Archive("Hozi", "HOZI", home.port, process)


@contextmanager
def hozi(ground: Ground, database: str = "", destination: int | None = None) -> Iterator[Archive]:
    """Hozi with an empty archive."""
    with ground.folder("hozi") as folder, serving(new_home(ground, folder, database, destination)) as archive:
        yield archive


def listener(archive: Archive) -> list[psutil.Process]:
    """The processes of a running Hozi that listen: all below the supervisor, without those of the worker."""
    found = []
    for part in psutil.Process(archive.process.pid).children():
        if "worker" not in part.cmdline():
            found += [part, *part.children(recursive=True)]
    return found


@contextmanager
def orthanc(
    ground: Ground,
    *,
    nodelay: bool,
    database: str = "",
    destination: int | None = None,
    plugins: Sequence[Path] = (),
    kept: Path | None = None,
) -> Iterator[Archive]:
    """Orthanc with an empty archive: on SQLite, or with its PostgreSQL index plugin on the same server as Hozi.

    Nothing but names, ports, folders and ``plugins`` differs from how it ships; ``nodelay`` sets TCP_NODELAY=1 for it.
    ``kept``: a folder in which it finds again what it stored.
    """
    try:
        executable = program("Orthanc")
    except FileNotFoundError:
        raise Missing("Orthanc is not here: apt install orthanc") from None
    with nullcontext(kept) if kept else ground.folder("orthanc") as folder:
        port, http = free_port(), free_port()
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [str(plugin) for plugin in plugins],
            "HttpPort": http,
            "DicomAet": "ORTHANC",
            "DicomPort": port,
            "SyncStorageArea": True,
            "DicomModalities": {
                "caller": [CALLER, "127.0.0.1", free_port()],
                "destination": [DESTINATION, "127.0.0.1", destination or free_port()],
            },
            **(_on_postgresql(server(ground).create(database)) if database else {}),
        }
        file = folder / "orthanc.json"
        file.write_text(json.dumps(settings))
        given = environment(**({"TCP_NODELAY": "1"} if nodelay else {}))
        with running("orthanc", (executable, file), folder / "orthanc.log", given) as process:
            _wait("Orthanc", process, lambda: _answers(f"http://127.0.0.1:{http}/system"))
            yield Archive("Orthanc", "ORTHANC", port, process, http)


def _on_postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "Plugins": [str(postgresql_plugin())],
        "PostgreSQL": {
            "EnableIndex": True,
            "EnableStorage": False,
            "Host": parts.hostname,
            "Port": parts.port,
            "Database": parts.path.lstrip("/"),
            "Username": parts.username,
            "Password": parts.password,
            "EnableSsl": False,
        },
    }


def postgresql_plugin() -> Path:
    """Orthanc's plugin that keeps its index on PostgreSQL; raises Missing."""
    for folder in map(Path, PLUGIN_FOLDERS):
        for plugin in sorted(folder.glob(f"{_PLUGIN}*")):
            return plugin
    raise Missing("Orthanc's PostgreSQL plugin is not here: apt install orthanc-postgresql")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def dcmqrscp(ground: Ground) -> Iterator[Archive]:
    """DCMTK's own small archive, which does not make durable what it acknowledges."""
    with ground.folder("dcmqrscp") as folder:
        port = free_port()
        (folder / "area").mkdir()
        file = folder / "dcmqrscp.cfg"
        file.write_text(
            f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
            f"HostTable BEGIN\ncaller = ({CALLER}, 127.0.0.1, {free_port()})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nDCMQRSCP {folder / 'area'} RW (1000, 100000mb) ANY\nAETable END\n"
        )
        command = (peer("dcmqrscp"), "-c", file)
        with running("dcmqrscp", command, folder / "dcmqrscp.log", environment(TCP_NODELAY="1")) as process:
            listening(process, port, "dcmqrscp")
            yield Archive("dcmqrscp", "DCMQRSCP", port, process)


def peer(name: str) -> str:
    """Path of one of DCMTK's programs; raises Missing."""
    try:
        return program(name)
    except FileNotFoundError:
        raise Missing(f"DCMTK's {name} is not here: apt install dcmtk") from None


def listening(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Waits until a program listens at a port. Raises Broken when it ends instead."""
    _wait(name, process, lambda: any(c.laddr.port == port for c in psutil.Process(process.pid).net_connections("tcp")))


def _wait(name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise Broken(f"{name} ended at its start")
        if time.monotonic() > deadline:
            raise Broken(f"{name} did not start")
        time.sleep(0.05)
