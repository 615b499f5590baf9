"""Fills an index with a hospital's years, and says how durable a database is: a program, run on a home of Hozi.

`python -m bench.filling fill STUDIES INSTANCES_PER_STUDY SEED` and `python -m bench.filling durability`; both answer
as JSON. Patients, studies and series are made from generated images as the archive makes them; instances, objects
and audit events by one statement each. Only the index is filled: no files are written.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bench import images, population
from bench.archives import CALLER
from bench.population import SERIES_A_STUDY, STUDIES_A_DAY, Population

if TYPE_CHECKING:
    from django.db.models import Model

    from hozi.archive.facts import Facts
    from hozi.archive.models import Patient, Study
    from hozi.facilities.models import Facility

_BATCH: Final = 2000
_CACHE_KIB: Final = 400_000
_FILE_HEADER: Final = 420  # bytes that Hozi puts in front of a dataset, about
_HASH: Final = {"sqlite": "sha256_hex({})", "postgresql": "encode(sha256(convert_to({}, 'UTF8')), 'hex')"}


@dataclass(frozen=True)
class Sql:
    """A value that the database makes itself; every other value is a parameter."""

    text: str


class Filling:
    """Fills an empty index with the studies of ``people``, `SERIES_A_STUDY` series of ``in_series`` images in each."""

    def __init__(self, people: Population, in_series: int, seed: int) -> None:
        from hozi.facilities.models import Facility

        self._people = people
        self._in_series = in_series
        self._template = images.ct(seed)
        self._facility: Facility = Facility.objects.order_by("pk")[0]
        self._patients: dict[int, Patient] = {}

    def run(self) -> int:
        """Does it in one transaction; returns the number of instances."""
        from django.db import transaction

        from hozi.audit import chain

        with in_haste():
            with transaction.atomic():
                for first in range(0, self._people.studies, _BATCH):
                    self._insert_studies(range(first, min(first + _BATCH, self._people.studies)))
                count = self._insert_instances()
            chain.link()  # otherwise the worker would do it in the midst of what is measured
            return count

    def _facts(self, study: int) -> Facts:
        """What the archive would know of an image of this study, had it come."""
        from hozi.archive.facts import Facts
        from hozi.core.dicom import scan, syntaxes
        from hozi.settings import HOZI

        patient = self._people.patient_of(study)
        identity = images.Identity(
            study=images.uid("filled", study),
            series=images.uid("filled", study, 0),
            instance=images.uid("filled", study, 0, 0),
            patient_id=population.patient_id(patient),
            patient_name=population.patient_name(patient),
            date=population.day(study // STUDIES_A_DAY),
            accession=f"F{study:011d}",
        )
        header = memoryview(identity.replaced(self._template.header))
        found = scan.scan(header, syntaxes.for_unknown(images.EXPLICIT))
        return Facts(found, issuer=self._facility.issuer, default_charset=HOZI.default_charset)

    def _insert_studies(self, numbers: range) -> None:
        """Patients, studies, the words of their names, series and the values in their sequences."""
        from hozi.archive.lookup import insert_name_words, insert_referrals
        from hozi.archive.models import Patient, SequenceValue, Series, Study

        facts = {number: self._facts(number) for number in numbers}
        new = {self._people.patient_of(number): known for number, known in facts.items()}
        new = {patient: known for patient, known in new.items() if patient not in self._patients}
        rows = [Patient(**asdict(known.identity), **known.patient_columns()) for known in new.values()]
        self._patients.update(zip(new, Patient.objects.bulk_create(rows), strict=True))
        studies = Study.objects.bulk_create(self._study(number, known) for number, known in facts.items())
        for study in studies:
            insert_name_words(study)
            insert_referrals(study)
        series = Series.objects.bulk_create(
            Series(
                uid=images.uid("filled", number, which),
                study=study,
                instance_count=self._in_series,
                **{**known.series_columns(), "number": which + 1, "modality": population.modality(number)},
            )
            for study, (number, known) in zip(studies, facts.items(), strict=True)
            for which in range(SERIES_A_STUDY)
        )
        values = next(iter(facts.values())).sequence_values("SERIES")
        SequenceValue.objects.bulk_create(SequenceValue(series=one, **value) for one in series for value in values)

    def _study(self, number: int, known: Facts) -> Study:
        from hozi.archive.models import Study
        from hozi.core.dicom import names

        referrer = population.referrer(number)
        minutes = number % STUDIES_A_DAY * (24 * 60 // STUDIES_A_DAY)
        at = datetime.strptime(population.day(number // STUDIES_A_DAY), "%Y%m%d").replace(tzinfo=UTC)
        return Study(
            uid=known.study,
            patient=self._patients[self._people.patient_of(number)],
            facility=self._facility.code,
            department=population.department(number),
            received_at=at + timedelta(minutes=minutes),
            changed_at=at + timedelta(minutes=minutes),
            series_count=SERIES_A_STUDY,
            instance_count=SERIES_A_STUDY * self._in_series,
            **{f"patient_{name}": value for name, value in known.patient_columns().items()},
            **{**known.study_columns(), "referring": referrer, "referring_key": names.key(referrer)},
        )

    def _insert_instances(self) -> int:
        """Instances, the objects that hold them, and an audit event for each; three statements."""
        from django.db import connection

        from hozi.archive.models import Instance, StoredObject
        from hozi.audit.models import Event
        from hozi.audit.record import Code, Outcome

        known = self._facts(0)
        count = _insert(
            Instance,
            {
                "uid": Sql("series.uid || '.' || numbers.n"),
                "series_id": Sql("series.id"),
                "sop_class": known.sop_class,
                "number": Sql("numbers.n"),
                "attributes": known.attributes("IMAGE"),
                "received_at": Sql("study.received_at"),
            },
            "archive_series series JOIN archive_study study ON study.id = series.study_id CROSS JOIN numbers"
            " ORDER BY series.id, numbers.n",
            numbers=self._in_series,
        )
        one_hash = _HASH[connection.vendor]
        _insert(
            StoredObject,
            {
                "instance_id": Sql("hashed.id"),
                "key": Sql("substr(hash, 1, 2) || '/' || substr(hash, 3, 2) || '/' || hash || '.dcm'"),
                "sha256": Sql("hash"),
                "header_sha256": Sql("header_hash"),
                "dataset_offset": _FILE_HEADER,
                "length": self._template.length - len(self._template.meta),
                "transfer_syntax": images.EXPLICIT,
            },
            f"(SELECT id, {one_hash.format('uid')} AS hash, {one_hash.format('uid || chr')} AS header_hash"
            " FROM (SELECT id, uid, '/header' AS chr FROM archive_instance) AS named) AS hashed ORDER BY hashed.id",
        )
        _insert(
            Event,
            {
                "at": Sql("study.received_at"),
                "code": Code.INSTANCES_TRANSFERRED.value,
                "action": "C",
                "outcome": Outcome.SUCCESS.value,
                "actor": CALLER,
                "address": "127.0.0.1",
                "issuer": Sql("patient.issuer"),
                "patient_id": Sql("patient.patient_id"),
                "study_uid": Sql("study.uid"),
                "object_uid": Sql("instance.uid"),
                "detail": {"result": "stored", "sop_class": known.sop_class},
            },
            "archive_instance instance JOIN archive_series series ON series.id = instance.series_id"
            " JOIN archive_study study ON study.id = series.study_id"
            " JOIN archive_patient patient ON patient.id = study.patient_id ORDER BY instance.id",
        )
        return count


def _insert(model: type[Model], values: Mapping[str, Any], source: str, *, numbers: int = 0) -> int:
    """Inserts into a model's table what is selected from ``source``; columns without a value get their default.

    ``source`` can use a table ``numbers`` whose ``n`` goes from 1 to this number. Returns how many rows there are.
    """
    from django.db import connection

    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    if unknown := set(values) - {field.attname for field in fields}:
        raise LookupError(f"{model.__name__} has no column {', '.join(sorted(unknown))}")
    quote = connection.ops.quote_name
    texts: list[str] = []
    parameters: list[Any] = [numbers]
    for field in fields:
        value = values[field.attname] if field.attname in values else field.get_default()
        texts.append(value.text if isinstance(value, Sql) else "%s")
        if not isinstance(value, Sql):
            parameters.append(field.get_db_prep_save(value, connection))
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
            f" INSERT INTO {quote(model._meta.db_table)} ({', '.join(quote(str(field.column)) for field in fields)})"
            f" SELECT {', '.join(texts)} FROM {source}",
            parameters,
        )
        cursor.execute(f"SELECT count(*) FROM {quote(model._meta.db_table)}")
        return int(cursor.fetchone()[0])


@contextmanager
def in_haste() -> Iterator[None]:
    """Nothing is flushed meanwhile; afterwards the database is as one that has grown slowly and been looked after."""
    from django.db import connection

    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.create_function("sha256_hex", 1, _sha256, deterministic=True)
        before = ["PRAGMA journal_mode=MEMORY", "PRAGMA synchronous=OFF", f"PRAGMA cache_size=-{_CACHE_KIB}"]
        after = ["PRAGMA journal_mode=WAL"]
    else:
        before = ["SET synchronous_commit TO off"]
        # What autovacuum would do in the midst of what is measured.
        after = ["VACUUM (ANALYZE)", "CHECKPOINT"]
    with connection.cursor() as cursor:
        for statement in before:
            cursor.execute(statement)
        yield
        for statement in after:
            cursor.execute(statement)
    connection.close()
    os.sync()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def durability() -> dict[str, Any]:
    """What is in force on a connection as Hozi opens it, and whether what is committed then survives a power cut."""
    from django.db import connection

    with connection.cursor() as cursor:

        def ask(statement: str) -> str:
            cursor.execute(statement)
            return str(cursor.fetchone()[0])

        if connection.vendor == "sqlite":
            synchronous = int(ask("PRAGMA synchronous"))
            return {
                "engine": f"SQLite {ask('SELECT sqlite_version()')}",
                "journal_mode": ask("PRAGMA journal_mode"),
                "synchronous": ("OFF", "NORMAL", "FULL", "EXTRA")[synchronous],
                "durable": synchronous >= 2,
            }
        names = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
        facts = {name: ask(f"SHOW {name}") for name in names}
        durable = facts["fsync"] == "on" and facts["synchronous_commit"] != "off" and facts["full_page_writes"] == "on"
        return {"engine": f"PostgreSQL {ask('SHOW server_version')}", **facts, "durable": durable}


def main() -> None:
    """Runs what the command line names, and prints what it says as JSON."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    import django

    django.setup()
    if sys.argv[1] == "fill":
        studies, instances, seed = map(int, sys.argv[2:5])
        started = time.monotonic()
        count = Filling(Population(studies), instances // SERIES_A_STUDY, seed).run()
        answer = {"instances": count, "seconds": time.monotonic() - started}
    else:
        answer = durability()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
