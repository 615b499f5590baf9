"""The addresses below `/api/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, re_path
from django.views.generic import RedirectView
from ninja import NinjaAPI

from hozi.doors.api import (
    about,
    audit,
    choices,
    devices,
    door,
    emergencies,
    exceptions,
    people,
    places,
    reviews,
    roles,
    studies,
)
from hozi.doors.api.description import Description

APP_NAME = "api"


def addresses(call: Callable[[Any], object]) -> tuple[list[Any], str]:
    """Everything below `/api/`, to be included. ``call`` calls a device (C-ECHO) and says how that went."""
    api = made(call)
    describe = Description(api)
    return [
        path("", RedirectView.as_view(pattern_name="api:docs"), name="root"),
        path("docs", describe.page, name="docs"),
        path("openapi.json", describe.document, name="openapi"),
        path("", api.urls),
        re_path(r"^.*$", _nothing, name="nothing"),
    ], APP_NAME


def made(call: Callable[[Any], object]) -> NinjaAPI:
    """The API with all of its areas."""
    api = door.new()
    for area in (about, studies, exceptions, people, roles, reviews, emergencies, places, audit, choices):
        api.add_router("", area.area.router)
    api.add_router("", devices.routes(call))
    return api


def _nothing(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        {"detail": "There is nothing here; /api/docs says what there is", "field": "", "id": ""}, status=404
    )
