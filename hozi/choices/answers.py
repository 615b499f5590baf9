"""What was chosen, each as one question with a typed answer: for the rooms and doors that go by it."""

from __future__ import annotations

from datetime import timedelta

from hozi.choices.values import get


def session_length() -> timedelta:
    """How long a session lasts at most."""
    return timedelta(hours=int(get("accounts.session_hours")))


def password_min_length() -> int:
    """How many characters a password has at least."""
    return int(get("accounts.password_min_length"))


def mfa_required() -> str:
    """Who needs a second factor: none, admins or all."""
    return str(get("accounts.mfa_required"))


def inactive_days() -> int:
    """After how many days without use an account is disabled."""
    return int(get("accounts.inactive_days"))


def review_grace_days() -> int:
    """How many days after the end of an access review whoever was not attested is suspended."""
    return int(get("accounts.review_grace_days"))


def emergency_length() -> timedelta:
    """How long emergency access lasts."""
    return timedelta(minutes=int(get("accounts.emergency_minutes")))


def max_results() -> int:
    """How many answers one query gets at most."""
    return int(get("archive.max_results"))
