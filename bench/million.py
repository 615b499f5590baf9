"""What a full archive costs: storing into it and asking it, beside an archive with nothing or little in it."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench import clients, images
from bench.archives import Archive, Home, hozi, new_home, serving
from bench.ground import Broken, Ground
from bench.images import Series, write_series
from bench.pairs import interleaved
from bench.population import QUESTIONS, Population, Question
from bench.report import Measured

_ANSWERED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "StudyInstanceUID",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
"""What a workstation's list of studies shows."""

_MS = 1000.0


def store_full(ground: Ground, *, postgresql: bool = False) -> list[Measured]:
    """Images a second into a full archive, beside the same images into an empty one; both run at the same time."""
    sizes = ground.sizes

    @contextmanager
    def prepare(run: int) -> Iterator[Series]:
        with ground.scratch() as folder:
            yield write_series(
                folder / "series", images.ct(ground.seed), sizes.images, ground.seed, "full", postgresql, run
            )

    full_home = filled(ground, sizes.instances, sizes.studies, postgresql=postgresql)
    with serving(full_home) as full, hozi(ground, "hozi_empty" if postgresql else "") as empty:

        def rate(archive: Archive, series: Series) -> float:
            return series.count / clients.store(ground, archive, [series])

        return [interleaved(sizes, prepare, lambda one: rate(full, one), lambda one: rate(empty, one))]


def find_full(ground: Ground, *, postgresql: bool = False) -> list[Measured]:
    """For each question the 95th percentile of the time to the final answer, in ms: full archive, and small one.

    The questions go to both in turn, one by one, each over one association that stays open.
    """
    sizes = ground.sizes
    many, few = Population(sizes.studies), Population(sizes.few_studies)
    full_home = filled(ground, sizes.instances, sizes.studies, postgresql=postgresql)
    few_home = filled(ground, sizes.few_instances, sizes.few_studies, postgresql=postgresql)
    luck = random.Random(ground.seed)
    results = [Measured() for _ in QUESTIONS]
    with (
        serving(full_home) as full,
        serving(few_home) as small,
        clients.Asker(full) as ask_full,
        clients.Asker(small) as ask_small,
    ):
        sides = ((ask_full, many), (ask_small, few))
        for run in range(-1 if sizes.warm_up else 0, sizes.runs):
            for question, measured in zip(QUESTIONS, results, strict=True):
                ours, peer = _ask_in_turn(question, sides, sizes.queries, luck)
                if run >= 0:
                    measured.ours.append(percentile(ours, 0.95) * _MS)
                    measured.peer.append(percentile(peer, 0.95) * _MS)
    return results


def _ask_in_turn(
    question: Question, sides: Sequence[tuple[clients.Asker, Population]], queries: int, luck: random.Random
) -> list[list[float]]:
    """Asks each side so many questions of one kind, each with another value; returns each side's seconds."""
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(queries):
        for (asker, people), figures in zip(sides, seconds, strict=True):
            keys = {**dict.fromkeys(_ANSWERED, ""), question.keyword: question.value(people, luck)}
            took, answers = asker.ask("STUDY", keys)
            if answers != question.answers:
                raise Broken(f"{question.name}: {answers} answers where {question.answers} are right")
            figures.append(took)
    return seconds


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all are not above (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def filled(ground: Ground, instances: int, studies: int, *, postgresql: bool = False) -> Home:
    """A home whose index holds so many instances; made once, used by every row of this benchmark."""
    kind = "PostgreSQL" if postgresql else "SQLite"
    name = f"filled {instances} {kind}"
    if name not in ground.kept:
        folder = ground.stack.enter_context(ground.folder("filled"))
        home = new_home(ground, folder, f"hozi_{instances}" if postgresql else "")
        print(f"  filling {kind} with {instances:,} instances ...", file=sys.stderr, flush=True)
        told = json.loads(home.run("bench.filling", "fill", str(studies), str(instances // studies), str(ground.seed)))
        if told["instances"] != instances:
            raise Broken(f"the filling made {told['instances']} instances instead of {instances}")
        print(f"  ... took {told['seconds']:.0f} s", file=sys.stderr, flush=True)
        ground.kept[name] = home
    home = ground.kept[name]
    assert isinstance(home, Home)
    return home
