"""Every address that Hozi answers over HTTP."""

from __future__ import annotations

from django.urls import include, path

from hozi.doors.http import health

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("", include("hozi.doors.console.urls")),
]
