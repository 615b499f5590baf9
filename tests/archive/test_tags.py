"""What an object really says: as it is given out and as it is stored, for those who may look, and in the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from hozi.accounts.authorise import Denied
from hozi.archive import correct
from hozi.archive.models import Instance, StoredObject
from hozi.archive.place import volume
from hozi.archive.tags import Tags, tags_of
from hozi.audit.models import Event
from hozi.core.dicom.keys import tag_of
from hozi.core.errors import NotThere
from hozi.core.storage.volume import Missing
from tests.archive.asking import somebody
from tests.archive.conftest import Counter
from tests.dicom_files import write

RADIOLOGIST = somebody("radiologist")


@pytest.fixture
def instance(counter: Counter, tmp_path: Path) -> Instance:
    write(tmp_path / "disc" / "1.dcm", SOPInstanceUID="1.2.826.89.1")
    counter.bring(tmp_path / "disc")
    return Instance.objects.get()


def values(tags: Tags) -> dict[str, str]:
    return {line.keyword: line.value for line in tags.listing.lines}


def test_it_reads_as_it_is_given_out_and_as_it_is_stored(instance: Instance) -> None:
    correct.edit("IMAGE", instance.uid, {tag_of("ImageComments"): ["right"]}, reason="r", actor="a")
    correct.edit(
        "PATIENT",
        str(instance.series.study.patient_id),
        {tag_of("PatientName"): [{"Alphabetic": "Moyo^Nyasha"}]},
        reason="r",
        actor="a",
    )
    given = tags_of(RADIOLOGIST, instance.pk)
    assert given.corrected
    assert (values(given)["PatientName"], values(given)["ImageComments"]) == ("Moyo^Nyasha", "right")
    assert [line.keyword for line in given.listing.lines if line.changed] == ["PatientName", "ImageComments"]
    stored = tags_of(RADIOLOGIST, instance.pk, stored=True)
    assert stored.corrected
    assert values(stored)["PatientName"] == "Chikomba^Rutendo"
    assert "ImageComments" not in values(stored)


def test_looking_is_in_the_audit_and_only_for_those_who_may(instance: Instance) -> None:
    tags_of(RADIOLOGIST, instance.pk, wanted="Rows")
    row = Event.objects.latest("pk")
    assert (row.code, row.action, row.object_uid, row.actor) == ("110103", "R", instance.uid, "rudo")
    with pytest.raises(NotThere):
        tags_of(somebody("radiologist", "ELSEWHERE"), instance.pk)
    with pytest.raises(NotThere):
        tags_of(RADIOLOGIST, instance.pk + 99)
    with pytest.raises(Denied):
        tags_of(somebody("records_officer"), instance.pk)


def test_a_file_that_is_gone_is_said_to_be_missing(instance: Instance) -> None:
    with volume().local(StoredObject.objects.get().key) as path:
        path.unlink()
    with pytest.raises(Missing):
        tags_of(RADIOLOGIST, instance.pk)
