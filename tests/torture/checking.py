"""Is everything there that was acknowledged, and nothing half? Asked over DICOM, by SQL and of `hozi` itself."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from hozi.core.dicom import identifier, sop_classes
from hozi.core.dimse import status
from hozi.core.dimse.association import Message, ProposedContext
from hozi.core.errors import HoziError
from tests.torture import database
from tests.torture.ledger import Acknowledged, Ledger
from tests.torture.objects import CT, EXPLICIT
from tests.torture.running import Archive

_FIND: Final = sop_classes.STUDY_ROOT_FIND
_GET: Final = sop_classes.STUDY_ROOT_GET

#: What a half-done transaction would leave behind: each query yields the UIDs of what is wrong.
_HALVES: Final = {
    "an instance without a stored object": "SELECT i.uid FROM archive_instance i"
    " LEFT JOIN archive_storedobject o ON o.instance_id = i.id WHERE o.id IS NULL",
    "a series whose instances are counted wrongly": "SELECT s.uid FROM archive_series s"
    " LEFT JOIN archive_instance i ON i.series_id = s.id"
    " GROUP BY s.id, s.uid, s.instance_count HAVING COUNT(i.id) <> s.instance_count OR COUNT(i.id) = 0",
    "a study whose instances are counted wrongly": "SELECT t.uid FROM archive_study t"
    " LEFT JOIN archive_series s ON s.study_id = t.id LEFT JOIN archive_instance i ON i.series_id = s.id"
    " GROUP BY t.id, t.uid, t.instance_count HAVING COUNT(i.id) <> t.instance_count",
    "a study whose series are counted wrongly": "SELECT t.uid FROM archive_study t"
    " LEFT JOIN archive_series s ON s.study_id = t.id"
    " GROUP BY t.id, t.uid, t.series_count HAVING COUNT(s.id) <> t.series_count OR COUNT(s.id) = 0",
}
_FILES: Final = (
    "SELECT i.uid, o.key, o.dataset_offset + o.length FROM archive_storedobject o"
    " JOIN archive_instance i ON i.id = o.instance_id"
)
_AUDITED: Final = "SELECT object_uid, detail FROM audit_event WHERE code = '110104' AND action = 'C'"


@dataclass
class Findings:
    """What a check found: ``lost`` names acknowledged objects that are not there, ``faults`` is all else."""

    lost: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.lost and not self.faults

    def add(self, other: Findings) -> None:
        """Takes the findings of another check in."""
        self.lost.update(other.lost)
        self.faults.extend(other.faults)


def acknowledged(archive: Archive, ledger: Ledger, wanted: Mapping[str, Acknowledged]) -> Findings:
    """Whether C-FIND finds each of these objects and C-GET gives each with the hash with which it was sent.

    What else lies in the same studies must be whole too: something that somebody has sent.
    """
    findings = Findings()
    series: dict[str, set[str]] = defaultdict(set)
    for known in wanted.values():
        series[known.made.study].add(known.made.series)
    for study in sorted(series):
        expected = {uid: known.sha256 for uid, known in wanted.items() if known.made.study == study}
        try:
            found = {uid for one in series[study] for uid in _found(archive, study, one)}
            got = _fetched(archive, study)
        except HoziError as error:
            findings.faults.append(f"study {study} cannot be asked for: {error}")
            continue
        for uid, sha256 in expected.items():
            if uid not in got:
                findings.lost[uid] = "is not given out by C-GET"
            elif got[uid] != sha256:
                findings.lost[uid] = "comes back with other bytes"
            elif uid not in found:
                findings.lost[uid] = "is not found by C-FIND"
        strange = (uid for uid in got.keys() - expected.keys() if got[uid] not in ledger.sent.get(uid, ()))
        findings.faults.extend(f"{uid}: is in the archive with bytes that nobody has sent" for uid in strange)
    return findings


def _found(archive: Archive, study: str, series: str) -> Collection[str]:
    """The SOP Instance UIDs that C-FIND finds in a series."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID, query.SeriesInstanceUID, query.SOPInstanceUID = study, series, ""
    association = archive.call(ProposedContext(1, _FIND, (EXPLICIT,)))
    try:
        answers = association.find(association.contexts_for(_FIND)[0], identifier.write(query, EXPLICIT))
        found = {str(identifier.read(data, EXPLICIT).SOPInstanceUID) for _, data in answers if data is not None}
        association.release()
    finally:
        association.close()
    return found


