"""Facilities and devices. No patient data."""

from django.db import models


class Facility(models.Model):
    """A hospital or clinic. ``issuer`` names its patient numbers: identity is issuer + PatientID. No patient data."""

    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=128)
    issuer = models.CharField(max_length=64, unique=True)

    def __str__(self) -> str:
        return self.code


class Device(models.Model):
    """A DICOM application that may talk to the archive, recognised by AE title, address and certificate.

    No patient data.
    """

    name = models.CharField(max_length=64, unique=True)
    ae_title = models.CharField(max_length=16)
    host = models.CharField(max_length=64, help_text="Address or network (CIDR) from which it calls.")
    port = models.PositiveIntegerField(null=True, help_text="Where it listens, when it does.")
    tls = models.BooleanField(default=False, help_text="Whether to reach it over TLS.")
    tls_subject = models.CharField(max_length=256, default="", help_text="Subject that its certificate must have.")
    called_as = models.CharField(max_length=16, default="", help_text="Another name by which it may call the archive.")
    username = models.CharField(max_length=128, default="", help_text="User identity that it must present.")
    passcode = models.CharField(max_length=256, default="", help_text="Hash of the passcode to it.")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="devices")
    may_store = models.BooleanField(default=False)
    may_query = models.BooleanField(default=False)
    may_retrieve = models.BooleanField(default=False)
    may_receive = models.BooleanField(default=False, help_text="Whether images may be sent to it (C-MOVE destination).")
    sees_all = models.BooleanField(default=False, help_text="Whether it may see other facilities' studies.")
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["ae_title", "host"], name="device_ae_host")]

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title})"


class Knock(models.Model):
    """Somebody unknown who tried to associate and was refused; may be admitted. No patient data."""

    calling_ae = models.CharField(max_length=16)
    called_ae = models.CharField(max_length=16)
    address = models.CharField(max_length=64)
    tls_subject = models.CharField(max_length=256, default="")
    reason = models.CharField(max_length=32)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["calling_ae", "called_ae", "address", "reason"], name="knock_once")
        ]

    def __str__(self) -> str:
        return f"{self.calling_ae} at {self.address} calling {self.called_ae}"
