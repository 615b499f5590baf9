"""An Orthanc of a test's own: sender, query client and C-MOVE destination that is nobody of ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import free_port, program


class Orthanc:
    """A running Orthanc with AE title ORTHANC, on loopback; ``call`` is its REST API."""

    def __init__(self, http: int, dicom: int) -> None:
        self.http = http
        self.dicom = dicom

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """GET, or POST when there is a body (bytes as they are, anything else as JSON)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if answer.headers.get_content_type() == "application/json" else content


@contextmanager
def orthanc(folder: Path, archive_port: int, **more: Any) -> Iterator[Orthanc]:
    """Starts Orthanc with the archive as its modality ``hozi``, and ends it; ``more``: settings by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Orthanc(free_port(), free_port())
    settings = {
        "Name": "ORTHANC",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [],
        "HttpPort": running.http,
        "HttpServerEnabled": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomPort": running.dicom,
        "DicomCheckCalledAet": True,
        "DicomModalities": {"hozi": ["HOZI", "127.0.0.1", archive_port]},
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "CaseSensitivePN": False,
        "UnknownSopClassAccepted": True,
        "KeepAlive": False,
        **more,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program("Orthanc"), str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    try:
        _wait(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(60)


def _wait(running: Orthanc, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "Orthanc did not start"
        assert time.monotonic() < deadline, "Orthanc did not answer"
        try:
            running.call("/system")
            return
        except OSError:
            time.sleep(0.1)
