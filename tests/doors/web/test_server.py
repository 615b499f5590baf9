"""The console's server starts, says where it is, heals itself, and stops cleanly."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.doors.cli.conftest import program
from tests.doors.web.conftest import SECONDS, Served, Start, start


def test_it_is_ready_when_it_answers_and_says_where(served: Served) -> None:
    assert served.facts["pid"] == served.process.pid
    assert served.facts["url"] == f"http://127.0.0.1:{served.port}/"
    alive = served.ask("GET", "/healthz")
    assert (alive.status, alive.body) == (200, b"ok\n")  # type: ignore[attr-defined]
    assert served.ask("GET", "/readyz").status == 200


def test_a_worker_that_was_killed_is_replaced_and_meanwhile_the_others_answer(serve: Start) -> None:
    served = serve()
    before = {worker.pid for worker in served.workers()}
    assert len(before) == 2
    psutil.Process(min(before)).kill()
    deadline = time.monotonic() + SECONDS
    while len({worker.pid for worker in served.workers() if worker.status() != psutil.STATUS_ZOMBIE} - before) < 1:
        assert served.ask("GET", "/healthz").status == 200
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert served.ask("GET", "/healthz").status == 200


def test_it_stops_when_told_to_and_leaves_nothing_behind(serve: Start) -> None:
    served = serve()
    workers = served.workers()
    # A connection that is open and idle keeps nobody waiting.
    with socket.create_connection(("127.0.0.1", served.port)):
        begun = time.monotonic()
        served.process.terminate()
        assert served.process.wait(SECONDS) == 0
        assert time.monotonic() - begun < 20
    assert not psutil.wait_procs(workers, timeout=5)[1]
    assert not (served.home / "run" / "web.json").exists()
    assert "Traceback" not in served.log.read_text()


def test_its_workers_die_with_it_however_it_dies(serve: Start) -> None:
    served = serve()
    workers = served.workers()
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(SECONDS)
    assert not psutil.wait_procs(workers, timeout=10)[1]


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = program("serve", "--only", "web", HOZI_HOME=str(tmp_path / "home"), HOZI_HTTP_BIND=bind)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("hozi: Another program holds the port")
    assert "Traceback" not in done.stderr


def test_the_doctor_knows_its_port_and_says_when_files_or_the_key_are_not_right(tmp_path: Path) -> None:
    served = start(tmp_path / "home")
    try:
        bind = f"127.0.0.1:{served.port}"
        told = json.loads(program("doctor", "--json", HOZI_HOME=str(served.home), HOZI_HTTP_BIND=bind).stdout)
        findings = {finding["about"]: finding for finding in told["findings"]}
        assert "held by Hozi itself" in findings["web port"]["found"]
        assert findings["web key"]["state"] == "ok"
        assert "web files" in findings
        (served.home / "keys" / "secret.key").chmod(0o644)
        told = json.loads(program("doctor", "--json", HOZI_HOME=str(served.home), HOZI_HTTP_BIND=bind).stdout)
        [key] = [finding for finding in told["findings"] if finding["about"] == "web key"]
        assert (key["state"], key["advice"]) == ("fail", f"chmod 600 {served.home / 'keys' / 'secret.key'}")
    finally:
        served.stop()


def test_the_banner_has_a_link_for_the_first_administrator(tmp_path: Path) -> None:
    import os
    import re
    import subprocess
    import sys

    from tests.guards.rules import ROOT

    facts = {"HOZI_HOME": str(tmp_path / "home"), "HOZI_DICOM_HOST": "127.0.0.1", "HOZI_DICOM_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hozi", "serve"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOZI_HTTP_BIND": "127.0.0.1:0", **facts},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    out = ""
    for line in process.stdout:
        out += line
        if "stop " in line:
            break
    try:
        found = re.search(r"begin      http://127\.0\.0\.1:(\d+)(/enter/\S+)\n", out)
        assert found, out
        with socket.create_connection(("127.0.0.1", int(found[1]))) as connection:
            connection.sendall(f"GET {found[2]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_it_holds_no_more_connections_to_the_database_than_it_has_threads(serve: Start, empty_database: str) -> None:
    if not empty_database.startswith("postgresql"):
        pytest.skip("not meant for SQLite: it has no connections that others could run out of")
    import psycopg

    facts = {"HOZI_DATABASE_URL": empty_database, "HOZI_HTTP_WORKERS": "2", "HOZI_HTTP_THREADS": "3"}
    served = serve(**facts)
    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(lambda _: served.ask("GET", "/readyz").status, range(240))) == {200}
    with psycopg.connect(empty_database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    assert 2 <= row[0] <= 6
