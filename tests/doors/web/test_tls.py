"""The console over TLS: 1.2 at least, cookies Secure, and wrong files said before anything starts."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.certificates import Authority, Pair
from tests.doors.cli.conftest import program
from tests.doors.web.conftest import Served, start


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    pair = authority.issue("console")
    pair.key.chmod(0o600)
    return pair


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Served]:
    served = start(
        tmp_path_factory.mktemp("secure") / "home",
        HOZI_HTTP_TLS_CERTIFICATE=str(pair.certificate),
        HOZI_HTTP_TLS_KEY=str(pair.key),
    )
    yield served
    served.stop()


def test_it_speaks_tls_and_marks_its_cookies_and_says_to_stay_with_it(secure: Served, authority: Authority) -> None:
    assert secure.facts["url"] == f"https://127.0.0.1:{secure.port}/"
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))
    with closing(http.client.HTTPSConnection("127.0.0.1", secure.port, context=context, timeout=30)) as connection:
        connection.request("GET", "/account/login/", headers={"Accept": "text/html"})
        page = connection.getresponse()
        assert page.status == 200
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
    cookies = page.headers.get_all("Set-Cookie") or []
    assert cookies
    assert all("secure" in cookie.lower() and "httponly" in cookie.lower() for cookie in cookies)


@pytest.mark.parametrize(
    ("option", "spoken"), [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)]
)
def test_versions_before_1_2_are_refused(secure: Served, option: str, spoken: bool) -> None:
    asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", option, "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(asked, input=b"", capture_output=True, timeout=30)
    assert (b"Verify return code" in done.stdout and b"Cipher is (NONE)" not in done.stdout) == spoken


def test_weak_ciphers_are_not_spoken(secure: Served) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0")  # no forward secrecy
    with closing(http.client.HTTPSConnection("127.0.0.1", secure.port, context=context, timeout=30)) as connection:
        with pytest.raises(ssl.SSLError):
            connection.connect()


def test_it_does_not_answer_without_tls_where_tls_is_spoken(secure: Served) -> None:
    answer = secure.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", seconds=15)
    assert b"ok" not in answer


def _refused(tmp_path: Path, certificate: Path | None, key: Path | None) -> str:
    files = {"HOZI_HTTP_TLS_CERTIFICATE": certificate, "HOZI_HTTP_TLS_KEY": key}
    named = {name: str(file) for name, file in files.items() if file is not None}
    done = program("serve", "--only", "web", HOZI_HOME=str(tmp_path / "home"), **named)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


def test_wrong_files_are_said_before_anything_starts(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    other = authority.issue("other")
    other.key.chmod(0o600)
    assert "set both, or neither" in _refused(tmp_path, pair.certificate, None)
    assert "cannot be read" in _refused(tmp_path, tmp_path / "nothing", pair.key)
    assert "do not work together" in _refused(tmp_path, pair.certificate, other.key)
    old = authority.issue("old", begins=-10, days=-1)
    old.key.chmod(0o600)
    assert "expired" in _refused(tmp_path, old.certificate, old.key)
    traditional = tmp_path / "traditional.key"
    done = subprocess.run(["openssl", "ec", "-in", str(pair.key)], capture_output=True, check=True)
    traditional.write_bytes(done.stdout)
    traditional.chmod(0o600)
    line = _refused(tmp_path, pair.certificate, traditional)
    assert "PKCS#8" in line
    assert "openssl pkcs8 -topk8" in line


def test_the_doctor_says_that_others_can_listen_when_browsers_come_without_tls(tmp_path: Path) -> None:
    told = json.loads(program("doctor", "--json", HOZI_HOME=str(tmp_path / "home"), HOZI_HTTP_BIND="0.0.0.0:0").stdout)
    warned = [one for one in told["findings"] if one["about"] == "web port" and one["state"] == "warn"]
    assert "without TLS" in warned[0]["found"]
