"""Passwords of a directory: a real one (OpenLDAP), over TLS."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client, override_settings

from hozi.accounts.models import Person
from hozi.doors.console import directory
from hozi.settings import Settings
from tests.certificates import Authority
from tests.peers import free_port, program, wait_until_it_listens
from tests.people import ACCOUNTS, settle

pytestmark = [
    pytest.mark.slapd,
    pytest.mark.django_db,
    # ldap3 forgets the socket of a connection that it could not make.
    pytest.mark.filterwarnings("ignore:ssl.match_hostname:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend", "hozi.doors.console.directory.Directory"]
PEOPLE = """
dn: dc=hospital
objectClass: dcObject
objectClass: organization
dc: hospital
o: Hospital

dn: cn=hozi,dc=hospital
objectClass: person
cn: hozi
sn: hozi
userPassword: may search

dn: uid=rradiographer,dc=hospital
objectClass: inetOrgPerson
uid: rradiographer
cn: Rumbi
sn: Radiographer
userPassword: of the directory

dn: uid=stranger,dc=hospital
objectClass: inetOrgPerson
uid: stranger
cn: Stranger
sn: Stranger
userPassword: of the directory
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a directory that runs for these tests."""
    folder = tmp_path_factory.mktemp("slapd")
    authority = Authority(folder)
    pair = authority.issue("directory", host="localhost")
    port = free_port()
    (folder / "data").mkdir()
    (folder / "password").write_text("may search\n")
    (folder / "slapd.conf").write_text(
        f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
TLSCertificateFile {pair.certificate}
TLSCertificateKeyFile {pair.key}
database mdb
suffix dc=hospital
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=hozi,dc=hospital" read by * none
"""
    )
    add = [program("slapadd"), "-f", str(folder / "slapd.conf")]
    subprocess.run(add, input=PEOPLE.encode(), check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(
        [program("slapd"), "-f", str(folder / "slapd.conf"), "-h", f"ldaps://127.0.0.1:{port}", "-d", "0"],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_listens(port, process)
        yield Settings(
            ldap_server=f"ldaps://localhost:{port}",
            ldap_bind_dn="cn=hozi,dc=hospital",
            ldap_password_file=folder / "password",
            ldap_base="dc=hospital",
            ldap_ca=authority.pair.certificate,
        )
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def chosen(server: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This archive is set to that directory."""
    cache.clear()
    monkeypatch.setattr(directory, "HOZI", server)
    with override_settings(AUTHENTICATION_BACKENDS=BACKENDS):
        yield
    gc.collect()


def _try(username: str, password: str) -> int:
    client = Client()
    client.post("/account/login/", {"login": username, "password": password})
    return int(client.get("/").status_code)


def _rumbi() -> None:
    from allauth.mfa.models import Authenticator

    settle(ACCOUNTS["radiographer"])
    Authenticator.objects.all().delete()


def test_the_directorys_password_lets_somebody_in_who_has_an_account(chosen: None) -> None:
    _rumbi()
    assert _try("rradiographer", "of the directory") == 200
    assert _try("RRadiographer", "of the directory") == 200


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("rradiographer", "wrong"),
        ("rradiographer", ""),
        ("stranger", "of the directory"),
        ("nobody", "of the directory"),
        ("*", "of the directory"),
        ("rradiographer)(uid=*", "of the directory"),
        ("rradio*", "of the directory"),
    ],
)
def test_nobody_else_comes_in(chosen: None, username: str, password: str) -> None:
    _rumbi()
    assert _try(username, password) == 302
    assert Person.objects.count() == 1


def test_a_suspended_account_does_not_come_in_by_the_directory(chosen: None) -> None:
    _rumbi()
    Person.objects.update(state="suspended", is_active=False)
    assert _try("rradiographer", "of the directory") == 302


def test_a_directory_with_another_certificate_is_not_believed(
    chosen: None, server: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _rumbi()
    other = server.model_copy(update={"ldap_ca": Authority(tmp_path, "another").pair.certificate})
    monkeypatch.setattr(directory, "HOZI", other)
    assert _try("rradiographer", "of the directory") == 302


def test_a_directory_that_is_away_leaves_the_archives_own_passwords(
    chosen: None, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.people import PASSWORD

    _rumbi()
    monkeypatch.setattr(directory, "HOZI", server.model_copy(update={"ldap_server": "ldaps://127.0.0.1:9"}))
    assert _try("rradiographer", "of the directory") == 302
    assert _try("rradiographer", PASSWORD) == 200


def test_a_password_is_never_sent_without_tls(monkeypatch: pytest.MonkeyPatch, server: Settings) -> None:
    """A directory without TLS answers StartTLS with a refusal; nothing more is said to it."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    said: list[bytes] = []

    def listen() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            while data := connection.recv(4096):
                said.append(data)
                # ExtendedResponse, protocolError (RFC 4511 §4.12)
                connection.sendall(bytes.fromhex("300c02010178070a010204000400"))

    thread = threading.Thread(target=listen)
    thread.start()
    address = f"ldap://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setattr(directory, "HOZI", server.model_copy(update={"ldap_server": address}))
    assert directory.Directory().authenticate(None, "rradiographer", "of the directory") is None
    thread.join(20)
    listener.close()
    assert said
    assert b"of the directory" not in b"".join(said)
    assert b"may search" not in b"".join(said)
