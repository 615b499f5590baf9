"""The doctor's checks of what faces the network: ports and certificates."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from cryptography import x509

from hozi.core.dimse.tls import server_context
from hozi.doors.cli.preflight import Finding
from hozi.doors.cli.prepare import run_folder
from hozi.doors.cli.serve import ports as ports_in_use

if TYPE_CHECKING:
    from hozi.settings import Settings

EXPIRES_SOON = timedelta(days=30)


def ports(settings: Settings) -> Iterator[Finding]:
    """Each port is free, or held by this archive itself."""
    held = ports_in_use(run_folder(settings))
    wanted = [("port", "DICOM port", settings.dicom_port)]
    if settings.dicom_tls_port is not None:
        wanted.append(("tls_port", "TLS port", settings.dicom_tls_port))
    for key, about, port in wanted:
        own = held.get(key)
        if own and (port in (0, own)) and is_hozi(held.get("pid")):
            yield Finding("ok", about, f"{own} is held by Hozi itself (process {held['pid']})")
        else:
            yield can_listen(about, settings.dicom_host, port)


def can_listen(about: str, host: str, port: int, setting: str = "HOZI_DICOM_HOST") -> Finding:
    """Whether this account can listen there now; ``setting`` names what would change it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return _cannot_listen(about, host, port, error, setting)
    return Finding("ok", about, f"{port or 'any port'} is free")


def _cannot_listen(about: str, host: str, port: int, error: OSError, setting: str) -> Finding:
    if error.errno == errno.EADDRINUSE:
        advice = f"end it, or choose another port; {_who_listens(port)}"
        return Finding("fail", about, f"{port} is in use by another program", advice)
    if error.errno == errno.EACCES:
        advice = "ports below 1024 need a privilege: choose a higher one, or grant CAP_NET_BIND_SERVICE"
        return Finding("fail", about, f"{port} is not allowed for this account", advice)
    advice = f"set {setting} to an address of this machine, or to 0.0.0.0 for all of them"
    return Finding("fail", about, f"cannot listen on {host}: {error.strerror}", advice)


def _who_listens(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"it is {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return f"`ss -ltnp 'sport = :{port}'` as root says which it is"


def is_hozi(pid: object) -> bool:
    """Whether a process of Hozi has that number."""
    try:
        return isinstance(pid, int) and "hozi" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def tls(settings: Settings) -> Iterator[Finding]:
    """The certificate files can be read, fit each other, and are valid for another month."""
    files = {
        "HOZI_TLS_CERTIFICATE": settings.tls_certificate,
        "HOZI_TLS_KEY": settings.tls_key,
        "HOZI_TLS_CA": settings.tls_ca,
    }
    missing = [name for name, file in files.items() if file is None]
    if len(missing) == len(files) and settings.dicom_tls_port is None:
        yield Finding("ok", "TLS", "switched off")
        return
    if missing:
        yield Finding("fail", "TLS", "its settings are incomplete", f"set {', '.join(missing)} too")
        return
    certificate, key, ca = (Path(str(file)) for file in files.values())
    unreadable = [file for file in (certificate, key, ca) if not os.access(file, os.R_OK)]
    if unreadable:
        for file in unreadable:
            yield Finding(
                "fail", "TLS", f"{file} cannot be read", "check that it exists and that this account may read it"
            )
        return
    if stat.S_IMODE(key.stat().st_mode) & stat.S_IRWXO:
        yield Finding("fail", "TLS", f"every account can read the private key {key}", f"chmod 600 {key}")
    try:
        server_context(certificate, key, ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        yield Finding(
            "fail",
            "TLS",
            f"the files do not work together: {reason}",
            "the key must belong to the certificate; all are PEM",
        )
        return
    yield from validity(certificate)
    yield from validity(ca)


def validity(
    file: Path, about: str = "TLS", advice: str = "renew it: no device can connect over TLS"
) -> Iterator[Finding]:
    """Until when the certificates in the file are valid; ``advice`` is for one that has expired."""
    now = datetime.now(UTC)
    certificates = x509.load_pem_x509_certificates(file.read_bytes())
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    if begin > now:
        yield Finding("fail", about, f"{file} is valid from {begin:%d %b %Y} only", "check the clock, or renew it")
    elif end <= now:
        yield Finding("fail", about, f"{file} expired on {end:%d %b %Y}", advice)
    elif end - now < EXPIRES_SOON:
        yield Finding("warn", about, f"{file} expires on {end:%d %b %Y}", "renew it before")
    else:
        yield Finding("ok", about, f"{file} is valid until {end:%d %b %Y}")
