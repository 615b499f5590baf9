"""What was chosen, when, by whom and why. Rows are added, never changed."""

from django.db import models


class ChoiceValue(models.Model):
    """One change of one choice: the row with the highest ``version`` of its key counts. Holds no patient data.

    ``value`` is None where it went back to its default.
    """

    key = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    value = models.JSONField(null=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=128)
    reason = models.CharField(max_length=200, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "version"], name="choice_version_once")]

    def __str__(self) -> str:
        return f"{self.key} {self.version}"
