"""Under which conditions something was measured: the machine, the versions, the settings. No names, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

import hozi
from bench.ground import ROOT, Ground, environment
from hozi.core.storage import file_system
from tests.peers import program


def flushes_a_second(folder: Path, seconds: float) -> float:
    """How often a second this disk makes 4 KiB durable, one after the other: the limit of everything that stores."""
    path = folder / "flushed"
    count, started = 0, time.monotonic()
    with path.open("wb", buffering=0) as file:
        while time.monotonic() - started < seconds:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / (time.monotonic() - started)


def load(seconds: float) -> float:
    """How many cores are at work, or wait for a disk, for so many seconds while the benchmark does nothing.

    Not the load average: in that of the last minute is the row before.
    """
    os.sync()
    idle = psutil.cpu_times_percent(interval=seconds).idle
    return (100 - float(idle)) / 100 * (os.cpu_count() or 1)


def commit() -> str:
    """The short commit of this checkout, with a plus when files differ from it; ``unknown`` outside of a checkout."""
    short = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{short}{'+' if changed else ''}" if short else "unknown"


def before(ground: Ground, form: str) -> dict[str, Any]:
    """What can be said before anything is measured."""
    sizes = ground.sizes
    disk = file_system.under(ground.disk)
    return {
        "form": form,
        "runs": f"{sizes.runs} pairs each, interleaved{', after one that warms up' if sizes.warm_up else ''}",
        "seed": ground.seed,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": disk.kind,
        "its journal": disk.keeping.value,
        "flushes a second": round(flushes_a_second(ground.disk, sizes.look_seconds)),
        "load before": round(os.getloadavg()[0], 2),
        "Hozi": hozi.__version__,
        "Python": platform.python_version(),
        "Orthanc": _version("Orthanc"),
        "DCMTK": _version("storescu"),
        "PostgreSQL": _version("postgres"),
        "TCP_NODELAY": "1 for Orthanc and DCMTK's programs, but for store-shipped; Hozi needs no setting",
        "Orthanc's durability": "SyncStorageArea true, as it ships; of its database as it ships",
    }


def after(ground: Ground) -> dict[str, Any]:
    """What is known only when it has run: which durability was in force."""
    found = ground.kept.get("durability", {})
    return {
        f"Hozi's durability, {kind}": ", ".join(f"{name} {value}" for name, value in facts.items() if name != "durable")
        for kind, facts in sorted(found.items())
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(name: str) -> str:
    """The first version number that the program says."""
    try:
        said = _said(program(name), "--version")
    except FileNotFoundError:
        return "missing"
    found = re.search(r"\d+\.\d[\w.]*", said)
    return found.group() if found else "unknown"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
