"""Unique identifiers: what one looks like, how to make one, and the ones by which Hozi names itself (PS3.5 §9)."""

from __future__ import annotations

import re
import uuid
from typing import Final

import hozi

LONGEST: Final = 64
"""The most characters that a UID may have (PS3.5 §9.1)."""

IMPLEMENTATION_CLASS_UID: Final = "2.25.82139699487014546916764076234388788726"
"""Names Hozi as the program that wrote a file or opened an association (PS3.7 §D.3.3.2); the same for all versions."""

IMPLEMENTATION_VERSION_NAME: Final = "HOZI_" + "_".join(hozi.__version__.split(".")[:2])
"""Names the version of it, in at most 16 characters (PS3.7 §D.3.3.2)."""

PRIVATE_INFORMATION_CREATOR_UID: Final = "2.25.70826031988559848707872044432362963233"
"""Says that the private information in a file's header was put there by Hozi (PS3.10 §7.1)."""

_OWN: Final = uuid.UUID(int=int(IMPLEMENTATION_CLASS_UID.rpartition(".")[2]))
_COMPONENTS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LEADING_ZERO: Final = re.compile(r"(?:^|\.)0[0-9]", re.ASCII)


def clean(raw: bytes | str) -> str:
    """The UID without its padding: NUL as the standard has it, or the spaces that some devices use instead.

    Bytes that are no ASCII become characters that `is_valid` refuses; nothing is lost or repaired.
    """
    text = raw if isinstance(raw, str) else bytes(raw).decode("latin-1")
    return text.strip("\0 ")


def is_valid(uid: str) -> bool:
    """Whether this is a UID that an archive can take in: numbers joined by dots, 64 characters at most.

    Leading zeros in a component are against PS3.5 §9.1 but are sent by devices, and do no harm: they are valid here
    and only not canonical. The UID has to be `clean`.
    """
    return len(uid) <= LONGEST and _COMPONENTS.fullmatch(uid) is not None


def is_canonical(uid: str) -> bool:
    """Whether the UID follows PS3.5 §9.1 to the letter: valid, and no component begins with a needless zero."""
    return is_valid(uid) and _LEADING_ZERO.search(uid) is None


def new_uid() -> str:
    """A UID that nobody else has, made of a random UUID (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*parts: str) -> str:
    """The UID that Hozi makes of these parts: always the same one, and nobody else's (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid5(_OWN, chr(0).join(parts)).int}"
