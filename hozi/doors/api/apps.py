"""Tells Django that this door has templates."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The door `hozi.doors.api`."""

    name = "hozi.doors.api"
    label = "api"
