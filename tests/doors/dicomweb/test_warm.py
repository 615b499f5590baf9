"""Before the first request comes: what is asked then leaves no trace."""

from __future__ import annotations

import pytest

from hozi.accounts import failures
from hozi.audit.models import Event
from hozi.doors.dicomweb import warm


@pytest.mark.django_db(transaction=True)
def test_nothing_of_it_is_noted() -> None:
    failures.forget()
    before = Event.objects.count()
    warm.aside().join()
    assert Event.objects.count() == before
