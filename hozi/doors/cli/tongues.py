"""Makes of each translation (`django.po`, which people write) what Django reads (`django.mo`)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hozi.core.errors import Refused


def compiled(locale: Path) -> list[Path]:
    """Writes the `django.mo` beside every `django.po` of the folder, and gives their paths.

    What is as new as its translation stays. Raises Refused when a translation cannot be read.
    """
    return [_made(source) for source in sorted(locale.glob("*/LC_MESSAGES/django.po"))]


def _made(source: Path) -> Path:
    target = source.with_suffix(".mo")
    if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
        return target
    # Only where Hozi is set up: what runs it does not need Babel.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import PoFileError, read_po

    try:
        with source.open("rb") as file:
            catalog = read_po(file, abort_invalid=True)
    except PoFileError as error:
        raise Refused(f"{source} cannot be read: {error}") from None
    # Several may do this at once (tests do): each writes its own, and the last one stays.
    handle, fresh = tempfile.mkstemp(dir=target.parent, suffix=".mo.new")
    with os.fdopen(handle, "wb") as file:
        write_mo(file, catalog)
    Path(fresh).chmod(0o644)
    Path(fresh).replace(target)
    return target
