"""A token does what its person may and its scopes allow, from its networks, until its end; and is shown once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hozi.accounts import authorise, lifecycle, permissions, tokens
from hozi.accounts.authorise import Denied, Who
from hozi.accounts.models import Person, Token
from hozi.accounts.permissions import BY_KEY
from hozi.audit.models import Event
from hozi.core.errors import NotThere, Refused
from tests.accounts.conftest import Somebody, row

pytestmark = pytest.mark.django_db

HERE = "192.168.1.20"


@pytest.fixture
def ris(somebody: Somebody, north: str) -> Who:
    return somebody("ris", "radiographer", north)


def own(who: Who, **more: object) -> tokens.Made:
    assert who.person is not None
    return tokens.make(who, who.person, **{"name": "script", "scopes": ["read"], **more})  # type: ignore[arg-type]


def test_it_does_what_its_person_may_and_its_scopes_allow(ris: Who) -> None:
    made = own(ris, scopes=["read"])
    who = tokens.of_token(made.secret, HERE)
    assert who is not None
    assert (who.kind, who.actor, who.address, who.person) == ("token", "ris", HERE, ris.person)
    expected = permissions.of_token({"read"}) & ris.held[0].permissions
    assert who.held[0].permissions == expected
    assert who.held[0].scope == ris.held[0].scope
    assert authorise.may(who, "studies.find")
    assert not authorise.may(who, "studies.store")
    more = tokens.of_token(own(ris, scopes=["write", "read"]).secret, HERE)
    assert more is not None
    assert authorise.may(more, "studies.store")


def test_only_a_hash_of_it_is_kept_and_it_is_shown_once(ris: Who) -> None:
    made = own(ris)
    assert made.secret.startswith("hozi_")
    assert len(made.secret) >= 5 + 43
    assert made.begins == made.secret[:11]
    assert made.secret not in str(Token.objects.values().get())
    assert not any(made.secret in str(event.detail) for event in Event.objects.all())
    assert [kept.secret for kept in tokens.listed(ris, ris.person)] == [""]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("networks", "address", "works"),
    [
        ([], "203.0.113.5", True),
        (["192.168.1.0/24"], HERE, True),
        (["192.168.1.0/24"], "192.168.2.20", False),
        (["10.0.0.1", "192.168.1.20"], HERE, True),
        (["192.168.1.0/24"], "::ffff:192.168.1.20", True),
        (["192.168.1.0/24"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["192.168.1.0/24"], "", False),
        (["192.168.1.0/24"], "not an address", False),
    ],
)
def test_it_works_from_its_networks(ris: Who, networks: list[str], address: str, works: bool) -> None:
    made = own(ris, networks=networks)
    assert (tokens.of_token(made.secret, address) is not None) == works


def test_it_ends_with_its_time_or_when_it_is_ended(ris: Who) -> None:
    first, second = own(ris, days=1), own(ris, days=365)
    Token.objects.filter(pk=first.id).update(expires_at=timezone.now())
    assert tokens.of_token(first.secret, HERE) is None
    tokens.end(ris, second.id)
    assert tokens.of_token(second.secret, HERE) is None
    with pytest.raises(Refused, match="already"):
        tokens.end(ris, second.id)
    assert [made.works() for made in tokens.listed(ris, ris.person)] == [False, False]  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["suspended", "disabled", "invited"])
def test_it_is_dead_while_its_person_is_not_active(ris: Who, state: str) -> None:
    made = own(ris)
    Person.objects.filter(pk=ris.person).update(state=state, is_active=False)
    assert tokens.of_token(made.secret, HERE) is None


@pytest.mark.parametrize("secret", ["", "hozi_", "hozi_" + "x" * 43, "x" * 100_000, "\x00", "ü"])
def test_anything_else_is_nobody(ris: Who, secret: str) -> None:
    own(ris)
    assert tokens.of_token(secret, HERE) is None


def test_a_token_of_almost_the_right_letters_is_nobody(ris: Who) -> None:
    made = own(ris)
    last = "a" if made.secret[-1] != "a" else "b"
    for wrong in (made.secret[:-1] + last, made.secret.lower(), made.secret + "a", " " + made.secret):
        assert tokens.of_token(wrong, HERE) is None


def test_that_it_was_used_is_written_once_a_minute(ris: Who) -> None:
    made = own(ris)
    assert tokens.of_token(made.secret, HERE)
    first = Token.objects.get()
    assert (first.last_address, first.last_used_at is not None) == (HERE, True)
    assert row(ris).last_seen_at is not None
    assert tokens.of_token(made.secret, "10.9.9.9")
    assert Token.objects.get().last_address == HERE
    Token.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    assert tokens.of_token(made.secret, "10.9.9.9")
    assert Token.objects.get().last_address == "10.9.9.9"


def test_guesses_are_told_to_the_audit_at_a_bounded_rate(ris: Who) -> None:
    for number in range(200):
        tokens.of_token(f"hozi_{number}", f"203.0.113.{number % 50}")
    failed = Event.objects.filter(code="110114", outcome=4)
    assert 1 <= failed.count() <= 30
    assert {event.detail["with"] for event in failed} == {"token"}


def test_somebody_else_s_token_is_made_by_whoever_looks_after_them_and_may_as_much(
    ris: Who, local: Who, somebody: Somebody, south: str
) -> None:
    assert ris.person is not None
    made = tokens.make(local, ris.person, "gateway", scopes=["write"])
    assert made.made_by == "lindiwe"
    there = somebody("sipho", "radiographer", south)
    with pytest.raises(NotThere):
        tokens.make(local, there.person, "x", scopes=["read"])  # type: ignore[arg-type]
    with pytest.raises(Denied):
        tokens.make(there, ris.person, "x", scopes=["read"])
    with pytest.raises(Denied):
        tokens.end(there, made.id)
    with pytest.raises(Denied):
        tokens.listed(there, ris.person)
    with pytest.raises(NotThere):
        tokens.end(local, made.id + 99)
    tokens.end(local, made.id)


def test_a_token_cannot_make_a_token(ris: Who) -> None:
    who = tokens.of_token(own(ris, scopes=["read", "write", "admin"]).secret, HERE)
    assert who is not None
    with pytest.raises(Denied):
        own(who)


def test_a_token_gives_no_emergency_access(ris: Who) -> None:
    from hozi.accounts.models import EmergencyAccess

    now = timezone.now()
    EmergencyAccess.objects.create(
        person_id=ris.person, issuer="A", patient_id="1", reason="x", opened_at=now, until=now + timedelta(hours=1)
    )
    who = tokens.of_token(own(ris, scopes=["read", "write"]).secret, HERE)
    assert who is not None
    assert all(held.scope.patient is None for held in who.held)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"networks": ["here"]}, "networks"),
        ({"networks": [f"10.0.0.{n}" for n in range(21)]}, "networks"),
    ],
)
def test_wrong_input_is_said_beside_its_field(ris: Who, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        own(ris, **wrong)
    assert refused.value.field == field
    assert not Token.objects.exists()


def test_nobody_collects_tokens(ris: Who) -> None:
    for number in range(tokens.MOST):
        own(ris, name=f"token {number}")
    with pytest.raises(Refused, match="20 tokens"):
        own(ris)
    Token.objects.filter(name="token 3").update(expires_at=timezone.now())
    own(ris)


def test_every_permission_belongs_to_a_scope_of_tokens() -> None:
    assert permissions.of_token(set(tokens.SCOPES)) == frozenset(BY_KEY)
    assert permissions.of_token(set()) == frozenset()


def test_a_suspended_person_gets_no_token(ris: Who, admin: Who) -> None:
    lifecycle.suspend(admin, ris.person, "on leave")  # type: ignore[arg-type]
    with pytest.raises(Refused, match="not active"):
        tokens.make(admin, ris.person, "x", scopes=["read"])  # type: ignore[arg-type]
