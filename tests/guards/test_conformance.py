"""The conformance statement is current, and its words and the server's tables cannot part unseen."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.guards.generators import load


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load("make_conformance")


def test_the_conformance_statement_is_current(generator: ModuleType) -> None:
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run `make docs`"


def test_a_table_of_the_server_that_changes_changes_the_statement(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator.offer, "FIND_EXTENDED", b"\x00\x00\x00\x00\x00")
    monkeypatch.setattr(generator.matching, "MOST_ALTERNATIVES", 63)
    monkeypatch.setattr(generator.status, "NOT_AUTHORIZED", 0x0125)
    changed = load("make_conformance").page()
    assert "| FIND | 1 | relational queries | 0 |" in changed
    assert "63 patterns" in changed
    assert "| 0125 | not authorized |" in changed


@pytest.mark.parametrize("table", ["FIND_STATUSES", "STORE_STATUSES", "EVERYWHERE", "REJECTIONS", "FAILURE_REASONS"])
def test_a_word_too_few_or_too_many_is_found(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    words = dict(getattr(generator, table))
    monkeypatch.setattr(generator, table, {**words, "RESOURCE_LIMITATION": "never"})
    with pytest.raises(generator.OutOfStep, match="RESOURCE_LIMITATION"):
        generator.page()
    gone = next(iter(words))
    monkeypatch.setattr(generator, table, {name: text for name, text in words.items() if name != gone})
    with pytest.raises(generator.OutOfStep, match=gone):
        generator.page()


def test_a_part_that_the_template_forgets_is_found(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = generator._values()
    monkeypatch.setattr(generator, "_values", lambda: {**parts, "forgotten": ""})
    with pytest.raises(generator.OutOfStep, match="forgotten"):
        generator.page()
