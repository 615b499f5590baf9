"""TLS for both sides: BCP 195 and mutual certificates (PS3.15 §B.12; RFC 8996, RFC 9325).

TLS 1.2 or later, forward secrecy and authenticated encryption only. Errors in certificates, keys or their files
are raised as OSError (of which ssl.SSLError is one) by the standard library.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from cryptography import x509

_CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"


def server_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """Context of an acceptor: it shows ``certificate`` and demands one that ``ca`` has signed. All files are PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    return _hardened(context)


def client_context(
    ca: Path, certificate: Path | None = None, key: Path | None = None, *, check_hostname: bool = True
) -> ssl.SSLContext:
    """Context of a requestor: the peer's certificate has to be signed by ``ca`` and to name the host.

    ``check_hostname`` False is for devices whose certificates carry no host name; the signature is checked always.
    ``certificate`` and ``key`` are shown to a peer that asks for them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return _hardened(context)


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def subject(ssl_socket: ssl.SSLSocket) -> str:
    """Return the subject of the peer's verified certificate as RFC 4514 text, "" if it showed none."""
    certificate = ssl_socket.getpeercert(binary_form=True)
    if not certificate:
        return ""
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
