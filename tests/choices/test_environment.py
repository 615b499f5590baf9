"""Settings can be looked at, and nobody reads a secret in them."""

from __future__ import annotations

from hozi.choices.declared import CHOICES
from hozi.choices.environment import masked, shown
from hozi.settings import Settings


def test_every_setting_is_shown_with_its_meaning() -> None:
    rows = shown()
    assert [row.variable for row in rows] == [f"HOZI_{name.upper()}" for name in Settings.model_fields]
    assert all(row.description and row.takes for row in rows)
    assert {row.choice for row in rows} - {""} == {choice.key for choice in CHOICES}


def test_it_says_where_a_value_comes_from() -> None:
    settings = Settings(ae_title="GRANARY", database_url="postgresql://hozi:granary-7@db/hozi")  # type: ignore[call-arg]
    rows = {row.variable: row for row in shown(settings)}
    assert (rows["HOZI_AE_TITLE"].value, rows["HOZI_AE_TITLE"].source) == ("GRANARY", "environment")
    assert rows["HOZI_AE_TITLE"].default == "HOZI"
    assert rows["HOZI_MAX_PDU"].source == "default"
    assert not any("granary-7" in str(row) for row in rows.values())
    assert rows["HOZI_DATABASE_URL"].value == "postgresql://hozi:•••@db/hozi"


def test_passwords_are_masked_wherever_they_stand() -> None:
    assert masked("database_url", "postgresql://h/db?password=granary-7&sslmode=require") == (
        "postgresql://h/db?password=•••&sslmode=require"
    )
    assert masked("database_url", "postgresql://hozi:p:q%40r@h/db") == "postgresql://hozi:•••@h/db"
    assert masked("ldap_password", "granary-7") == "•••"
    assert masked("oidc_secret", "granary-7") == "•••"
    assert masked("ldap_password", "") == ""
    assert masked("database_url", "sqlite:////srv/hozi.sqlite3") == "sqlite:////srv/hozi.sqlite3"
    assert masked("tls_key", None) == ""


def test_what_was_chosen_is_shown_where_the_environment_says_nothing() -> None:
    rows = {row.variable: row for row in shown(chosen={"accounts.inactive_days": 60})}
    assert (rows["HOZI_INACTIVE_DAYS"].value, rows["HOZI_INACTIVE_DAYS"].default) == ("60", "90")
    assert rows["HOZI_IDLE_SECONDS"].value == rows["HOZI_IDLE_SECONDS"].default == "600"
