"""Templates, template tags and static files of the console."""

from django.apps import AppConfig


class Console(AppConfig):
    """No tables: what the console shows belongs to the rooms."""

    name = "hozi.doors.console"
    label = "console"
