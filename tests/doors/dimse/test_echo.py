"""`explain_echo` says in plain words what a peer does, and what to do about it. Against other people's peers."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from hozi.core.dimse.failures import Unreachable
from hozi.core.dimse.requestor import associate, propose
from hozi.core.dimse.terms import Timeouts
from hozi.core.dimse.tls import client_context
from hozi.doors.dimse import echo
from hozi.doors.dimse.echo import EchoReport, explain_echo
from tests.certificates import Authority, Pair
from tests.peers import free_port, program, wait_until_it_listens

SHORT = Timeouts(artim=1, idle=5, message=5, response=5)
PATIENT = Timeouts(artim=20, idle=20, message=20, response=20)


def ask(port: int, *, host: str = "127.0.0.1", timeouts: Timeouts = PATIENT, **options: Any) -> EchoReport:
    return explain_echo(host, port, "HOZI", "CT1", timeouts=timeouts, **options)


@contextmanager
def device(*, sop_class: str = Verification, status: int = 0, limit: int = 10, **checks: Any) -> Iterator[int]:
    """A pynetdicom peer with AE title CT1; yields its port."""
    ae = AE(ae_title="CT1")
    ae.add_supported_context(sop_class)
    ae.maximum_associations = limit
    for name, value in checks.items():
        setattr(ae, name, value)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda event: status)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


@contextmanager
def says(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A peer that does just this with each connection; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(20)
                    try:
                        connection.recv(65536)
                        answer(connection)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """DCMTK's receiver; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [program("storescp"), "--output-directory", str(folder), *options, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_listens(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def archive(authority: Authority) -> Pair:
    return authority.issue("archive")


def secure(authority: Authority, pair: Pair | None) -> ssl.SSLContext:
    return client_context(authority.pair.certificate, *((pair.certificate, pair.key) if pair else ()))


def tls_options(authority: Authority, pair: Pair) -> list[str]:
    """DCMTK's: TLS with this certificate, and the caller must show one of the authority."""
    return ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.pair.certificate), "--require-peer-cert"]


def test_a_device_that_answers_is_well() -> None:
    with device() as port:
        report = ask(port)
    assert report.ok
    assert report.summary.startswith(f"CT1 at 127.0.0.1:{port} answers (")
    assert (report.advice, report.technical) == ("", "")


@pytest.mark.dcmtk
def test_dcmtk_s_receiver_answers(tmp_path: Path) -> None:
    with storescp(tmp_path) as port:
        assert ask(port).ok


@pytest.mark.dcmtk
def test_dcmtk_s_receiver_answers_over_tls(tmp_path: Path, authority: Authority, archive: Pair) -> None:
    with storescp(tmp_path, *tls_options(authority, authority.issue("ct1"))) as port:
        report = ask(port, tls=secure(authority, archive))
    assert report.ok, report
    assert "over TLS" in report.summary


def test_a_device_with_another_name() -> None:
    with device(require_called_aet=True, ae_title="MR1") as port:
        report = ask(port)
    assert report.summary == f"The device at 127.0.0.1:{port} is there, but its name is not CT1."
    assert "AE title" in report.advice
    assert "1/1/7" in report.technical


def test_a_device_that_does_not_admit_the_archive() -> None:
    with device(require_calling_aet=["WORKSTATION"]) as port:
        report = ask(port)
    assert report.summary == f"CT1 at 127.0.0.1:{port} does not admit this archive."
    assert "AE title HOZI" in report.advice
    assert "1/1/3" in report.technical


def test_a_device_that_has_as_many_connections_as_it_allows() -> None:
    with device(limit=1) as port:
        contexts = propose({Verification: ["1.2.840.10008.1.2"]})
        with ExitStack() as held:
            first = associate("127.0.0.1", port, calling_ae="A", called_ae="CT1", contexts=contexts)
            held.callback(first.close)
            report = ask(port)
            first.release()
    assert "as many connections as it allows" in report.summary
    assert "2/3/2" in report.technical


def test_a_device_without_an_echo_service() -> None:
    with device(sop_class=CTImageStorage) as port:
        report = ask(port)
    assert not report.ok
    assert "does not answer echoes" in report.summary


def test_a_device_that_answers_with_an_error() -> None:
    with device(status=0x0122) as port:
        report = ask(port)
    assert not report.ok
    assert "answered, but with an error" in report.summary
    assert "0122H" in report.technical


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        (1, 1, "gives no reason"),
        (1, 2, "does not understand the kind of call"),
        (2, 1, "gives no reason"),
        (2, 2, "another version of the protocol"),
        (3, 1, "is busy"),
        (3, 7, "gives no reason"),
    ],
)
def test_every_refusal_has_its_words(source: int, reason: int, words: str) -> None:
    rejection = bytes([3, 0, 0, 0, 0, 4, 0, 1, source, reason])
    with says(lambda connection: connection.sendall(rejection)) as port:
        report = ask(port)
    assert words in report.summary
    assert f"1/{source}/{reason}" in report.technical
    assert report.advice


