"""Runs in pairs: ours and the peer's in turn, so that what slows the machine down meets both."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from bench.ground import Sizes
from bench.report import Measured

T = TypeVar("T")


def interleaved(
    sizes: Sizes,
    prepare: Callable[[int], AbstractContextManager[T]],
    ours: Callable[[T], float],
    peer: Callable[[T], float],
) -> Measured:
    """Prepares each run once and does it on both sides; who begins takes turns. Run -1 warms up and does not count.

    What others left to be written to the disk is written before each turn, not in the midst of it.
    """
    measured = Measured()
    for run in range(-1 if sizes.warm_up else 0, sizes.runs):
        with prepare(run) as work:
            turns = [(ours, measured.ours), (peer, measured.peer)]
            for turn, figures in turns if run % 2 == 0 else reversed(turns):
                os.sync()
                figure = turn(work)
                if run >= 0:
                    figures.append(figure)
    return measured
