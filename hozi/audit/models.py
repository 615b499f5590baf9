"""The audit's tables. Events are written by `record.py` alone; the chain over them by `chain.py` alone."""

from django.db import models

from hozi.audit.mark import MARK_BYTES


class Event(models.Model):
    """Something that was done, by whom, to whose data, from where, and with what outcome.

    Holds patient data: issuer and patient ID, and UIDs; for queries, what was asked for.
    Codes are those of DICOM PS3.15 A.5 (for example 110104, Instances Transferred); ``type`` is the one in the detail.
    ``mark`` is a keyed hash over the row (`mark.py`).
    """

    at = models.DateTimeField(db_index=True)
    code = models.CharField(max_length=16)
    action = models.CharField(max_length=1)
    outcome = models.PositiveSmallIntegerField()
    actor = models.CharField(max_length=128)
    address = models.CharField(max_length=64, default="")
    issuer = models.CharField(max_length=64, default="")
    patient_id = models.CharField(max_length=256, default="")
    study_uid = models.CharField(max_length=64, default="")
    object_uid = models.CharField(max_length=64, default="")
    facility = models.CharField(max_length=16, default="")
    type = models.CharField(max_length=16, default="")
    detail = models.JSONField(default=dict)
    mark = models.BinaryField(max_length=MARK_BYTES, default=b"")

    class Meta:
        indexes = [
            models.Index(fields=["patient_id", "issuer", "at"], name="audit_patient"),
            models.Index(fields=["study_uid"], name="audit_study"),
            models.Index(fields=["actor", "at"], name="audit_actor"),
            models.Index(fields=["code", "at"], name="audit_code"),
            models.Index(fields=["at"], name="audit_failed", condition=models.Q(outcome__gt=0)),
            models.Index(fields=["facility", "at"], name="audit_facility"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.action} by {self.actor} at {self.at:%Y-%m-%d %H:%M:%S}"


class Link(models.Model):
    """A link of the chain: names some rows of the audit, in an order that holds from then on.

    No patient data. ``ids`` are the rows' numbers as ranges (``4-7,9``); ``checks`` the first bytes of each row's hash;
    ``rows`` a hash over all; ``first`` is the number within its day of the first row. ``hash`` covers all of it and the
    hash before.
    """

    number = models.BigIntegerField(primary_key=True)
    section = models.BigIntegerField()
    day = models.CharField(max_length=10)
    first = models.BigIntegerField()
    count = models.IntegerField()
    total = models.BigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField(db_index=True)
    ids = models.TextField()
    checks = models.TextField()
    rows = models.CharField(max_length=64)
    made_at = models.CharField(max_length=32)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"link {self.number} ({self.day}, {self.count} rows)"


class Seal(models.Model):
    """Closes a day of the audit: so many rows, in these links, ending with this hash. No patient data."""

    section = models.BigIntegerField(primary_key=True)
    day = models.CharField(max_length=10, db_index=True)
    count = models.BigIntegerField()
    first_link = models.BigIntegerField()
    last_link = models.BigIntegerField()
    last_hash = models.CharField(max_length=64)
    made_at = models.CharField(max_length=32)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"seal of {self.day} ({self.count} rows)"


class Head(models.Model):
    """Where the chain ends: one row. No patient data.

    ``section`` and ``day`` are those of the last link (``closed``: it is sealed); ``count`` its rows so far. ``holes``
    are numbers of rows that were skipped because their transaction may still be open: JSON, ranges with when they were
    seen. ``key_check`` says which key marks this audit. ``hash`` covers all of it.
    """

    link = models.BigIntegerField()
    link_hash = models.CharField(max_length=64)
    last_id = models.BigIntegerField()
    section = models.BigIntegerField()
    day = models.CharField(max_length=10)
    first_link = models.BigIntegerField()
    count = models.BigIntegerField()
    closed = models.IntegerField()
    total = models.BigIntegerField()
    seals = models.BigIntegerField()
    seal_hash = models.CharField(max_length=64)
    holes = models.TextField()
    key_check = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"the chain ends with link {self.link}"


class Forwarding(models.Model):
    """Up to which link the collector has the audit: one row. No patient data. ``sent`` counts rows."""

    link = models.BigIntegerField(default=0)
    sent = models.BigIntegerField(default=0)
    last_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, default="")
    failing_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"forwarded up to link {self.link}"
