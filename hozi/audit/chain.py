"""The chain over the audit: made behind the writers, who wait neither for it nor for each other.

`link` takes the rows that are in no link yet and names them in one, whose hash covers their marks, their order and the
hash of the link before. Days are closed with a seal. What the chain has named can be changed, removed, moved or added
to only by whoever has the key; `verify.py` finds everything else.

On PostgreSQL, a transaction that is still open may bring rows with lower numbers later. Such numbers are kept as holes
until no transaction that could bring them is left; a row that turns up in one is named by the next link.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Model, Q
from django.utils import timezone

from hozi.audit import key as keys
from hozi.audit import ranges
from hozi.audit.mark import SALT_BYTES
from hozi.audit.models import Event, Head, Link, Seal
from hozi.core.errors import HoziError

MOST_IN_A_LINK: Final = 1000
CHECK_BYTES: Final = 4
SEAL_AFTER: Final = timedelta(minutes=5)
"""After midnight; rows that come later than that belong to the day on which they come."""

_HOLE_SECONDS: Final = 60
_HEAD: Final = 1
START: Final = "0" * 64


class Broken(HoziError):
    """The chain cannot go on: its end is gone, or belongs to another key."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the chain stands: rows and links in it, days that are sealed, the last sealed one, and who is not in yet."""

    rows: int
    links: int
    sealed_days: int
    last_sealed: str
    waiting: int


def begin(kind: type[Model] = Head) -> None:
    """Makes the end of an empty chain; done once, when the tables are made."""
    head: Any = kind(
        **{"pk": _HEAD, "link": 0, "link_hash": START, "last_id": 0, "section": 0, "day": "", "first_link": 0},
        **{"count": 0, "closed": 1, "total": 0, "seals": 0, "seal_hash": START, "holes": "[]"},
        key_check=keys.check(),
    )
    head.hash = hash_of(head)
    head.save(force_insert=True)


def check_key() -> None:
    """Raises Broken when this machine's key is not the one that marks this audit (nodes must share it)."""
    known = Head.objects.filter(pk=_HEAD).values_list("key_check", flat=True).first()
    if known is not None and known != keys.check():
        raise Broken(
            f"The key {keys.path()} is not the one of this audit. Nodes on one database share one key: copy it from"
            " where this audit began, or name it with HOZI_AUDIT_KEY_FILE."
        )


def link() -> int:
    """Brings all rows that can be seen into the chain; returns how many. Writes nothing when there are none.

    Safe with several at once: they take turns. Raises Broken when the chain has no end that could be gone on from.
    """
    taken = 0
    while _something_waits():
        now = _take()
        taken += now
        if now < MOST_IN_A_LINK:
            break
    return taken


def seal() -> bool:
    """Closes the last day of the chain when it is over; returns whether it did."""
    if not _over(_head()):
        return False
    link()
    with transaction.atomic():
        head = _head(lock=True)
        if not _over(head):
            return False
        _seal(head)
        _save(head)
    return True


def link_and_seal() -> None:
    """What is to be done about once a second."""
    link()
    seal()


def standing() -> Standing:
    """How the chain stands now."""
    head = _head()
    last = Seal.objects.order_by("-section").values_list("day", flat=True).first() or ""
    waiting = Event.objects.filter(pk__gt=head.last_id).count()
    return Standing(head.total, head.link, head.seals, last, waiting)


def hash_of(row: Model, before: str = "") -> str:
    """The hash that a link (after the hash of the one before), a seal or the head must have."""
    fields = row._meta.concrete_fields
    return hash_texts(
        str(row._meta.model_name), before, {field.attname: str(getattr(row, field.attname)) for field in fields}
    )


def hash_texts(name: str, before: str, texts: dict[str, str]) -> str:
    """`hash_of` from the texts of the columns, as they stand in the database."""
    form = [name, before, *(texts[column] for column in sorted(texts) if column != "hash")]
    written = json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
    return hmac.digest(keys.key(), written, "sha256").hex()


def hash_rows(rows: Iterable[tuple[int, bytes]]) -> str:
    """One hash over the numbers and marks of rows, in their order."""
    whole = hashlib.sha256()
    for number, mark in rows:
        whole.update(b"%d:%d:" % (number, len(mark)))
        whole.update(mark)
    return whole.hexdigest()


