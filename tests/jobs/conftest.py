"""Jobs' tests register handlers of their own and leave none behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hozi.jobs import queue, regular


@pytest.fixture(autouse=True)
def _own_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(queue, "_handlers", {})
    monkeypatch.setattr(regular, "_pieces", {})
    yield
