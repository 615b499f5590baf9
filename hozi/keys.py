"""The key that sessions and links are signed with: made once, and kept for this account only. Knows no settings."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

LEAST: Final = 32
"""Characters that a key has at least."""


def read(path: Path, *, make: bool) -> str:
    """The key in that file. With ``make``, one is made where there is none: once, whoever comes first.

    Raises ValueError, saying why, when the file cannot be used.
    """
    try:
        if make and not path.exists():
            make_key(path)
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not plain text"
        raise ValueError(f"the key {path} cannot be read: {reason} (HOZI_SECRET_KEY_FILE)") from None
    if len(key) < LEAST:
        raise ValueError(f"the key {path} is too short: `openssl rand -hex 32` makes one (HOZI_SECRET_KEY_FILE)")
    return key


def make_key(path: Path) -> None:
    """Makes a file with a new key, for this account only; keeps the one of a process that was quicker.

    Whole or not at all: a link to a finished file, which fails when another process was first.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # what is signed with the key must not outlive it
    finally:
        os.close(folder)