def check_of(mark: bytes) -> str:
    """The first bytes of a row's hash, by which a link knows each of its rows."""
    return mark[SALT_BYTES : SALT_BYTES + CHECK_BYTES].ljust(CHECK_BYTES, b"\0").hex()


def place(event: int) -> tuple[Link, int] | None:
    """The link that names a row, and the row's number within its day; None when it is in none yet."""
    for found in Link.objects.filter(last_id__gte=event, first_id__lte=event).order_by("last_id", "number")[:20]:
        try:
            ids = ranges.read(found.ids, MOST_IN_A_LINK)
        except ValueError:
            continue
        if event in ids:
            return found, found.first + ids.index(event)
    return None


@dataclass(frozen=True, slots=True)
class SealedDay:
    """A day that is closed: how many rows and links it has, when it was sealed, and the hash at its end."""

    day: str
    rows: int
    links: int
    sealed_at: datetime
    hash: str


def seals(most: int) -> list[SealedDay]:
    """The days that are sealed, the last first."""
    return [
        SealedDay(
            seal.day,
            seal.count,
            seal.last_link - seal.first_link + 1,
            datetime.fromisoformat(seal.made_at),
            seal.last_hash,
        )
        for seal in Seal.objects.order_by("-section")[:most]
    ]


def waiting_since() -> datetime | None:
    """When the oldest row was written that is not in the chain yet; None when all are."""
    last = Head.objects.filter(pk=_HEAD).values_list("last_id", flat=True).first() or 0
    return Event.objects.filter(pk__gt=last).order_by("pk").values_list("at", flat=True).first()


def is_sealed(section: int) -> bool:
    """Whether that section of the chain (a day) is closed with a seal."""
    return Seal.objects.filter(section=section).exists()


# Taking rows ---------------------------------------------------------------------------------------


def _head(*, lock: bool = False) -> Head:
    heads = Head.objects.select_for_update() if lock else Head.objects
    head = heads.filter(pk=_HEAD).first()
    if head is None:
        raise Broken("The end of the audit's chain is gone; `hozi verify --audit` says more")
    if head.hash != hash_of(head):
        # Going on from it would vouch for what somebody else has written there.
        check_key()
        raise Broken("The end of the audit's chain was changed; `hozi verify --audit` says more")
    return head


def _something_waits() -> bool:
    """Looked without a lock: an idle archive writes nothing."""
    head = _head()
    return head.holes != "[]" or Event.objects.filter(pk__gt=head.last_id).exists()


_Row = tuple[int, datetime, bytes]


def _take() -> int:
    with transaction.atomic():
        head = _head(lock=True)
        holes = [_Hole(*hole) for hole in json.loads(head.holes)]
        oldest = _transactions()[0]
        late = list(_rows(_in(holes))) if holes else []
        new = list(_rows(Q(pk__gt=head.last_id))[: MOST_IN_A_LINK - len(late)]) if len(late) < MOST_IN_A_LINK else []
        still = _still_open(holes, {row[0] for row in late}, oldest) + _new_holes(head.last_id, new)
        before = head.holes
        head.holes = json.dumps([[hole.first, hole.last, hole.until, hole.seen] for hole in still])
        for day, rows in _by_day(head, [*late, *new]):
            _append(head, day, rows)
        if late or new or head.holes != before:
            _save(head)
    return len(late) + len(new)


def _rows(which: Q) -> Any:
    return Event.objects.filter(which).order_by("pk").values_list("pk", "at", "mark")


@dataclass(frozen=True, slots=True)
class _Hole:
    """Numbers that no row had when they were seen: a transaction numbered below ``until`` may still bring them."""

    first: int
    last: int
    until: int
    seen: int


def _in(holes: Sequence[_Hole]) -> Q:
    where = Q(pk__in=[])
    for hole in holes:
        where |= Q(pk__range=(hole.first, hole.last))
    return where


def _transactions() -> tuple[int, int]:
    """The lowest transaction that is open, and the one that comes next. SQLite has one at a time: nothing is open."""
    if connection.vendor != "postgresql":
        return 0, 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint"
            " FROM pg_current_snapshot() AS now"
        )
        lowest, following = cursor.fetchone()
        return int(lowest), int(following)


