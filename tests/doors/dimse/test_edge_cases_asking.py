"""Edge cases E28 to E43 and E48 to E50: questions as workstations really ask them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_FIND_RQ
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND
from pynetdicom.pdu import P_DATA_TF

from tests.archive_running import PATIENT_ROOT, STUDY_ROOT, Caller, RunningArchive, identifier
from tests.doors.dimse.images import BIG, CT, EXPLICIT, IMPLICIT, SC, encoded, image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SUCCESS, PENDING, PENDING_WARNING, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
WRONG_IDENTIFIER = 0xA900


@pytest.fixture
def ct1(archive: RunningArchive) -> Caller:
    return archive.admit("CT1")


def keep(caller: Caller, dataset: Dataset, syntax: str = EXPLICIT) -> Dataset:
    status, comment = caller.store(
        encoded(dataset, syntax), str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax
    )
    assert status == SUCCESS, comment
    return dataset


def names(caller: Caller, pattern: str, extended: bytes = b"") -> set[str]:
    return {str(match.PatientName) for match in caller.find("STUDY", PatientName=pattern, extended=extended)}


def test_e28_names_match_by_group_and_without_regard_to_case_accents_and_trailing_carets(ct1: Caller) -> None:
    keep(ct1, image(PatientID="1", PatientName="Müller^Jérôme^^"))
    keep(
        ct1, image(PatientID="2", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", SpecificCharacterSet="ISO_IR 192")
    )
    assert names(ct1, "muller^jerome") == {"Müller^Jérôme^^"}
    assert names(ct1, "MÜLLER^JÉRÔME^^^") == {"Müller^Jérôme^^"}
    assert names(ct1, "Muller") == set()
    assert names(ct1, "Muller*") == {"Müller^Jérôme^^"}
    japanese = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName="山田*", StudyInstanceUID="")
    assert len(ct1.ask(japanese)[1]) == 1
    both = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName="yamada*=山田*", StudyInstanceUID="")
    assert len(ct1.ask(both)[1]) == 1
    wrong = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName="yamada*=田中*", StudyInstanceUID="")
    assert ct1.ask(wrong)[1] == []


def test_e29_an_empty_key_and_a_star_match_also_what_is_not_there(ct1: Caller) -> None:
    keep(ct1, image(AccessionNumber=None))
    for key in ("", "*", "**"):
        assert len(ct1.find("STUDY", AccessionNumber=key)) == 1
    assert ct1.find("STUDY", AccessionNumber="A*") == []


def test_e30_wildcards_in_dates_numbers_and_uids_are_no_wildcards(ct1: Caller) -> None:
    dataset = keep(ct1, image())
    assert ct1.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID[:-1] + "*") == []
    query = identifier("STUDY", StudyInstanceUID="")
    query.add_new(0x00080020, "LO", "2026*")  # pydicom lets no such date through
    query[0x00080020].VR = "DA"
    statuses, matches = ct1.ask(query)
    assert statuses[-1] in (SUCCESS, WRONG_IDENTIFIER)
    assert matches == []
    series = identifier("SERIES", StudyInstanceUID=dataset.StudyInstanceUID)
    series.add_new(0x00200011, "LO", "3*")
    assert ct1.ask(series)[1] == []


def test_e31_brackets_percent_and_underscore_are_letters(ct1: Caller) -> None:
    for number, name in enumerate(("A[B]C", "A%C", "A_C", "AxC", "A\\\\C"[:2])):
        keep(ct1, image(PatientID=str(number), PatientName=name))
    assert names(ct1, "A[B]C") == {"A[B]C"}
    assert names(ct1, "A%C") == {"A%C"}
    assert names(ct1, "A_C") == {"A_C"}
    assert names(ct1, "A[B]*") == {"A[B]C"}
    assert names(ct1, "A?C") == {"A%C", "A_C", "AxC"}


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"StudyDate": "20260105"}, True),
        ({"StudyDate": "-20260105"}, True),
        ({"StudyDate": "20260105-"}, True),
        ({"StudyDate": "20260101-20260131"}, True),
        ({"StudyDate": "20260106-"}, False),
        ({"StudyDate": "-20260104"}, False),
        ({"StudyTime": "080000-090000"}, True),
        ({"StudyTime": "0815"}, True),
        ({"StudyTime": "08-0815"}, True),
        ({"StudyTime": "081501-"}, False),
        ({"StudyDate": "20260104-20260106", "StudyTime": "100000-110000"}, False),
    ],
)
def test_e32_date_and_time_ranges(ct1: Caller, keys: dict[str, str], found: bool) -> None:
    keep(ct1, image())
    assert bool(ct1.find("STUDY", **keys)) is found


def test_e32_date_and_time_are_one_range_when_that_was_negotiated(ct1: Caller) -> None:
    keep(ct1, image(StudyDate="20260105", StudyTime="081500"))
    across = {"StudyDate": "20260104-20260106", "StudyTime": "100000-110000"}
    assert ct1.find("STUDY", **across) == []
    assert len(ct1.find("STUDY", **across, extended=b"\0\1")) == 1


def test_e32_legacy_dates_are_found_by_modern_ones(ct1: Caller) -> None:
    dataset = image(StudyDate=None)
    dataset.add_new(0x00080020, "LO", "2026.01.05")
    data = encoded(dataset).replace(b"\x08\x00\x20\x00LO", b"\x08\x00\x20\x00DA")
    assert ct1.store(data, CT, dataset.SOPInstanceUID)[0] == SUCCESS
    assert len(ct1.find("STUDY", StudyDate="20260105")) == 1


def test_e33_a_long_list_of_uids_is_used_whole(ct1: Caller) -> None:
    wanted = [keep(ct1, image(PatientID=str(number))).StudyInstanceUID for number in range(3)]
    keep(ct1, image(PatientID="other"))
    listed = [*wanted, *(generate_uid() for _ in range(2000))]
    assert {match.StudyInstanceUID for match in ct1.find("STUDY", StudyInstanceUID=listed)} == set(wanted)
    nothing = [generate_uid() for _ in range(40)]
    assert ct1.find("STUDY", StudyInstanceUID=nothing) == []


def test_e34_several_values_mean_either(ct1: Caller) -> None:
    study = image()
    keep(ct1, study)
    for modality in ("MR", "XA"):
        more = image(StudyInstanceUID=study.StudyInstanceUID, Modality=modality, SeriesInstanceUID=generate_uid())
        keep(ct1, more)
    query = identifier("SERIES", StudyInstanceUID=study.StudyInstanceUID, Modality=["MR", "XA"])
    assert {match.Modality for match in ct1.ask(query)[1]} == {"MR", "XA"}


def requested(procedure: str, step: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = procedure
    item.ScheduledProcedureStepID = step
    return item


def test_e35_sequences_match_within_one_item_and_an_empty_one_matches_all(ct1: Caller) -> None:
    items = Sequence([requested("P1", "S1"), requested("P2", "S2")])
    dataset = keep(ct1, image(RequestAttributesSequence=items))

    def found(*asked: Dataset) -> list[Dataset]:
        return ct1.find("SERIES", StudyInstanceUID=dataset.StudyInstanceUID, RequestAttributesSequence=Sequence(asked))

    assert len(found(requested("P2", "S2"))) == 1
    assert found(requested("P1", "S2")) == []
    assert len(found(requested("P1", ""))) == 1
    assert len(found()) == 1
    [match] = found(Dataset())
    assert len(match.RequestAttributesSequence) == 2


@pytest.mark.parametrize("number", ["7", "+7", "007", " 7 "])
def test_e36_numbers_are_compared_as_numbers(ct1: Caller, number: str) -> None:
    dataset = keep(ct1, image(InstanceNumber=7))
    query = identifier("IMAGE", StudyInstanceUID=dataset.StudyInstanceUID, SeriesInstanceUID=dataset.SeriesInstanceUID)
    query.add_new(0x00200013, "LO", number)
    assert len(ct1.ask(query)[1]) == 1


def test_binary_numbers_are_answered_as_numbers(ct1: Caller) -> None:
    dataset = keep(ct1, image())
    above = {name: dataset[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    [match] = ct1.find("IMAGE", **above, Rows=None, Columns=None, BitsAllocated=None)
    assert (match.Rows, match.Columns, match.BitsAllocated) == (8, 8, 8)


def test_names_with_spaces_around_their_carets_are_found(ct1: Caller) -> None:
    keep(ct1, image(PatientName="Moyo ^ Tendai"))
    assert names(ct1, "moyo^tendai") == {"Moyo ^ Tendai"}


def test_e37_a_key_that_is_not_supported_makes_the_answer_a_warning(ct1: Caller) -> None:
    dataset = keep(ct1, image())
    statuses, _ = ct1.ask(identifier("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, PatientName=""))
    assert statuses == [PENDING, SUCCESS]
    statuses, [match] = ct1.ask(
        identifier("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, RadiopharmaceuticalVolume="")
    )
    assert statuses == [PENDING_WARNING, SUCCESS]
    assert not match.get("RadiopharmaceuticalVolume")


@pytest.mark.parametrize("level", ["", "NONSENSE", "study "])
def test_e38_a_missing_or_unknown_level_is_refused(ct1: Caller, level: str) -> None:
    assert ct1.ask(identifier(level, StudyInstanceUID=""))[0] == [WRONG_IDENTIFIER]
    bare = Dataset()
    bare.StudyInstanceUID = ""
    assert ct1.ask(bare)[0] == [WRONG_IDENTIFIER]


def test_e38_answers_name_their_level(ct1: Caller) -> None:
    keep(ct1, image())
    [match] = ct1.find("STUDY", StudyInstanceUID="")
    assert (match.QueryRetrieveLevel, match.RetrieveAETitle, match.InstanceAvailability) == ("STUDY", "HOZI", "ONLINE")


def test_e39_keys_above_the_level_must_name_one_unless_relational(ct1: Caller) -> None:
    keep(ct1, image())
    assert ct1.ask(identifier("SERIES", SeriesInstanceUID=""))[0] == [WRONG_IDENTIFIER]
    assert ct1.ask(identifier("SERIES", StudyInstanceUID="*", SeriesInstanceUID=""))[0] == [WRONG_IDENTIFIER]
    statuses, matches = ct1.ask(identifier("SERIES", SeriesInstanceUID=""), extended=b"\1")
    assert (statuses, len(matches)) == ([PENDING, SUCCESS], 1)


def test_e40_images_is_tolerated_and_patient_in_study_root_is_not(ct1: Caller) -> None:
    dataset = keep(ct1, image())
    above: dict[str, Any] = {
        "StudyInstanceUID": dataset.StudyInstanceUID,
        "SeriesInstanceUID": dataset.SeriesInstanceUID,
    }
    assert len(ct1.ask(identifier("IMAGES", **above, SOPInstanceUID=""))[1]) == 1
    assert ct1.ask(identifier("PATIENT", PatientID=""))[0] == [WRONG_IDENTIFIER]
    statuses, matches = ct1.ask(identifier("PATIENT", PatientID=""), root=PATIENT_ROOT)
    assert (statuses, len(matches)) == ([PENDING, SUCCESS], 1)


def test_e41_modalities_in_study_match_any_series(ct1: Caller) -> None:
    first = keep(ct1, image(Modality="CT"))
    keep(ct1, image(StudyInstanceUID=first.StudyInstanceUID, Modality=None, SeriesInstanceUID=generate_uid()))
    keep(ct1, image(StudyInstanceUID=first.StudyInstanceUID, Modality="SR", SeriesInstanceUID=generate_uid()))
    for asked in ("CT", "SR", ["MR", "SR"], "S*", ""):
        [match] = ct1.ask(identifier("STUDY", ModalitiesInStudy=asked, NumberOfStudyRelatedSeries=""))[1]
        assert set(match.ModalitiesInStudy) >= {"CT", "SR"}
        assert match.NumberOfStudyRelatedSeries == 3
    assert ct1.find("STUDY", ModalitiesInStudy="MR") == []


def test_e42_a_cancelled_query_ends_with_cancel(archive: RunningArchive, ct1: Caller) -> None:
    """The query and its cancel are sent in one write, so that the cancel is there before the first answer."""
    for number in range(60):
        keep(ct1, image(PatientID=f"E42-{number}"))
    with ct1.associated((STUDY_ROOT["find"], [EXPLICIT])) as association:
        request = C_FIND()
        request.MessageID, request.Priority = 5, 2
        request.AffectedSOPClassUID = STUDY_ROOT["find"]
        request.Identifier = io.BytesIO(encoded(identifier("STUDY", StudyInstanceUID="")))
        cancel = C_CANCEL()
        cancel.MessageIDBeingRespondedTo = 5
        wire = b""
        for message, primitive in ((C_FIND_RQ(), request), (C_CANCEL_RQ(), cancel)):
            message.primitive_to_message(primitive)
            for part in message.encode_msg(1, 16382):
                pdu = P_DATA_TF()
                pdu.from_primitive(part)
                wire += pdu.encode()
        association._reactor_checkpoint.clear()
        association.dul.socket.socket.sendall(wire)
        statuses = []
        while not statuses or statuses[-1] == PENDING:
            _, response = association.dimse.get_msg(block=True)
            statuses.append(response.Status)
        association._reactor_checkpoint.set()
    assert statuses[-1] == CANCEL
    assert len(statuses) < 60
    assert len(ct1.find("STUDY", StudyInstanceUID="")) == 60


def test_e43_no_match_is_one_answer_without_dataset(ct1: Caller) -> None:
    assert ct1.ask(identifier("STUDY", PatientID="nobody")) == ([SUCCESS], [])


def test_e48_a_retrieve_of_nothing_is_a_success_of_nothing(archive: RunningArchive, ct1: Caller) -> None:
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as view1:
        [(status, _)] = ct1.move("STUDY", "VIEW1", StudyInstanceUID=generate_uid())
    assert status.Status == SUCCESS
    assert status.NumberOfCompletedSuboperations == 0
    assert view1.objects == {}


@pytest.mark.parametrize("key", ["AccessionNumber", "PatientID"])
def test_e49_older_workstations_retrieve_by_accession_number_or_patient(
    archive: RunningArchive, ct1: Caller, key: str
) -> None:
    dataset = keep(ct1, image())
    keep(ct1, image(PatientID="other", AccessionNumber="other"))
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as view1:
        responses = ct1.move("STUDY", "VIEW1", **{key: dataset[key].value})
    assert responses[-1][0].Status == SUCCESS
    assert set(view1.objects) == {dataset.SOPInstanceUID}


def test_a_retrieve_that_names_nothing_is_refused(archive: RunningArchive, ct1: Caller) -> None:
    keep(ct1, image())
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]):
        [(status, _)] = ct1.move("STUDY", "VIEW1", StudyInstanceUID="")
    assert status.Status == WRONG_IDENTIFIER


def rle_image() -> tuple[Dataset, bytes]:
    from pydicom.encaps import encapsulate

    dataset = image(PixelData=None)
    # 64 zeros as RLE (PS3.5 G.3): a header of 16 words, then one run.
    stream = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + bytes([0xC1, 0x00])
    pixels = encapsulate([stream])
    data = encoded(dataset) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + pixels + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return dataset, data


def test_e50_what_the_receiver_cannot_take_is_decompressed_for_it(archive: RunningArchive, ct1: Caller) -> None:
    dataset, data = rle_image()
    assert ct1.store(data, CT, dataset.SOPInstanceUID, "1.2.840.10008.1.2.5")[0] == SUCCESS
    for syntax in (IMPLICIT, EXPLICIT):
        with archive.destination(f"VIEW{syntax[-1]}", [(CT, [syntax])]) as view:
            responses = ct1.move("STUDY", f"VIEW{syntax[-1]}", StudyInstanceUID=dataset.StudyInstanceUID)
        assert responses[-1][0].Status == SUCCESS
        assert view.objects[dataset.SOPInstanceUID].endswith(bytes(64))
        assert view.syntaxes[dataset.SOPInstanceUID] == syntax


def test_e50_what_cannot_be_decompressed_fails_by_name_and_the_rest_goes_on(
    archive: RunningArchive, ct1: Caller
) -> None:
    video, data = rle_image()
    assert ct1.store(data, CT, video.SOPInstanceUID, "1.2.840.10008.1.2.4.102")[0] == SUCCESS
    good = keep(ct1, image(StudyInstanceUID=video.StudyInstanceUID))
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as view1:
        responses = ct1.move("STUDY", "VIEW1", StudyInstanceUID=video.StudyInstanceUID)
    status, listed = responses[-1]
    assert status.Status == 0xB000
    assert (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (1, 1)
    assert listed is not None
    assert listed.FailedSOPInstanceUIDList == video.SOPInstanceUID
    assert set(view1.objects) == {good.SOPInstanceUID}


def test_a_move_tells_who_asked_and_counts_down(archive: RunningArchive, ct1: Caller) -> None:
    study = image()
    for _ in range(5):
        keep(ct1, image(StudyInstanceUID=study.StudyInstanceUID))
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]) as view1:
        responses = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study.StudyInstanceUID)
    assert len(view1.objects) == 5
    assert {str(request.MoveOriginatorApplicationEntityTitle) for request in view1.requests} == {"CT1"}
    assert {request.MoveOriginatorMessageID for request in view1.requests} == {1}
    first, last = responses[0][0], responses[-1][0]
    assert (first.Status, first.NumberOfRemainingSuboperations) == (PENDING, 4)
    assert (last.Status, last.NumberOfCompletedSuboperations) == (SUCCESS, 5)


def test_a27_only_registered_destinations_receive(archive: RunningArchive, ct1: Caller) -> None:
    dataset = keep(ct1, image())
    for nobody in ("NOBODY", "HOZI", "CT1"):
        [(status, _)] = ct1.move("STUDY", nobody, StudyInstanceUID=dataset.StudyInstanceUID)
        assert status.Status == 0xA801
    scanner = archive.admit("CT2", may=["store"])
    with archive.destination("VIEW1", [(CT, [EXPLICIT])]):
        [(status, _)] = scanner.move("STUDY", "VIEW1", StudyInstanceUID=dataset.StudyInstanceUID)
    assert status.Status == 0x0124


def test_a_destination_that_does_not_answer_fails_everything_by_name(archive: RunningArchive, ct1: Caller) -> None:
    dataset = keep(ct1, image())
    archive.admit("GONE", port=1, may=["receive"])
    responses = ct1.move("STUDY", "GONE", StudyInstanceUID=dataset.StudyInstanceUID)
    status, listed = responses[-1]
    assert status.Status == 0xA702
    assert "nothing listens" in status.ErrorComment
    assert listed is not None
    assert listed.FailedSOPInstanceUIDList == dataset.SOPInstanceUID


def test_a28_another_facilitys_studies_are_neither_found_nor_given(archive: RunningArchive, ct1: Caller) -> None:
    from hozi.facilities import places

    dataset = keep(ct1, image())
    places.add("SOUTH", "South Hospital", actor="test")
    stranger = archive.admit("WS2", facility="SOUTH")
    assert stranger.find("STUDY", StudyInstanceUID=dataset.StudyInstanceUID) == []
    got = stranger.get("STUDY", StudyInstanceUID=dataset.StudyInstanceUID, classes=[(CT, [EXPLICIT])])
    assert (got.objects, got.status) == ({}, SUCCESS)


def test_more_kinds_than_one_association_can_propose_go_in_several(archive: RunningArchive, ct1: Caller) -> None:
    from pynetdicom import AllStoragePresentationContexts

    study = generate_uid()
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts][:140]
    for start in range(0, 140, 100):
        with ct1.associated(*((one, [IMPLICIT]) for one in classes[start : start + 100])) as association:
            for sop_class in classes[start : start + 100]:
                dataset = image(SOPClassUID=sop_class, StudyInstanceUID=study, PixelData=None)
                data = encoded(dataset, IMPLICIT)
                assert ct1.store_on(association, data, sop_class, dataset.SOPInstanceUID)[0] == SUCCESS
    with archive.destination("VIEW1", [(one, [IMPLICIT, EXPLICIT]) for one in classes]) as view1:
        responses = ct1.move("STUDY", "VIEW1", StudyInstanceUID=study)
    assert responses[-1][0].Status == SUCCESS
    assert len(view1.objects) == 140


def test_a_query_is_cut_at_the_limit_and_says_so(ct1: Caller) -> None:
    from hozi.choices import values

    for number in range(4):
        keep(ct1, image(PatientID=str(number)))
    values.change("archive.max_results", 3, expected_version=0, actor="Alois Administrator")
    statuses, matches = ct1.ask(identifier("STUDY", StudyInstanceUID=""))
    assert len(matches) == 3
    assert statuses[-1] == 0xA700


def test_fuzzy_names_are_found_when_that_was_negotiated(ct1: Caller) -> None:
    keep(ct1, image(PatientName="Mukwindidza^Tendai"))
    assert names(ct1, "tendai mukwindidza") == set()
    assert names(ct1, "tendai mukwindidza", extended=b"\0\0\1") == {"Mukwindidza^Tendai"}
    assert names(ct1, "tend", extended=b"\0\0\1") == {"Mukwindidza^Tendai"}
    assert names(ct1, "moyo", extended=b"\0\0\1") == set()


def test_answers_come_in_a_set_that_can_hold_them(ct1: Caller) -> None:
    keep(ct1, image(PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192"))
    [match] = ct1.find("STUDY", PatientName="")
    assert (match.SpecificCharacterSet, str(match.PatientName)) == ("ISO_IR 192", "山田^太郎")


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG])
def test_questions_in_other_encodings_are_understood(ct1: Caller, syntax: str) -> None:
    dataset = keep(ct1, image(SOPClassUID=SC))
    statuses, [match] = ct1.ask(identifier("STUDY", PatientID="E-0001", StudyInstanceUID=""), syntax=syntax)
    assert statuses == [PENDING, SUCCESS]
    assert match.StudyInstanceUID == dataset.StudyInstanceUID
