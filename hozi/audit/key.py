"""The key that the audit's rows are marked with: whoever does not have it cannot make or mend a row unseen.

It lies in a file beside the database, not in it: who can write into the database alone cannot forge the audit.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from pathlib import Path
from typing import Final

from hozi.core.errors import HoziError
from hozi.keys import make_key
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
    """The key; the one in the home folder is made when there is none yet. Raises NoKey."""
    return read(path(), make=HOZI.audit_key_file is None)


def check() -> str:
    """A word by which keys can be compared without telling them."""
    return hmac.digest(key(), _CHECKED, "sha256").hex()


def read(file: Path, *, make: bool) -> bytes:
    """The key in that file, which is made where it does not exist and may be. Raises NoKey."""
    try:
        if make and not file.exists():
            make_key(file)
        value = bytes.fromhex(file.read_text("ascii").strip())
    except OSError as error:
        raise NoKey(f"The audit's key {file} cannot be read or made: {error.strerror} (HOZI_AUDIT_KEY_FILE)") from None
    except ValueError:
        value = b""
    if len(value) != _BYTES:
        raise NoKey(f"The audit's key {file} is damaged: it must hold {2 * _BYTES} hexadecimal digits")
    return value