def _still_open(holes: Sequence[_Hole], came: set[int], oldest: int) -> list[_Hole]:
    """The holes that are left. ``oldest`` was asked before rows were looked for: what older ones brought was seen."""
    now = int(time.time())
    left = []
    for hole in holes:
        if hole.until <= oldest and not 0 <= now - hole.seen < _HOLE_SECONDS:
            continue
        numbers = (number for number in range(hole.first, hole.last + 1) if number not in came)
        left += [_Hole(first, last, hole.until, hole.seen) for first, last in ranges.spans(numbers)]
    return left


def _new_holes(last: int, rows: Sequence[_Row]) -> list[_Hole]:
    if connection.vendor != "postgresql":
        return []
    gaps = []
    for number, _, _ in rows:
        if number > last + 1 and last:
            gaps.append((last + 1, number - 1))
        last = number
    if not gaps:
        return []
    until, seen = _transactions()[1], int(time.time())
    return [_Hole(first, final, until, seen) for first, final in gaps]


def _by_day(head: Head, rows: Sequence[_Row]) -> Iterator[tuple[date, list[_Row]]]:
    """The rows in pieces of one day each, in their order."""
    piece: list[_Row] = []
    piece_day: date | None = None
    for row in rows:
        day = _day(head, row[1]) if piece_day is None else max(piece_day, _day(head, row[1]))
        if piece and day != piece_day:
            assert piece_day is not None  # noqa: S101 - set together with the piece
            yield piece_day, piece
            piece = []
        piece_day = day
        piece.append(row)
    if piece and piece_day is not None:
        yield piece_day, piece


def _day(head: Head, at: datetime) -> date:
    """The day to which a row goes: its own, but never one that is sealed, nor one before the last, nor one to come."""
    zone = timezone.get_default_timezone()
    today = datetime.now(zone).date()
    wanted = min(at.astimezone(zone).date(), today)
    if not head.day:
        return wanted
    last = date.fromisoformat(head.day)
    if head.closed:
        return wanted if wanted > last else today
    # A last day that is still to come was written while the clock was wrong.
    return today if last > today else max(wanted, last)


def _append(head: Head, day: date, rows: Sequence[_Row]) -> None:
    """Adds one link, in a new day's section where the day is another one than the last."""
    now = timezone.now().isoformat(timespec="seconds")
    if head.closed or head.day != day.isoformat():
        if not head.closed:
            _seal(head)
        head.section, head.day, head.closed, head.count, head.first_link = (
            head.section + 1,
            day.isoformat(),
            0,
            0,
            head.link + 1,
        )
    marks = [(number, bytes(mark)) for number, _, mark in rows]
    ids = [number for number, _ in marks]
    made = Link(
        number=head.link + 1,
        section=head.section,
        day=head.day,
        first=head.count + 1,
        count=len(rows),
        total=head.total + len(rows),
        first_id=ids[0],
        last_id=ids[-1],
        ids=ranges.written(ids),
        checks="".join(check_of(mark) for _, mark in marks),
        rows=hash_rows(marks),
        made_at=now,
    )
    made.hash = hash_of(made, head.link_hash)
    made.save(force_insert=True)
    head.link, head.link_hash = made.number, made.hash
    head.count, head.total = head.count + made.count, made.total
    head.last_id = max(head.last_id, made.last_id)


def _seal(head: Head) -> None:
    made = Seal(
        section=head.section,
        day=head.day,
        count=head.count,
        first_link=head.first_link,
        last_link=head.link,
        last_hash=head.link_hash,
        made_at=timezone.now().isoformat(timespec="seconds"),
    )
    made.hash = hash_of(made, head.seal_hash)
    made.save(force_insert=True)
    head.closed, head.seals, head.seal_hash = 1, head.seals + 1, made.hash


def _save(head: Head) -> None:
    head.hash = hash_of(head)
    head.save(force_update=True)


def _over(head: Head) -> bool:
    if head.closed or not head.day:
        return False
    zone = timezone.get_default_timezone()
    midnight = datetime.combine(date.fromisoformat(head.day) + timedelta(days=1), time_of_day(), zone)
    return datetime.now(zone) >= midnight + SEAL_AFTER
