"""Names as people write them, checked and without what stands around them."""

from __future__ import annotations

from hozi.core.errors import Refused


def name(text: str, what: str, field: str = "name", *, least: int = 1, most: int = 128) -> str:
    """The name, in one line and without spaces around it.

    Raises Refused about ``field`` when it is too short or long, or holds characters that cannot be printed. ``what``
    begins the sentence, for example "A department".
    """
    written = text.strip()
    if not least <= len(written) <= most or not written.isprintable():
        length = f"at most {most}" if not least else f"{least} to {most}"
        raise Refused(f"{what} has a name of {length} printable characters", field=field)
    return written
