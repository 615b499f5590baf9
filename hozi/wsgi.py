"""What the web server calls for each request: Django, and before it `hozi.doors.http`."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
