"""Only admitted devices are recognised, and by everything that was said about them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from hozi.audit.models import Event
from hozi.core.errors import Changed, NotThere, Refused
from hozi.facilities import devices, places, recognise
from hozi.facilities.devices import NotRecognised, Permit
from hozi.facilities.models import Department, Device, Facility

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"
SUBJECT = "CN=ct1.granary.example,O=Granary Hospital"


def admit(name: str = "CT1", **changes: Any) -> Permit:
    facts = {"ae_title": "CT1", "host": "192.168.1.20", "actor": ADMIN, **changes}
    return devices.add(name, **facts)


def call(
    calling: str = "CT1", called: str = "HOZI", address: str = "192.168.1.20", subject: str = ""
) -> Permit | NotRecognised:
    return devices.recognise(calling, called, address, subject, "HOZI")


def test_it_recognises_an_admitted_device() -> None:
    permit = admit(may=["store"])
    assert call() == permit
    assert permit.may == ("store",)
    assert (permit.facility, permit.issuer) == ("MAIN", "MAIN")


@pytest.mark.parametrize(
    ("calling", "called", "address", "reason"),
    [
        ("CT2", "HOZI", "192.168.1.20", "calling-ae"),
        ("ct1", "HOZI", "192.168.1.20", "calling-ae"),
        ("C T1", "HOZI", "192.168.1.20", "calling-ae"),
        ("", "HOZI", "192.168.1.20", "calling-ae"),
        ("CT1", "HOZI", "192.168.1.21", "address"),
        ("CT1", "HOZI", "::1", "address"),
        ("CT1", "HOZI", "not an address", "address"),
        ("CT1", "hozi", "192.168.1.20", "called-ae"),
        ("CT1", "", "192.168.1.20", "called-ae"),
        ("CT2", "PACS", "192.168.1.99", "calling-ae"),
    ],
)
def test_it_names_what_does_not_fit(calling: str, called: str, address: str, reason: str) -> None:
    admit()
    assert call(calling, called, address) == NotRecognised(reason)  # type: ignore[arg-type]


def test_spaces_around_an_ae_title_do_not_count() -> None:
    permit = admit(ae_title=" CT1 ")
    assert call("CT1             ", "  HOZI") == permit


@pytest.mark.parametrize(
    ("host", "address", "fits"),
    [
        ("192.168.1.0/24", "192.168.1.77", True),
        ("192.168.1.0/24", "192.168.2.77", False),
        ("192.168.1.20", "::ffff:192.168.1.20", True),
        ("::ffff:192.168.1.20", "192.168.1.20", True),
        ("192.168.1.0/24", "::ffff:192.168.1.9", True),
        ("2001:db8::/32", "2001:db8::5", True),
        ("2001:db8::/32", "::ffff:192.168.1.20", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("0.0.0.0/0", "203.0.113.9", True),
    ],
)
def test_a_host_is_an_address_or_a_network(host: str, address: str, fits: bool) -> None:
    permit = admit(host=host)
    assert call(address=address) == (permit if fits else NotRecognised("address"))


def test_devices_with_one_ae_title_are_told_apart_by_their_address() -> None:
    ward = admit("All of the ward", host="192.168.1.0/24", may=["query"])
    scanner = admit("Scanner", host="192.168.1.20", may=["store"])
    other = admit("Other", host="10.0.0.5", may=[])
    assert [call(address=where) for where in ("192.168.1.20", "192.168.1.21", "10.0.0.5")] == [scanner, ward, other]


def test_a_wider_network_does_not_excuse_a_wrong_certificate() -> None:
    admit("All of the ward", host="192.168.1.0/24")
    scanner = admit("Scanner", tls_subject=SUBJECT)
    assert call(subject="CN=somebody.else") == NotRecognised("certificate")
    assert call(subject="") == NotRecognised("certificate")
    assert call(subject=SUBJECT) == scanner


def test_a_device_may_use_its_other_name_for_the_archive_and_no_third() -> None:
    permit = admit(called_as="HOZI1")
    assert call(called="HOZI1") == permit
    assert call(called="HOZI") == permit
    assert call(called="HOZI2") == NotRecognised("called-ae")


def test_recognising_costs_no_query_when_it_has_just_been_asked(django_assert_num_queries: Any) -> None:
    admit()
    with django_assert_num_queries(1):
        for _ in range(10):
            call()


def test_a_removed_device_is_refused() -> None:
    admit()
    call()
    devices.remove("CT1", actor=ADMIN)
    assert call() == NotRecognised("calling-ae")
    with pytest.raises(Refused, match="no device 'CT1'"):
        devices.remove("CT1", actor=ADMIN)


def test_what_another_process_changed_is_seen_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    admit()
    call()
    Device.objects.all().delete()
    assert isinstance(call(), Permit)
    now = recognise.time.monotonic()
    monkeypatch.setattr(recognise.time, "monotonic", lambda: now + 2.0)
    assert call() == NotRecognised("calling-ae")


def elsewhere(name: str, **facts: Any) -> None:
    """A device's row appears or changes as if another process had done it: nothing here is told of it."""
    if not Device.objects.filter(name=name).update(**facts):
        facility = places.choose(None)
        Device.objects.bulk_create([Device(name=name, facility=facility, **facts)])


