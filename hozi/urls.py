"""Every address that Hozi answers over HTTP."""

from __future__ import annotations

from django.urls import include, path

from hozi.doors.api import urls as api
from hozi.doors.dimse import liveness
from hozi.doors.http import health, pages

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("api/", include(api.addresses(liveness.echo_now))),
    path("", include("hozi.doors.console.urls")),
]

handler400 = pages.bad_request
handler403 = pages.denied
handler404 = pages.not_there
handler500 = pages.broken
