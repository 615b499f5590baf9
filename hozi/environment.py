"""Every setting of Hozi, typed, documented and checked at start.

Set them in the environment with the prefix ``HOZI_``. `docs/operate/settings.md` is made from this list.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
import zoneinfo
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import psutil
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hozi import keys

_LONGEST = 1_000_000.0
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_CHARSET = re.compile(r"(ISO_IR|ISO 2022 IR) [0-9]{1,3}|GB18030|GBK")


class Settings(BaseSettings):
    """What an operator may choose. Every field is one environment variable, ``HOZI_`` + its name."""

    model_config = SettingsConfigDict(env_prefix="HOZI_", extra="ignore", frozen=True)

    home: Path = Field(Path("var"), description="Folder that holds the database, the images and temporary files.")
    database_url: str = Field(
        "",
        description="`sqlite:///path` or `postgresql://user:password@host:port/name`."
        " Empty: SQLite in the home folder.",
    )
    storage_url: str = Field("", description="`file:///folder` to keep the images in. Empty: the home folder.")

    ae_title: str = Field("HOZI", description="The name (AE title) by which devices call this archive.")
    dicom_host: str = Field("0.0.0.0", description="Address on which the DICOM listener listens.")  # noqa: S104
    dicom_port: int = Field(11112, ge=0, le=65535, description="Port of the DICOM listener; 0 picks a free one.")
    dicom_tls_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the DICOM TLS listener (2762 is usual). Empty: switched off."
    )
    tls_certificate: Path | None = Field(None, description="PEM file with this archive's certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file with the private key to it.")
    tls_ca: Path | None = Field(
        None, description="PEM file with the authorities that peers' certificates must come from."
    )

    max_pdu: int = Field(
        131072, ge=0, description="Largest PDU that peers may send, in bytes (0: no limit; least 4096)."
    )
    max_associations: int = Field(64, ge=1, description="Associations at the same time, in all.")
    max_associations_per_address: int = Field(16, ge=1, description="Associations at the same time from one address.")
    artim_seconds: float = Field(
        15, gt=0, le=_LONGEST, description="Time within which a new connection must have negotiated."
    )
    idle_seconds: float = Field(
        600, gt=0, le=_LONGEST, description="An association on which nothing happened for so long is ended."
    )
    message_seconds: float = Field(
        60, gt=0, le=_LONGEST, description="Longest pause within one message, and longest wait for an answer."
    )

    private_storage_classes: str = Field(
        "", description="Private SOP classes that are to be stored too: UIDs with commas between them."
    )
    default_charset: str = Field(
        "",
        description="Character set of text that names none (a DICOM defined term, for example `ISO_IR 100`).",
    )
    max_object_bytes: int = Field(16 << 30, ge=1, description="Largest object that is taken in.")
    max_query_results: int = Field(
        5000, ge=1, description="Most answers to one query; the answer says when it was cut."
    )
    min_free_bytes: int = Field(
        512 << 20, ge=0, description="Room that must stay free on the disk; below it, storing is refused."
    )

    commitment_wait_minutes: float = Field(
        10, ge=0, le=_LONGEST, description="How long a storage commitment waits for objects that have not arrived yet."
    )
    commitment_retry_days: float = Field(
        7, gt=0, le=3650, description="For how long a commitment report is tried again."
    )

    echo_minutes: float = Field(
        5,
        ge=0,
        le=1440,
        description="How often devices that have a port are called, to see that they answer; 0: never.",
    )

    transcode_workers: int = Field(
        1, ge=1, description="Worker processes that decompress images, in each process that needs them."
    )
    transcode_seconds: float = Field(
        120, gt=0, le=_LONGEST, description="Longest time for decompressing one object; then the worker is killed."
    )
    transcode_memory_bytes: int = Field(2 << 30, ge=1 << 28, description="Most memory of one such worker.")
    picture_workers: int = Field(
        2, ge=1, le=64, description="Worker processes that make pictures of images, in each process that shows them."
    )
    picture_seconds: float = Field(
        20, gt=0, le=_LONGEST, description="Longest time for one picture; then the worker is killed."
    )
    picture_memory_bytes: int = Field(1 << 30, ge=1 << 28, description="Most memory of one such worker.")
    picture_cache_bytes: int = Field(
        1 << 30, ge=0, description="Room on the disk for pictures that were made once; 0: none is kept."
    )

    audit_key_file: Path | None = Field(
        None,
        description="File with the key that marks the rows of the audit, the same for all nodes."
        " Empty: `keys/audit.key` in the home folder, made at the first start.",
    )
    audit_syslog: str = Field(
        "",
        description="Syslog collector that gets a copy of the audit: `tls://host:port` (6514 is usual)."
        " `tcp://` on this machine only. Empty: none.",
    )
    audit_syslog_ca: Path | None = Field(
        None, description="PEM file with the authority of the collector's certificate. Empty: those of the system."
    )
    audit_syslog_certificate: Path | None = Field(
        None, description="PEM file with the certificate by which the collector knows this archive."
    )
    audit_syslog_key: Path | None = Field(None, description="PEM file with the private key to it.")

    http_bind: str = Field(
        "127.0.0.1:8080",
        description="Address and port of the console (`0.0.0.0:8080`: on all addresses); port 0 picks a free one.",
    )
    http_workers: int = Field(2, ge=1, le=64, description="Processes that answer browsers and programs.")
    api_requests_per_minute: int = Field(
        1200, ge=1, description="Requests to the API that one person or program may make, in each process."
    )
    http_threads: int = Field(8, ge=2, le=256, description="Requests that each of them works on at the same time.")
    http_tls_certificate: Path | None = Field(
        None, description="PEM file with the console's certificate chain. Empty: no TLS, `http://` only."
    )
    http_tls_key: Path | None = Field(None, description="PEM file with the private key to it.")
    http_hosts: str = Field(
        "",
        description="Names and addresses by which browsers may call the console, with commas between them."
        " Empty: `localhost`, and this machine's name and addresses.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count,"
        " with commas between them.",
    )
    secret_key_file: Path | None = Field(
        None,
        description="File with the key that sessions are signed with, the same for all nodes."
        " Empty: `keys/secret.key` in the home folder, made at the first start.",
    )

    # What follows can also be chosen in the console (hozi/choices/declared.py); what is set here goes before that.
    hospital_name: str = Field("", max_length=64, description="Name that stands at the top of every page.")
    support_contact: str = Field(
        "", max_length=200, description="Whom people call when something does not work, as pages say it."
    )
    default_language: Literal["en", "sn", "nd"] = Field(
        "en", description="Language of pages for those who have chosen none."
    )
    default_theme: Literal["auto", "light", "dark"] = Field(
        "auto", description="Light or dark pages for those who have chosen neither; `auto`: as their device is set."
    )
    session_hours: int = Field(12, ge=1, le=168, description="Hours after which people sign in again.")
    oidc_server: str = Field(
        "", description="Address of the hospital's sign-in service (OpenID Connect issuer). Empty: there is none."
    )
    oidc_client: str = Field("", description="The name (client ID) by which that service knows this archive.")
    oidc_secret_file: Path | None = Field(None, description="File with the secret that goes with that name.")
    oidc_name: str = Field("Hospital sign-in", description="What the button for it says.")
    ldap_server: str = Field(
        "",
        description="Address of the hospital's directory, whose passwords count, too: `ldaps://name`, or `ldap://name`"
        " with StartTLS (needs `ldap3`: docs/operate/sign-in.md). Empty: there is none.",
    )
    ldap_bind_dn: str = Field("", description="As whom the directory is searched. Empty: as nobody.")
    ldap_password_file: Path | None = Field(None, description="File with the password that goes with it.")
    ldap_base: str = Field("", description="Entry below which people are searched, as in `ou=people,dc=hospital`.")
    ldap_filter: str = Field(
        "(uid={name})", description="How somebody is found; Active Directory: `(sAMAccountName={name})`."
    )
    ldap_ca: Path | None = Field(None, description="PEM file with the authority of the directory's certificate.")
    mfa_required: Literal["none", "admins", "all"] = Field(
        "admins",
        description="Who needs a second factor to sign in: `admins` are those who may change what others can do.",
    )
    password_min_length: int = Field(12, ge=8, le=64, description="Characters that a password has at least.")
    inactive_days: int = Field(
        90, ge=1, le=3650, description="An account that nobody used for so many days is disabled."
    )
    review_grace_days: int = Field(
        14, ge=0, le=90, description="Days after the end of an access review until who was not attested is suspended."
    )
    emergency_minutes: int = Field(60, ge=1, le=1440, description="Minutes for which emergency access lasts.")

    time_zone: str = Field("Africa/Harare", description="Time zone of this hospital.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much the log tells.")

    @field_validator("dicom_tls_port", mode="before")
    @classmethod
    def _empty_is_off(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("audit_syslog")
    @classmethod
    def _collector(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        try:
            there = bool(parts.hostname) and parts.port != 0
        except ValueError:
            there = False
        if value.strip() and (parts.scheme not in ("tls", "tcp") or not there or parts.path.strip("/")):
            raise ValueError("it must be tls://host:port")
        if parts.scheme == "tcp" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("the audit leaves this machine over TLS only: tls://host:port")
        return value.strip()

    @field_validator("audit_key_file", "audit_syslog_ca", "audit_syslog_certificate", "audit_syslog_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("dicom_host")
    @classmethod
    def _host(cls, value: str) -> str:
        stripped = value.strip()
        try:
            if stripped:
                socket.getaddrinfo(stripped, None, flags=socket.AI_PASSIVE)
        except OSError:
            raise ValueError("this machine knows no such address (empty: all that it has)") from None
        return stripped

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone (names are like Africa/Harare)") from None
        return value

    @field_validator("private_storage_classes")
    @classmethod
    def _uids(cls, value: str) -> str:
        if wrong := [uid for uid in value.split(",") if uid.strip() and not _UID.fullmatch(uid.strip())]:
            raise ValueError(f"{wrong[0].strip()} is no UID")
        return value

    @field_validator("default_charset")
    @classmethod
    def _charset(cls, value: str) -> str:
        if value.strip() and not _CHARSET.fullmatch(value.strip()):
            raise ValueError("no defined term of Specific Character Set (one is ISO_IR 100)")
        return value.strip()

    @field_validator("ae_title")
    @classmethod
    def _ae_title(cls, value: str) -> str:
        stripped = value.strip()
        if not 1 <= len(stripped) <= 16 or not stripped.isascii() or not stripped.isprintable() or "\\" in stripped:
            raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
        return stripped

    @field_validator("max_pdu")
    @classmethod
    def _max_pdu(cls, value: int) -> int:
        if 0 < value < 4096:
            raise ValueError("0 (no limit) or at least 4096")
        return value

    @field_validator("http_bind")
    @classmethod
    def _bind(cls, value: str) -> str:
        host, colon, port = value.strip().rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("an address and a port with a colon between them, as in 127.0.0.1:8080")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError("an IPv6 address stands in brackets, as in [::1]:8080")
        try:
            socket.getaddrinfo(host.strip("[]") or "0.0.0.0", None, flags=socket.AI_PASSIVE)  # noqa: S104
        except OSError:
            raise ValueError("this machine knows no such address") from None
        return value.strip()

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        for part in _parts(value):
            try:
                ipaddress.ip_network(part, strict=False)
            except ValueError:
                raise ValueError(f"{part} is no address and no network (one is 10.0.0.0/8)") from None
        return value

    @field_validator("oidc_server")
    @classmethod
    def _https(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if value.strip() and not (
            parts.hostname and (parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost"))
        ):
            raise ValueError("an address that begins with https://")
        return value.strip().rstrip("/")

    @field_validator("ldap_server")
    @classmethod
    def _directory(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if value.strip() and not (parts.hostname and parts.scheme in ("ldap", "ldaps")):
            raise ValueError("an address that begins with ldaps:// or ldap://")
        return value.strip()

    @field_validator("ldap_filter")
    @classmethod
    def _filter(cls, value: str) -> str:
        if not (value.startswith("(") and value.endswith(")") and "{name}" in value):
            raise ValueError("a filter in brackets with {name} in it, as in (uid={name})")
        return value

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Settings:
        if (self.http_tls_certificate is None) != (self.http_tls_key is None):
            raise ValueError("HOZI_HTTP_TLS_CERTIFICATE and HOZI_HTTP_TLS_KEY: set both, or neither")
        return self

    @property
    def http_address(self) -> tuple[str, int]:
        """The address (without brackets) and the port that `http_bind` names."""
        host, _, port = self.http_bind.rpartition(":")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104

    @property
    def http_tls(self) -> bool:
        """Whether the console itself speaks TLS."""
        return self.http_tls_certificate is not None

    @property
    def allowed_hosts(self) -> list[str]:
        """What may stand in a request's `Host`: this machine to itself, and `http_hosts` or what it is called."""
        hosts = ["localhost", "127.0.0.1", "[::1]"]
        if named := _parts(self.http_hosts):
            hosts += [f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name for name in named]
            return list(dict.fromkeys(hosts))
        name = socket.gethostname().lower()
        hosts += [name, name.split(".")[0]]
        for addresses in psutil.net_if_addrs().values():
            for address in addresses:
                if address.family == socket.AF_INET:
                    hosts.append(address.address)
                elif address.family == socket.AF_INET6 and "%" not in address.address:
                    hosts.append(f"[{address.address}]")
        return list(dict.fromkeys(hosts))

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks that `trusted_proxies` names."""
        return tuple(ipaddress.ip_network(part, strict=False) for part in _parts(self.trusted_proxies))

    def oidc_origin(self) -> list[str]:
        """Scheme, host and port of the sign-in service; none where there is none."""
        parts = urlsplit(self.oidc_server)
        return [f"{parts.scheme}://{parts.netloc}"] if self.oidc_server else []

    def oidc_providers(self) -> dict[str, Any]:
        """The sign-in service as allauth wants it described. Raises ValueError when the secret cannot be read."""
        if not self.oidc_server:
            return {}
        try:
            secret = self.oidc_secret_file.read_text(encoding="utf-8").strip() if self.oidc_secret_file else ""
        except OSError as error:
            raise ValueError(f"the secret {self.oidc_secret_file} cannot be read: {error.strerror}") from None
        app = {
            "provider_id": "hospital",
            "name": self.oidc_name,
            "client_id": self.oidc_client,
            "secret": secret,
            "settings": {"server_url": self.oidc_server},
        }
        return {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}

    def secret_key(self) -> str:
        """The key that signs sessions and links; made once, whoever comes first, readable to this account only.

        Raises ValueError when the file cannot be used.
        """
        path = self.secret_key_file or self.home / "keys" / "secret.key"
        return keys.read(path, make=self.secret_key_file is None)

    @property
    def storage(self) -> Path:
        """The folder below which images are kept (`objects`) and arrive (`incoming`), on one file system."""
        if not self.storage_url:
            return self.home
        parts = urlsplit(self.storage_url)
        if parts.scheme != "file" or not parts.path:
            raise ValueError("HOZI_STORAGE_URL must be file:///folder")
        return Path(unquote(parts.path))

    def database(self) -> dict[str, Any]:
        """Django's description of the database that ``database_url`` names."""
        url = self.database_url or f"sqlite:///{(self.home / 'hozi.sqlite3').absolute()}"
        parts = urlsplit(url)
        if parts.scheme == "sqlite":
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": unquote(parts.path),
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    # IMMEDIATE: with the default mode, lock upgrades fail at once under concurrency.
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    # FULL: in WAL mode, NORMAL may lose the last commits in a power cut (promise 1).
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                    " PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32000;",
                },
            }
        if parts.scheme in ("postgres", "postgresql"):
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": unquote(parts.path.lstrip("/")),
                "USER": unquote(parts.username or ""),
                "PASSWORD": unquote(parts.password or ""),
                "HOST": unquote(parts.hostname or ""),
                "PORT": str(parts.port or ""),
                "CONN_MAX_AGE": None,
                "OPTIONS": dict(parse_qsl(parts.query)),
            }
        raise ValueError("HOZI_DATABASE_URL must begin with sqlite:/// or postgresql://")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def unknown_variables() -> dict[str, str]:
    """Variables of the environment that look like settings and are none: mistyped, perhaps. And what was meant."""
    known = [f"HOZI_{name.upper()}" for name in Settings.model_fields]
    unknown = sorted(name for name in os.environ if name.startswith("HOZI_") and name.upper() not in known)
    near = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    return {
        name: f"did you mean {meant[0]}?" if meant else "see docs/operate/settings.md" for name, meant in near.items()
    }


HOZI = Settings()  # type: ignore[call-arg]  # every field has a default
