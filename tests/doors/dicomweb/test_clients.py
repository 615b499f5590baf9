"""Clients of others in front of the running server: dicomweb-client, Orthanc with its plugin, curl."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from bench.ground import Missing
from bench.web import dicomweb_plugin
from hozi.core.phantoms.studies import STUDIES
from tests.doors.cli.conftest import program
from tests.doors.web.conftest import Served, start
from tests.orthanc import Orthanc, orthanc
from tests.peers import program as peer

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

CT, _, US = STUDIES
SLICES = 3
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Hozi:
    """A running server, and a token for it."""

    served: Served
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.port}/dicom-web"

    def client(self) -> DICOMwebClient:
        session = requests.Session()
        session.trust_env = False
        client = DICOMwebClient(self.url, session=session, headers={"Authorization": f"Bearer {self.token}"})
        # It leaves the port out of `Host`, and the addresses that it is then told would lead nowhere.
        client.host = f"127.0.0.1:{self.served.port}"
        return client


def _images(study: Any, count: int) -> list[Dataset]:
    found = []
    for image in islice(study.images(), count):
        dataset = read_dataset(io.BytesIO(image.dataset), is_implicit_VR=False, is_little_endian=True)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(image.transfer_syntax)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        found.append(dataset)
    return found


@pytest.fixture(scope="module")
def hozi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hozi]:
    """A server with a CT of three slices and an ultrasound loop, which dicomweb-client has stored."""
    home = tmp_path_factory.mktemp("clients") / "home"
    there = {"HOZI_HOME": str(home)}
    assert program("user", "add", "viewer", "--role", "pacs_admin", "--program", **there).returncode == 0
    made = program("user", "token", "viewer", "--scope", "read,write", "--json", **there)
    served = start(home)
    running = Hozi(served, str(json.loads(made.stdout)["token"]))
    try:
        told = running.client().store_instances([*_images(CT, SLICES), *_images(US, 1)])
        assert len(told.ReferencedSOPSequence) == SLICES + 1
        assert "FailedSOPSequence" not in told
        yield running
    finally:
        served.stop()


@pytest.fixture(scope="module")
def sender(hozi: Hozi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with its DICOMweb plugin, which knows the server."""
    try:
        plugin = dicomweb_plugin()
    except Missing as missing:
        pytest.skip(str(missing))
    known = {"Url": hozi.url + "/", "HttpHeaders": {"Authorization": f"Bearer {hozi.token}"}}
    settings = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Servers": {"hozi": known}}}
    with orthanc(tmp_path_factory.mktemp("orthanc"), 1, **settings) as running:
        yield running


# dicomweb-client -----------------------------------------------------------------------------------------


def test_dicomweb_client_searches_every_level(hozi: Hozi) -> None:
    client = hozi.client()
    [study] = client.search_for_studies(search_filters={"ModalitiesInStudy": "CT"}, fields=["StudyDescription"])
    found = Dataset.from_json(study)
    assert (found.StudyInstanceUID, found.StudyDescription) == (CT.uid, "Chest, phantom")
    assert found.NumberOfStudyRelatedInstances == SLICES
    [series] = client.search_for_series(CT.uid)
    assert Dataset.from_json(series).Modality == "CT"
    assert len(client.search_for_instances(CT.uid, Dataset.from_json(series).SeriesInstanceUID)) == SLICES
    assert len(client.search_for_studies(limit=1)) == 1
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []
    # It asks page by page until there are no more.
    assert len(client.search_for_instances(limit=1, get_remaining=True)) == SLICES + 1


