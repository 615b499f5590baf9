"""An audit of a million rows: how fast it is searched, and what a row costs whoever writes it.

`python -m bench.audit fill ROWS SEED` and `python -m bench.audit ask TIMES SEED` work on a home of Hozi, and answer as
JSON. What is asked comes from the rows that were made, by the functions behind the console's pages.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bench.archives import Home, new_home
from bench.ground import Broken, Ground
from bench.report import Measured

if TYPE_CHECKING:
    from hozi.audit.record import Entry

QUESTIONS: Final = ("patient", "who-saw", "actor", "code", "failures", "day", "facility", "nobody")
"""What is asked, each in its own way; ``nobody`` is a name that no row has."""

_BATCH: Final = 2000
_DAYS: Final = 365
_DEVICES: Final = 30
_PEOPLE: Final = 200
_PATIENTS_A_ROW: Final = 50  # rows of each patient, about
_FACILITIES: Final = 20


def search_full(ground: Ground, *, postgresql: bool = False) -> list[Measured]:
    """For each question the 95th percentile of the time to its first page, in ms; and the cost of a row, in µs."""
    kind = "PostgreSQL" if postgresql else "SQLite"
    results = [Measured() for _ in (*QUESTIONS, "record")]
    with ground.folder("audit") as folder:
        home = new_home(ground, folder, "hozi_audit" if postgresql else "")
        rows = ground.sizes.instances
        print(f"  filling the audit on {kind} with {rows:,} rows ...", file=sys.stderr, flush=True)
        told = _run(home, "fill", rows, ground.seed)
        if told["rows"] < rows:
            raise Broken(f"the filling made {told['rows']} rows instead of {rows}")
        print(f"  ... took {told['seconds']:.0f} s", file=sys.stderr, flush=True)
        for run in range(-1 if ground.sizes.warm_up else 0, ground.sizes.runs):
            found = _run(home, "ask", ground.sizes.queries, ground.seed + run)
            if run >= 0:
                for name, measured in zip((*QUESTIONS, "record"), results, strict=True):
                    measured.ours.append(found[name])
    return results


def _run(home: Home, what: str, *numbers: int) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(home.run("bench.audit", what, *map(str, numbers)))
    return answer


# What runs on a home ---------------------------------------------------------------------------------


def _entries(rows: int, seed: int) -> Iterator[Entry]:
    """A year of a network of hospitals: mostly images that come and are looked at, some searches, few alerts."""
    from django.utils import timezone

    from hozi.audit.record import Code, Entry, Outcome, Type

    luck = random.Random(seed)
    begin = timezone.now() - timedelta(days=_DAYS)
    step = timedelta(days=_DAYS) / rows
    kinds = (
        (60, Code.INSTANCES_TRANSFERRED, "C", ""),
        (15, Code.INSTANCES_ACCESSED, "R", ""),
        (10, Code.INSTANCES_TRANSFERRED, "R", ""),
        (8, Code.QUERY, "E", ""),
        (4, Code.USER_AUTHENTICATION, "E", Type.LOGIN),
        (1, Code.EXPORT, "R", ""),
        (1, Code.SECURITY_ALERT, "E", Type.NODE_AUTHENTICATION),
        (1, Code.AUDIT_LOG_USED, "R", ""),
    )
    weights = [kind[0] for kind in kinds]
    for number in range(rows):
        _, code, action, type_ = luck.choices(kinds, weights)[0]
        patient = luck.randrange(max(1, rows // _PATIENTS_A_ROW))
        by_device = code in (Code.INSTANCES_TRANSFERRED, Code.QUERY)
        has_patient = code in (Code.INSTANCES_TRANSFERRED, Code.INSTANCES_ACCESSED, Code.EXPORT)
        yield Entry(
            code,
            action,
            f"DEVICE{luck.randrange(_DEVICES)}" if by_device else f"person{luck.randrange(_PEOPLE)}",
            Outcome.MINOR_FAILURE if code == Code.SECURITY_ALERT else Outcome.SUCCESS,
            address=f"10.0.{luck.randrange(_FACILITIES)}.{luck.randrange(200)}",
            issuer=f"HOSPITAL{patient % _FACILITIES}" if has_patient else "",
            patient_id=f"P{patient:07d}" if has_patient else "",
            study_uid=f"1.2.826.0.1.3680043.10.999.{patient}" if has_patient else "",
            object_uid=f"1.2.826.0.1.3680043.10.999.{patient}.{number}" if by_device and has_patient else "",
            facility=f"F{patient % _FACILITIES}",
            detail={"type": type_} if type_ else {"result": "stored", "sop_class": "1.2.840.10008.5.1.4.1.1.2"},
            at=begin + number * step,
        )


def _fill(rows: int, seed: int) -> dict[str, Any]:
    from django.db import transaction

    from bench.filling import in_haste
    from hozi.audit import chain
    from hozi.audit.models import Event
    from hozi.audit.record import record_many

    started = time.monotonic()
    entries = _entries(rows, seed)
    with in_haste():
        while batch := list(islice(entries, _BATCH)):
            with transaction.atomic():
                record_many(batch)
        chain.link_and_seal()
    return {"rows": Event.objects.count(), "seconds": time.monotonic() - started}


def _ask(times: int, seed: int) -> dict[str, float]:
    from bench.million import percentile
    from hozi.audit import search
    from hozi.audit.models import Event
    from hozi.audit.record import Code

    luck = random.Random(seed)
    rows = Event.objects.count()
    newest = Event.objects.latest("at").at
    actors = sorted(Event.objects.exclude(actor="bench").values_list("actor", flat=True).distinct())

    def patient() -> dict[str, str]:
        number = luck.randrange(max(1, rows // _PATIENTS_A_ROW) - 1)
        return {"issuer": f"HOSPITAL{number % _FACILITIES}", "patient_id": f"P{number:07d}"}

    def ask(**question: Any) -> int:
        return len(search.search(search.Question(**question), actor="bench").lines)

    def day() -> int:
        until = newest - timedelta(days=luck.randrange(1, _DAYS - 2))
        return ask(since=until - timedelta(days=1), until=until)

    asking: dict[str, Callable[[], int]] = {
        "patient": lambda: ask(**patient()),
        "who-saw": lambda: len(search.who_saw(**patient(), actor="bench")),
        "actor": lambda: ask(actor=luck.choice(actors)),
        "code": lambda: ask(code=luck.choice([Code.EXPORT, Code.QUERY, Code.INSTANCES_ACCESSED]).value),
        "failures": lambda: ask(ended="badly"),
        "day": day,
        "facility": lambda: len(
            search.search(search.Question(), actor="bench", facilities={f"F{luck.randrange(_FACILITIES)}"}).lines
        ),
        "nobody": lambda: ask(actor=f"nobody{luck.randrange(1000)}") + 1,
    }
    told = {}
    for name in QUESTIONS:
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            answers = asking[name]()
            seconds.append(time.perf_counter() - started)
            if not answers:
                raise SystemExit(f"{name}: no answer")
        told[name] = percentile(seconds, 0.95) * 1000
    return {**told, "record": _cost_of_a_row(times, seed)}


def _cost_of_a_row(times: int, seed: int) -> float:
    """Microseconds for which a row keeps whoever writes 64 of them together; the median, without the commit."""
    from django.db import connection, transaction

    from hozi.audit.record import record_many

    costs = []
    for turn in range(times):
        batch = list(_entries(64, seed + turn))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            started = time.perf_counter()
            record_many(batch, cursor)
            costs.append((time.perf_counter() - started) / len(batch))
    return sorted(costs)[len(costs) // 2] * 1e6


def main() -> None:
    """Runs what the command line names, and prints what it says as JSON."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    import django

    django.setup()
    work = {"fill": _fill, "ask": _ask}[sys.argv[1]]
    print(json.dumps(work(*map(int, sys.argv[2:4]))))


if __name__ == "__main__":
    main()
