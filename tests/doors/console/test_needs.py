"""Home says what needs whoever looks: only what is theirs, the worst first; and looks good when nothing does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hozi.accounts.authorise import Who, of_operator
from hozi.doors.console import needs
from hozi.doors.console.needs import Need

pytestmark = pytest.mark.django_db

NOW = timezone.now()
OLD = Need("soon", "2 accounts end this week.", "See them", "/a", NOW - timedelta(days=3))
YOUNG = Need("soon", "1 review is due.", "Decide", "/b", NOW)
WORST = Need("now", "The <disk> is full.", "Make room", "/c")
LEAST = Need("sometime", "The archive has no name.", "Give it one", "/d")


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No source of the areas, and none left behind."""
    monkeypatch.setattr(needs, "_sources", [])
    yield


def say(*found: Need) -> Callable[[Who], Iterable[Need]]:
    return lambda who: list(found)


def test_the_worst_comes_first_and_of_equals_the_oldest() -> None:
    needs.register("settings.see", say(LEAST, YOUNG))
    needs.register("system.see", say(OLD, WORST))
    assert needs.of(of_operator()) == [WORST, OLD, YOUNG, LEAST]


def test_only_those_are_asked_who_may_do_something_about_it(signed_in: Callable[..., Client]) -> None:
    needs.register("settings.change", say(LEAST))
    assert "The archive has no name." in signed_in("pacs_admin").get("/").content.decode()
    page = signed_in("radiologist").get("/").content.decode()
    assert "The archive has no name." not in page
    assert "Nothing needs you" in page


def test_a_source_is_given_who_asks_and_registered_twice_is_asked_once() -> None:
    asked = []

    def source(who: Who) -> list[Need]:
        asked.append(who.actor)
        return [WORST]

    for _ in range(2):
        needs.register("system.see", source)
    assert needs.of(of_operator("alois")) == [WORST]
    assert asked == ["alois"]


def test_a_source_that_breaks_is_told_and_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(who: Who) -> list[Need]:
        raise RuntimeError("no such table")

    needs.register("system.see", breaks)
    needs.register("system.see", say(LEAST))
    told, least = needs.of(of_operator())
    assert least == LEAST
    assert told.urgency == "now"
    assert "no such table" not in str(told.text)
    assert "no such table" in caplog.text


def test_a_permission_that_does_not_exist_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no permission"):
        needs.register("everything.see", say())


def test_home_shows_them_and_harmlessly(signed_in: Callable[..., Client]) -> None:
    needs.register("system.see", say(WORST, OLD))
    page = signed_in("pacs_admin").get("/").content.decode()
    assert "2 things need you" in page
    assert "The &lt;disk&gt; is full." in page
    assert page.index("The &lt;disk&gt;") < page.index("2 accounts end")
    assert '<a class="btn btn-sm" href="/c">Make room</a>' in page


def test_the_list_can_be_had_alone(signed_in: Callable[..., Client]) -> None:
    needs.register("system.see", say(WORST))
    part = signed_in("pacs_admin").get("/", headers={"HX-Request": "true"}).content.decode()
    assert "The &lt;disk&gt; is full." in part
    assert "<html" not in part


def test_home_is_for_those_who_are_signed_in(anybody: Client) -> None:
    assert anybody.get("/").status_code == 302
