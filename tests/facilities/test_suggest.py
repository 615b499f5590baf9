"""Who knocked is explained in words, and one click admits what it probably is."""

from __future__ import annotations

from typing import Any

import pytest

from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused
from hozi.facilities import devices, knocks, places
from hozi.facilities.devices import MAY, Permit
from hozi.facilities.models import Knock
from hozi.facilities.suggest import accept, modality_of, suggest, why

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"


def knock(
    reason: str, calling: str = "CT1", called: str = "HOZI", address: str = "192.168.1.20", subject: str = ""
) -> Knock:
    devices.knocked(calling, called, address, subject, reason=reason)
    return devices.recent()[0]


def admit(name: str = "CT1", **changes: Any) -> Permit:
    return devices.add(name, **{"ae_title": "CT1", "host": "192.168.1.20", "actor": ADMIN, **changes})


@pytest.mark.parametrize(
    ("reason", "subject", "sentence"),
    [
        ("calling-ae", "", "CT1 is not admitted."),
        ("address", "", "CT1 is admitted at another address, but called from 192.168.1.20."),
        ("called-ae", "", "CT1 calls this archive HOZI1; its name is HOZI."),
        ("certificate", "CN=new", "CT1 showed a certificate that is not the one that was admitted."),
        ("certificate", "", "CT1 must call over TLS and did not."),
    ],
)
def test_it_says_in_words_why_somebody_was_refused(reason: str, subject: str, sentence: str) -> None:
    told = why(knock(reason, called="HOZI1", subject=subject), "HOZI")
    assert told.sentence == sentence
    assert told.advice
    assert told.technical.startswith("A-ASSOCIATE-RJ 1/1/7" if reason == "called-ae" else "A-ASSOCIATE-RJ 1/1/3")


def test_what_a_stranger_calls_itself_is_shown_as_it_is() -> None:
    told = why(knock("calling-ae", calling="%(own)s%s<b>"), "HOZI")
    assert told.sentence == "%(own)s%s<b> is not admitted."


@pytest.mark.parametrize(
    ("ae_title", "modality"),
    [
        ("CT1", "CT"),
        ("SIEMENS_CT_02", "CT"),
        ("MRI3T", ""),
        ("MRI1", "MR"),
        ("ultrasound-2", "US"),
        ("ECHO1", "US"),
        ("XRAYROOM1", "DX"),
        ("MAMMO", "MG"),
        ("C-ARM", ""),
        ("ACTION", ""),
        ("DIRECTOR", ""),
        ("", ""),
    ],
)
def test_the_modality_is_guessed_from_whole_words_of_the_ae_title(ae_title: str, modality: str) -> None:
    assert modality_of(ae_title) == modality


def test_one_click_admits_a_stranger_as_what_it_seems_to_be() -> None:
    stranger = knock("calling-ae", "CT2", "PACS")
    [suggestion] = suggest(stranger)
    assert (suggestion.kind, suggestion.modality, suggestion.facility) == ("new", "CT", "MAIN")
    permit = accept(stranger, suggestion, own_ae="HOZI", actor=ADMIN)
    assert (permit.name, permit.may, permit.modality, permit.called_as) == ("CT2", MAY[:3], "CT", "PACS")
    assert devices.recent() == []


def test_a_viewer_is_not_suggested_to_bring_images() -> None:
    [suggestion] = suggest(knock("calling-ae", "VIEWER2"))
    assert suggestion.may == ("query", "retrieve")


def test_with_several_facilities_the_neighbours_say_to_which_it_belongs() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    assert suggest(knock("calling-ae", "CT2"))[0].facility == ""
    with pytest.raises(Refused, match="to which facility"):
        accept(knock("calling-ae", "CT2"), suggest(knock("calling-ae", "CT2"))[0], own_ae="HOZI", actor=ADMIN)
    admit("MR1", ae_title="MR1", host="192.168.1.77", facility="NORTH")
    assert suggest(knock("calling-ae", "CT2"))[0].facility == "NORTH"
    assert suggest(knock("calling-ae", "CT2"), within={"MAIN"})[0].facility == "MAIN"
    admit("US1", ae_title="US1", host="192.168.1.78", facility="MAIN")
    assert suggest(knock("calling-ae", "CT2"))[0].facility == ""


def test_a_known_title_elsewhere_has_moved_or_is_another_device() -> None:
    admit(host="192.168.1.5", may=["store"])
    stranger = knock("address")
    moved, other = suggest(stranger)
    assert (moved.kind, moved.name, moved.host, moved.may) == ("moved", "CT1", "192.168.1.20", ("store",))
    assert (other.kind, other.name) == ("new", "CT1 2")
    assert accept(stranger, moved, own_ae="HOZI", actor=ADMIN).host == "192.168.1.20"
    assert accept(knock("address", address="192.168.1.9"), other, own_ae="HOZI", actor=ADMIN).name == "CT1 2"


def test_a_known_device_is_admitted_with_another_name_or_certificate() -> None:
    admit(tls_subject="CN=old")
    [renamed] = suggest(knock("called-ae", called="PACS"))
    assert accept(knock("called-ae", called="PACS"), renamed, own_ae="HOZI", actor=ADMIN).called_as == "PACS"
    [again] = suggest(knock("certificate", subject="CN=new"))
    assert accept(knock("certificate", subject="CN=new"), again, own_ae="HOZI", actor=ADMIN).tls_subject == "CN=new"
    assert suggest(knock("certificate")) == ()


def test_who_looks_after_another_facility_is_not_offered_its_devices() -> None:
    places.add("NORTH", "North Clinic", actor=ADMIN)
    admit(host="192.168.1.5", facility="MAIN")
    assert [one.kind for one in suggest(knock("address"), within={"NORTH"})] == ["new"]
    assert suggest(knock("called-ae", called="PACS", address="192.168.1.5"), within={"NORTH"}) == ()


def test_a_dismissed_knock_is_gone_until_it_comes_again_and_the_audit_has_it() -> None:
    stranger = knock("calling-ae", "CT2")
    knocks.dismiss(stranger.pk, actor=ADMIN, address="10.0.0.1")
    assert devices.recent() == []
    event = Event.objects.order_by("-pk")[0]
    assert (event.actor, event.action, event.address, event.detail["dismissed"]) == (ADMIN, "D", "10.0.0.1", "CT2")
    with pytest.raises(NotThere):
        knocks.dismiss(stranger.pk, actor=ADMIN)
    assert knock("calling-ae", "CT2").count == 1
