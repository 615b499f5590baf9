"""`make soak`: works as a hospital does, without a pause, and looks whether anything grows that should not.

```
make soak SECONDS=600
```

The last line says what was watched and the verdict. Exits 0 only when all is flat, every request was answered with
success, the listener never ended, and `hozi verify` finds no fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hozi.core.dimse import status
from hozi.core.dimse.association import Association
from tests.core.dimse.listening import listening
from tests.guards.rules import ROOT
from tests.soak.load import CALLER, DESTINATION, IMAGES, Load
from tests.soak.watch import MEBIBYTE, Limits, Watch, growth

_PATIENCE = 60
_SAMPLES = 120
#: A run shorter than this ends while pools and caches still fill.
_WARM_SECONDS = 240
_FLAT, _WARMING = Limits(memory=24 * MEBIBYTE), Limits(memory=96 * MEBIBYTE, threads=24, handles=48)


@dataclass
class Program:
    """`hozi serve` on a home folder of its own, and `hozi` commands beside it."""

    home: Path

    @property
    def database(self) -> Path:
        """The file of its database."""
        return self.home / "hozi.sqlite3"

    @property
    def log(self) -> Path:
        """Where it writes what happens."""
        return self.home.with_name("log")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOZI_HOME": str(self.home),
            "HOZI_DICOM_HOST": "127.0.0.1",
            "HOZI_DICOM_PORT": "0",
            "HOZI_HTTP_BIND": "127.0.0.1:0",
            "HOZI_MAX_ASSOCIATIONS_PER_ADDRESS": "64",
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `hozi` with these words."""
        return subprocess.run(
            [sys.executable, "-m", "hozi", *words], env=self._environment(), capture_output=True, text=True, check=False
        )

    @contextmanager
    def serving(self) -> Iterator[tuple[int, int]]:
        """Runs `hozi serve`; gives its process id, and the port once all its parts are ready."""
        told = self.home.with_name("ready")
        with told.open("wb") as banner, self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hozi", "serve", "--json"], env=self._environment(), stdout=banner, stderr=log
            )
        try:
            deadline = time.monotonic() + _PATIENCE
            while not told.stat().st_size:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"it did not start: {self.log.read_text()[-500:]}")
                time.sleep(0.1)
            yield process.pid, json.loads(told.read_text())["port"]
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def take(association: Association) -> None:
    """The destination of C-MOVE: takes everything."""
    while (message := association.receive()) is not None:
        for _ in message.fragments():
            pass
        association.respond(message, status.SUCCESS)


def admit(program: Program, port: int) -> None:
    """Enters the caller and the destination as devices."""
    for words in (
        ("device", "add", CALLER, "--ae", CALLER, "--host", "127.0.0.1"),
        ("device", "add", DESTINATION, "--ae", DESTINATION, "--host", "127.0.0.1", "--port", str(port)),
    ):
        done = program.command(*words)
        if done.returncode:
            raise SystemExit(done.stderr)


def soak(home: Path, seconds: float, seed: int) -> tuple[str, list[str]]:
    """Works for so long; returns what was watched in one line, and everything that was not as it should be."""
    program = Program(home)
    with listening(take) as destination:
        admit(program, destination.port)
        with program.serving() as (process, port):
            load = Load(port, program.command, seed)
            watch = Watch(process, program.database, load.kept, max(seconds / _SAMPLES, 0.25))
            before = watch.processes()
            load.start()
            watch.start()
            time.sleep(seconds)
            watch.stop()
            lasting = [pid for pid in before if pid in watch.processes()]
            load.stop()
    grown = growth(watch.samples)
    faults = grown.complaints(_FLAT if seconds >= _WARM_SECONDS else _WARMING)
    faults += load.errors[:10]
    if lasting != before:
        faults.append("a process of the archive ended")
    if idle := {"store", "find", "get", "move", "import"} - load.done.keys():
        faults.append(f"nothing was done of {', '.join(sorted(idle))}")
    faults += _looked_at(program, load)
    work = f"{load.done['store']} stored, {load.done['find']} queries, {load.done['get']} gets, "
    work += f"{load.done['move']} moves of {IMAGES} images, {load.done['import']} imported"
    return f"{seconds:.0f} s, {load.associations} associations: {work}; second half: {grown}", faults


def _looked_at(program: Program, load: Load) -> Iterator[str]:
    """What is wrong in the archive afterwards."""
    verified = program.command("verify", "--json")
    if verified.returncode:
        yield f"verify: {verified.stdout[-500:]} {verified.stderr[-500:]}"
    elif (held := json.loads(verified.stdout)["objects"]) < load.kept():
        yield f"{load.kept()} images were acknowledged and {held} are there"
    told = program.log.read_text()
    for word in ("Traceback", "dimse.failed", "a part ended"):
        if word in told:
            yield f"the log has {word!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 600))
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hozi-soak-") as folder:
        watched, faults = soak(Path(folder) / "home", chosen.seconds, chosen.seed)
    for fault in faults:
        print(f"not flat, or not right: {fault}")
    print(f"{watched}: {'flat' if not faults else f'{len(faults)} complaints'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
