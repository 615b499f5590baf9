"""The audit's key is made once, for this account only, and never halfway."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hozi.audit import key


def test_many_that_ask_at_once_get_one_key(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "audit.key"
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: key.read(file, make=True), range(64)))
    assert len(keys) == 1
    assert [len(one) for one in keys] == [32]
    assert list(file.parent.iterdir()) == [file], "a draft was left"


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "audit.key"
    key.read(file, make=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_key_that_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "shared.key"
    with pytest.raises(key.NoKey, match="cannot be read"):
        key.read(file, make=False)
    file.write_text("ab" * 32)
    assert key.read(file, make=False) == bytes.fromhex("ab" * 32)
    assert file.read_text() == "ab" * 32


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "ab" * 31, "ab" * 33])
def test_a_damaged_key_is_refused_and_not_replaced(content: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.key"
    file.write_text(content)
    with pytest.raises(key.NoKey, match="damaged"):
        key.read(file, make=True)
    assert file.read_text() == content
