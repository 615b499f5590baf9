"""Whatever stands in an address, it is understood, refused or told to be passed over; never lost, never an error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hozi.archive.find import Query, check, unsupported
from hozi.core.dicom import matching
from hozi.core.dicom.keys import BY_TAG, KEYS, LEVELS, Key
from hozi.doors.dicomweb.asked import MOST_KEYS, OWN, attribute, everything, shown, understand
from hozi.doors.dicomweb.exchange import Malformed

LEVEL = st.sampled_from(LEVELS[1:])
KEY = st.sampled_from([key for key in KEYS if key.usage != "-" and key.vr != "SQ" and key.level != "ANY"])
TEXT = st.text(max_size=40)
NAME = st.one_of(
    TEXT,
    st.sampled_from(
        [*OWN, "PatientID", "00100020", "RequestAttributesSequence.RequestedProcedureID", "SliceThickness"]
    ),
    st.from_regex(r"[0-9a-fA-F]{8}(\.[0-9a-fA-F]{8})*", fullmatch=True),
)


@given(level=LEVEL, query=st.lists(st.tuples(NAME, TEXT), max_size=8))
def test_whatever_is_asked_is_understood_or_refused_in_words(level: str, query: list[tuple[str, str]]) -> None:
    try:
        asked = understand(query, {}, level)
    except Malformed as error:
        assert str(error)
        return
    for tag, value in asked.keys.items():
        try:
            matching.parse(BY_TAG[tag], value)
        except matching.TooMuch:
            pass
    found = Query(level, "STUDY_ROOT", asked.keys, relational=True)
    check(found)
    # What is not matched is told: a filter never reads as none.
    assert not unsupported(found)
    named = {name for name, _ in query if name not in OWN}
    told = {name for name in named if shown(name) in asked.ignored}
    matched = {path[0] for name in named - told if (path := attribute(name)) is not None}
    assert matched == set(asked.keys)


@given(key=KEY, value=TEXT, lower=st.booleans())
def test_a_tag_and_its_keyword_mean_the_same(key: Key, value: str, lower: bool) -> None:
    level = "IMAGE" if key.level != "PATIENT" else "STUDY"
    tag = key.name.lower() if lower else key.name
    by_tag = understand([(tag, value)], {}, level)
    assert by_tag == understand([(key.keyword, value)], {}, level)
    assert set(by_tag.keys) == {key.tag}


def test_all_is_all_that_there_is_at_a_level_and_above() -> None:
    study, image = set(everything("STUDY")), set(everything("IMAGE"))
    assert study < image
    assert {BY_TAG[tag].keyword for tag in study} >= {"PatientName", "StudyDescription", "ModalitiesInStudy"}
    assert not any(BY_TAG[tag].usage == "-" for tag in image)


def test_no_more_keys_are_matched_than_can_be_in_fair_time() -> None:
    every = [(key.keyword, "x") for key in KEYS if key.usage != "-" and key.vr != "SQ" and key.level != "ANY"]
    assert len(every) > MOST_KEYS
    try:
        understand(every, {}, "IMAGE")
    except Malformed as error:
        assert str(MOST_KEYS) in str(error)
    else:
        raise AssertionError("so many keys were taken")
