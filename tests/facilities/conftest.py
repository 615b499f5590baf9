"""Facilities' tests begin without knowledge of the devices of the test before."""

from __future__ import annotations

import pytest

from hozi.facilities import devices


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    devices.forget()
