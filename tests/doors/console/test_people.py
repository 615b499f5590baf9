"""People in the browser: who sees whom, how somebody comes in, what is shown once, what is refused beside its field."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hozi.accounts import authorise, invitations, lifecycle, profile, tokens
from hozi.accounts.lifecycle import Account
from hozi.facilities import places

pytestmark = pytest.mark.django_db

SignedIn = Callable[..., Client]
ROOT = authorise.of_operator("root")
LINK = re.compile(r"http://testserver/enter/([\w-]{43})/")


@pytest.fixture
def admin(signed_in: SignedIn) -> Client:
    return signed_in("pacs_admin")


@pytest.fixture
def asked(db: None) -> Account:
    return lifecycle.request(
        ROOT, full_name="Tendai <b>Moyo", username="tendai", role="radiographer", facility="MAIN", email="t@example.org"
    )


def state_of(account: Account) -> str:
    return profile.of(ROOT, account.id).state


def post(client: Client, url: str, **data: Any) -> Any:
    return client.post(url, data, follow=True)


def text(answer: Any) -> str:
    return str(answer.content.decode())


def sessions_of(client: Client) -> int:
    return len(profile.signed_in_at(ROOT, int(client.session["_auth_user_id"])))


def test_the_list_shows_who_is_there_and_hostile_names_are_only_text(admin: Client, asked: Account) -> None:
    page = text(admin.get("/people/"))
    assert "Tendai &lt;b&gt;Moyo" in page
    assert "<b>Moyo" not in page
    assert "Alois Administrator" in page
    assert "Tendai" not in text(admin.get("/people/?state=active"))
    assert "Tendai" in text(admin.get("/people/?text=TENDAI&role=&state=requested&facility=MAIN&sort=new"))
    for wrong in ("state=king", "after=1e9", "after=99999999999999999999", "sort=x", "facility=NOWHERE"):
        assert admin.get(f"/people/?{wrong}").status_code == 200


@pytest.mark.parametrize("role", ["radiologist", "referrer", "student", "records_officer", "ministry", "vendor"])
def test_one_who_may_not_see_people_sees_none(signed_in: SignedIn, asked: Account, role: str) -> None:
    client = signed_in(role)
    urls = [
        "/people/",
        "/people/waiting/",
        f"/people/{asked.id}/",
        f"/people/{asked.id}/change/",
        "/roles/",
        "/roles/matrix/",
    ]
    assert [client.get(url).status_code for url in urls] == [403] * len(urls)
    acts = [f"/people/{asked.id}/next/", f"/people/{asked.id}/end/disable/", f"/people/{asked.id}/role/", "/roles/new/"]
    assert [client.post(url, {"step": "admit"}).status_code for url in acts] == [403] * len(acts)
    assert state_of(asked) == "requested"


@pytest.mark.parametrize("role", ["it_support", "manager", "dpo"])
def test_one_who_only_sees_people_changes_nothing(signed_in: SignedIn, asked: Account, role: str) -> None:
    client = signed_in(role)
    page = text(client.get(f"/people/{asked.id}/"))
    assert "Tendai" in page
    assert "Approve only" not in page
    acts = ["next/", "end/disable/", "role/", "token/", "sign-out/", "change/"]
    answers = [client.post(f"/people/{asked.id}/{act}", {"step": "admit", "reason": "x"}) for act in acts]
    assert [answer.status_code for answer in answers] == [403] * len(acts)
    assert state_of(asked) == "requested"


def test_somebody_of_another_facility_is_not_there(signed_in: SignedIn, asked: Account) -> None:
    client = signed_in("pacs_admin", facility="ELSEWHERE")
    assert "Tendai" not in text(client.get("/people/"))
    for url in (f"/people/{asked.id}/", f"/people/{asked.id}/change/", f"/people/{asked.id}/end/disable/"):
        assert client.get(url).status_code == client.get(url.replace(str(asked.id), "99999")).status_code == 404
    assert client.post(f"/people/{asked.id}/next/", {"step": "admit"}).status_code == 404
    assert state_of(asked) == "requested"


def test_somebody_is_asked_for_admitted_and_comes_in(signed_in: SignedIn, admin: Client, anybody: Client) -> None:
    manager = signed_in("manager")
    page = post(manager, "/people/new/", full_name="Sihle Ncube", role="radiographer", facility="MAIN")
    assert "Sihle Ncube is asked for" in text(page)
    [waits] = admin.get("/people/waiting/").context["waiting"]
    page = post(admin, f"/people/{waits.id}/next/", step="admit", version=1)
    [secret] = set(LINK.findall(text(page)))
    assert "not shown again" in text(page)
    assert not LINK.search(text(admin.get(f"/people/{waits.id}/")))
    welcome = anybody.post(f"/enter/{secret}/", {"password": "a long quiet sentence", "again": "a long quiet sentence"})
    assert (welcome.status_code in (302, 303), welcome.headers["Location"]) == (True, "/")
    assert anybody.get("/me/").status_code == 200
    assert "sihle.ncube" in text(anybody.get("/me/"))
    assert "You may not do this" in text(anybody.get("/people/"))


def test_a_secret_is_shown_to_whoever_made_it_only(signed_in: SignedIn, admin: Client, asked: Account) -> None:
    answer = admin.post(f"/people/{asked.id}/next/", {"step": "admit"})
    cookie = answer.cookies["hozi_once"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    other = signed_in("pacs_admin", username="beauty")
    other.cookies["hozi_once"] = cookie.value
    assert not LINK.search(text(other.get(f"/people/{asked.id}/")))
    for client_side in ("", "rubbish", cookie.value[:-3] + "AAA"):
        other.cookies["hozi_once"] = client_side
        assert other.get(f"/people/{asked.id}/").status_code == 200
    assert LINK.search(text(admin.get(f"/people/{asked.id}/")))


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(admin: Client) -> None:
    typed = {"full_name": "Sihle", "role": "student", "email": "no address", "note": "kept"}
    page = admin.post("/people/new/", typed)
    assert set(page.context["form"].errors) == {"ends_on"}
    assert "kept" in text(page)
    page = admin.post("/people/new/", {**typed, "role": "manager"})
    assert page.context["form"].errors == {"email": ["That is no e-mail address"]}
    page = admin.post("/people/new/", {"full_name": "", "role": "king", "is_admin": "1", "state": "active"})
    assert set(page.context["form"].errors) == {"full_name", "role"}


def test_a37_nothing_but_the_form_s_fields_gets_in(admin: Client) -> None:
    post(
        admin, "/people/new/", full_name="Sihle Ncube", role="manager", state="active", is_active="1", approved_by="me"
    )
    person = get_user_model()._default_manager.get(username="sihle.ncube")
    assert (person.state, person.is_active, person.approved_by) == ("requested", False, "")  # type: ignore[attr-defined]


def test_several_are_admitted_at_once_and_the_rest_says_why_not(signed_in: SignedIn, asked: Account) -> None:
    admin, other = signed_in("pacs_admin"), signed_in("pacs_admin", username="beauty")
    post(other, "/people/new/", full_name="Sihle Ncube", role="manager")
    mine = post(admin, "/people/new/", full_name="Zodwa Dube", role="manager").context["person"]
    numbers = [one.id for one in admin.get("/people/waiting/").context["waiting"]]
    page = admin.post("/people/waiting/", {"person": [*numbers, "x", "999999"]})
    assert len(set(LINK.findall(text(page)))) == 2
    assert "You asked for this account" in text(page)
    assert state_of(asked) == "invited"
    assert profile.of(ROOT, mine.id).state == "requested"


def test_suspending_needs_a_reason_and_signs_out(signed_in: SignedIn, admin: Client) -> None:
    rumbi = signed_in("radiographer")
    rumbi.get("/")
    number = int(rumbi.session["_auth_user_id"])
    page = admin.post(f"/people/{number}/end/suspend/", {"version": 1, "reason": " "})
    assert "reason" in page.context["form"].errors
    page = post(admin, f"/people/{number}/end/suspend/", version=1, reason="on <leave>")
    assert "on &lt;leave&gt;" in text(page)
    assert rumbi.get("/").status_code == 302
    assert admin.get(f"/people/{number}/end/promote/").status_code == 404
    page = post(admin, f"/people/{number}/next/", step="reactivate", version=2)
    assert profile.of(ROOT, number).state == "active"


def test_two_who_act_at_once_do_not_overwrite_each_other(admin: Client, asked: Account) -> None:
    first = admin.get(f"/people/{asked.id}/change/").context["form"]
    data = {**{name: first[name].value() or "" for name in first.fields}, "phone": "0771234567"}
    data.pop("never_idle")
    assert admin.post(f"/people/{asked.id}/change/", data).status_code == 303
    page = admin.post(f"/people/{asked.id}/change/", {**data, "phone": "0779999999"})
    assert "Somebody else has changed this account" in text(page)
    assert "0779999999" in text(page)
    assert profile.of(ROOT, asked.id).phone == "0771234567"
    page = post(admin, f"/people/{asked.id}/next/", step="approve", version=1)
    assert "Somebody else has changed this account" in text(page)


def test_a_role_is_given_and_taken(signed_in: SignedIn, admin: Client) -> None:
    number = int(signed_in("radiographer").session["_auth_user_id"])
    page = post(admin, f"/people/{number}/role/", role="radiologist", where="MAIN", modality="CT")
    [given] = [one for one in page.context["person"].held if one.role == "radiologist"]
    assert (given.facility, given.modality) == ("MAIN", "CT")
    page = post(admin, f"/people/{number}/role/{given.id}/end/")
    assert "To undo that, give it again" in text(page)
    assert [one.role for one in page.context["person"].ended] == ["radiologist"]
    page = admin.post(f"/people/{number}/role/", {"role": "student", "where": "MAIN"})
    assert "ends_on" not in page.context["form"].errors or page.status_code == 200
    assert admin.post(f"/people/{number}/role/999999/end/").status_code == 404


def test_a37_nobody_gives_themselves_a_role(admin: Client) -> None:
    number = int(admin.session["_auth_user_id"])
    page = admin.post(f"/people/{number}/role/", {"role": "radiologist", "where": ""})
    assert "Nobody may give themselves a role" in text(page)
    assert "Give a role" not in text(admin.get(f"/people/{number}/"))


def test_a37_a_local_administrator_cannot_give_a_role_everywhere(signed_in: SignedIn) -> None:
    local = signed_in("pacs_admin", facility="ELSEWHERE")
    number = int(signed_in("radiographer", facility="ELSEWHERE").session["_auth_user_id"])
    for where in ("", "MAIN"):
        page = local.post(f"/people/{number}/role/", {"role": "pacs_admin", "where": where})
        assert "where" in page.context["form"].errors
    assert local.post("/roles/new/", {"key": "mine", "name": "Mine"}).status_code == 200
    assert len(profile.of(ROOT, number).held) == 1


def test_a_token_is_shown_once_and_ended(signed_in: SignedIn, admin: Client) -> None:
    number = int(signed_in("service").session["_auth_user_id"])
    page = post(admin, f"/people/{number}/token/", name="RIS", scopes=["read"], days=30, networks="10.0.0.0/8\n")
    [secret] = set(re.findall(r"hozi_[\w-]{43}", text(page)))
    assert tokens.of_token(secret, "10.0.0.1") is not None
    assert secret not in text(admin.get(f"/people/{number}/"))
    page = admin.post(f"/people/{number}/token/", {"name": "RIS", "scopes": ["read"], "days": 30, "networks": "here"})
    assert "networks" in page.context["form"].errors
    [made] = tokens.listed(ROOT, number)
    post(admin, f"/people/{number}/token/{made.id}/end/")
    assert tokens.of_token(secret, "10.0.0.1") is None


def test_a_class_comes_in_from_a_table(admin: Client) -> None:
    last = timezone.localdate() + timedelta(days=200)
    file = SimpleUploadedFile("class.csv", f"full_name,role,ends_on\nTendai Moyo,student,{last}\n".encode())
    page = admin.post("/people/table/", {"file": file})
    assert "1 person would come in" in text(page)
    send = {"once": page.context["once"], "text": page.context["text"]}
    page = admin.post("/people/table/", send)
    [secret] = set(LINK.findall(text(page)))
    assert invitations.look(secret) is not None
    assert "sent already" in text(post(admin, "/people/table/", **send))
    assert get_user_model()._default_manager.filter(username__startswith="tendai").count() == 1


def test_the_links_of_a_class_can_be_saved(admin: Client) -> None:
    file = SimpleUploadedFile("class.csv", b"full_name,role\n=HYPERLINK(1),manager\nSihle Ncube,manager\n")
    page = admin.post("/people/table/", {"file": file})
    answer = admin.post("/people/table/", {"once": page.context["once"], "text": page.context["text"], "as": "file"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="links.csv"'
    assert len(LINK.findall(text(answer))) == 2
    assert "\n'=HYPERLINK" in text(answer)


def test_a_table_with_mistakes_says_them_and_lets_nobody_in(admin: Client) -> None:
    before = get_user_model()._default_manager.count()
    file = SimpleUploadedFile("class.csv", b"full_name,role\nTendai Moyo,student\n<script>,king\n")
    page = admin.post("/people/table/", {"file": file})
    assert "needs a last day" in text(page)
    assert 'name="once"' not in text(page)
    for data in (b"", b"\x00\x01\x02\x00", b"x" * 100):
        page = admin.post("/people/table/", {"file": SimpleUploadedFile("x.csv", data)})
        assert page.context["form"].errors
    page = post(admin, "/people/table/", once="guess", text="full_name,role\nTendai Moyo,manager\n")
    assert get_user_model()._default_manager.count() == before
    assert admin.get("/people/table/example/").content.startswith(b"\xef\xbb\xbffull_name,")


def test_roles_are_shown_changed_and_made(admin: Client, signed_in: SignedIn) -> None:
    assert "Radiologist" in text(admin.get("/roles/"))
    form = admin.get("/roles/manager/").context["form"]
    data = {**form.initial, "permissions": ["totals.see"]}
    data = {key: value for key, value in data.items() if value is not False}
    assert "counts at once" in text(post(admin, "/roles/manager/", **data))
    page = admin.post("/roles/manager/", data)
    assert "Somebody else has changed this role" in text(page)
    page = post(
        admin, "/roles/new/?like=radiologist", key="night_reader", name="Night reader", permissions=["studies.open"]
    )
    assert "Night reader" in text(page)
    page = post(admin, "/roles/night_reader/remove/", version=1)
    assert "The role is removed" in text(page)
    assert admin.get("/roles/night_reader/").status_code == 404
    page = admin.post("/roles/new/", {"key": "BAD KEY", "name": "x", "permissions": ["studies.receive"]})
    assert page.context["form"].errors
    dpo = signed_in("dpo")
    assert "disabled" in text(dpo.get("/roles/manager/"))
    assert dpo.post("/roles/manager/", data).status_code == 403


def test_the_matrix_is_there_for_eyes_and_for_spreadsheets(signed_in: SignedIn) -> None:
    dpo = signed_in("dpo")
    assert "Open images and reports" in text(dpo.get("/roles/matrix/"))
    answer = dpo.get("/roles/matrix/csv/")
    lines = text(answer).lstrip("\ufeff").splitlines()
    assert lines[0].startswith("permission,meaning,")
    assert any(line.startswith("studies.open,") for line in lines)


def test_everybody_sees_their_own_account_and_nobody_else_s(signed_in: SignedIn) -> None:
    student, other = signed_in("student"), signed_in("student", username="other")
    for client in (student, other):
        client.get("/")
    page = text(student.get("/me/"))
    assert "Sihle Student" in page
    assert "This one" in page
    assert 'name="session"' not in page
    second = Client()
    second.force_login(
        get_user_model()._default_manager.get(pk=student.session["_auth_user_id"]),
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    second.get("/")
    assert sessions_of(student) == 2
    others = [one.id for one in profile.signed_in_at(ROOT, int(other.session["_auth_user_id"]))]
    assert student.post("/me/sign-out/", {"session": others[0]}).status_code == 404
    post(student, "/me/sign-out/")
    assert sessions_of(student) == 1
    assert second.get("/me/").status_code == 302
    assert student.get("/me/").status_code == 200


def test_people_make_tokens_of_their_own_and_end_only_those(signed_in: SignedIn) -> None:
    reader, other = signed_in("radiologist"), signed_in("radiologist", username="other")
    page = post(reader, "/me/token/", name="my script", scopes=["read"], days=30)
    [secret] = set(re.findall(r"hozi_[\w-]{43}", text(page)))
    assert tokens.of_token(secret, "10.0.0.1") is not None
    [made] = tokens.listed(ROOT, int(reader.session["_auth_user_id"]))
    assert other.post(f"/me/token/{made.id}/end/").status_code == 404
    post(reader, f"/me/token/{made.id}/end/")
    assert tokens.of_token(secret, "10.0.0.1") is None


def test_language_and_look_are_kept(signed_in: SignedIn) -> None:
    reader = signed_in("radiologist")
    post(reader, "/me/choices/", language="sn", theme="dark")
    page = reader.get("/me/")
    assert (page.context["person"].language, page.context["person"].theme) == ("sn", "dark")
    post(reader, "/me/choices/", language="tlh", theme="dark")
    assert reader.get("/me/").context["person"].language == "sn"


def test_home_says_who_waits(admin: Client, asked: Account) -> None:
    home = admin.get("/")
    assert "1 person waits for an account" in text(home)
    [need] = [need for need in home.context["needs"] if "waits for an account" in str(need.text)]
    assert need.since <= timezone.now(), "since the request, not until it is due"
    get_user_model()._default_manager.filter(pk=asked.id).update(requested_at=timezone.now() - timedelta(hours=25))
    assert "1 for more than 24 hours" in text(admin.get("/"))


def test_no_page_about_people_asks_the_database_more_with_more_people(admin: Client, asked: Account) -> None:
    def statements() -> list[int]:
        counts = []
        for url in ("/people/", "/people/waiting/", "/roles/", f"/people/{asked.id}/"):
            with CaptureQueriesContext(connection) as queries:
                assert admin.get(url).status_code == 200
            counts.append(len(queries))
        return counts

    places.add("NORTH", "North", actor="test")
    statements()
    before = statements()
    for number in range(60):
        lifecycle.request(ROOT, full_name=f"Person {number:03}", facility="NORTH", role="manager")
    assert statements() == before
    first = admin.get("/people/")
    assert "Person 000" in text(first)
    assert "Person 059" not in text(first)
    assert "Person 059" in text(admin.get(f"/people/?{first.context['more']}"))


def test_a36_a_link_that_was_used_while_somebody_typed_is_not_there(
    admin: Client, asked: Account, anybody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    [secret] = set(LINK.findall(text(post(admin, f"/people/{asked.id}/next/", step="admit"))))
    assert anybody.get(f"/enter/{secret}/").status_code == 200
    link = invitations.look(secret)
    invitations.accept(token=secret, password="the first one who clicked")
    # The page looked before, and sends after.
    monkeypatch.setattr(invitations, "look", lambda *_: link)
    typed = {"password": "the second one who clicked", "again": "the second one who clicked"}
    assert anybody.post(f"/enter/{secret}/", typed).status_code == 404
    assert anybody.get("/me/").status_code == 302
