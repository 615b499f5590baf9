"""A file that has come whole: what it is known by before and after its dataset has been looked through.

Its header, which the archive writes, says who brought it and what hash its dataset has: with that, a file tells all
that the archive must know of it, also after a crash (`receive`) or when the database is lost (`adopt`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hozi.archive.exceptions import Reason
from hozi.archive.facts import Facts
from hozi.archive.index import Candidate, Finding, Verdict
from hozi.archive.models import ExceptionCase
from hozi.audit.record import Code, Entry, Outcome
from hozi.core.dicom import part10, scan, syntaxes, uids
from hozi.core.errors import Unreadable
from hozi.core.storage.incoming import mapped_file
from hozi.settings import HOZI

_PRIVATE_INFORMATION = 0x00020102

#: What a header says while the dataset is still coming, in the place of its hash.
UNFINISHED = "0" * 64
_HASH = b'"sha256": "'


@dataclass(frozen=True, slots=True)
class Origin:
    """Who brings the object: written into the stored file's header, so that it outlives the database."""

    actor: str
    address: str = ""
    facility: str = ""
    issuer: str = ""
    calling_ae: str = ""
    source: str = "dimse"
    department: str = ""


_ORIGIN = tuple(field.name for field in dataclasses.fields(Origin))


@dataclass(frozen=True, slots=True)
class Announced:
    """What the bringing message says about the dataset."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Handover(Protocol):
    """A complete file in the incoming area, until it is put into its place or dropped."""

    @property
    def name(self) -> str:
        """Its path, as `Volume.put` takes it; nothing lies there any more once it has been put."""

    def mapped(self) -> mmap.mmap:
        """The whole file, header and dataset, as memory to read from; the caller closes it.

        Raises ValueError for an empty file, and OSError.
        """

    def discard(self) -> None:
        """Removes what was never acknowledged, or what the archive has already; does nothing where no file is."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete file in the incoming area, with all that is known about it before it is scanned."""

    file: Handover
    announced: Announced
    origin: Origin
    sha256: str
    header_sha256: str
    offset: int
    length: int
    durable: Callable[[], object]  # returns when the bytes are; raises OSError when they cannot be
    expected_sha256: str  # what the header says
    left_behind: bool = False


class _LeftoverFile:
    """A `Handover` for a file that a crash left behind."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)

    def mapped(self) -> mmap.mmap:
        return mapped_file(Path(self.name))

    def discard(self) -> None:
        Path(self.name).unlink(missing_ok=True)


def recovered(path: Path) -> Whole:
    """What is known of a file of ours, from the header that `header_for` wrote. Raises `Unreadable` without one."""
    with path.open("rb") as file:
        header = part10.read_header(file)
        if header.guessed or not header.dataset_offset:
            raise Unreadable("no header")
        try:
            told = json.loads(header.meta[_PRIVATE_INFORMATION].rstrip(b"\0"))
            expected = str(told.pop("sha256", ""))
            origin = Origin(**told)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unreadable("a header that this archive did not write") from None
        file.seek(0)
        header_sha256 = hashlib.sha256(file.read(header.dataset_offset)).hexdigest()
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        length = file.tell() - header.dataset_offset
    announced = Announced(
        header.sop_class,
        header.sop_instance,
        header.transfer_syntax,
    )
    return Whole(
        _LeftoverFile(path),
        announced,
        origin,
        sha256,
        header_sha256,
        header.dataset_offset,
        length,
        lambda: _flush(path),
        expected,
        left_behind=True,
    )


def nameless(path: Path) -> Whole:
    """A leftover file of which nothing is known."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        length = file.tell()
    return Whole(
        _LeftoverFile(path), Announced("", "", ""), Origin("hozi"), sha256, "", 0, length, lambda: _flush(path), ""
    )


