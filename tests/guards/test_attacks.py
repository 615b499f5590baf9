"""Every attack on DICOM and import (A01 to A28) has a test whose name says its number."""

from __future__ import annotations

import ast
import re

from tests.guards.rules import ROOT, Function, modules

ATTACKS = {f"a{number:02d}" for number in range(1, 29)}
NUMBER = re.compile(r"(?<=_)a\d\d(?=_|$)")


def _named(text: str) -> set[str]:
    """The numbers in the names of a module's tests."""
    tests = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]
    return {number for name in tests if name.startswith("test_") for number in NUMBER.findall(name)}


def test_every_attack_has_a_test_that_names_it() -> None:
    named = set().union(*(_named((ROOT / path).read_text(encoding="utf-8")) for path in modules("tests")))
    assert not ATTACKS - named


def test_a_number_is_seen_in_a_test_s_name_only() -> None:
    text = '"""A01."""\ndef test_a02_it_stays(): pass\ndef test_it_goes_a03_a04(): pass\ndef a05(): "A06"\n'
    assert _named(text) == {"a02", "a03", "a04"}
    assert _named("def test_data07_is_no_number(): pass\n") == set()
