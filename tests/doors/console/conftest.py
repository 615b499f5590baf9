"""People in front of the console: Django's own client, with the whole of middleware, sessions and templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.people import ACCOUNTS, settle


@pytest.fixture
def signed_in(db: None) -> Callable[..., Client]:
    """Gives a client of somebody with a role: ``signed_in("radiologist", facility="ELSEWHERE")``.

    More for the grant: ``modality``, ``own_referrals``, ``deidentified``, ``department``; for the person:
    ``referring_names`` and ``username``.
    """

    def enter(
        role: str,
        facility: str | None = None,
        *,
        username: str = "",
        referring_names: tuple[str, ...] | None = None,
        **grant: object,
    ) -> Client:
        account = ACCOUNTS[role]
        if username:
            account = replace(account, username=username)
        if referring_names is not None:
            account = replace(account, referring_names=referring_names)
        person = get_user_model()._default_manager.get(pk=settle(account, facility=facility, **grant))
        client = Client()
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return enter


@pytest.fixture
def anybody(db: None) -> Client:
    """A client of somebody who is not signed in."""
    return Client()
