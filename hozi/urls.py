"""Every address that Hozi answers over HTTP."""

from __future__ import annotations

from django.urls import include, path

from hozi.doors.api import urls as api
from hozi.doors.dimse import liveness
from hozi.doors.http import health

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("api/", include(api.addresses(liveness.echo_now))),
    path("", include("hozi.doors.console.urls")),
]
