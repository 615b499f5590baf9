"""People and what they may do. Imported inside `hozi.accounts` only. No patient data, except where a table says so."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower


class People(BaseUserManager["Person"]):
    """How people are looked up and made; `hozi.accounts` makes them through `lifecycle.py`, nothing else does."""

    def get_by_natural_key(self, username: str | None) -> Person:
        """The person who signs in by that name, whatever its case."""
        return self.get(username__iexact=username)


class Person(AbstractBaseUser):
    """Somebody who has, had or wants an account. Holds no patient data.

    ``state`` says where in its life the account is; only an active one signs in and uses tokens. ``is_active`` is
    what Django and allauth ask for, and the database holds it to ``state``. The clock of a request runs from
    ``requested_at`` to ``usable_at`` (when the invitation was made).
    """

    class State(models.TextChoices):
        REQUESTED = "requested"
        APPROVED = "approved"
        INVITED = "invited"
        ACTIVE = "active"
        SUSPENDED = "suspended"
        DISABLED = "disabled"

    username = models.CharField(max_length=64, unique=True)
    full_name = models.CharField(max_length=128)
    email = models.EmailField(max_length=254, blank=True, default="")
    phone = models.CharField(max_length=32, blank=True, default="")
    state = models.CharField(max_length=16, choices=State.choices, default=State.REQUESTED, db_index=True)
    state_reason = models.CharField(max_length=200, default="")
    is_active = models.BooleanField(default=False)
    is_program = models.BooleanField(default=False, help_text="A program: uses tokens, never signs in.")
    referring_names = models.JSONField(default=list, help_text="Names as ReferringPhysicianName has them.")
    facility = models.ForeignKey(
        "facilities.Facility",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Where the person works.",
    )
    wanted_role = models.ForeignKey("Role", null=True, on_delete=models.SET_NULL, related_name="+")
    state_at = models.DateTimeField(null=True, help_text="When the state last changed.")
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128, default="")
    request_note = models.CharField(max_length=500, default="")
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=128, default="")
    usable_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    ends_on = models.DateField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    never_idle = models.BooleanField(default=False, help_text="Not disabled for inactivity: kept for emergencies.")
    language = models.CharField(max_length=8, default="")
    theme = models.CharField(max_length=8, default="")
    version = models.PositiveIntegerField(default=1)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]

    objects = People()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("username"), name="person_username"),
            models.UniqueConstraint(Lower("email"), condition=~Q(email=""), name="person_email"),
            models.CheckConstraint(
                condition=Q(is_active=True, state="active") | (Q(is_active=False) & ~Q(state="active")),
                name="person_active_is_state",
            ),
        ]

    def __str__(self) -> str:
        return self.username

    def get_full_name(self) -> str:
        """The name that people see."""
        return self.full_name

    def get_short_name(self) -> str:
        """The name by which the person signs in."""
        return self.username


class Role(models.Model):
    """A set of permissions with a name, and how far they reach at most. Holds no patient data."""

    key = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=64)
    description = models.CharField(max_length=200, default="")
    permissions = models.JSONField(default=list)
    own_referrals = models.BooleanField(default=False)
    deidentified = models.BooleanField(default=False)
    needs_end = models.BooleanField(default=False)
    delivered = models.BooleanField(default=False, help_text="One of the roles that every archive begins with.")
    version = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return self.key


class Grant(models.Model):
    """A role that a person holds, and where: an empty field does not limit. Holds no patient data.

    Never changed, only ended: who could do what at any moment of the past can be told.
    """

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="grants")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="grants")
    facility = models.ForeignKey("facilities.Facility", null=True, on_delete=models.PROTECT, related_name="+")
    department = models.ForeignKey("facilities.Department", null=True, on_delete=models.PROTECT, related_name="+")
    modality = models.CharField(max_length=16, default="")
    own_referrals = models.BooleanField(default=False)
    deidentified = models.BooleanField(default=False)
    granted_at = models.DateTimeField()
    granted_by = models.CharField(max_length=128)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=128, default="")

    class Meta:
        indexes = [models.Index(fields=["person"], condition=Q(ended_at=None), name="grant_in_force")]

    def __str__(self) -> str:
        return f"grant {self.pk}"


class Invitation(models.Model):
    """A one-time link with which a person sets the first password, or a new one. Holds no patient data.

    Only a hash of it is kept.
    """

    class Purpose(models.TextChoices):
        FIRST = "first"
        RESET = "reset"
        SETUP = "setup"

    person = models.ForeignKey(Person, null=True, on_delete=models.CASCADE, related_name="invitations")
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=128)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"invitation {self.pk}"


class Token(models.Model):
    """A bearer token of a person or program, for doors without a browser. Only a hash is kept. No patient data."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64)
    begins = models.CharField(max_length=12, help_text="What people recognise it by.")
    hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    networks = models.JSONField(default=list, help_text="Addresses and networks from which it works; none: any.")
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=128)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    last_address = models.CharField(max_length=64, default="")
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=128, default="")

    def __str__(self) -> str:
        return f"token {self.begins}"


class Review(models.Model):
    """An access review: everybody who has access is attested or loses it. Holds no patient data."""

    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=128)
    due_at = models.DateTimeField()
    grace_until = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"review {self.pk}"


class ReviewItem(models.Model):
    """One person in one review. ``access`` says in words what was attested. Holds no patient data."""

    class Decision(models.TextChoices):
        OPEN = "open"
        ATTESTED = "attested"
        REVOKED = "revoked"
        SUSPENDED = "suspended", "Suspended: nobody attested"

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="items")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="review_items")
    access = models.JSONField(default=list)
    decision = models.CharField(max_length=16, choices=Decision.choices, default=Decision.OPEN)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=128, default="")
    note = models.CharField(max_length=500, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["review", "person"], name="review_item_once")]

    def __str__(self) -> str:
        return f"item {self.pk} of review {self.review_id}"


class EmergencyAccess(models.Model):
    """A patient opened in an emergency by somebody who may not otherwise: why, until when, and what a reviewer said.

    Holds patient data: the issuer and number of the patient, and the reason in words.
    """

    class Verdict(models.TextChoices):
        OPEN = "open"
        JUSTIFIED = "justified"
        NOT_JUSTIFIED = "not-justified"

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="emergencies")
    issuer = models.CharField(max_length=64)
    patient_id = models.CharField(max_length=256)
    reason = models.CharField(max_length=500)
    address = models.CharField(max_length=64, default="")
    opened_at = models.DateTimeField(db_index=True)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    verdict = models.CharField(max_length=16, choices=Verdict.choices, default=Verdict.OPEN)
    reviewed_at = models.DateTimeField(null=True)
    reviewed_by = models.CharField(max_length=128, default="")
    review_note = models.CharField(max_length=500, default="")

    def __str__(self) -> str:
        return f"emergency access {self.pk}"
