"""Each row of the audit belongs to the facility whose data it is about: whoever reads one facility's audit sees it."""

from __future__ import annotations

from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.audit.search import Question, search
from hozi.facilities import places
from tests.archive_running import RunningArchive
from tests.doors.dimse.images import CT, EXPLICIT, encoded, image


def test_what_devices_do_is_seen_by_the_facility_whose_images_it_is_about(archive: RunningArchive) -> None:
    places.add("NORTH", "North Clinic", actor="alois")
    ct1 = archive.admit("CT1", facility="NORTH")
    dataset = image()
    ct1.store(encoded(dataset), CT, dataset.SOPInstanceUID)
    ct1.find("STUDY", PatientID=dataset.PatientID)
    view = archive.admit("VIEW9", facility="MAIN", sees_all=True)
    view.get("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, classes=[(CT, [EXPLICIT])])
    told = Event.objects.filter(code__in=[Code.INSTANCES_TRANSFERRED, Code.QUERY]).order_by("pk")
    assert list(told.values_list("actor", "action", "facility")) == [
        ("CT1", "C", "NORTH"),
        ("CT1", "E", "NORTH"),
        ("VIEW9", "R", "NORTH"),
    ]
    found = search(Question(study_uid=dataset.StudyInstanceUID), actor="dpo", facilities={"NORTH"})
    assert [line.actor for line in found.lines] == ["VIEW9", "CT1"]