def test_a_device_that_breaks_the_call_off() -> None:
    with says(lambda connection: connection.sendall(bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 1]))) as port:
        report = ask(port)
    assert "broke the call off" in report.summary
    assert "A-ABORT, source 2, reason 1" in report.technical


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"MSH|^~\\&|\r"])
def test_something_that_is_no_dicom_device(words: bytes) -> None:
    with says(lambda connection: connection.sendall(words)) as port:
        report = ask(port)
    assert report.summary == f"Something listens at 127.0.0.1:{port}, but it is no DICOM device."
    assert "Check the port" in report.advice


def test_a_device_that_says_nothing() -> None:
    done = threading.Event()
    with says(lambda connection: done.wait(20)) as port:  # type: ignore[arg-type, return-value]
        report = ask(port, timeouts=SHORT)
        done.set()
    assert "takes the call and then says nothing" in report.summary


def test_a_device_that_hangs_up() -> None:
    with says(lambda connection: None) as port:
        report = ask(port)
    assert "hung up without a word" in report.summary
    assert "AE title HOZI" in report.advice


def test_a_port_at_which_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    report = ask(port)
    assert report.summary == f"The machine 127.0.0.1 is there, but nothing listens at port {port}."


def test_a_machine_that_does_not_answer() -> None:
    with ExitStack() as held:
        # A full queue: the kernel leaves further callers without an answer, as a firewall does.
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        report = ask(listener.getsockname()[1], timeouts=SHORT)
    assert report.summary == "127.0.0.1 does not answer at all."
    assert "firewall" in report.advice


def test_a_name_that_nobody_knows() -> None:
    report = ask(104, host="no such host")
    assert "Nobody knows a machine" in report.summary


def test_a_network_without_a_way() -> None:
    # Whether a machine has a route to anywhere is not a test's to decide: here only the words.
    report = echo._explain(Unreachable("no-route"), echo._Call("192.0.2.1", 104, "HOZI", "CT1", secure=False))
    assert report.summary == "There is no way to 192.0.2.1 from here."
    assert "cable" in report.advice


# TLS


@contextmanager
def tls_peer(context: ssl.SSLContext) -> Iterator[int]:
    """A peer that shakes hands and then waits for the caller to end it; yields its port."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as wrapped:
                        wrapped.recv(1)
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def server(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.mark.parametrize(
    ("facts", "words", "advice"),
    [
        ({"begins": -30, "days": -1}, "has expired", "Renew it"),
        ({"begins": 2}, "is not valid yet", "clocks"),
        ({"address": "10.1.2.3"}, "issued for another machine", "names 127.0.0.1"),
    ],
)
def test_a_device_s_certificate_that_is_not_good(
    facts: dict[str, Any], words: str, advice: str, authority: Authority, archive: Pair
) -> None:
    with tls_peer(server(authority.issue("ct1", **facts))) as port:
        report = ask(port, tls=secure(authority, archive))
    assert words in report.summary
    assert advice in report.advice


def test_a_device_s_certificate_of_an_unknown_authority(tmp_path: Path, authority: Authority, archive: Pair) -> None:
    with tls_peer(server(Authority(tmp_path, "elsewhere").issue("ct1"))) as port:
        report = ask(port, tls=secure(authority, archive))
    assert "an authority that is not known here" in report.summary
    assert "HOZI_TLS_CA" in report.advice


@pytest.mark.dcmtk
@pytest.mark.parametrize("shown", ["none", "elsewhere"])
def test_a_device_that_does_not_accept_the_archive_s_certificate(
    shown: str, tmp_path: Path, authority: Authority
) -> None:
    pair = None if shown == "none" else Authority(tmp_path, "elsewhere").issue("archive")
    with storescp(tmp_path, *tls_options(authority, authority.issue("ct1"))) as port:
        report = ask(port, tls=secure(authority, pair))
    assert "does not accept this archive's certificate" in report.summary, report


def test_a_device_that_does_not_speak_tls(authority: Authority, archive: Pair) -> None:
    with device() as port:
        report = ask(port, tls=secure(authority, archive), timeouts=SHORT)
    assert report.summary == f"127.0.0.1:{port} is reached, but does not speak TLS."
    assert "--tls" in report.advice


@pytest.mark.dcmtk
def test_a_device_that_wants_tls(tmp_path: Path, authority: Authority) -> None:
    with storescp(tmp_path, *tls_options(authority, authority.issue("ct1"))) as port:
        report = ask(port)
    assert report.summary == f"The device at 127.0.0.1:{port} wants to be called over TLS."


def test_a_device_that_wants_tls_and_hangs_up_without_saying_so(authority: Authority) -> None:
    context = server(authority.issue("ct1"))

    def serve(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":
            return
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)

    with _peeking(serve) as port:
        report = ask(port)
    assert report.summary == f"The device at 127.0.0.1:{port} wants to be called over TLS."


def test_a_device_of_the_last_century_s_encryption(authority: Authority, archive: Pair) -> None:
    context = server(authority.issue("ct1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256")
    with tls_peer(context) as port:
        report = ask(port, tls=secure(authority, archive))
    assert "no way to encrypt that both accept" in report.summary
    assert "BCP 195" in report.advice


@contextmanager
def _peeking(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Like `says`, for a peer that wants to see the first byte itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(20)
                    try:
                        serve(connection)
                    except OSError:
                        pass

        thread = threading.Thread(target=loop)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
