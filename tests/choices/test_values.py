"""Choices: the environment first, then what was chosen, then the default; every change kept, none overwritten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hozi.audit.models import Event
from hozi.choices import answers, values
from hozi.choices.declared import CHOICES, GROUPS, Choice
from hozi.choices.models import ChoiceValue
from hozi.core.errors import Changed, NotThere, Refused
from hozi.settings import HOZI, Settings

pytestmark = pytest.mark.django_db

ADMIN = "Alois Administrator"
DAYS = "accounts.inactive_days"
NAME = "console.hospital_name"


def choose(key: str, value: Any, version: int = 0, reason: str = "as agreed") -> values.Standing:
    return values.change(key, value, expected_version=version, reason=reason, actor=ADMIN)


def fix(monkeypatch: pytest.MonkeyPatch, **fixed: Any) -> None:
    """As if the environment had these settings when the process started."""
    monkeypatch.setattr(values, "HOZI", HOZI.model_copy(update=fixed))


def test_without_a_choice_the_default_of_the_setting_holds() -> None:
    for standing in values.listed():
        default = Settings.model_fields[standing.choice.setting].default
        assert (standing.value, standing.source, standing.version) == (default, "default", 0)
        assert values.get(standing.choice.key) == default


def test_what_is_chosen_holds_at_once_where_it_was_chosen() -> None:
    assert values.get(DAYS) == 90
    standing = choose(DAYS, "60")
    assert (standing.value, standing.source, standing.version, standing.by) == (60, "chosen", 1, ADMIN)
    assert values.get(DAYS) == 60
    assert values.standing(DAYS) == standing


def test_what_another_process_chose_holds_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    choose(DAYS, 60)
    with django_assert_num_queries(1):
        assert [values.get(DAYS) for _ in range(20)] == [60] * 20
        values.get(NAME)
    row = ChoiceValue.objects.get()
    ChoiceValue.objects.create(key=DAYS, version=2, value=30, at=row.at, by="Somebody")
    assert values.get(DAYS) == 60
    now = values.time.monotonic()
    monkeypatch.setattr(values.time, "monotonic", lambda: now + 2.0)
    assert values.get(DAYS) == 30


def test_the_environment_goes_before_what_was_chosen_and_cannot_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(DAYS, 60)
    fix(monkeypatch, inactive_days=45)
    assert values.get(DAYS) == 45
    standing = values.standing(DAYS)
    assert (standing.value, standing.source, standing.fixed) == (45, "environment", True)
    with pytest.raises(Refused, match="HOZI_INACTIVE_DAYS is set"):
        choose(DAYS, 30, version=1)
    with pytest.raises(Refused, match="HOZI_INACTIVE_DAYS is set"):
        values.undo(DAYS, expected_version=1, actor=ADMIN)


def test_a_variable_of_the_environment_is_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOZI_HOSPITAL_NAME", "Granary Hospital")
    started = Settings()  # type: ignore[call-arg]
    monkeypatch.setattr(values, "HOZI", started)
    assert values.standing(NAME).source == "environment"
    assert values.get("console.hospital_name") == "Granary Hospital"
    assert values.standing(DAYS).source == "default"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (DAYS, 0),
        (DAYS, 3651),
        (DAYS, "many"),
        (DAYS, 1.5),
        (DAYS, ""),
        (DAYS, [90]),
        ("accounts.session_hours", "nan"),
        ("accounts.session_hours", "inf"),
        ("accounts.session_hours", 0),
        ("accounts.password_min_length", 7),
        ("console.default_theme", "pink"),
        ("console.default_language", "EN"),
        (NAME, "x" * 65),
        (NAME, "Gra\nnary"),
        (NAME, "Granary\x1b[2J"),
        ("archive.max_results", -1),
    ],
)
def test_it_refuses_what_is_none_of_its_values(key: str, value: Any) -> None:
    with pytest.raises(Refused) as refusal:
        choose(key, value)
    assert refusal.value.field == "value"
    assert not ChoiceValue.objects.exists()
    assert not Event.objects.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    choice=st.sampled_from(CHOICES),
    value=st.one_of(
        st.none(), st.text(max_size=80), st.integers(-10, 10**6), st.floats(), st.booleans(), st.sampled_from(["dark"])
    ),
)
def test_whatever_is_written_is_refused_or_holds_within_its_bounds(choice: Choice, value: Any) -> None:
    ChoiceValue.objects.all().delete()
    values.forget()
    try:
        choose(choice.key, value)
    except Refused as refusal:
        assert refusal.field == "value"
        assert values.get(choice.key) == choice.default
        return
    held = values.get(choice.key)
    assert type(held) is type(choice.default)
    bounds = choice.bounds
    if isinstance(held, int | float):
        assert bounds.least is None or held >= bounds.least
        assert bounds.most is None or held <= bounds.most
    else:
        assert held.isprintable()
        assert bounds.longest is None or len(held) <= bounds.longest
        assert not choice.options or held in dict(choice.options)


def test_a_rule_of_access_changes_with_a_reason_only() -> None:
    with pytest.raises(Refused, match="say why") as refusal:
        choose(DAYS, 60, reason="  ")
    assert refusal.value.field == "reason"
    choose(NAME, "Granary", reason="")
    for reason in ("x" * 201, "a\nb"):
        with pytest.raises(Refused, match="reason"):
            choose(DAYS, 60, reason=reason)


def test_it_does_not_overwrite_what_somebody_else_chose() -> None:
    choose(DAYS, 60)
    with pytest.raises(Changed, match="Somebody else"):
        choose(DAYS, 30)
    assert values.get(DAYS) == 60


def test_every_change_stays_in_the_history_and_in_the_audit() -> None:
    choose(DAYS, 60, reason="policy of 2026")
    choose(DAYS, 30, version=1, reason="stricter")
    values.undo(DAYS, expected_version=2, actor="Rumbi Radiographer", address="10.0.0.9")
    told = [(past.version, past.before, past.after, past.by, past.reason) for past in values.history(DAYS)]
    assert told == [
        (3, 30, 60, "Rumbi Radiographer", "change 2 taken back"),
        (2, 60, 30, ADMIN, "stricter"),
        (1, None, 60, ADMIN, "policy of 2026"),
    ]
    assert values.get(DAYS) == 60
    last = Event.objects.order_by("-pk")[0]
    assert (last.actor, last.address, last.action) == ("Rumbi Radiographer", "10.0.0.9", "U")
    assert last.detail == {
        "type": "110129",
        "choice": DAYS,
        "from": 30,
        "to": 60,
        "reason": "change 2 taken back",
    }
    choose(NAME, "Granary")
    assert Event.objects.order_by("-pk")[0].detail["type"] == "110131"


def test_what_was_never_changed_has_no_history() -> None:
    choose(DAYS, 60)
    assert values.history(NAME) == []


def test_history_can_be_cut_and_still_says_what_was_before() -> None:
    for version, days in enumerate([10, 20, 30, 40]):
        choose(DAYS, days, version=version)
    assert [(past.before, past.after) for past in values.history(DAYS, most=2)] == [(30, 40), (20, 30)]


def test_the_first_change_taken_back_is_the_default_again() -> None:
    choose(DAYS, 60)
    standing = values.undo(DAYS, expected_version=1, actor=ADMIN)
    assert (standing.value, standing.source, standing.version) == (90, "default", 2)
    with pytest.raises(Refused, match="nothing to take back"):
        values.undo(NAME, expected_version=0, actor=ADMIN)


def test_an_undo_of_what_was_not_looked_at_is_refused() -> None:
    choose(DAYS, 60)
    choose(DAYS, 30, version=1)
    with pytest.raises(Changed):
        values.undo(DAYS, expected_version=1, actor=ADMIN)


def test_choosing_what_holds_already_writes_nothing() -> None:
    choose(DAYS, 60)
    assert choose(DAYS, "60", version=1).version == 1
    assert choose(NAME, None).version == 0
    assert Event.objects.count() == 1


def test_a_value_that_this_version_does_not_take_gives_way_to_the_default() -> None:
    row = choose(DAYS, 60)
    ChoiceValue.objects.create(key=DAYS, version=2, value=99999, at=row.at, by="A later version")
    ChoiceValue.objects.create(key="gone.choice", version=1, value=1, at=row.at, by="A later version")
    values.forget()
    assert values.get(DAYS) == 90
    assert values.standing(DAYS).source == "default"
    assert choose(DAYS, 60, version=2).value == 60


def test_every_choice_has_an_answer_of_the_right_type() -> None:
    choose("accounts.session_hours", "5")
    choose("accounts.emergency_minutes", 15)
    assert answers.session_length() == timedelta(hours=5)
    assert answers.emergency_length() == timedelta(minutes=15)
    assert (answers.password_min_length(), answers.inactive_days(), answers.review_grace_days()) == (12, 90, 14)
    assert (values.get("console.hospital_name"), values.get("console.support_contact"), answers.max_results()) == (
        "",
        "",
        5000,
    )
    assert (values.get("console.default_language"), values.get("console.default_theme"), answers.mfa_required()) == (
        "en",
        "auto",
        "admins",
    )


def test_what_is_no_choice_is_not_there() -> None:
    for act in (
        lambda: choose("no.such", 1),
        lambda: values.standing("no.such"),
        lambda: values.history("no.such"),
        lambda: values.undo("no.such", expected_version=0, actor=ADMIN),
    ):
        with pytest.raises(NotThere):
            act()
    with pytest.raises(KeyError):
        values.get("no.such")


def test_every_choice_is_explained_and_names_its_options() -> None:
    for choice in CHOICES:
        assert str(choice.label) and str(choice.help).endswith("."), choice.key
        assert choice.group in dict(GROUPS)
        assert (choice.kind == "one") == bool(choice.options), choice.key
        if choice.kind == "one":
            assert [value for value, _ in choice.options] == choice.takes.replace("`", "").split(", ")
