"""Every permission of a device before every service: what is not allowed is refused, whatever else is."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from tests.archive_running import EXPLICIT, RunningArchive, identifier
from tests.doors.dimse.images import CT, encoded, image
from tests.doors.dimse.test_refusals import ask

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = ("store", "query", "retrieve")
REFUSED = 0x0124

#: Which word opens which service; whoever may not store asks for no commitment either.
OPENS = {"C-STORE": "store", "C-FIND": "query", "C-GET": "retrieve", "C-MOVE": "retrieve", "N-ACTION": "store"}


@pytest.mark.parametrize("may", [*chain.from_iterable(combinations(WORDS, count) for count in range(4))], ids="+".join)
def test_a_device_is_served_as_it_was_admitted_and_no_further(archive: RunningArchive, may: tuple[str, ...]) -> None:
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]):
        stored = image()
        assert archive.admit("CT9", name="first").store(encoded(stored), CT, stored.SOPInstanceUID)[0] == 0
        device = archive.admit("CT1", may=may)
        new = image()
        study = str(stored.StudyInstanceUID)
        answers = {
            "C-STORE": device.store(encoded(new), CT, new.SOPInstanceUID)[0],
            "C-FIND": device.ask(identifier("STUDY", StudyInstanceUID=study))[0][-1],
            "C-GET": device.get("STUDY", StudyInstanceUID=study, classes=[(CT, [EXPLICIT])]).status,
            "C-MOVE": device.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1][0].Status,
            "N-ACTION": ask(device, [(CT, str(stored.SOPInstanceUID))]),
        }
    assert {service: answer == REFUSED for service, answer in answers.items()} == {
        service: word not in may for service, word in OPENS.items()
    }
    # The commitment could not be reported: CT1 has no port.
    assert not any(answers[service] for service, word in OPENS.items() if word in may and service != "N-ACTION")
