"""Work to be done: once, or again and again. No patient data in it."""

from django.db import models


class Job(models.Model):
    """A piece of work that survives restarts: claimed with a lease, tried again until ``give_up_at``.

    No patient data: ``payload`` names rows of the room that does the work.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    kind = models.CharField(max_length=64)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField()
    give_up_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=64, default="")
    lease_until = models.DateTimeField(null=True)
    error = models.TextField(default="")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["state", "due_at"], name="job_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"


class Regular(models.Model):
    """A piece of work that is done again and again, on one node at a time (`regular.py`). No patient data."""

    name = models.CharField(max_length=64, unique=True)
    due_at = models.DateTimeField()
    owner = models.CharField(max_length=64, default="")
    lease_until = models.DateTimeField(null=True)
    last_ran_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="")

    def __str__(self) -> str:
        return self.name
