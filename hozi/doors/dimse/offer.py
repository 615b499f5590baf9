"""What this archive offers on the network: the tables that negotiation uses and the conformance statement prints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Final, Literal

from hozi.core.dicom import sop_classes, syntaxes
from hozi.core.dimse import command as commands
from hozi.settings import HOZI

Model = Literal["PATIENT_ROOT", "STUDY_ROOT"]

#: For messages without pixel data. Everybody speaks these; deflated and big endian ones gain nothing here.
MESSAGE_SYNTAXES: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")

#: The requests that are answered in each abstract syntax that is no storage class.
SERVICES: Final[dict[str, tuple[int, ...]]] = {
    sop_classes.VERIFICATION: (commands.C_ECHO_RQ,),
    sop_classes.PATIENT_ROOT_FIND: (commands.C_FIND_RQ,),
    sop_classes.PATIENT_ROOT_MOVE: (commands.C_MOVE_RQ,),
    sop_classes.PATIENT_ROOT_GET: (commands.C_GET_RQ,),
    sop_classes.STUDY_ROOT_FIND: (commands.C_FIND_RQ,),
    sop_classes.STUDY_ROOT_MOVE: (commands.C_MOVE_RQ,),
    sop_classes.STUDY_ROOT_GET: (commands.C_GET_RQ,),
    sop_classes.STORAGE_COMMITMENT_PUSH: (commands.N_ACTION_RQ,),
}

#: The query model of each FIND, MOVE and GET class.
MODELS: Final[dict[str, Model]] = {
    sop_classes.PATIENT_ROOT_FIND: "PATIENT_ROOT",
    sop_classes.PATIENT_ROOT_MOVE: "PATIENT_ROOT",
    sop_classes.PATIENT_ROOT_GET: "PATIENT_ROOT",
    sop_classes.STUDY_ROOT_FIND: "STUDY_ROOT",
    sop_classes.STUDY_ROOT_MOVE: "STUDY_ROOT",
    sop_classes.STUDY_ROOT_GET: "STUDY_ROOT",
}

#: What is agreed to, byte by byte, when a peer proposes it (SOP Class Extended Negotiation).
FIND_EXTENDED: Final = b"\x01\x01\x01\x00\x00"
"""Relational queries, date and time as one range, fuzzy names; not: timezone adjustment, multi-frame conversion
(PS3.4 Table C.5.1.1-1)."""
RETRIEVE_EXTENDED: Final = b"\x01\x00"
"""Relational retrieval; not: multi-frame conversion (PS3.4 Tables C.5.2.1-1 and C.5.3.1-1)."""
STORAGE_EXTENDED: Final = b"\x02\x00\x03\x00\x00\x00"
"""Level 2 (all attributes are kept), digital signatures are kept (level 3: bit preserving), no element coercion
(PS3.4 Table B.3-1)."""


@cache
def storage_classes() -> dict[str, str]:
    """Every SOP class that is stored, with its name: the standard's, and the private ones of the settings."""
    private = (uid.strip() for uid in HOZI.private_storage_classes.split(","))
    return {**sop_classes.STORAGE, **{uid: "private storage class" for uid in private if uid}}


def transfer_syntaxes(abstract_syntax: str) -> Collection[str] | None:
    """The transfer syntaxes that are accepted for an abstract syntax; None when it is not offered."""
    if abstract_syntax in SERVICES:
        return MESSAGE_SYNTAXES
    return syntaxes.STORABLE if abstract_syntax in storage_classes() else None


def serves(abstract_syntax: str, request: int) -> bool:
    """Whether that request (a command field) is answered in a context of that abstract syntax."""
    if request == commands.C_STORE_RQ:
        return abstract_syntax in storage_classes()
    return request in SERVICES.get(abstract_syntax, ())


def roles(abstract_syntax: str) -> tuple[bool, bool]:
    """The (SCU, SCP) roles that a requestor may take: SCP where objects come back to it over C-GET."""
    return True, abstract_syntax in storage_classes()


def extended(proposed: Mapping[str, bytes]) -> dict[str, bytes]:
    """The agreed extended negotiation: of each byte that was proposed what both sides can, and no byte more."""
    agreed: dict[str, bytes] = {}
    for uid, asked in proposed.items():
        services = SERVICES.get(uid, ())
        if commands.C_FIND_RQ in services:
            agreed[uid] = _both(asked, FIND_EXTENDED)
        elif commands.C_MOVE_RQ in services or commands.C_GET_RQ in services:
            agreed[uid] = _both(asked, RETRIEVE_EXTENDED)
        elif uid in storage_classes():
            agreed[uid] = STORAGE_EXTENDED[: len(asked)]
    return agreed


def _both(asked: bytes, ours: bytes) -> bytes:
    return bytes(one & other for one, other in zip(asked, ours, strict=False))
