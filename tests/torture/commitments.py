"""Storage commitment during the run: the worker's jobs are to survive as the images do."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made at import

from hozi.core.dicom import identifier, sop_classes
from hozi.core.dimse import status
from hozi.core.dimse.association import ProposedContext
from hozi.core.errors import HoziError
from tests.torture.objects import CT, EXPLICIT
from tests.torture.running import Archive
from tests.torture.senders import AE as DEVICE

_REQUEST = 1
_SECONDS = 150  # a job of a killed worker is taken over when its lease of 60 seconds runs out


class Commitments:
    """Requests that were answered 0000, and the reports that came back for them."""

    def __init__(self) -> None:
        self.asked: dict[str, set[str]] = {}
        self.port = 0
        self._reported: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def ask(self, archive: Archive, uids: Collection[str]) -> None:
        """Asks whether these objects are safe; counts when it is told that the report will come."""
        information = Dataset()
        information.TransactionUID = transaction = str(generate_uid())
        information.ReferencedSOPSequence = Sequence(_reference(uid) for uid in uids)
        try:
            association = archive.call(ProposedContext(1, sop_classes.STORAGE_COMMITMENT_PUSH, (EXPLICIT,)))
            try:
                answer = association.action(
                    association.contexts_for(sop_classes.STORAGE_COMMITMENT_PUSH)[0],
                    sop_classes.STORAGE_COMMITMENT_PUSH,
                    sop_classes.STORAGE_COMMITMENT_PUSH_INSTANCE,
                    _REQUEST,
                    identifier.write(information, EXPLICIT),
                )
                association.release()
            finally:
                association.close()
        except HoziError:
            return  # killed meanwhile: nobody was promised anything
        if answer.status == status.SUCCESS:
            self.asked[transaction] = set(uids)

    def keep(self, event: evt.Event) -> tuple[int, None]:
        """Takes a report in."""
        report = event.event_information
        safe = {str(item.ReferencedSOPInstanceUID) for item in report.get("ReferencedSOPSequence", ())}
        with self._lock:
            self._reported[str(report.TransactionUID)] = safe
        return status.SUCCESS, None

    def faults(self) -> list[str]:
        """Requests whose report does not come, or says that an acknowledged object is not safe."""
        deadline = time.monotonic() + _SECONDS
        while (missing := self.asked.keys() - self._reported.keys()) and time.monotonic() < deadline:
            time.sleep(0.1)
        found = [f"storage commitment {transaction}: never reported" for transaction in sorted(missing)]
        for transaction, uids in self.asked.items():
            lost = uids - self._reported.get(transaction, uids)
            if lost:
                found.append(f"storage commitment {transaction}: {len(lost)} of {len(uids)} are said to be lost")
        return found


def _reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
    return item


@contextmanager
def listening() -> Iterator[Commitments]:
    """A device that waits for reports at ``port``."""
    commitments = Commitments()
    ae = AE(ae_title=DEVICE)
    # The archive reports as the SCP, so the device takes the role of the SCU (PS3.4 §J.3.3).
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, commitments.keep)])
    assert server is not None and server.socket is not None
    commitments.port = server.socket.getsockname()[1]
    try:
        yield commitments
    finally:
        server.shutdown()
