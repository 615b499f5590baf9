"""Facilities and devices. No patient data."""

from django.db import models


class Organisation(models.Model):
    """Who runs facilities: a ministry, a mission, a company, a university. ``profile`` names what kind of customer it
    is (`profiles.py`). No patient data.
    """

    name = models.CharField(max_length=128, unique=True)
    profile = models.CharField(max_length=32, default="")
    version = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return self.name


class Facility(models.Model):
    """A hospital or clinic. ``issuer`` names its patient numbers: identity is issuer + PatientID. No patient data.

    ``level`` and ``province`` are keys of `levels.py`; ``registry_code`` is the ministry's (ZW + province + district +
    facility); ``roles`` are the keys of the roles that are switched on here.
    """

    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=128)
    issuer = models.CharField(max_length=64, unique=True)
    organisation = models.ForeignKey(Organisation, null=True, on_delete=models.PROTECT, related_name="facilities")
    profile = models.CharField(max_length=32, default="")
    level = models.CharField(max_length=16, default="")
    province = models.CharField(max_length=2, default="")
    district = models.CharField(max_length=64, default="")
    registry_code = models.CharField(max_length=8, default="")
    roles = models.JSONField(default=list)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name_plural = "facilities"
        constraints = [
            models.UniqueConstraint(
                fields=["registry_code"], condition=~models.Q(registry_code=""), name="facility_registry_code"
            )
        ]

    def __str__(self) -> str:
        return self.code


class Department(models.Model):
    """A part of a facility to which devices belong and for which people are given roles. No patient data."""

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="departments")
    code = models.CharField(max_length=16)
    name = models.CharField(max_length=128)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["facility", "code"], name="department_once")]

    def __str__(self) -> str:
        return f"{self.code} of facility {self.facility_id}"


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
    department = models.ForeignKey(Department, null=True, on_delete=models.PROTECT, related_name="devices")
    modality = models.CharField(max_length=16, default="", help_text="What kind of images it makes.")
    version = models.PositiveIntegerField(default=1)
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


class Heard(models.Model):
    """When a device called last, and when it last brought an image. Written at most once a minute (`heard.py`).

    No patient data.
    """

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="heard")
    called_at = models.DateTimeField()
    called_from = models.CharField(max_length=64, default="")
    stored_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"device {self.device_id} called at {self.called_at:%Y-%m-%d %H:%M}"


class Liveness(models.Model):
    """How the last echoes to a device went. ``up`` is null until that is known; ``since`` when. No patient data.

    ``history``: the last echoes as [seconds since 1970, milliseconds; null: it did not answer], the oldest first.
    """

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="liveness")
    up = models.BooleanField(null=True)
    since = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row, until now.")
    failing_since = models.DateTimeField(null=True)
    at = models.DateTimeField()
    summary = models.TextField(default="")
    advice = models.TextField(default="")
    technical = models.TextField(default="")
    milliseconds = models.PositiveIntegerField(null=True)
    history = models.JSONField(default=list)

    class Meta:
        verbose_name_plural = "liveness"

    def __str__(self) -> str:
        return f"device {self.device_id}: up {self.up}, {self.failures} failures"


class Acceptance(models.Model):
    """The trial of a new device, step by step, until somebody signs that it works. No patient data.

    Stays when the device is removed. ``identity`` is what it was called by when evidence began to count (``since``);
    ``steps`` holds by step what was seen or why it was left out (`acceptance.py`).
    """

    device = models.ForeignKey(Device, null=True, on_delete=models.SET_NULL, related_name="acceptances")
    name = models.CharField(max_length=64)
    facility = models.CharField(max_length=16)
    identity = models.CharField(max_length=128)
    begun_at = models.DateTimeField()
    begun_by = models.CharField(max_length=128)
    since = models.DateTimeField()
    steps = models.JSONField(default=dict)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=128, default="")
    accepted = models.BooleanField(default=False)
    remark = models.CharField(max_length=500, default="")
    version = models.PositiveIntegerField(default=1)

    class Meta:
        indexes = [models.Index(fields=["name", "begun_at"], name="acceptance_of")]
        constraints = [
            models.UniqueConstraint(
                fields=["device"], condition=models.Q(ended_at__isnull=True), name="acceptance_one_open"
            )
        ]

    def __str__(self) -> str:
        return f"acceptance {self.pk} of {self.name}"
