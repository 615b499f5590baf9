"""Matches become the JSON that the DICOM JSON model says, whatever stands in them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from hozi.archive.find import Match, Value
from hozi.core.dicom import json_model
from hozi.core.dicom.keys import BY_TAG, KEYS, tag_of
from hozi.doors.dicomweb import results

TAGS = [key.tag for key in KEYS if key.usage != "-" and key.vr != "SQ"]
UIDS = {tag_of(keyword): "1.2.3" for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["", "007", "-5", "1e3", "12345678901", "A\\B", "\\", "A^B=C^D", "==", '"', "</script>", "²"]),
)
SEQUENCE = st.lists(st.fixed_dictionaries({tag_of("RequestedProcedureID"): TEXT}), max_size=2)


@given(
    values=st.dictionaries(st.sampled_from(TAGS), TEXT, max_size=12),
    items=SEQUENCE,
    level=st.sampled_from(["STUDY", "SERIES", "IMAGE"]),
)
def test_it_says_what_the_model_says_in_the_order_of_the_tags(
    values: dict[int, str], items: list[dict[int, str]], level: str
) -> None:
    told: dict[int, Value] = {**values, **UIDS, tag_of("RequestAttributesSequence"): items}
    [one] = json.loads(results.as_json([Match(told)], level, "https://pacs/dicom-web"))
    assert list(one) == sorted(one)
    url = {"STUDY": "/studies/1.2.3", "SERIES": "/studies/1.2.3/series/1.2.3"}.get(
        level, "/studies/1.2.3/series/1.2.3/instances/1.2.3"
    )
    assert one.pop("00081190") == {"vr": "UR", "Value": [f"https://pacs/dicom-web{url}"]}
    assert one.pop("00080005") == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert one == {f"{tag:08X}": json_model.element(BY_TAG[tag].vr, value) for tag, value in told.items()}
