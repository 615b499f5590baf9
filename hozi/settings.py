"""Every setting of Hozi, typed, documented and checked at start; and Django's, derived from them.

Set them in the environment with the prefix ``HOZI_``. `docs/operate/settings.md` is made from this list.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import sys
import zoneinfo
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if sys.platform == "linux":
    # Debian 12's SQLite (3.40.1) can corrupt a database in WAL mode (fixed in 3.51.3):
    # the library inside pysqlite3 takes its place before Django loads it.
    import pysqlite3

    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2


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

    transcode_workers: int = Field(
        1, ge=1, description="Worker processes that decompress images, in each process that needs them."
    )
    transcode_seconds: float = Field(
        120, gt=0, le=_LONGEST, description="Longest time for decompressing one object; then the worker is killed."
    )
    transcode_memory_bytes: int = Field(2 << 30, ge=1 << 28, description="Most memory of one such worker.")

    audit_key_file: Path | None = Field(
        None,
        description="File with the key that marks the rows of the audit; made when it is not there. All nodes on one"
        " database need the same. Empty: `keys/audit.key` in the home folder.",
    )

    time_zone: str = Field("Africa/Harare", description="Time zone of this hospital.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much the log tells.")

    @field_validator("dicom_tls_port", mode="before")
    @classmethod
    def _empty_is_off(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("audit_key_file", mode="before")
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


def unknown_variables() -> dict[str, str]:
    """Variables of the environment that look like settings and are none: mistyped, perhaps. And what was meant."""
    known = [f"HOZI_{name.upper()}" for name in Settings.model_fields]
    unknown = sorted(name for name in os.environ if name.startswith("HOZI_") and name.upper() not in known)
    near = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    return {
        name: f"did you mean {meant[0]}?" if meant else "see docs/operate/settings.md" for name, meant in near.items()
    }


HOZI = Settings()  # type: ignore[call-arg]  # every field has a default

# Django from here on. ------------------------------------------------------------------------------

SECRET_KEY = "unused: nothing is signed before the web console exists"  # noqa: S105
DEBUG = False
USE_TZ = True
TIME_ZONE = HOZI.time_zone
LANGUAGE_CODE = "en"
DATABASES = {"default": HOZI.database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "hozi.audit",
    "hozi.facilities",
    "hozi.accounts",
    "hozi.jobs",
    "hozi.archive",
]
AUTH_USER_MODEL = "accounts.Person"
LOGGING_CONFIG = None