def test_dicomweb_client_gets_objects_as_they_were_sent(hozi: Hozi) -> None:
    client, sent = hozi.client(), {one.SOPInstanceUID: one for one in _images(CT, SLICES)}
    got = client.retrieve_study(CT.uid)
    assert {one.SOPInstanceUID for one in got} == set(sent)
    for one in got:
        assert one.PixelData == sent[one.SOPInstanceUID].PixelData
        assert one.PatientName == sent[one.SOPInstanceUID].PatientName
    first = got[0]
    names = (CT.uid, first.SeriesInstanceUID, first.SOPInstanceUID)
    assert client.retrieve_instance(*names).PixelData == first.PixelData
    assert len(client.retrieve_series(*names[:2])) == SLICES
    # Compressed ones come decoded when that is asked for.
    [loop] = client.retrieve_study(US.uid, media_types=(("application/dicom", EXPLICIT),))
    assert loop.file_meta.TransferSyntaxUID == EXPLICIT


def test_dicomweb_client_gets_metadata_and_what_it_leaves_out(hozi: Hozi) -> None:
    client = hozi.client()
    series = _images(CT, 1)[0].SeriesInstanceUID
    told = [Dataset.from_json(one, bulk_data_uri_handler=lambda tag, vr, uri: None) for one in _read(client, series)]
    assert [one.InstanceNumber for one in told] == [1, 2, 3]
    assert {one.Rows for one in told} == {512}
    raw = client.retrieve_series_metadata(CT.uid, series)[0]
    assert "PixelData" not in json.dumps(raw)
    [pixels] = client.retrieve_bulkdata(raw["7FE00010"]["BulkDataURI"])
    assert pixels == _images(CT, 1)[0].PixelData
    assert len(client.retrieve_study_metadata(CT.uid)) == SLICES


def _read(client: DICOMwebClient, series: str) -> list[dict[str, Any]]:
    return sorted(client.retrieve_series_metadata(CT.uid, series), key=lambda one: one["00200013"]["Value"][0])


def test_dicomweb_client_gets_frames_and_pictures(hozi: Hozi) -> None:
    client, [slice_], [loop] = hozi.client(), _images(CT, 1), _images(US, 1)
    names = (slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.SOPInstanceUID)
    [frame] = client.retrieve_instance_frames(*names, [1])
    assert frame == slice_.PixelData
    picture = client.retrieve_instance_rendered(*names, media_types=("image/png",))
    assert picture.startswith(b"\x89PNG")
    of_loop = (loop.StudyInstanceUID, loop.SeriesInstanceUID, loop.SOPInstanceUID)
    two = client.retrieve_instance_frames(*of_loop, [1, 3], media_types=(("application/octet-stream", EXPLICIT),))
    pixels = numpy.asarray(dcmread(_file(loop)).pixel_array)
    for number, got in zip((1, 3), two, strict=True):
        of_frame = numpy.frombuffer(got, "u1").reshape(pixels.shape[1:])
        # JPEG: another decoder may differ by a little.
        assert numpy.abs(of_frame.astype(int) - pixels[number - 1].astype(int)).mean() < 3
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance_frames(*names, [2])


def _file(dataset: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    file.seek(0)
    return file


def test_dicomweb_client_is_told_what_is_not_there(hozi: Hozi) -> None:
    client = hozi.client()
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_study("1.2.3.4.5")
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_series_metadata(CT.uid, "1.2.3.4.5")


# Orthanc -------------------------------------------------------------------------------------------------


@pytest.mark.orthanc
def test_orthanc_sends_by_stow(hozi: Hozi, sender: Orthanc) -> None:
    identities = []
    for number, dataset in enumerate(_images(CT, SLICES)):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.7001", "2.25.7002"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.70030{number}"
        identities.append(sender.call("/instances", _file(dataset).read())["ID"])
    sender.call("/dicom-web/servers/hozi/stow", {"Resources": identities, "Synchronous": True})
    assert len(hozi.client().search_for_instances("2.25.7001")) == SLICES
    [frame] = hozi.client().retrieve_instance_frames("2.25.7001", "2.25.7002", "2.25.700300", [1])
    assert frame == _images(CT, 1)[0].PixelData


@pytest.mark.orthanc
def test_orthanc_asks_and_retrieves(hozi: Hozi, sender: Orthanc) -> None:
    asked = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": US.uid, "includefield": "StudyDescription"}}
    [study] = sender.call("/dicom-web/servers/hozi/qido", asked)
    assert study["0020000D"]["Value"] == US.uid
    assert study["00100010"]["Value"] == "Exemple^Zoé"
    sender.call("/dicom-web/servers/hozi/retrieve", {"Resources": [{"Study": US.uid}], "Synchronous": True})
    [here] = sender.call("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": US.uid}})
    got = dcmread(io.BytesIO(sender.call(f"/instances/{here}/file")))
    assert got.PixelData == _images(US, 1)[0].PixelData


