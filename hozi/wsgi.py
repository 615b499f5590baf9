"""What the web server calls for each request, behind `hozi.doors.http`: Django, and beside it the door for DICOMweb."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")

from django.core.wsgi import get_wsgi_application

_django = get_wsgi_application()

from hozi.doors.dicomweb import application as dicomweb  # noqa: E402 - Django has to be ready


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answers one request (PEP 3333)."""
    if dicomweb.is_ours(environ):
        return dicomweb.application(environ, start_response)
    return _django(environ, start_response)
