"""A look is a row in the audit, also when a page asks for all of its pictures at the same moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from hozi.archive.looks import note
from hozi.archive.models import Study
from hozi.audit.models import Event
from tests.archive.asking import somebody
from tests.archive.stock import keep

RADIOLOGIST = somebody("radiologist")


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_pictures_that_are_asked_for_at_the_same_moment_are_one_look() -> None:
    pk = keep(1, {}, facility="MAIN").series.study_id
    start, done = threading.Barrier(6, timeout=20), []

    def ask() -> None:
        try:
            study = Study.objects.select_related("patient").get(pk=pk)
            start.wait()
            note(RADIOLOGIST, study, "pictures")
            done.append(True)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 6
    assert [row.detail for row in Event.objects.filter(code="110103", actor="rudo")] == [{"opened": "pictures"}]
