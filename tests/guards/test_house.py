"""The house style holds, in every module; and each rule finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guards import rules

HOZI = ("hozi",)
EVERYTHING = ("hozi", "tests", "docs")
ANYWHERE = Path("hozi/room/module.py")

LONG_FILE = "x = 1\n" * 601
LONG_FUNCTION = "def long():\n" + "    x = 1\n" * 80
UNDOCUMENTED = '''"""A module."""

class Public:
    """A class."""

    def method(self):
        return 1

    def _private(self):
        return 2


def function():
    def inner():
        pass
'''
DECLARED = '''"""A module."""

class Contract(Protocol):
    """A class."""

    def method(self) -> int: ...

    @property
    def _private(self): return 1
'''
SIGNALS = "from django.db.models.signals import post_save\nfrom django.dispatch import receiver\n"
CATCHES_EVERYTHING = "try:\n    f()\nexcept {}:\n    pass\n"
TURN_OF_A_LOOP = """
def turn():
    try:
        f()
    except Exception:
        log()

def begin():
    turn()

while True:
    begin()
"""


@pytest.mark.parametrize(
    ("rule", "folders"),
    [
        (rules.short_files, EVERYTHING),
        (rules.short_functions, EVERYTHING),
        (rules.telling_names, EVERYTHING),
        (rules.documented, HOZI),
        (rules.no_signals, HOZI),
        (rules.narrow_excepts, HOZI),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_house_style_holds(rule: rules.Rule, folders: tuple[str, ...]) -> None:
    complaints = rules.broken(rule, *folders)
    assert not complaints, f"{rule.__doc__}\n" + "\n".join(complaints)


def test_the_rules_read_every_module() -> None:
    read = {str(path) for path in rules.modules(*EVERYTHING)}
    assert {"hozi/settings.py", "hozi/core/errors.py", "tests/guards/rules.py"} <= read


@pytest.mark.parametrize(
    ("rule", "path", "text", "complaints"),
    [
        (rules.short_files, ANYWHERE, LONG_FILE, 1),
        (rules.short_files, ANYWHERE, LONG_FILE.removesuffix("x = 1\n"), 0),
        (rules.short_functions, ANYWHERE, LONG_FUNCTION, 1),
        (rules.short_functions, ANYWHERE, LONG_FUNCTION.removesuffix("    x = 1\n"), 0),
        (rules.telling_names, Path("hozi/room/utils.py"), "", 1),
        (rules.telling_names, Path("hozi/common/module.py"), "", 1),
        (rules.telling_names, ANYWHERE, "", 0),
        (rules.documented, ANYWHERE, UNDOCUMENTED, 2),
        (rules.documented, ANYWHERE, "x = 1\n", 1),
        (rules.documented, ANYWHERE, "", 0),
        (rules.documented, ANYWHERE, DECLARED, 1),
        (rules.no_signals, ANYWHERE, SIGNALS, 2),
        (rules.no_signals, ANYWHERE, "import django.dispatch\n", 1),
        (rules.no_signals, ANYWHERE, "import signal\nfrom django.db import models\n", 0),
        (rules.narrow_excepts, ANYWHERE, CATCHES_EVERYTHING.format("Exception"), 1),
        (rules.narrow_excepts, ANYWHERE, CATCHES_EVERYTHING.format("(OSError, BaseException)"), 1),
        (rules.narrow_excepts, ANYWHERE, CATCHES_EVERYTHING.replace(" {}", ""), 1),
        (rules.narrow_excepts, ANYWHERE, CATCHES_EVERYTHING.format("OSError"), 0),
        (rules.narrow_excepts, Path("hozi/doors/x.py"), CATCHES_EVERYTHING.format("Exception"), 0),
        (
            rules.narrow_excepts,
            ANYWHERE,
            "while True:\n    try:\n        f()\n    except Exception:\n        log()\n",
            0,
        ),
        (rules.narrow_excepts, ANYWHERE, TURN_OF_A_LOOP, 0),
        (rules.narrow_excepts, ANYWHERE, TURN_OF_A_LOOP.replace("while", "if"), 1),
        (rules.narrow_excepts, ANYWHERE, CATCHES_EVERYTHING.format("Exception").replace("pass", "raise"), 0),
    ],
)
def test_each_rule_finds_what_breaks_it_and_nothing_else(
    rule: rules.Rule, path: Path, text: str, complaints: int
) -> None:
    assert len(rule(path, text)) == complaints
