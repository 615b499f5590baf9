"""Rows of earlier versions, which had no marks, come into the chain as they are found."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from hozi.audit import chain
from hozi.audit.models import Event, Head, Link
from hozi.audit.verify import Finding, verify
from tests.audit.conftest import undone

pytestmark = pytest.mark.django_db


def test_old_rows_are_marked_once_and_every_later_change_of_them_is_found() -> None:
    Head.objects.all().delete()
    details = [{"type": "110128", "zeta": 1, "alpha": [1.5, None]}, {}, {"text": "Ünï"}]
    with connection.cursor() as cursor:
        for detail in details:
            cursor.execute(
                "INSERT INTO audit_event (at, code, action, outcome, actor, address, issuer, patient_id, study_uid,"
                " object_uid, facility, type, detail, mark) VALUES ('2026-11-20 08:31:00+00:00', '110113',"
                " 'U', 0, 'alois', '', '', '', '', '', '', '', %s, %s)",
                [json.dumps(detail), b""],
            )
    import_module("hozi.audit.migrations.0004_marks")._begin(apps, None)
    assert list(Event.objects.order_by("pk").values_list("detail", flat=True)) == details
    assert list(Event.objects.order_by("pk").values_list("type", flat=True)) == ["110128", "", ""]
    assert chain.link() == 3
    assert Link.objects.count() == 1
    found: list[Finding] = []
    verify(found.append)
    assert found == []
    with undone():
        Event.objects.filter(actor="alois").update(actor="olga")
        assert verify().by_kind == {"changed": 3}
