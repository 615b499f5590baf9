"""Tells Django that this room has tables."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The room `hozi.audit`."""

    name = "hozi.audit"
