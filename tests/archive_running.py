"""A running archive inside the test's own process: real listener, real sockets, the test's database, real files.

```
def test_it_gives_back_what_it_took(archive: RunningArchive) -> None:
    ct1 = archive.admit("CT1")
    assert ct1.store(dataset_bytes, sop_class, sop_instance, transfer_syntax) == 0x0000
    assert ct1.get(STUDY, StudyInstanceUID=uid) == {sop_instance: dataset_bytes}
```

`Caller` speaks by pynetdicom; `archive.dcmtk` runs DCMTK's programs, and C-MOVE destinations are there of both kinds
(`archive.destination`, `archive.storescp`). Nothing here is Hozi's own client.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, Association, _config, build_role, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.presentation import build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    register_uid,
    uid_to_service_class,
)

from hozi.archive.place import volume
from hozi.doors.dimse.server import Listener
from hozi.facilities import devices
from hozi.facilities.devices import MAY
from hozi.settings import HOZI
from tests.peers import free_port, program, wait_until_it_listens

# Its own log of what it sends stumbles over datasets that are no datasets, which tests send on purpose.
_config.LOG_HANDLER_LEVEL = "none"

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
PATIENT_ROOT = {
    "find": PatientRootQueryRetrieveInformationModelFind,
    "get": PatientRootQueryRetrieveInformationModelGet,
    "move": PatientRootQueryRetrieveInformationModelMove,
}
STUDY_ROOT = {
    "find": StudyRootQueryRetrieveInformationModelFind,
    "get": StudyRootQueryRetrieveInformationModelGet,
    "move": StudyRootQueryRetrieveInformationModelMove,
}


def identifier(level: str, **keys: Any) -> Dataset:
    """A query's identifier; keys by their keywords."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


@dataclass
class Caller:
    """A device that is admitted (or not), calling the archive with pynetdicom."""

    archive: RunningArchive
    ae_title: str
    called: str = "HOZI"

    @contextmanager
    def associated(self, *contexts: tuple[Any, Sequence[str]], **more: Any) -> Iterator[Association]:
        """An established association with these (abstract syntax, transfer syntaxes), released at the end."""
        ae = AE(ae_title=self.ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
        proposed = [build_context(abstract, list(transfer)) for abstract, transfer in contexts]
        association = ae.associate("127.0.0.1", self.archive.port, contexts=proposed, ae_title=self.called, **more)
        assert association.is_established, "the archive did not accept the association"
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def store(self, data: bytes, sop_class: str, sop_instance: str, transfer_syntax: str = EXPLICIT) -> tuple[int, str]:
        """C-STORE of a dataset's very bytes; returns status and error comment."""
        with self.associated((sop_class, [transfer_syntax])) as association:
            return self.store_on(association, data, sop_class, sop_instance)

    def store_on(self, association: Association, data: bytes, sop_class: str, sop_instance: str) -> tuple[int, str]:
        """C-STORE on an association that is open, without pynetdicom looking at the bytes."""
        [context] = [cx for cx in association.accepted_contexts if cx.abstract_syntax == sop_class][:1]
        request = C_STORE()
        request.MessageID = 1
        request.AffectedSOPClassUID = sop_class
        request.AffectedSOPInstanceUID = sop_instance
        request.Priority = 2
        request.DataSet = io.BytesIO(data)
        association._reactor_checkpoint.clear()
        association.dimse.send_msg(request, context.context_id)
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert response is not None, "no answer to the C-STORE"
        return response.Status, str(getattr(response, "ErrorComment", "") or "")

    def find(
        self, level: str, *, root: dict[str, Any] = STUDY_ROOT, extended: bytes = b"", **keys: Any
    ) -> list[Dataset]:
        """C-FIND; the matches."""
        return self.ask(identifier(level, **keys), root=root, extended=extended)[1]

    def ask(
        self, query: Dataset, *, root: dict[str, Any] = STUDY_ROOT, extended: bytes = b"", syntax: str = EXPLICIT
    ) -> tuple[list[int], list[Dataset]]:
        """C-FIND with that identifier; all statuses, and the matches."""
        negotiation = []
        if extended:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid = root["find"]
            item.service_class_application_information = extended
            negotiation.append(item)
        with self.associated((root["find"], [syntax]), ext_neg=negotiation) as association:
            answers = list(association.send_c_find(query, root["find"]))
        statuses = [answer.Status for answer, _ in answers]
        return statuses, [match for _, match in answers if match is not None]

    def get(
        self,
        level: str,
        *,
        root: dict[str, Any] = STUDY_ROOT,
        classes: Sequence[tuple[str, Sequence[str]]],
        **keys: Any,
    ) -> Fetched:
        """C-GET of storage ``classes`` (SOP class, transfer syntaxes); one context for each syntax."""
        fetched = Fetched()
        contexts = [(sop_class, [syntax]) for sop_class, syntaxes in classes for syntax in syntaxes]
        roles = [build_role(sop_class, scp_role=True) for sop_class in {one for one, _ in contexts}]
        with self.associated(
            (root["get"], [EXPLICIT]), *contexts, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, fetched.keep)]
        ) as association:
            for status, rest in association.send_c_get(identifier(level, **keys), root["get"]):
                fetched.responses.append((status, rest))
        return fetched

    def move(self, level: str, destination: str, *, root: dict[str, Any] = STUDY_ROOT, **keys: Any) -> list[Any]:
        """C-MOVE to an AE title; the responses as (status, identifier)."""
        with self.associated((root["move"], [EXPLICIT])) as association:
            return list(association.send_c_move(identifier(level, **keys), destination, root["move"]))


