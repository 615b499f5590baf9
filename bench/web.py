"""Archives that are asked over HTTP: Hozi's DICOMweb, and Orthanc with its DICOMweb plugin; both with the same studies.

They are started once for all rows that ask them, and their answers are looked at closely before anything is timed.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench import clients, images
from bench.archives import PLUGIN_FOLDERS, Archive, Home, new_home, orthanc, serving
from bench.browsing import console
from bench.ground import ROOT, Broken, Ground, Missing, environment
from bench.images import Identity, Series

CONNECTIONS: Final = 4
STUDIES_OF_ONE_DAY: Final = 10
SMALL_STUDIES: Final = 40
JSON: Final = "application/dicom+json"
_DAY: Final = "20260303"
_PLUGIN: Final = "libOrthancDicomWeb.so"
_SECONDS: Final = 300


@dataclass
class Side:
    """One of the archives that are asked, with how it is started (again)."""

    start: Callable[[], AbstractContextManager[Archive]]
    where: Callable[[], str]
    headers: dict[str, str] = field(default_factory=dict)
    archive: Archive = field(init=False)
    _running: ExitStack = field(default_factory=ExitStack)
    _sizes: dict[tuple[str, str], int] = field(default_factory=dict)

    def begin(self) -> None:
        """Starts it."""
        self.archive = self._running.enter_context(self.start())
        self._parts = urlsplit(self.where())

    def end(self) -> None:
        """Stops it."""
        self._running.close()

    def again(self) -> None:
        """Restarts it: what it keeps in memory is gone."""
        self.end()
        self.begin()

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"{self._parts.hostname}:{self._parts.port}"

    def look(self, path: str, accept: str, right: Callable[[bytes, str], bool]) -> bytes:
        """The body of an answer, looked at: raises Broken when it is not right. Its size is remembered."""
        connection = http.client.HTTPConnection(self.host, timeout=_SECONDS)
        try:
            connection.request("GET", self._parts.path + path, headers={**self.headers, "Accept": accept})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200 or not right(body, answer.headers.get("Content-Type", "")):
            raise Broken(f"{self.archive.name} answered {answer.status} and {len(body)} bytes where more is right")
        self._sizes[path, accept] = len(body)
        return body

    def request(self, path: str, accept: str) -> tuple[str, int]:
        """A request as it goes over the wire, and the size of its answer, if that was looked at (else -1)."""
        return self._head("GET", path, {"Accept": accept}), self._sizes.get((path, accept), -1)

    def post(self, path: str, kind: str, body: Path) -> tuple[str, int, str]:
        """A request with a file as its body."""
        told = {"Accept": JSON, "Content-Type": kind, "Content-Length": str(body.stat().st_size)}
        return self._head("POST", path, told), -1, str(body)

    def _head(self, method: str, path: str, told: dict[str, str]) -> str:
        lines = [f"{name}: {value}" for name, value in {"Host": self.host, **self.headers, **told}.items()]
        return "\r\n".join((f"{method} {self._parts.path}{path} HTTP/1.1", *lines, "", ""))

    def load(self, connections: Sequence[Sequence[Any]], **how: bool) -> dict[str, Any]:
        """What `bench.load` says of these requests. Raises Broken when an answer was wrong."""
        task = {
            "host": self._parts.hostname,
            "port": self._parts.port,
            "connections": connections,
            **how,
        }
        command = (sys.executable, "-m", "bench.load")
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, cwd=ROOT, env=environment()
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            raise Broken("the load failed")
        told: dict[str, Any] = json.loads(done.stdout)
        if wrong := told.get("wrong"):
            raise Broken(f"{self.archive.name}: {wrong}")
        return told


@dataclass(frozen=True)
class Pair:
    """Hozi and its peer with the same studies: one series, and `SMALL_STUDIES` of one image each."""

    ours: Side
    peer: Side
    series: Series
    patients: tuple[str, ...]

    @property
    def instances(self) -> list[str]:
        """The paths of the images of the series."""
        numbers = range(1, self.series.count + 1)
        return [f"{self.path}/instances/{self.series.instance(number)}" for number in numbers]

    @property
    def path(self) -> str:
        """The path of the series."""
        return f"/studies/{self.series.study}/series/{self.series.series}"


def pair(ground: Ground) -> Pair:
    """Both, started and filled; the same for every row of this benchmark."""
    if "web" not in ground.kept:
        ours = Side(*_hozi(ground))
        peer = Side(*_orthanc(ground))
        for side in (ours, peer):
            ground.stack.callback(side.end)
            side.begin()
        ground.kept["web"] = _filled(ground, ours, peer)
    found = ground.kept["web"]
    assert isinstance(found, Pair)
    return found


def token(home: Home) -> str:
    """A token of a program that may do everything, on that home."""
    home.run("hozi", "user", "add", "bench", "--role", "pacs_admin", "--program")
    made = home.run("hozi", "user", "token", "bench", "--scope", "read,write", "--json")
    return str(json.loads(made)["token"])


def dicomweb(home: Home) -> str:
    """Where DICOMweb of a running Hozi is."""
    return f"{console(home).rstrip('/')}/dicom-web"


def _hozi(ground: Ground) -> tuple[Callable[[], AbstractContextManager[Archive]], Callable[[], str], dict[str, str]]:
    home = new_home(ground, ground.stack.enter_context(ground.folder("hozi-web")))
    headers = {"Authorization": f"Bearer {token(home)}"}
    return lambda: serving(home), lambda: dicomweb(home), headers


def _orthanc(ground: Ground) -> tuple[Callable[[], AbstractContextManager[Archive]], Callable[[], str]]:
    folder = ground.stack.enter_context(ground.folder("orthanc-web"))
    plugin = dicomweb_plugin()
    told: list[str] = []

    @contextmanager
    def start() -> Iterator[Archive]:
        with orthanc(ground, nodelay=True, plugins=(plugin,), kept=folder) as archive:
            told[:] = [f"http://127.0.0.1:{archive.web}/dicom-web"]
            yield archive

    return start, lambda: told[0]


def dicomweb_plugin() -> Path:
    """Orthanc's DICOMweb plugin; raises Missing."""
    for folder in map(Path, PLUGIN_FOLDERS):
        for plugin in sorted(folder.glob(f"{_PLUGIN}*")):
            return plugin
    raise Missing("Orthanc's DICOMweb plugin is not here: apt install orthanc-dicomweb")