def test_who_was_admitted_in_another_process_is_known_at_the_first_call() -> None:
    admit()
    assert call("CT2") == NotRecognised("calling-ae")
    elsewhere("CT2", ae_title="CT2", host="192.168.1.20")
    known = call("CT2")
    assert isinstance(known, Permit)
    assert known.name == "CT2"


@pytest.mark.parametrize(
    ("called", "address", "subject", "changes"),
    [
        ("PACS", "192.168.1.20", SUBJECT, {"called_as": "PACS"}),
        ("HOZI", "192.168.1.21", SUBJECT, {"host": "192.168.1.21"}),
        ("HOZI", "192.168.1.20", "CN=new", {"tls_subject": "CN=new"}),
    ],
)
def test_what_was_allowed_in_another_process_holds_at_the_first_call(
    called: str, address: str, subject: str, changes: dict[str, Any]
) -> None:
    admit(tls_subject=SUBJECT)
    assert isinstance(call("CT1", called, address, subject), NotRecognised)
    elsewhere("CT1", **changes)
    assert isinstance(call("CT1", called, address, subject), Permit)


def test_a_destination_from_another_process_is_known_at_the_first_question() -> None:
    admit()
    assert devices.destination("VIEW1") is None
    elsewhere("View", ae_title="VIEW1", host="192.168.1.30")
    assert devices.destination("VIEW1") is None
    elsewhere("View", port=11112, may_receive=True)
    found = devices.destination("VIEW1")
    assert found is not None
    assert (found.name, found.port) == ("View", 11112)


def test_images_go_to_devices_that_may_receive_and_have_a_port() -> None:
    admit("CT1", ae_title="CT1", port=104, may=["store"])
    view = admit("View", ae_title="VIEW1", host="192.168.1.30", port=11112, may=["receive"])
    assert devices.destination("VIEW1 ") == view
    assert devices.destination("CT1") is None
    assert devices.destination("NOBODY") is None


def test_two_destinations_cannot_have_the_same_ae_title() -> None:
    admit("View", ae_title="VIEW1", host="192.168.1.30", port=104)
    admit("View 2", ae_title="VIEW1", host="192.168.1.31", may=["query"])
    with pytest.raises(Refused, match=r"go to View at 192\.168\.1\.30 already"):
        admit("View 3", ae_title="VIEW1", host="192.168.1.32", port=104)