@dataclass
class Fetched:
    """What a C-GET or a C-MOVE brought: dataset bytes as they came, and their transfer syntaxes."""

    objects: dict[str, bytes] = field(default_factory=dict)
    syntaxes: dict[str, str] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    responses: list[tuple[Dataset, Dataset | None]] = field(default_factory=list)

    def keep(self, event: evt.Event) -> int:
        """Handler of EVT_C_STORE."""
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        assert uid not in self.objects, "an object came twice"
        self.objects[uid] = request.DataSet.getvalue()
        self.syntaxes[uid] = str(event.context.transfer_syntax)
        self.requests.append(request)
        return 0x0000

    @property
    def status(self) -> int:
        """The final status."""
        return int(self.responses[-1][0].Status)


class RunningArchive:
    """The archive of one test."""

    def __init__(self, ports: dict[str, int], listener: Listener, which: str = "port") -> None:
        self.port = ports[which]
        self.listener = listener
        self._ports = ports

    def at(self, which: str) -> RunningArchive:
        """The same archive, to be called at another of its ports (`tls_port`)."""
        return RunningArchive(self._ports, self.listener, which)

    def admit(self, ae_title: str, **more: Any) -> Caller:
        """A device on this machine that may do everything, unless ``may=...`` says otherwise."""
        more.setdefault("may", MAY if more.get("port") else MAY[:3])
        name = more.pop("name", ae_title)
        devices.add(name, ae_title=ae_title, host=more.pop("host", "127.0.0.1"), actor="test", **more)
        devices.forget()
        return Caller(self, ae_title)

    @contextmanager
    def destination(
        self,
        ae_title: str,
        classes: Sequence[tuple[str, Sequence[str]]],
        answer: Callable[[evt.Event], int] | None = None,
    ) -> Iterator[Fetched]:
        """An admitted C-MOVE destination that takes these (SOP class, transfer syntaxes), by pynetdicom."""
        ae = AE(ae_title=ae_title)
        for sop_class, syntaxes in classes:
            ae.add_supported_context(sop_class, list(syntaxes))
            if uid_to_service_class(sop_class) is not StorageServiceClass:  # retired, or a manufacturer's own
                register_uid(sop_class, "Storage" + sop_class.replace(".", "_"), StorageServiceClass)
        fetched = Fetched()
        server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer or fetched.keep)]
        )
        try:
            self.admit(ae_title, port=server.socket.getsockname()[1])
            yield fetched
        finally:
            server.shutdown()

    @contextmanager
    def storescp(
        self, ae_title: str, folder: Path, *options: str, tls: bool = False
    ) -> Iterator[Callable[[], dict[str, bytes]]]:
        """An admitted C-MOVE destination that is DCMTK's `storescp`, writing into ``folder``.

        Yields a function that gives the dataset bytes of what has come so far, by SOP Instance UID.
        """
        port = free_port()
        command = [program("storescp"), "-aet", ae_title, "+xa", "+B", "-od", str(folder), *options, str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_it_listens(port, process)
            self.admit(ae_title, port=port, tls=tls)
            yield lambda: dict(map(_dataset, sorted(folder.iterdir())))
        finally:
            process.terminate()
            process.wait(10)

    def dcmtk(self, name: str, *arguments: str | Path, ae_title: str = "CT1") -> subprocess.CompletedProcess[str]:
        """Runs one of DCMTK's clients (`storescu`, `findscu` ...) against this archive."""
        return subprocess.run(
            [program(name), "-aet", ae_title, "-aec", "HOZI", "127.0.0.1", str(self.port), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=100,
            errors="replace",
        )


def arriving(storage: Path) -> list[Path]:
    """The files in the incoming area in which something of an object is."""
    return [path for path in (storage / "incoming").glob("*/*") if path.name != "lock" and path.stat().st_size]


def _dataset(path: Path) -> tuple[str, bytes]:
    """SOP Instance UID and dataset bytes of a PS3.10 file."""
    meta = read_file_meta_info(path)
    prefix = 128 + 4 + 12  # preamble, DICM, and the element that says how long the rest of the header is
    return meta.MediaStorageSOPInstanceUID, path.read_bytes()[prefix + meta.FileMetaInformationGroupLength :]


def empty() -> None:
    """Empties the storage folder."""
    for folder in ("objects", "incoming", "scratch", "uploads"):
        shutil.rmtree(HOZI.storage / folder, ignore_errors=True)
    volume.cache_clear()


@contextmanager
def running(**options: Any) -> Iterator[RunningArchive]:
    """Starts a listener on an empty storage folder and stops it at the end."""
    empty()
    devices.forget()
    listener = Listener(port=0, **options)
    ports = listener.start()
    try:
        yield RunningArchive(ports, listener)
    finally:
        listener.stop(2)


@pytest.fixture
def archive(transactional_db: None) -> Iterator[RunningArchive]:
    """A running archive with an empty database and an empty storage folder."""
    with running() as started:
        yield started