def _flush(path: Path) -> None:
    """Makes what a killed process wrote durable: the page cache has it, the disk perhaps not."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())


def header_for(announced: Announced, origin: Origin, sha256: str) -> bytes:
    """The file header in front of the dataset: in its private information (PS3.10 §7.1) who sent it, and its hash."""
    told = {name: getattr(origin, name) for name in _ORIGIN} | {"sha256": sha256}
    return part10.write_header(
        announced.sop_class,
        announced.sop_instance,
        announced.transfer_syntax,
        source_ae=origin.calling_ae,
        private_information=json.dumps(told, sort_keys=True).encode(),
    )


def finished(header: bytes, sha256: str) -> bytes:
    """The same header with the hash of the whole dataset."""
    at = header.rindex(_HASH) + len(_HASH)
    return header[:at] + sha256.encode("ascii") + header[at + len(sha256) :]


def facts_of(whole: Whole) -> Facts:
    """Looks through the whole dataset. Raises `Unreadable` when it is no DICOM dataset, or goes beyond a limit."""
    syntax = syntaxes.for_unknown(whole.announced.transfer_syntax)
    with whole.file.mapped() as mapped, memoryview(mapped) as view, view[whole.offset :] as dataset:
        found = scan.scan(dataset, syntax)
    return Facts(found, issuer=whole.origin.issuer, default_charset=HOZI.default_charset)


def contradiction(facts: Facts, announced: Announced) -> tuple[Reason, str] | None:
    """What is wrong with the UIDs of the dataset, in themselves or beside what was announced."""
    own = {
        "SOP Class UID": facts.sop_class,
        "SOP Instance UID": facts.sop_instance,
        "Study Instance UID": facts.study,
        "Series Instance UID": facts.series,
    }
    for name, uid in own.items():
        if not uids.is_valid(uid):
            return Reason.INVALID_IDENTIFIERS, f"{name} is {'missing' if not uid else 'not a valid UID'}"
    if facts.sop_instance != announced.sop_instance:
        return Reason.CONTRADICTS_COMMAND, "SOP Instance UID in the dataset is not the announced one"
    if facts.sop_class != announced.sop_class:
        return Reason.CONTRADICTS_COMMAND, "SOP Class UID in the dataset is not the announced one"
    return None


def candidate_for(whole: Whole, facts: Facts) -> Candidate:
    """What the index is asked to take in."""

    def audit(verdict: Verdict) -> Entry:
        outcome = Outcome.MINOR_FAILURE if verdict.finding is Finding.CONFLICT else Outcome.SUCCESS
        detail = {"result": verdict.finding.value, "sop_class": facts.sop_class}
        if verdict.reason is not None:
            detail["reason"] = verdict.reason.value
        return entry_for(whole, outcome, detail, facts)

    return Candidate(
        facts=facts,
        instance=facts.instance_columns(),
        facility=whole.origin.facility,
        department=whole.origin.department,
        transfer_syntax=whole.announced.transfer_syntax,
        sha256=whole.sha256,
        header_sha256=whole.header_sha256,
        dataset_offset=whole.offset,
        length=whole.length,
        key=f"{whole.sha256[:2]}/{whole.sha256}.dcm",
        durable=whole.durable,
        audit=audit,
        case=lambda reason, explanation: case_for(whole, reason, explanation, facts),
    )


def entry_for(whole: Whole, outcome: Outcome, detail: dict[str, str], facts: Facts | None = None) -> Entry:
    """The row of the audit that says that it came."""
    return Entry(
        code=Code.IMPORT if whole.origin.source == "import" else Code.INSTANCES_TRANSFERRED,
        action="C",
        actor=whole.origin.actor,
        outcome=outcome,
        address=whole.origin.address,
        issuer=facts.identity.issuer if facts else "",
        patient_id=facts.identity.patient_id if facts else "",
        study_uid=facts.study if facts else "",
        object_uid=whole.announced.sop_instance,
        facility=whole.origin.facility,
        detail=detail,
    )


def case_for(whole: Whole, reason: Reason, explanation: str, facts: Facts | None = None) -> ExceptionCase:
    """The exception that it becomes, with the place where it then lies in quarantine."""
    return ExceptionCase(
        reason=reason,
        explanation=explanation,
        sop_class=whole.announced.sop_class[:64],
        sop_instance_uid=whole.announced.sop_instance[:64],
        study_uid=facts.study[:64] if facts else "",
        transfer_syntax=whole.announced.transfer_syntax[:64],
        # The random part keeps apart what is the same content with another reason or another announcement.
        key=f"quarantine/{whole.sha256[:2]}/{whole.sha256}-{uuid.uuid4().hex[:12]}.dcm",
        sha256=whole.sha256,
        dataset_offset=whole.offset,
        length=whole.length,
        facility=whole.origin.facility,
        actor=whole.origin.actor,
        address=whole.origin.address,
    )
