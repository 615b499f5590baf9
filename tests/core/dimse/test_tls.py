"""TLS on both sides: who gets in, who does not, and in what words."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pynetdicom import AE, evt

from hozi.core.dimse import command as commands
from hozi.core.dimse import pdu, status
from hozi.core.dimse import tls as secure
from hozi.core.dimse.acceptor import Acceptor
from hozi.core.dimse.association import AssociateRequest, Association, Lost, ProposedContext, Timeouts
from hozi.core.dimse.command import Command
from hozi.core.dimse.requestor import Unreachable, associate, propose
from tests.core.dimse.conftest import Certificates
from tests.core.dimse.listening import (
    CT_IMAGE,
    IMPLICIT,
    STUDY_FIND,
    VERIFICATION,
    Raw,
    Received,
    listening,
    p_data,
    pdv,
    store_message,
    whole,
)


@pytest.fixture
def tls_acceptor(received: Received, certificates: Certificates) -> Iterator[Acceptor]:
    with secure_listening(received, certificates) as acceptor:
        yield acceptor


@contextmanager
def secure_listening(received: Received, certificates: Certificates, **options: object) -> Iterator[Acceptor]:
    context = secure.server_context(certificates.archive, certificates.archive_key, certificates.ca)
    with listening(received.serve, tls=context, **options) as acceptor:
        yield acceptor


def scanner(certificates: Certificates) -> ssl.SSLContext:
    return secure.client_context(certificates.ca, certificates.scanner, certificates.scanner_key)


def ask(port: int, tls: ssl.SSLContext | None, host: str = "127.0.0.1", **options: object) -> Association:
    return associate(
        host,
        port,
        calling_ae="CT1",
        called_ae="HOZI",
        contexts=propose({uid: [IMPLICIT] for uid in (CT_IMAGE, VERIFICATION)}),
        tls=tls,
        timeouts=Timeouts(artim=5),
        **options,  # type: ignore[arg-type]
    )


def test_it_stores_over_tls_and_both_sides_know_each_other(
    tls_acceptor: Acceptor, received: Received, certificates: Certificates
) -> None:
    image = os.urandom(3_000_000)
    with ask(tls_acceptor.port, scanner(certificates)) as association:
        assert association.peer.certificate_subject == "CN=archive,O=Invented Hospital\\, Radiology"
        for number in range(3):
            response = association.store(association.contexts[1], CT_IMAGE, f"1.2.{number}", [image, b"end!"])
            assert response.status == status.SUCCESS
    assert [dataset for _, _, dataset in received.messages] == [image + b"end!"] * 3
    assert received.associations[0].peer.certificate_subject == "CN=scanner,O=Invented Hospital\\, Radiology"


def test_it_sees_a_cancel_over_tls(certificates: Certificates) -> None:
    seen = threading.Event()

    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        whole(message)
        while not association.cancelled(message.command.message_id):
            time.sleep(0.001)
        seen.set()
        association.respond(message, status.CANCEL)
        association.receive()

    context = secure.server_context(certificates.archive, certificates.archive_key, certificates.ca)
    with listening(serve, tls=context) as acceptor:
        sock = scanner(certificates).wrap_socket(
            socket.create_connection(("127.0.0.1", acceptor.port)), server_hostname="localhost"
        )
        with Raw(sock) as peer:
            peer.associate(STUDY_FIND)
            peer.send(store_message(5, b"query" * 10_000))
            time.sleep(0.05)
            cancel = commands.encode(Command(commands.C_CANCEL_RQ, message_id_responded_to=5))
            peer.send(p_data(pdv(1, 1, cancel[:9])))
            peer.send(p_data(pdv(1, 3, cancel[9:])))
            assert peer.command().status == status.CANCEL
            assert seen.is_set()
            peer.send(pdu.encode_release_request())
            assert peer.pdu()[0] == pdu.RELEASE_RP


def test_it_refuses_a_caller_without_or_with_a_foreign_certificate_a02(
    tls_acceptor: Acceptor, received: Received, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    bare = secure.client_context(certificates.ca)
    foreign = secure.client_context(certificates.ca, certificates.stranger, certificates.stranger_key)
    for context in (bare, foreign):
        for _ in range(5):  # the alert comes before, while or after the request is sent
            with pytest.raises(Unreachable) as caught:
                ask(tls_acceptor.port, context)
            assert caught.value.kind == "tls"
    assert received.associations == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_it_says_that_the_peer_s_certificate_is_not_trusted(certificates: Certificates, received: Received) -> None:
    context = secure.server_context(certificates.stranger, certificates.stranger_key, certificates.ca)
    with listening(received.serve, tls=context) as acceptor:
        with pytest.raises(Unreachable, match="not trusted") as caught:
            ask(acceptor.port, scanner(certificates))
        assert caught.value.kind == "tls"


def test_it_checks_the_name_in_the_certificate_unless_told_otherwise(
    tls_acceptor: Acceptor, certificates: Certificates
) -> None:
    with pytest.raises(Unreachable, match="not trusted"):
        ask(tls_acceptor.port, scanner(certificates), server_hostname="elsewhere.invalid")
    with ask(tls_acceptor.port, scanner(certificates), server_hostname="localhost") as association:
        assert association.echo(association.contexts[3]).status == status.SUCCESS
    lenient = secure.client_context(
        certificates.ca, certificates.scanner, certificates.scanner_key, check_hostname=False
    )
    with ask(tls_acceptor.port, lenient, server_hostname="elsewhere.invalid") as association:
        assert association.echo(association.contexts[3]).status == status.SUCCESS


def test_it_says_that_the_peer_expects_tls_or_does_not(
    tls_acceptor: Acceptor, acceptor: Acceptor, certificates: Certificates
) -> None:
    with pytest.raises((Unreachable, Lost)) as caught:
        ask(tls_acceptor.port, None)
    assert isinstance(caught.value, Lost) or "expects TLS" in str(caught.value)
    with pytest.raises(Unreachable) as refused:
        ask(acceptor.port, scanner(certificates))
    assert refused.value.kind == "tls"


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384"),
    ],
    ids=["no forward secrecy", "CBC and SHA-1", "CBC"],
)
def test_it_speaks_no_weak_tls(
    tls_acceptor: Acceptor, certificates: Certificates, version: ssl.TLSVersion, ciphers: str
) -> None:
    context = scanner(certificates)
    context.maximum_version = version
    context.set_ciphers(ciphers)
    with pytest.raises(Unreachable) as caught:
        ask(tls_acceptor.port, context)
    assert caught.value.kind == "tls"


def test_it_speaks_tls_1_2_and_1_3_and_nothing_older(tls_acceptor: Acceptor, certificates: Certificates) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = scanner(certificates)
        context.minimum_version = context.maximum_version = version
        with ask(tls_acceptor.port, context) as association:
            assert association.echo(association.contexts[3]).status == status.SUCCESS
    for context in (
        scanner(certificates),
        secure.server_context(certificates.archive, certificates.archive_key, certificates.ca),
    ):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert all("GCM" in c["name"] or "CHACHA20" in c["name"] for c in context.get_ciphers())


def test_silent_callers_do_not_hold_the_others_up_a04(received: Received, certificates: Certificates) -> None:
    with secure_listening(received, certificates, timeouts=Timeouts(artim=60)) as acceptor:
        silent = [Raw.to(acceptor.port) for _ in range(40)]
        with ask(acceptor.port, scanner(certificates)) as association:
            assert association.echo(association.contexts[3]).status == status.SUCCESS
        assert silent[0].is_closed()
        for peer in silent:
            peer.sock.close()


def test_it_does_not_wait_for_the_rest_of_a_tls_record(received: Received, certificates: Certificates) -> None:
    looked, halves = threading.Event(), []

    def serve(association: Association) -> None:
        message = association.receive()
        assert message is not None
        whole(message)
        number = message.command.message_id
        while not halves:
            time.sleep(0.001)
        time.sleep(0.05)
        assert not association.cancelled(number)
        looked.set()
        while not association.cancelled(number):
            time.sleep(0.001)
        association.respond(message, status.CANCEL)
        association.receive()

    context = secure.server_context(certificates.archive, certificates.archive_key, certificates.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = scanner(certificates).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with listening(serve, tls=context) as acceptor, Raw.to(acceptor.port) as peer:

        def pump(step: Callable[[], object]) -> object:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    peer.send(outgoing.read())
                    incoming.write(peer.sock.recv(65536))
                else:
                    peer.send(outgoing.read())
                    return result

        request = AssociateRequest("RAW", "HOZI", (ProposedContext(1, STUDY_FIND, (IMPLICIT,)),))
        pump(client.do_handshake)
        pump(lambda: client.write(pdu.encode_request(request)))
        assert pump(lambda: client.read(65536))[0] == pdu.ASSOCIATE_AC  # type: ignore[index]
        pump(lambda: client.write(store_message(5, b"query")))
        cancel = commands.encode(Command(commands.C_CANCEL_RQ, message_id_responded_to=5))
        client.write(p_data(pdv(1, 3, cancel)))
        record = outgoing.read()
        peer.send(record[:30])
        halves.append(record)
        assert looked.wait(10)
        peer.send(record[30:])
        answer = pump(lambda: client.read(65536))
        assert commands.decode(answer[12:]).status == status.CANCEL  # type: ignore[index]


def test_it_survives_random_bytes_in_and_after_the_handshake(
    tls_acceptor: Acceptor, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        with Raw.to(tls_acceptor.port) as peer:
            peer.send(os.urandom(200))
    for _ in range(5):
        sock = scanner(certificates).wrap_socket(
            socket.create_connection(("127.0.0.1", tls_acceptor.port)), server_hostname="localhost"
        )
        with Raw(sock) as peer:
            peer.send(b"GET / HTTP/1.1\r\n\r\n")
            assert peer.pdu() == (pdu.ABORT, bytes((0, 0, 2, 1)))
    with ask(tls_acceptor.port, scanner(certificates)) as association:
        assert association.echo(association.contexts[3]).status == status.SUCCESS
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_it_stops_with_a_tls_association_open(received: Received, certificates: Certificates) -> None:
    with secure_listening(received, certificates) as acceptor:
        association = ask(acceptor.port, scanner(certificates))
        association.echo(association.contexts[3])
        acceptor.stop(0)
        assert received.ended == 1
        with pytest.raises(Lost):
            association.echo(association.contexts[3])


def test_pynetdicom_stores_to_us_over_tls(
    tls_acceptor: Acceptor, received: Received, certificates: Certificates
) -> None:
    entity = AE(ae_title="CT1")
    entity.add_requested_context(VERIFICATION)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(certificates.scanner, certificates.scanner_key)
    association = entity.associate("127.0.0.1", tls_acceptor.port, ae_title="HOZI", tls_args=(context, "localhost"))
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    received.wait_for_end()
    assert received.errors == []


def test_we_echo_pynetdicom_over_tls(certificates: Certificates) -> None:
    entity = AE(ae_title="THEIRS")
    entity.add_supported_context(VERIFICATION)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates.archive, certificates.archive_key)
    released = threading.Event()
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=context,
        evt_handlers=[(evt.EVT_RELEASED, lambda event: released.set())],
    )
    try:
        with ask(server.server_address[1], scanner(certificates)) as association:
            assert association.echo(association.contexts[3]).status == status.SUCCESS
        assert released.wait(10)
    finally:
        server.shutdown()
