"""Tells Django that this room has tables."""

from django.apps import AppConfig


class FacilitiesConfig(AppConfig):
    """The room `hozi.facilities`."""

    name = "hozi.facilities"
