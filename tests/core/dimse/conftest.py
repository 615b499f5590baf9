"""What several tests of the DICOM network protocol start with."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hozi.core.dimse.acceptor import Acceptor
from tests.core.dimse.listening import Received, listening


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def acceptor(received: Received) -> Iterator[Acceptor]:
    """Accepts everything and writes it down in ``received``."""
    with listening(received.serve) as acceptor:
        yield acceptor


@dataclass(frozen=True)
class Certificates:
    """PEM files of an invented hospital: its authority, its archive, a scanner, and somebody from elsewhere."""

    ca: Path
    archive: Path
    archive_key: Path
    scanner: Path
    scanner_key: Path
    stranger: Path
    stranger_key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(folder, "authority", authority_key, None, authority_key)
    elsewhere_key = ec.generate_private_key(ec.SECP256R1())
    elsewhere = _certificate(folder, "elsewhere", elsewhere_key, None, elsewhere_key)
    for name, issuer, issuer_key in (
        ("archive", authority, authority_key),
        ("scanner", authority, authority_key),
        ("stranger", elsewhere, elsewhere_key),
    ):
        _certificate(folder, name, ec.generate_private_key(ec.SECP256R1()), issuer, issuer_key)
    files = [folder / f"{name}.{end}" for name in ("archive", "scanner", "stranger") for end in ("pem", "key")]
    return Certificates(folder / "authority.pem", *files)


def _certificate(
    folder: Path,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Invented Hospital, Radiology"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=issuer is None,
                crl_sign=issuer is None,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate
