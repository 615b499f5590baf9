"""The doctor's checks of the console: its port, its certificate, its key, and the files that browsers load."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hozi.doors.cli.preflight import Finding
from hozi.doors.cli.preflight_network import can_listen, is_hozi, validity
from hozi.doors.cli.prepare import run_folder
from hozi.doors.cli.serve import ports as ports_in_use

if TYPE_CHECKING:
    from hozi.settings import Settings

_PKCS8 = b"-----BEGIN PRIVATE KEY-----"


def port(settings: Settings) -> Iterator[Finding]:
    """The console's port is free, or held by Hozi itself; and who can reach it."""
    host, wanted = settings.http_address
    held = ports_in_use(run_folder(settings), "web")
    if held.get("port") and wanted in (0, held["port"]) and is_hozi(held.get("pid")):
        yield Finding("ok", "web port", f"{held['port']} is held by Hozi itself (process {held['pid']})")
    else:
        yield can_listen("web port", host, wanted, "HOZI_HTTP_BIND")
    alone = host in ("127.0.0.1", "::1", "localhost")
    if not alone and not settings.http_tls and not settings.proxies:
        yield Finding(
            "warn",
            "web port",
            "browsers on other machines reach the console without TLS: passwords and images can be read on the way",
            "set HOZI_HTTP_TLS_CERTIFICATE and HOZI_HTTP_TLS_KEY, or let a proxy speak TLS (HOZI_TRUSTED_PROXIES)",
        )


def tls(settings: Settings) -> Iterator[Finding]:
    """The console's certificate can be read, belongs to the key, and is valid for another month."""
    certificate, key_file = settings.http_tls_certificate, settings.http_tls_key
    if certificate is None or key_file is None:
        return
    for file in (certificate, key_file):
        if not os.access(file, os.R_OK):
            advice = "check that it exists and that this account may read it"
            yield Finding("fail", "web TLS", f"{file} cannot be read", advice)
            return
    if stat.S_IMODE(key_file.stat().st_mode) & stat.S_IRWXO:
        yield Finding("fail", "web TLS", f"every account can read the private key {key_file}", f"chmod 600 {key_file}")
    if _PKCS8 not in key_file.read_bytes():
        advice = f"openssl pkcs8 -topk8 -nocrypt -in {key_file} -out NEW.pem"
        yield Finding("fail", "web TLS", f"{key_file} is no private key in PKCS#8 without a password", advice)
        return
    if not _belong(certificate, key_file):
        advice = "the key must belong to the first certificate in the file; both are PEM"
        yield Finding("fail", "web TLS", "certificate and key do not work together", advice)
        return
    yield from validity(certificate, "web TLS", "renew it: browsers refuse it")


def _belong(certificate: Path, key_file: Path) -> bool:
    from cryptography import x509

    try:
        [first, *_] = x509.load_pem_x509_certificates(certificate.read_bytes())
        own = load_pem_private_key(key_file.read_bytes(), None).public_key()
        named = first.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return own.public_bytes(*form) == named.public_bytes(*form)


def key(settings: Settings) -> Iterator[Finding]:
    """The key that sessions are signed with is a good one, and closed to others; or will be made at the first start."""
    file = settings.secret_key_file or settings.home / "keys" / "secret.key"
    if settings.secret_key_file is None and not file.exists():
        yield Finding("ok", "web key", f"{file} does not exist yet; `hozi serve` makes it")
        return
    try:
        settings.secret_key()
    except ValueError as error:
        yield Finding("fail", "web key", str(error), "see HOZI_SECRET_KEY_FILE")
        return
    if stat.S_IMODE(file.stat().st_mode) & (stat.S_IRWXO | stat.S_IWGRP):
        yield Finding("fail", "web key", f"other accounts can read or change {file}", f"chmod 600 {file}")
    else:
        yield Finding("ok", "web key", f"{file} is closed to other accounts")


def files(settings: Settings) -> Iterator[Finding]:
    """What browsers load has been collected."""
    from hozi.doors.http.static import collected

    if collected():
        yield Finding("ok", "web files", "style sheets, scripts and icons are there")
    else:
        advice = "`make install` collects them (it needs npm: apt install npm)"
        yield Finding("warn", "web files", "style sheets, scripts and icons were not collected", advice)
