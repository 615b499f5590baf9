"""Imports go down only: the contracts in pyproject.toml hold, and the tool that checks them does see a breach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.guards.rules import ROOT

CHECK = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"

LAYERS = """\
[tool.importlinter]
root_package = "granary"

[[tool.importlinter.contracts]]
name = "Imports go down only"
type = "layers"
containers = ["granary"]
exhaustive = true
layers = ["upper", "lower"]
"""


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", CHECK, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def test_imports_go_down_only() -> None:
    result = _lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_that_goes_up_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(LAYERS)
    package = tmp_path / "granary"
    package.mkdir()
    for name in ("__init__", "upper", "lower"):
        (package / f"{name}.py").write_text("")
    assert _lint(tmp_path).returncode == 0

    (package / "lower.py").write_text("import granary.upper\n")
    result = _lint(tmp_path)
    assert result.returncode == 1
    assert "granary.lower -> granary.upper" in result.stdout


def test_a_room_that_nobody_placed_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(LAYERS)
    package = tmp_path / "granary"
    package.mkdir()
    for name in ("__init__", "upper", "lower", "unplaced"):
        (package / f"{name}.py").write_text("")
    assert _lint(tmp_path).returncode == 1
