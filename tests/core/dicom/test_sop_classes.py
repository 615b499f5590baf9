from __future__ import annotations

import pydicom.uid
import pytest
from pynetdicom import sop_class as peer
from pynetdicom.presentation import AllStoragePresentationContexts

from hozi.core.dicom import sop_classes, uids

RETIRED_BUT_SENT = [
    "1.2.840.10008.5.1.4.1.1.6",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.3",  # ultrasound, multi-frame
    "1.2.840.10008.5.1.4.1.1.5",  # nuclear medicine
    "1.2.840.10008.5.1.4.1.1.12.3",  # angiographic bi-plane
    "1.2.840.10008.5.1.4.1.1.8",  # overlay
    "1.2.840.10008.5.1.4.1.1.9",  # curve
    "1.2.840.10008.5.1.1.29",  # hardcopy grayscale
]


def test_it_stores_whatever_a_peer_may_offer() -> None:
    offered = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    assert offered <= set(sop_classes.STORAGE)


@pytest.mark.parametrize("uid", RETIRED_BUT_SENT)
def test_it_stores_retired_ones_that_devices_still_send(uid: str) -> None:
    assert uid in sop_classes.STORAGE


def test_it_stores_what_is_newer_than_the_dictionary() -> None:
    assert sop_classes.STORAGE["1.2.840.10008.5.1.4.1.1.66.7"] == "Label Map Segmentation Storage"
    assert sop_classes.STORAGE["1.2.840.10008.5.1.4.1.1.66.8"] == "Height Map Segmentation Storage"


def test_nothing_is_taken_for_an_object_that_is_none() -> None:
    assert sop_classes.MEDIA_STORAGE_DIRECTORY not in sop_classes.STORAGE
    assert not any("Commitment" in name for name in sop_classes.STORAGE.values())
    assert not any(name.endswith(("FIND", "MOVE", "GET")) for name in sop_classes.STORAGE.values())
    assert all(uids.is_canonical(uid) and name for uid, name in sop_classes.STORAGE.items())
    assert len(sop_classes.STORAGE) >= 200


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sop_classes.VERIFICATION, peer.Verification),
        (sop_classes.PATIENT_ROOT_FIND, peer.PatientRootQueryRetrieveInformationModelFind),
        (sop_classes.PATIENT_ROOT_MOVE, peer.PatientRootQueryRetrieveInformationModelMove),
        (sop_classes.PATIENT_ROOT_GET, peer.PatientRootQueryRetrieveInformationModelGet),
        (sop_classes.STUDY_ROOT_FIND, peer.StudyRootQueryRetrieveInformationModelFind),
        (sop_classes.STUDY_ROOT_MOVE, peer.StudyRootQueryRetrieveInformationModelMove),
        (sop_classes.STUDY_ROOT_GET, peer.StudyRootQueryRetrieveInformationModelGet),
        (sop_classes.PATIENT_STUDY_ONLY_FIND, peer.PatientStudyOnlyQueryRetrieveInformationModelFind),
        (sop_classes.PATIENT_STUDY_ONLY_MOVE, peer.PatientStudyOnlyQueryRetrieveInformationModelMove),
        (sop_classes.PATIENT_STUDY_ONLY_GET, peer.PatientStudyOnlyQueryRetrieveInformationModelGet),
        (sop_classes.STORAGE_COMMITMENT_PUSH, peer.StorageCommitmentPushModel),
        (sop_classes.STORAGE_COMMITMENT_PUSH_INSTANCE, peer.StorageCommitmentPushModelInstance),
        (sop_classes.MEDIA_STORAGE_DIRECTORY, pydicom.uid.MediaStorageDirectoryStorage),
    ],
)
def test_services_have_the_uids_that_peers_use(ours: str, theirs: str) -> None:
    assert ours == str(theirs)


def test_it_names_them_for_people() -> None:
    assert sop_classes.name("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert sop_classes.name(sop_classes.VERIFICATION) == "Verification SOP Class"
    assert sop_classes.name("1.3.999.2") == "1.3.999.2"
