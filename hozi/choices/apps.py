"""Tells Django that this room has tables."""

from django.apps import AppConfig


class ChoicesConfig(AppConfig):
    """The room `hozi.choices`."""

    name = "hozi.choices"
