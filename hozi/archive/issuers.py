"""Who issues the numbers of the patients that the archive has."""

from __future__ import annotations

from hozi.archive.models import Patient


def is_free(issuer: str) -> bool:
    """Whether the archive has no patient whose number that issuer has given: only then may a facility change it."""
    return not Patient.objects.filter(issuer=issuer).exists()
