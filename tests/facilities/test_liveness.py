"""A device that fails twice is down, one that answers is up, and the past that is kept is short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.facilities import devices, liveness
from hozi.facilities.liveness import Echo
from hozi.facilities.models import Liveness

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _device() -> None:
    devices.add("CT1", ae_title="CT1", host="192.168.1.20", port=104, actor="Alois Administrator")


def echoes(*answers: bool) -> liveness.Alive:
    """The device is called each five minutes and answers, or not."""
    state = None
    for number, ok in enumerate(answers):
        at = START + timedelta(minutes=5 * number)
        state = liveness.note("CT1", Echo(at, ok, "it answers" if ok else "it does not", "", "", 12 if ok else None))
    assert state is not None
    return state


def test_a_device_that_was_never_called_has_no_state() -> None:
    assert liveness.of("CT1") is None
    assert liveness.standing() == {}


@pytest.mark.parametrize(
    ("answers", "state", "since_minute"),
    [
        ([True], "up", 0),
        ([False], "unsteady", None),
        ([False, False], "down", 0),
        ([True, False], "unsteady", 0),
        ([True, False, True], "up", 0),
        ([True, False, False], "down", 5),
        ([True, False, False, False], "down", 5),
        ([True, False, False, True], "up", 15),
        ([False, True], "up", 5),
    ],
)
def test_one_failure_makes_it_unsteady_and_two_make_it_down(
    answers: list[bool], state: str, since_minute: int | None
) -> None:
    alive = echoes(*answers)
    since = None if since_minute is None else START + timedelta(minutes=since_minute)
    assert (alive.state, alive.since) == (state, since)


def test_it_keeps_what_was_said_and_how_long_it_took() -> None:
    alive = echoes(True, False)
    assert alive.last == Echo(START + timedelta(minutes=5), False, "it does not")
    assert [taken for _, taken in alive.history] == [12, None]
    assert liveness.of("CT1") == alive
    assert liveness.standing() == {"CT1": alive}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answers=st.lists(st.booleans(), min_size=1, max_size=60))
def test_however_it_answers_the_state_fits_the_last_answers(answers: list[bool]) -> None:
    Liveness.objects.all().delete()
    alive = echoes(*answers)
    assert len(alive.history) == min(len(answers), liveness.KEPT)
    assert (alive.state == "down") == (answers[-2:] == [False, False])
    assert (alive.state == "up") == answers[-1]


@pytest.mark.parametrize("change", [{"port": 105}, {"host": "192.168.1.21"}, {"ae_title": "CT2"}])
def test_what_was_known_of_another_address_holds_no_more(change: dict[str, object]) -> None:
    echoes(False, False)
    devices.change("CT1", may=["store"], actor="Alois Administrator")
    assert liveness.of("CT1") is not None
    devices.change("CT1", actor="Alois Administrator", **change)  # type: ignore[arg-type]
    assert liveness.of("CT1") is None


def test_a_removed_device_is_forgotten() -> None:
    echoes(False, False)
    devices.remove("CT1", actor="Alois Administrator")
    assert liveness.note("CT1", Echo(START, True, "")) is None
    assert liveness.standing() == {}
