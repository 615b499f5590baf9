"""Tells Django that this room has tables."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    """The room `hozi.archive`."""

    name = "hozi.archive"
