"""What the first requests of a process would pay for is paid before: Django works out models and statements on use."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from hozi.accounts import authorise, tokens
from hozi.archive import metadata
from hozi.audit.record import Code, Entry, looked_since
from hozi.core.errors import NotThere

_NOTHING: Final = "0"
"""A UID that nothing has."""


def aside() -> threading.Thread:
    """Does so in a thread, while the first requests may come already."""
    thread = threading.Thread(target=warm, name="warm", daemon=True)
    thread.start()
    return thread


def warm() -> None:
    """Asks for things that are not there, and notes nothing of it. What fails is told when somebody asks in earnest."""
    who = authorise.of_operator("nobody")
    look = Entry(Code.INSTANCES_ACCESSED, "R", who.actor, study_uid=_NOTHING, detail={"opened": "pictures"})
    try:
        tokens.rehearse()
        looked_since(look, timezone.now())
        with suppress(NotThere):
            metadata.of_series(who, _NOTHING, _NOTHING, "")
        with suppress(NotThere):
            metadata.of_instance(who, _NOTHING, _NOTHING, _NOTHING, "")
    except (DatabaseError, InterfaceError):
        pass
    finally:
        connection.close()