# curl ----------------------------------------------------------------------------------------------------


def _curl(hozi: Hozi, path: str, *options: str, folder: Path) -> tuple[int, str, bytes]:
    """Status, media type and body of what curl gets."""
    body = folder / "body"
    command = [peer("curl"), "-sS", "-o", str(body), "-w", "%{http_code} %{content_type}", "--noproxy", "*"]
    command += ["-H", f"Authorization: Bearer {hozi.token}", *options, hozi.url + path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, _, kind = done.stdout.partition(" ")
    return int(status), kind, body.read_bytes() if body.exists() else b""


ODD = {
    # As OHIF, Orthanc, browsers, old viewers and careless programs say it.
    "a star as transfer syntax": ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', 200),
    "no quotation marks": ("multipart/related; type=application/octet-stream; transfer-syntax=*", 200),
    "two, the better one not to be had": ('image/jls, multipart/related; type="application/octet-stream"; q=0.1', 200),
    "capitals and no spaces": ('Multipart/Related;Type="Application/Octet-Stream"', 200),
    "anything": ("*/*", 200),
    "nothing at all": ("", 200),
    "a browser's": ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200),
    "what cannot be made": ("video/mpeg2", 406),
    "forbidden by its quality": ("application/octet-stream;q=0, multipart/related;q=0", 406),
    "a syntax that cannot be made": ('multipart/related; type="image/dicom-rle"', 406),
    "rubbish, as if nothing was said": (";;;,,,=", 200),
    "a bomb": ("image/jls," * 900, 406),
}


@pytest.mark.curl
def test_odd_accept_headers_get_frames_or_are_told_why_not(hozi: Hozi, tmp_path: Path) -> None:
    one = _images(CT, 1)[0]
    path = f"/studies/{CT.uid}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}/frames/1"
    wrong = {}
    for name, (accept, expected) in ODD.items():
        header = f"Accept: {accept}" if accept else "Accept:"
        status, kind, body = _curl(hozi, path, "-H", header, folder=tmp_path)
        right = one.PixelData in body if expected == 200 else kind.startswith("application/problem+json")
        if status != expected or not right:
            wrong[name] = (status, kind, body[:200])
    assert not wrong


@pytest.mark.curl
def test_curl_gets_ranges_compressed_answers_and_nothing_twice(hozi: Hozi, tmp_path: Path) -> None:
    one = _images(CT, 1)[0]
    instance = f"/studies/{CT.uid}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
    alone = ("-H", "Accept: application/octet-stream")
    status, _, body = _curl(hozi, f"{instance}/frames/1", *alone, "-r", "100-199", folder=tmp_path)
    assert (status, body) == (206, one.PixelData[100:200])
    metadata = f"/studies/{CT.uid}/series/{one.SeriesInstanceUID}/metadata"
    plain = _curl(hozi, metadata, folder=tmp_path)
    packed = _curl(hozi, metadata, "--compressed", folder=tmp_path)
    assert plain == packed and len(json.loads(plain[2])) == SLICES
    tag = tmp_path / "etag"
    for expected in (200, 304):
        more = ("--etag-save", str(tag), "--etag-compare", str(tag))
        assert _curl(hozi, metadata, *more, folder=tmp_path)[0] == expected