def _fetched(archive: Archive, study: str) -> dict[str, str]:
    """SHA-256 of each object of a study, by SOP Instance UID, as C-GET gives it."""
    got: dict[str, str] = {}

    def keep(message: Message) -> int:
        digest = hashlib.sha256()
        for piece in message.fragments():
            digest.update(piece)
        got[message.command.affected_sop_instance or ""] = digest.hexdigest()
        return status.SUCCESS

    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
    contexts = (ProposedContext(1, _GET, (EXPLICIT,)), ProposedContext(3, CT, (EXPLICIT,)))
    association = archive.call(*contexts, roles={CT: (False, True)})
    try:
        context = association.contexts_for(_GET)[0]
        for _ in association.get(context, identifier.write(query, EXPLICIT), keep):
            pass
        association.release()
    finally:
        association.close()
    return got


def halves(archive: Archive) -> Findings:
    """Whether every row of the index has all that belongs to it, and every object its file."""
    findings = Findings()
    for complaint, statement in _HALVES.items():
        found = [uid for (uid,) in database.rows(archive.database_url, statement)]
        findings.faults.extend(f"{uid}: {complaint}" for uid in found)
    for uid, key, length in database.rows(archive.database_url, _FILES):
        path = archive.storage / "objects" / key
        if not path.exists():
            findings.faults.append(f"{uid}: is indexed and has no file")
        elif path.stat().st_size != length:
            findings.faults.append(f"{uid}: has a file of {path.stat().st_size} bytes instead of {length}")
    return findings


def complete(archive: Archive, ledger: Ledger) -> Findings:
    """Everything at the end of a run, on an archive that runs and is not written to."""
    findings = acknowledged(archive, ledger, ledger.acknowledged)
    findings.add(halves(archive))
    verified = archive.hozi("verify", "--json")
    try:
        report = json.loads(verified.stdout)
    except ValueError:
        findings.faults.append(f"hozi verify ended with {verified.returncode}: {verified.stderr[-2000:]}")
        return findings
    findings.faults.extend(f"hozi verify: {fault}" for fault in report["faults"])
    if verified.returncode != 0 and not report["faults"]:
        findings.faults.append(f"hozi verify ended with {verified.returncode}")
    cases = archive.json("exceptions")
    findings.faults.extend(_sums(archive, ledger, report, cases))
    findings.faults.extend(ledger.faults)
    return findings


def _sums(archive: Archive, ledger: Ledger, report: dict[str, int], cases: list[dict[str, object]]) -> list[str]:
    """Whether what is stored and what lies in quarantine add up to what was sent."""
    found: list[str] = []
    unsure = ledger.unsure()
    stored = {str(uid) for uid, _, _ in database.rows(archive.database_url, _FILES)}
    found.extend(
        f"{uid}: is stored, though it was never acknowledged and never left open"
        for uid in stored - ledger.acknowledged.keys() - set(unsure)
    )
    if report["objects"] != len(stored):
        found.append(f"hozi verify counts {report['objects']} objects, the index has {len(stored)}")
    kept = sum(1 for case in cases if case["quarantined"])
    if report["quarantined"] != kept:
        found.append(f"hozi verify counts {report['quarantined']} in quarantine, hozi exceptions {kept}")
    conflicts: Counter[str] = Counter()
    for case in cases:
        uid, reason = str(case["sop_instance_uid"]), case["reason"]
        if reason == "same-uid-other-content":
            conflicts[uid] += 1
            if uid not in ledger.kept_aside and uid not in unsure:
                found.append(f"{uid}: lies in quarantine as a conflict, and nobody was told so")
        elif reason != "interrupted":
            found.append(f"{uid}: lies in quarantine as {reason}, which nothing here is")
        elif uid not in unsure:
            found.append(f"{uid}: lies in quarantine as interrupted, though every transfer of it was answered")
    for uid, contents in ledger.kept_aside.items():
        if conflicts[uid] < len(contents):
            found.append(f"{uid}: {len(contents)} other contents were kept aside, {conflicts[uid]} are there")
    found.extend(_audited(archive, stored))
    return found


def _audited(archive: Archive, stored: Collection[str]) -> list[str]:
    """Whether each stored object has the one audit row that was written in the same transaction."""
    rows: Counter[str] = Counter()
    for uid, detail in database.rows(archive.database_url, _AUDITED):
        told = json.loads(detail) if isinstance(detail, str) else detail
        if told.get("result") == "stored":
            rows[uid] += 1
    missing = [f"{uid}: is stored, and the audit does not know" for uid in stored if rows[uid] == 0]
    wrong = [f"{uid}: was stored {count} times, says the audit" for uid, count in rows.items() if count > 1]
    invented = [f"{uid}: was stored, says the audit, and is not there" for uid in rows if uid not in stored]
    return missing + wrong + invented
