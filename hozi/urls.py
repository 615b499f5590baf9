"""Every address that Hozi answers over HTTP."""

from __future__ import annotations

from django.urls import include, path

from hozi.doors.http import health, pages

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("", include("hozi.doors.console.urls")),
]

handler400 = pages.bad_request
handler403 = pages.denied
handler404 = pages.not_there
handler500 = pages.broken
