"""The key that signs sessions: made once, whoever comes first; never readable to others."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hozi.settings import Settings


def test_it_makes_one_key_however_many_ask_for_it_at_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: settings.secret_key(), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["secret.key"]


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    Settings(home=tmp_path).secret_key()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "secret.key").stat().st_mode) == 0o600


def test_another_node_signs_with_the_key_in_the_file_that_it_is_given(tmp_path: Path) -> None:
    shared = tmp_path / "shared.key"
    shared.write_text("k" * 64 + "\n")
    first, second = (Settings(home=tmp_path / name, secret_key_file=shared) for name in ("a", "b"))
    assert first.secret_key() == second.secret_key() == "k" * 64
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("short", "too short"), ("é" * 64, "not plain text")]
)
def test_it_refuses_a_key_that_is_none_and_says_which_setting(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "wrong.key"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said) as refused:
        Settings(home=tmp_path, secret_key_file=file).secret_key()
    assert "HOZI_SECRET_KEY_FILE" in str(refused.value)
    assert "short" not in str(refused.value).replace("too short", "")
