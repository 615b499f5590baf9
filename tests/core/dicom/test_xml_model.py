"""Datasets in the Native DICOM Model (PS3.19 §A.1), beside what DCMTK makes of the same files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dicom import part10, syntaxes
from hozi.core.dicom.xml_model import NAMESPACE, document
from tests import corpus
from tests.core.dicom.test_json_dataset import written
from tests.peers import program

N = f"{{{NAMESPACE}}}"


def parsed(dataset: dict[str, Any]) -> ET.Element:
    return ET.fromstring(b"".join(document(dataset)))


def test_every_kind_of_value_has_its_place() -> None:
    root = parsed(
        {
            "00080008": {"vr": "CS", "Value": ["A", None, "C"]},
            "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
            "00090010": {"vr": "LO", "Value": ["MAKER"]},
            "00091002": {"vr": "UN", "InlineBinary": "AAA="},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Moyo^Tendai^^Dr", "Ideographic": "山^太"}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "https://hozi.test/a?b&c"},
        }
    )
    images, sequence, _, private, name, pixels = root

    assert (images.attrib, [one.text for one in images]) == (
        {"tag": "00080008", "vr": "CS", "keyword": "ImageType"},
        ["A", None, "C"],
    )
    assert [one.tag for one in sequence] == [f"{N}Item"] * 2
    assert sequence[0][0][0].text == "1.2"
    assert private.attrib == {"tag": "00090002", "vr": "UN", "privateCreator": "MAKER"}
    assert private[0].text == "AAA="
    assert [(one.tag, one.text) for one in name[0][0]] == [
        (f"{N}FamilyName", "Moyo"),
        (f"{N}GivenName", "Tendai"),
        (f"{N}NamePrefix", "Dr"),
    ]
    assert name[0][1].tag == f"{N}Ideographic"
    assert pixels[0].attrib == {"uri": "https://hozi.test/a?b&c"}


@given(st.text())
def test_whatever_stands_in_a_text_the_document_can_be_read(text: str) -> None:
    [element] = parsed({"00104000": {"vr": "LT", "Value": [text]}})
    read = element[0].text or ""

    assert len(read) == len(text)
    assert all(a == b or a == "\N{REPLACEMENT CHARACTER}" for a, b in zip(read, text, strict=True))


def _shape(element: ET.Element) -> list[Any]:
    """Tags, VRs and texts; the numbers of values, and what DCMTK writes in other ways, are left out."""
    return [
        (one.get("tag"), one.get("privateCreator"), [_shape(item) for item in one if item.tag.endswith("Item")])
        for one in element
        if one.get("tag", "")[4:] != "0000" and not one.get("tag", "").startswith("0002")
    ]


@pytest.mark.dcmtk
def test_dcmtk_sees_the_same_elements() -> None:
    dcm2xml = program("dcm2xml")
    for name in ("pydicom__pydicom/CT_small.dcm", "dicompyler__dicompyler-core/rtplan.dcm"):
        path = next((Path(found) for found in corpus.CORPUS.rglob(name)), None)
        if path is None:
            continue
        told = subprocess.run([dcm2xml, "-nat", path], capture_output=True, check=True).stdout
        data = path.read_bytes()
        header = part10.read_header(data)
        ours = parsed(written(data[header.dataset_offset :], syntaxes.for_unknown(header.transfer_syntax)))
        assert _shape(ours) == _shape(ET.fromstring(told))
