"""Every file of the corpus goes in over the network; what is acknowledged comes back bit for bit."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from pydicom import dcmread

from hozi.archive.verify import verify
from hozi.core.dicom import part10
from hozi.core.errors import Unreadable
from tests.archive_running import RunningArchive
from tests.corpus import rows

SUCCESS = 0x0000
WARNINGS = range(0xB000, 0xC000)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_what_is_acknowledged_comes_back_bit_identical_and_the_sums_add_up(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1", sees_all=True)
    fates: Counter[str] = Counter()
    acknowledged: dict[str, tuple[str, str, bytes]] = {}
    for row in rows():
        data = row.path.read_bytes()
        try:
            header = part10.read_header(data)
        except Unreadable:
            fates["no file"] += 1
            continue
        own = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        sop_class, uid = str(own.get("SOPClassUID", "")), str(own.get("SOPInstanceUID", ""))
        if not sop_class or sop_class == "1.2.840.10008.1.3.10":
            fates["no image"] += 1
            continue
        dataset = data[header.dataset_offset :]
        status, comment = ct1.store(dataset, sop_class, uid, header.transfer_syntax)
        if status == SUCCESS:
            fates["stored"] += 1
            acknowledged.setdefault(uid, (sop_class, header.transfer_syntax, dataset))
            assert acknowledged[uid][2] == dataset
        else:
            assert comment
            fates["kept aside" if status in WARNINGS else "refused"] += 1
    assert fates["stored"] > 230
    wanted: dict[str, set[str]] = {}
    for sop_class, syntax, _ in acknowledged.values():
        wanted.setdefault(sop_class, set()).add(syntax)
    for uid, (sop_class, syntax, dataset) in acknowledged.items():
        got = ct1.get("IMAGE", SOPInstanceUID=uid, classes=[(sop_class, [syntax])])
        assert got.objects == {uid: dataset}, uid
    pairs = [(sop_class, sorted(syntaxes)) for sop_class, syntaxes in wanted.items()]
    studies = {str(study.StudyInstanceUID) for study in ct1.find("STUDY", StudyInstanceUID="")}
    with archive.destination("VIEW1", pairs) as moved:
        for study in sorted(studies):
            assert ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)[-1][0].Status == SUCCESS, study
    assert moved.objects.keys() == acknowledged.keys()
    for uid, (_, syntax, dataset) in acknowledged.items():
        assert (moved.syntaxes[uid], moved.objects[uid]) == (syntax, dataset), uid
    assert verify().clean
