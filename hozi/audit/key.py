"""The key that the audit's rows are marked with: whoever does not have it cannot make or mend a row unseen.

It lies in a file beside the database, not in it: who can write into the database alone cannot forge the audit.
"""

from __future__ import annotations

import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Final

from hozi.core.errors import HoziError
from hozi.settings import HOZI

_BYTES: Final = 32
_CHECKED: Final = b"the audit key of this archive"


class NoKey(HoziError):
    """The audit's key cannot be read, or is none."""


def path() -> Path:
    """Where the key lies: ``HOZI_AUDIT_KEY_FILE``, or ``keys/audit.key`` in the home folder."""
    return HOZI.audit_key_file or HOZI.home / "keys" / "audit.key"


@lru_cache(maxsize=1)
def key() -> bytes:
    """The key; made when there is none yet, by one of those that ask at the same moment. Raises NoKey."""
    return read(path())


def check() -> str:
    """A word by which keys can be compared without telling them."""
    return hmac.digest(key(), _CHECKED, "sha256").hex()


def read(file: Path) -> bytes:
    """The key in that file, which is made (for this account only) where it does not exist. Raises NoKey."""
    try:
        if not file.exists():
            _make(file)
        text = file.read_text("ascii").strip()
        value = bytes.fromhex(text)
    except OSError as error:
        raise NoKey(f"The audit's key {file} cannot be read or made: {error.strerror}") from None
    except ValueError:
        value = b""
    if len(value) != _BYTES:
        raise NoKey(f"The audit's key {file} is damaged: it must hold {_BYTES} bytes, written as hexadecimal digits")
    return value


def _make(file: Path) -> None:
    """Makes the file with its whole content or not at all: a link to it fails where another process was quicker."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as writing:
            writing.write(secrets.token_bytes(_BYTES).hex() + "\n")
            writing.flush()
            os.fsync(writing.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
