"""Certificates of invented authorities, for tests that talk over TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and of the key to it."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder; its own is ``pair.certificate``."""

    def __init__(self, folder: Path, name: str = "authority", *, days: float = 365) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pair = self._write(name, self._key, self._build(name, self._key, -1, days, is_authority=True))

    def issue(
        self, name: str, *, address: str = "127.0.0.1", host: str = "", begins: float = -1, days: float = 365
    ) -> Pair:
        """A certificate for a machine at that address, valid from ``begins`` to ``days`` days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host)] if host else []
        alternative = x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address(address))])
        builder = self._build(name, key, begins, days, is_authority=False)
        return self._write(name, key, builder.add_extension(alternative, critical=False))

    def _build(
        self, name: str, key: ec.EllipticCurvePrivateKey, begins: float, days: float, *, is_authority: bool
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begins))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(identifier, critical=False)
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, builder: x509.CertificateBuilder) -> Pair:
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        certificate = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
