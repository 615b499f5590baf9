"""Those who send, ask and fetch: DCMTK's programs, the same for every archive; and Hozi's own client for questions.

Each function returns seconds, and raises Broken unless the whole work was done.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset

from bench.archives import CALLER, DESTINATION, Archive, listening, peer
from bench.ground import Broken, Ground, environment, running, show_end
from bench.images import EXPLICIT, Series
from hozi.core.dicom import identifier
from hozi.core.dicom.sop_classes import STUDY_ROOT_FIND
from hozi.core.dimse import requestor
from hozi.core.dimse.association import Association
from hozi.core.dimse.status import SUCCESS, is_pending
from tests.peers import free_port

_MOST_SECONDS: Final = 900
_LOCAL: Final = "127.0.0.1"


def store(ground: Ground, archive: Archive, series: Sequence[Series], *, nodelay: bool = True) -> float:
    """C-STORE by DCMTK's `storescu`, one association for each series, all at once."""
    seconds = send(ground, archive, [one.folder for one in series], nodelay=nodelay)
    with Asker(archive) as asker:
        for one in series:
            keys = {"StudyInstanceUID": one.study, "SeriesInstanceUID": one.series, "SOPInstanceUID": ""}
            found = asker.ask("IMAGE", keys)[1]
            if found != one.count:
                raise Broken(f"{archive.name} has {found} of {one.count} images that were sent")
    return seconds


def send(ground: Ground, archive: Archive, folders: Sequence[Path], *, nodelay: bool = True) -> float:
    """The same for folders of any images; nobody looks whether all are there."""
    commands = [
        [peer("storescu"), "-aet", CALLER, "-aec", archive.ae_title, _LOCAL, str(archive.port), "+sd", str(folder)]
        for folder in folders
    ]
    return _run(ground, archive, commands, nodelay=nodelay)[0]


def get(ground: Ground, archive: Archive, series: Series) -> float:
    """C-GET of a series by DCMTK's `getscu`, which takes the datasets in and counts them: writing them is not timed."""
    command = [peer("getscu"), "-S", "-v", "--ignore", *_calls(archive), *_asks_for(series)]
    seconds, [said] = _run(ground, archive, [command], nodelay=True)
    _demand_all(archive, said.count("Received C-STORE Request"), series)
    return seconds


def move(ground: Ground, archive: Archive, series: Series, log: Path) -> float:
    """C-MOVE of a series by DCMTK's `movescu` to the `destination` that writes this log."""
    command = [peer("movescu"), "-S", "-aem", DESTINATION, *_calls(archive), *_asks_for(series)]
    before = _taken(log)
    seconds, _ = _run(ground, archive, [command], nodelay=True)
    deadline = time.monotonic() + 10
    while _taken(log) - before < series.count and time.monotonic() < deadline:
        time.sleep(0.05)  # its log is written out in blocks
    _demand_all(archive, _taken(log) - before, series)
    return seconds


def _taken(log: Path) -> int:
    return log.read_text(errors="replace").count("Received Store Request")


@contextmanager
def destination(ground: Ground) -> Iterator[tuple[int, Path]]:
    """A C-MOVE destination: DCMTK's `storescp`, which takes the datasets in and says so. Yields its port and log."""
    with ground.scratch() as beside:
        port, log = free_port(), beside / "log"
        command = (peer("storescp"), "-aet", DESTINATION, "+xa", "-v", "--ignore", str(port))
        with running("storescp", command, log, environment(TCP_NODELAY="1")) as process:
            listening(process, port, "storescp")
            yield port, log


def _calls(archive: Archive) -> tuple[str, ...]:
    return "-aet", CALLER, "-aec", archive.ae_title, _LOCAL, str(archive.port)


def _asks_for(series: Series) -> Iterator[str]:
    keys = ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={series.study}", f"SeriesInstanceUID={series.series}")
    for key in keys:
        yield from ("-k", key)


def _demand_all(archive: Archive, came: int, series: Series) -> None:
    if came != series.count:
        raise Broken(f"{came} of {series.count} images came from {archive.name}")


def _run(
    ground: Ground, archive: Archive, commands: Sequence[Sequence[str]], *, nodelay: bool
) -> tuple[float, list[str]]:
    """Runs programs at the same time; returns the seconds until the last one has ended, and what each has said."""
    given = environment(**({"TCP_NODELAY": "1"} if nodelay else {}))
    with ground.scratch() as beside:
        logs = [beside / str(number) for number in range(len(commands))]
        started = time.perf_counter()
        processes = []
        try:
            for command, log in zip(commands, logs, strict=True):
                with log.open("wb") as output:
                    processes.append(subprocess.Popen(command, stdout=output, stderr=output, env=given))
            codes = [process.wait(_MOST_SECONDS) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        seconds = time.perf_counter() - started
        for command, log, code in zip(commands, logs, codes, strict=True):
            if code:
                name = Path(command[0]).name
                show_end(name, log)
                raise Broken(f"{name} to {archive.name} failed")
        return seconds, [log.read_text(errors="replace") for log in logs]


class Asker:
    """One association for C-FIND in the study root; Hozi's own client, because it adds least to what is measured."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._association = _associate(archive, {STUDY_ROOT_FIND: [EXPLICIT]})
        [self._context] = self._association.contexts.values()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._association.release()
        self._association.close()

    def ask(self, level: str, keys: dict[str, str]) -> tuple[float, int]:
        """Returns the seconds until the final answer, and how many matches there were."""
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(query, keyword, value)
        encoded = identifier.write(query, EXPLICIT)
        matches, final = 0, SUCCESS
        started = time.perf_counter()
        for answer, _ in self._association.find(self._context, encoded):
            final = answer.status
            matches += is_pending(final)
        seconds = time.perf_counter() - started
        if final != SUCCESS:
            raise Broken(f"{self._archive.name} answered {final:04X} to a query")
        return seconds, matches


def _associate(archive: Archive, syntaxes: dict[str, list[str]]) -> Association:
    return requestor.associate(
        _LOCAL,
        archive.port,
        calling_ae=CALLER,
        called_ae=archive.ae_title,
        contexts=requestor.propose(syntaxes),
    )


def associate_to_store(archive: Archive, sop_class: str) -> Association:
    """An association of Hozi's own client that can send this kind of object."""
    return _associate(archive, {sop_class: [EXPLICIT]})