def test_without_a_word_a_device_may_receive_only_when_it_has_a_port() -> None:
    assert admit("A").may == ("store", "query", "retrieve")
    assert admit("B", ae_title="B", port=104).may == ("store", "query", "retrieve", "receive")
    assert admit("C", ae_title="C", may=[]).may == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ae_title": ""}, "no AE title"),
        ({"ae_title": "SEVENTEEN-LETTERS"}, "no AE title"),
        ({"ae_title": "A\\B"}, "no AE title"),
        ({"ae_title": "CTÉ"}, "no AE title"),
        ({"called_as": "A\nB"}, "no AE title"),
        ({"host": "ct1.example"}, r"write 192\.168\.1\.20"),
        ({"host": "192.168.1"}, r"write 192\.168\.1\.20"),
        ({"host": "192.168.1.20/24"}, r"write 192\.168\.1\.0/24 for the network or 192\.168\.1\.20"),
        ({"host": "192.168.1.0/24", "port": 104}, "the one address"),
        ({"port": 0}, "1 to 65535"),
        ({"port": 65536}, "1 to 65535"),
        ({"may": ["receive"]}, "needs the port"),
        ({"may": ["delete"]}, "no permission"),
        ({"passcode": "secret"}, "needs a user name"),
        ({"facility": "NOWHERE"}, r"no facility 'NOWHERE' \(known: MAIN\)"),
    ],
)
def test_it_refuses_what_cannot_be_and_says_what_would(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        admit(**changes)
    assert not Device.objects.exists()
    assert not Event.objects.exists()


def test_names_and_addresses_are_given_once() -> None:
    admit()
    with pytest.raises(Refused, match="device 'CT1' already"):
        admit(host="192.168.1.21")
    with pytest.raises(Refused, match=r"CT1 at 192\.168\.1\.20 is admitted already"):
        admit("Another", host="::ffff:192.168.1.20")
    with pytest.raises(Refused, match="1 to 64"):
        admit("  ")


def test_with_several_facilities_the_device_s_own_must_be_named() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    with pytest.raises(Refused, match="known: MAIN, NORTH"):
        admit()
    assert admit(facility="north").issuer == "NORTH"


def test_the_user_identity_is_verified_and_only_a_hash_is_kept() -> None:
    permit = admit(username="ct1", passcode="granary")
    assert devices.verify_identity(permit, "ct1", "granary")
    assert not devices.verify_identity(permit, "ct1", "Granary")
    assert not devices.verify_identity(permit, "ct2", "granary")
    assert not devices.verify_identity(permit, "ct1", "")
    assert "granary" not in Device.objects.get().passcode
    assert Device.objects.get().passcode not in repr(permit)


def test_a_user_name_without_passcode_must_be_presented_alone() -> None:
    permit = admit(username="ct1")
    assert devices.verify_identity(permit, "ct1", "")
    assert not devices.verify_identity(permit, "", "")
    assert devices.verify_identity(admit("B", ae_title="B"), "", "")


def test_every_change_is_in_the_audit_without_the_passcode() -> None:
    admit(username="ct1", passcode="granary")
    devices.knocked("CT1", "PACS", "192.168.1.20", reason="called-ae")
    devices.admit(devices.recent()[0], own_ae="HOZI", actor=ADMIN)
    devices.remove("CT1", actor=ADMIN)
    changes = Event.objects.filter(actor=ADMIN).order_by("pk")
    assert [change.action for change in changes] == ["C", "U", "D"]
    assert changes[1].detail["called_as"] == "PACS"
    assert not any("granary" in str(change.detail) or "argon2" in str(change.detail) for change in changes)


# Changing


def department(code: str, facility: str = "MAIN") -> None:
    Department.objects.create(facility=Facility.objects.get(code=facility), code=code, name=code.title())


def test_it_changes_what_is_named_and_nothing_else() -> None:
    before = admit(port=104, username="ct1", passcode="granary", called_as="PACS", may=["store"])
    after = devices.change("CT1", version=before.version, host="192.168.1.21", modality="ct", actor=ADMIN)
    assert (after.host, after.modality, after.version) == ("192.168.1.21", "CT", before.version + 1)
    assert (after.port, after.may, after.called_as, after.passcode) == (104, ("store",), "PACS", before.passcode)
    assert call(address="192.168.1.21") == after
    assert call() == NotRecognised("address")


def test_of_two_changes_at_the_same_time_the_second_is_not_written_over_the_first() -> None:
    seen = admit()
    devices.change("CT1", version=seen.version, host="192.168.1.21", actor=ADMIN)
    with pytest.raises(Changed, match="look at it again"):
        devices.change("CT1", version=seen.version, may=[], actor=ADMIN)
    assert devices.permit_by_name("CT1").may == ("store", "query", "retrieve")  # type: ignore[union-attr]
    # Whoever admits a knock of it has changed it, too.
    seen = devices.permit_by_name("CT1")  # type: ignore[assignment]
    devices.admit(knock("called-ae", called="PACS", address="192.168.1.21"), own_ae="HOZI", actor=ADMIN)
    with pytest.raises(Changed):
        devices.change("CT1", version=seen.version, may=[], actor=ADMIN)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ae_title": "A\\B"}, "ae_title"),
        ({"called_as": "A\\B"}, "called_as"),
        ({"host": "ct1"}, "host"),
        ({"host": "10.0.0.0/8"}, "host"),
        ({"port": 0}, "port"),
        ({"port": None}, "port"),
        ({"may": ["fly"]}, "may"),
        ({"modality": "C T!"}, "modality"),
        ({"department": "XRAY"}, "department"),
        ({"username": "", "passcode": "granary"}, "username"),
        ({"tls_subject": "x" * 257}, "tls_subject"),
    ],
)
def test_a_change_that_cannot_be_names_its_field_and_changes_nothing(changes: Any, field: str) -> None:
    before = admit(port=104)
    with pytest.raises(Refused) as refused:
        devices.change("CT1", actor=ADMIN, **changes)
    assert refused.value.field == field
    assert devices.permit_by_name("CT1") == before
    assert Event.objects.count() == 1


