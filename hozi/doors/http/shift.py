"""How long somebody stays signed in: as many hours as were chosen, from the first page on, however busy they are."""

from __future__ import annotations

import time
from typing import Final

from django.contrib.auth import logout
from django.http import HttpRequest

from hozi.choices import answers

_BEGAN: Final = "began"


def is_over(request: HttpRequest) -> bool:
    """Whether whoever is signed in must sign in again; they are signed out then. A shorter choice counts at once."""
    began = request.session.get(_BEGAN)
    if began is None:
        request.session[_BEGAN] = int(time.time())
        return False
    if time.time() - began <= answers.session_length().total_seconds():
        return False
    logout(request)
    return True
