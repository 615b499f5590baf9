"""The short form of `make torture`: what was acknowledged survives kills, and a disk without room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.disk import LittleLeft, try_out
from tests.torture.ledger import Ledger
from tests.torture.rounds import Tally, torture
from tests.torture.running import Archive

pytestmark = pytest.mark.database

SEED = 2026
ROUNDS = 6


def test_it_keeps_all_that_it_acknowledged_when_it_is_killed_again_and_again(tmp_path: Path, own_database: str) -> None:
    told: list[str] = []
    tally = torture(
        "short", tmp_path / "home", own_database, SEED, range(1, ROUNDS + 1), told.append, with_commitments=False
    )
    assert tally.clean, "\n".join(told)
    assert tally.kills >= ROUNDS - 2
    assert tally.acknowledged >= 20 * ROUNDS
    assert tally.in_between >= 1


def test_a_disk_without_room_refuses_loses_nothing_and_goes_on_by_itself(tmp_path: Path, own_database: str) -> None:
    told: list[str] = []
    room = LittleLeft(tmp_path / "room")
    archive = Archive(tmp_path / "home", own_database, **room.settings)
    tally = try_out("short", archive, room, SEED, told.append, kill=True)
    assert tally.clean, "\n".join(told)
    assert tally.acknowledged >= 60


def test_a_kill_fell_in_between_when_an_object_that_was_under_way_was_not_taken() -> None:
    ledger, tally = Ledger(), Tally(kills=3)
    with ledger.under_way() as first, ledger.under_way() as second:
        caught = ledger.all_under_way()
        first.taken = True
    tally.struck(caught)
    second.taken = True
    tally.struck(caught)
    tally.struck(ledger.all_under_way())
    assert tally.moments.startswith("1 of the kills fell between")
    assert tally.moments.endswith("2 at other moments")
    assert str(tally) == "3 kills, 0 acknowledged, 0 lost"