def test_the_audit_has_a_change_with_what_was_before() -> None:
    admit(port=104)
    devices.change("CT1", port=11112, may=["store"], actor=ADMIN)
    change = Event.objects.order_by("-pk")[0]
    assert (change.action, change.facility, change.detail["port"]) == ("U", "MAIN", 11112)
    assert change.detail["before"] == {"port": 104, "may": ["store", "query", "retrieve", "receive"]}


def test_a_passcode_goes_with_its_user_name() -> None:
    admit(username="ct1", passcode="granary")
    assert devices.change("CT1", username="", actor=ADMIN).passcode == ""
    with pytest.raises(NotThere, match="no device 'CT7'"):
        devices.change("CT7", username="", actor=ADMIN)


def test_a_device_belongs_to_a_department_of_its_facility() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    department("XRAY")
    department("WARD", "NORTH")
    assert admit(facility="MAIN", department="xray").department == "XRAY"
    assert call().department == "XRAY"  # type: ignore[union-attr]
    with pytest.raises(Refused, match=r"MAIN has no department 'WARD' \(known: XRAY\)"):
        devices.change("CT1", department="WARD", actor=ADMIN)
    moved = devices.change("CT1", facility="NORTH", actor=ADMIN)
    assert (moved.facility, moved.issuer, moved.department) == ("NORTH", "NORTH", "")
    assert devices.change("CT1", department="WARD", actor=ADMIN).department == "WARD"
    assert devices.change("CT1", department="", actor=ADMIN).department == ""


# Admitting who knocked


def knock(reason: str, called: str = "HOZI", address: str = "192.168.1.20", subject: str = "") -> Any:
    devices.knocked("CT1", called, address, subject, reason=reason)
    return devices.recent()[0]


