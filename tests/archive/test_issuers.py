"""An issuer that has numbered patients here is not free: who they are depends on it."""

from __future__ import annotations

import pytest

from hozi.archive import issuers
from hozi.archive.models import Patient
from hozi.core.errors import Refused
from hozi.facilities import places

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def test_a_facility_keeps_its_issuer_from_its_first_patient_on() -> None:
    assert issuers.is_free("MAIN")
    places.change("MAIN", expected=1, issuer="GRANARY", issuer_is_free=issuers.is_free, actor=ADMIN)
    Patient.objects.create(issuer="GRANARY", patient_id="1")
    assert not issuers.is_free("GRANARY")
    assert issuers.is_free("MAIN")
    with pytest.raises(Refused, match="The issuer stays"):
        places.change("MAIN", expected=2, issuer="MAIN", issuer_is_free=issuers.is_free, actor=ADMIN)
