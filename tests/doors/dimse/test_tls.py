"""The TLS port: DCMTK's clients with a certificate of the hospital's authority do all that they do without.

DCMTK's getscu and movescu know no TLS: the workstation asks at the other port, and is sent to over TLS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hozi.audit.models import Event
from hozi.audit.record import Code
from hozi.doors.dimse import reach, server
from hozi.settings import HOZI
from tests.archive_running import RunningArchive, running
from tests.certificates import Authority, Pair
from tests.doors.dimse.test_dcmtk import SERIES, sent, study

pytestmark = pytest.mark.dcmtk


class Secure:
    """An archive with a TLS port, and the certificates of a scanner and of a workstation."""

    def __init__(self, archive: RunningArchive, authority: Authority) -> None:
        self.archive, self._authority = archive, authority
        self.scanner = self.options(authority.issue("ct1"))
        self.workstation = (*self.options(authority.issue("view1")), "--require-peer-cert")

    def options(self, pair: Pair) -> tuple[str, ...]:
        """DCMTK's: call or listen with that certificate."""
        return ("+tls", str(pair.key), str(pair.certificate), "+cf", str(self._authority.pair.certificate))


@pytest.fixture
def secure(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secure]:
    (tmp_path / "pki").mkdir()
    authority = Authority(tmp_path / "pki")
    own = authority.issue("archive")
    files = {"tls_certificate": own.certificate, "tls_key": own.key, "tls_ca": authority.pair.certificate}
    for module in (server, reach):
        monkeypatch.setattr(module, "HOZI", HOZI.model_copy(update=files))
    with running(tls_port=0) as archive:
        yield Secure(archive.at("tls_port"), authority)


def test_a_scanner_and_a_workstation_work_over_tls(secure: Secure, tmp_path: Path) -> None:
    archive = secure.archive
    archive.admit("CT1")
    moved = tmp_path / "moved"
    moved.mkdir()
    this_study = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study()}")
    count = ("-k", "NumberOfStudyRelatedInstances")

    assert archive.dcmtk("echoscu", *secure.scanner).returncode == 0
    assert archive.dcmtk("storescu", *secure.scanner, "-R", "-xe", "+sd", "+r", SERIES).returncode == 0
    found = archive.dcmtk("findscu", *secure.scanner, *this_study, *count)
    assert f"[{len(sent())}" in found.stderr + found.stdout
    with archive.storescp("VIEW1", moved, *secure.workstation, tls=True) as received:
        assert archive.at("port").dcmtk("movescu", *this_study, "-aem", "VIEW1").returncode == 0
        assert received().keys() == sent().keys()


def test_a02_who_shows_no_certificate_of_the_authority_is_not_let_in(secure: Secure, tmp_path: Path) -> None:
    archive = secure.archive
    archive.admit("CT1")
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere").issue("ct1")
    assert archive.dcmtk("echoscu", *secure.options(stranger)).returncode != 0
    assert archive.dcmtk("echoscu").returncode != 0
    assert archive.dcmtk("echoscu", *secure.scanner).returncode == 0


def test_a02_a_device_with_another_subject_than_the_registered_one_is_not_that_device(secure: Secure) -> None:
    archive = secure.archive
    archive.admit("CT1", tls_subject="CN=ct1")
    archive.admit("MR1", tls_subject="CN=mr1")
    assert archive.dcmtk("echoscu", *secure.scanner).returncode == 0
    refused = archive.dcmtk("echoscu", *secure.scanner, ae_title="MR1")
    assert "Calling AE Title Not Recognized" in refused.stderr
    [alert] = Event.objects.filter(code=Code.SECURITY_ALERT, detail__type="110126")
    assert (alert.actor, alert.detail["reason"]) == ("MR1", "certificate")