def test_a_stranger_who_knocked_becomes_a_device_as_it_called() -> None:
    permit = devices.admit(knock("calling-ae", called="PACS", subject=SUBJECT), "CT1", own_ae="HOZI", actor=ADMIN)
    assert call(called="PACS", subject=SUBJECT) == permit
    assert call(called="PACS") == NotRecognised("certificate")
    assert devices.recent() == []


def test_a_stranger_who_called_the_right_name_has_no_second_one() -> None:
    assert devices.admit(knock("calling-ae"), "CT1", own_ae="HOZI", actor=ADMIN).called_as == ""


def test_a_stranger_without_a_name_is_called_by_its_ae_title() -> None:
    assert devices.admit(knock("calling-ae"), own_ae="HOZI", actor=ADMIN).name == "CT1"
    assert devices.recent() == []


def test_a_known_title_at_another_address_needs_a_name_to_tell_whether_it_moved() -> None:
    with pytest.raises(Refused, match="if it has moved"):
        devices.admit(knock("address"), own_ae="HOZI", actor=ADMIN)
    assert len(devices.recent()) == 1


def test_a_known_device_is_admitted_with_the_name_that_it_uses_for_the_archive() -> None:
    admit("All of the ward", host="192.168.1.0/24")
    scanner = admit("Scanner")
    devices.admit(knock("called-ae", called="PACS"), own_ae="HOZI", actor=ADMIN)
    assert devices.permit_by_name("Scanner") == call(called="PACS")
    assert scanner.name == "Scanner"
    assert call(called="PACS", address="192.168.1.99") == NotRecognised("called-ae")


def test_a_known_device_is_admitted_with_its_new_certificate() -> None:
    admit(tls_subject="CN=old")
    devices.admit(knock("certificate", subject=SUBJECT), own_ae="HOZI", actor=ADMIN)
    assert isinstance(call(subject=SUBJECT), Permit)
    assert call(subject="CN=old") == NotRecognised("certificate")


def test_calling_without_tls_cannot_be_admitted_where_a_certificate_is_demanded() -> None:
    admit(tls_subject=SUBJECT)
    with pytest.raises(Refused, match="must call over TLS"):
        devices.admit(knock("certificate"), own_ae="HOZI", actor=ADMIN)
    assert call() == NotRecognised("certificate")


def test_a_device_that_moved_keeps_what_it_may_do() -> None:
    before = admit(port=104)
    after = devices.admit(knock("address", address="192.168.1.99"), "CT1", own_ae="HOZI", actor=ADMIN)
    assert (after.host, after.may, after.port) == ("192.168.1.99", before.may, 104)
    assert call() == NotRecognised("address")


def test_another_device_with_the_same_ae_title_is_admitted_beside_the_first() -> None:
    first = admit()
    second = devices.admit(knock("address", address="192.168.1.99"), "CT1 upstairs", own_ae="HOZI", actor=ADMIN)
    assert call() == first
    assert call(address="192.168.1.99") == second


def test_a_knock_of_a_device_that_was_removed_meanwhile_is_refused() -> None:
    admit()
    old = knock("called-ae", called="PACS")
    devices.remove("CT1", actor=ADMIN)
    with pytest.raises(Refused, match="no admitted device any more"):
        devices.admit(old, own_ae="HOZI", actor=ADMIN)


def test_a_failed_admission_leaves_everything_as_it_was() -> None:
    admit("View", ae_title="CT1", host="192.168.1.30", port=104)
    stranger = knock("address", address="192.168.1.99")
    with pytest.raises(Refused, match="already"):
        devices.admit(stranger, "Other", own_ae="HOZI", port=104, actor=ADMIN)
    assert devices.recent() == [stranger]
    assert Device.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_threads_may_ask_at_once() -> None:
    permit = admit()
    answers: list[object] = []

    def ask() -> None:
        answers.extend(call() for _ in range(20))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    devices.forget()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [permit] * 80
