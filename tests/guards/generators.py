"""Loads the programs in docs/develop that make pages of the documentation."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.guards.rules import ROOT


def load(name: str) -> ModuleType:
    """The program of that name. What it makes is ``page()``, and the page itself is at ``PAGE``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "develop" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
