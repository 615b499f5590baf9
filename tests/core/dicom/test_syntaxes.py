from __future__ import annotations

import pydicom.uid
import pynetdicom  # adds the newest transfer syntaxes to pydicom's dictionary
import pytest
from pydicom._uid_dict import UID_dictionary

from hozi.core.dicom import syntaxes
from tests.corpus import rows

STANDARD = {uid: entry for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}


def test_it_knows_every_transfer_syntax_of_the_standard_by_its_name() -> None:
    assert pynetdicom.__version__
    assert {syntax.uid: (syntax.name, syntax.retired) for syntax in syntaxes.ALL} == {
        uid: (entry[0], entry[3] == "Retired") for uid, entry in STANDARD.items()
    }
    assert len({syntax.uid for syntax in syntaxes.ALL}) == len(syntaxes.ALL)


@pytest.mark.parametrize("syntax", [s for s in syntaxes.ALL if s.uid in syntaxes.STORABLE], ids=lambda s: s.uid)
def test_it_agrees_with_pydicom_on_how_each_is_encoded(syntax: syntaxes.TransferSyntax) -> None:
    uid = pydicom.uid.UID(syntax.uid)
    if "Papyrus" in syntax.name:  # not a transfer syntax for pydicom's rules
        return
    assert syntax.explicit == (not uid.is_implicit_VR)
    assert syntax.little_endian == uid.is_little_endian
    assert syntax.deflated == uid.is_deflated
    assert syntax.encapsulated == uid.is_encapsulated


def test_it_stores_everything_but_what_has_its_pixels_elsewhere() -> None:
    refused = {syntax.name for syntax in syntaxes.ALL if syntax.uid not in syntaxes.STORABLE}
    assert all(name.startswith(("JPIP", "SMPTE", "RFC 2557", "XML")) for name in refused)
    assert len(refused) == 9


@pytest.mark.parametrize(
    ("uid", "lossy"),
    [
        ("1.2.840.10008.1.2.4.50", True),
        ("1.2.840.10008.1.2.4.70", False),
        ("1.2.840.10008.1.2.4.80", False),
        ("1.2.840.10008.1.2.4.81", True),
        ("1.2.840.10008.1.2.4.90", False),
        ("1.2.840.10008.1.2.4.91", None),
        ("1.2.840.10008.1.2.4.110", False),
        ("1.2.840.10008.1.2.4.112", None),
        ("1.2.840.10008.1.2.4.201", False),
        ("1.2.840.10008.1.2.4.203", None),
        ("1.2.840.10008.1.2.4.102", True),
        ("1.2.840.10008.1.2.5", False),
    ],
)
def test_it_knows_which_ones_change_pixels(uid: str, lossy: bool | None) -> None:
    syntax = syntaxes.get(uid)
    assert syntax is not None
    assert syntax.lossy is lossy


def test_video_is_marked_and_fragmentable_forms_are_there() -> None:
    video = {syntax.uid for syntax in syntaxes.ALL if syntax.video and syntax.encapsulated}
    assert "1.2.840.10008.1.2.4.100.1" in video
    assert "1.2.840.10008.1.2.4.108" in video
    assert "1.2.840.10008.1.2.4.90" not in video


def test_an_unknown_one_is_taken_for_a_compression() -> None:
    assert syntaxes.get("1.3.999.1") is None
    private = syntaxes.for_unknown("1.3.999.1")
    assert (private.uid, private.explicit, private.little_endian, private.encapsulated) == (
        "1.3.999.1",
        True,
        True,
        True,
    )
    assert private.lossy is None
    assert private.uid not in syntaxes.STORABLE
    assert syntaxes.for_unknown(syntaxes.EXPLICIT_BIG) is syntaxes.get(syntaxes.EXPLICIT_BIG)


def test_every_transfer_syntax_of_the_corpus_is_storable() -> None:
    assert {row.transfer_syntax for row in rows()} - {"", "none"} <= syntaxes.STORABLE
