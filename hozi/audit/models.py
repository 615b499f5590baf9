"""The audit's one table. Written by `record.py` alone."""

from django.db import models


class Event(models.Model):
    """Something that was done, by whom, to whose data, from where, and with what outcome.

    Holds patient data: issuer and patient ID, and UIDs.
    Codes are those of DICOM PS3.15 A.5 (for example 110104, Instances Transferred).
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
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["issuer", "patient_id"], name="audit_patient"),
            models.Index(fields=["study_uid"], name="audit_study"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.action} by {self.actor} at {self.at:%Y-%m-%d %H:%M:%S}"