def _filled(ground: Ground, ours: Side, peer: Side) -> Pair:
    """Stores the same images in both."""
    template = images.ct(ground.seed)
    with ground.scratch() as folder:
        series = images.write_series(folder / "series", template, ground.sizes.series, ground.seed, "web")
        small = folder / "small"
        small.mkdir()
        patients = tuple(f"W{number:011d}" for number in range(SMALL_STUDIES))
        for number, patient in enumerate(patients):
            identity = Identity(
                *(images.uid("web", ground.seed, number, level) for level in ("study", "series", "instance")),
                patient_id=patient,
                patient_name=f"Zvobgo^Number{number:02d}",
                date=_DAY if number < STUDIES_OF_ONE_DAY else f"201001{1 + number % 28:02d}",
                accession=f"W{number:011d}",
            )
            template.write(small / f"{number}.dcm", identity)
        for side in (ours, peer):
            clients.store(ground, side.archive, [series])
            clients.send(ground, side.archive, [small])
    return Pair(ours, peer, series, patients)


def count_of(number: int) -> Callable[[bytes, str], bool]:
    """Whether an answer is DICOM JSON of so many datasets."""
    return lambda body, kind: JSON in kind and len(json.loads(body)) == number


def one_day() -> str:
    """The query for the studies of one day, of which there are `STUDIES_OF_ONE_DAY`."""
    return f"/studies?StudyDate={_DAY}"
