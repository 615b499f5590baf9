"""Tells Django that this room has tables."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The room `hozi.accounts`."""

    name = "hozi.accounts"
