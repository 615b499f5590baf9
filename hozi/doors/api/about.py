"""Who you are, and what this is."""

from __future__ import annotations

from typing import Literal

from django.db import DatabaseError, connection
from ninja import Schema

import hozi
from hozi.accounts.permissions import BY_KEY
from hozi.doors.api.gate import ANYBODY, Area, Request
from hozi.jobs import regular
from hozi.settings import HOZI

area = Area("about")


class Reach(Schema):
    """Permissions, and how far they reach; empty is no limit."""

    permissions: list[str]
    facility: str
    department: str
    modality: str
    own_referrals: bool
    deidentified: bool
    one_patient: bool


class Me(Schema):
    """Whoever asks."""

    kind: Literal["person", "token"]
    actor: str
    person: int | None
    held: list[Reach]


class About(Schema):
    """The program."""

    name: str
    version: str
    licence: str
    ae_title: str


class Piece(Schema):
    """A piece of regular work that went wrong the last time."""

    name: str
    error: str


class Health(Schema):
    """Whether the archive works."""

    ok: bool
    database: Literal["ok", "does not answer"]
    failing: list[Piece]


@area.get("/me", Me, ANYBODY)
def whoami(request: Request) -> object:
    """Who you are, and what you may do."""
    who = request.auth
    held = [
        Reach(
            permissions=sorted(entry.permissions & set(BY_KEY)),
            facility=entry.scope.facility,
            department=entry.scope.department,
            modality=entry.scope.modality,
            own_referrals=entry.scope.referring is not None,
            deidentified=entry.scope.deidentified,
            one_patient=entry.scope.patient is not None,
        )
        for entry in who.held
    ]
    return {"kind": who.kind, "actor": who.actor, "person": who.person, "held": held}


@area.get("/about", About, ANYBODY)
def about(request: Request) -> object:
    """Version and licence."""
    return {"name": "Hozi", "version": hozi.__version__, "licence": "Apache-2.0", "ae_title": HOZI.ae_title}


@area.get("/health", Health, "system.see")
def health(request: Request) -> object:
    """Whether the archive works, and which regular work fails."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        failing = [Piece(name=one.name, error=one.last_error) for one in regular.standing() if one.last_error]
    except DatabaseError:
        return {"ok": False, "database": "does not answer", "failing": []}
    return {"ok": not failing, "database": "ok", "failing": failing}
