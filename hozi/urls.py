"""Every address that Hozi answers over HTTP."""

from __future__ import annotations

from django.urls import path

from hozi.doors.http import health

urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
]
