"""Who knocked: devices that tried to associate and were refused. They are listed so that they can be admitted."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction
from django.db.models import Min, Q
from django.utils import timezone

from hozi.audit.record import Code, Entry, Outcome, Type, record
from hozi.core.errors import NotThere
from hozi.core.pace import Bucket
from hozi.facilities.models import Knock

MOST = 1000
"""Knocks that are kept; the oldest go."""

MOST_PER_ADDRESS = 100
"""... of one address, so that a guesser cannot push everybody else's out of the list."""

_UPSERT = """
INSERT INTO facilities_knock (calling_ae, called_ae, address, tls_subject, reason, count, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, 1, %s, %s)
ON CONFLICT (calling_ae, called_ae, address, reason) DO UPDATE SET
    count = facilities_knock.count + 1, last_at = excluded.last_at, tls_subject = excluded.tls_subject
RETURNING count
"""


# Every knock costs a flush of the disk that images need too: guessing at full speed must not starve them.
_writes = Bucket(burst=500, per_second=10)


def knocked(calling_ae: str, called_ae: str, address: str, tls_subject: str = "", *, reason: str) -> None:
    """Records that somebody was refused, or counts it when the same has knocked before.

    The audit has a row for the first time and then for each tenfold (10th, 100th ...). Beyond a burst of
    500 and then ten a second, knocks are only counted; the next audit row says how many.
    """
    held_back = _writes.take()
    if held_back is None:
        return
    who = _storable(calling_ae, 16), _storable(called_ae, 16), _storable(address, 64)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_UPSERT, [*who, _storable(tls_subject, 256), reason, now, now])
            count: int = cursor.fetchone()[0]
        if count == 1:
            _forget_the_oldest(who[2])
        if _is_power_of_ten(count) or held_back:
            detail = {"calling_ae": who[0], "called_ae": who[1], "reason": reason, "count": count}
            if held_back:
                detail["not_recorded_before"] = held_back
            # PS3.15 A.5.3.11, Security Alert; 110126, Node Authentication.
            record(
                Entry(
                    Code.SECURITY_ALERT,
                    "E",
                    who[0] or "unknown",
                    Outcome.MINOR_FAILURE,
                    address=who[2],
                    detail={"type": "110126", **detail},
                )
            )


def recent() -> list[Knock]:
    """Who knocked, the last first; at most `MOST`."""
    return list(Knock.objects.order_by("-last_at", "-pk")[:MOST])


def waiting() -> tuple[int, datetime | None]:
    """How many AE titles and addresses are in the list, and when the first of them knocked first."""
    found = Knock.objects.aggregate(first=Min("first_at"))
    return Knock.objects.values("calling_ae", "address").distinct().count(), found["first"]


def by_number(number: int) -> Knock:
    """The knock of that number. Raises NotThere when it is not listed (any more)."""
    knock = Knock.objects.filter(pk=number).first()
    if knock is None:
        raise NotThere("That knock is not listed any more: somebody has admitted or dismissed it")
    return knock


def dismiss(number: int, *, actor: str, address: str = "") -> Knock:
    """Takes a knock off the list without admitting anybody; who knocks again is listed again. Raises NotThere."""
    with transaction.atomic():
        knock = by_number(number)
        detail = {
            "type": Type.NETWORK_CONFIGURATION,
            "dismissed": knock.calling_ae,
            "called_ae": knock.called_ae,
            "from": knock.address,
            "reason": knock.reason,
            "count": knock.count,
        }
        record(Entry(Code.SECURITY_ALERT, "D", actor, address=address, detail=detail))
        Knock.objects.filter(pk=number).delete()
    return knock


def since(moment: datetime, calling_ae: str = "", address: str = "") -> list[Knock]:
    """Who knocked after that moment with this AE title or from this address, the last first."""
    same = Q()
    if calling_ae:
        same |= Q(calling_ae=calling_ae)
    if address:
        same |= Q(address=address)
    return list(Knock.objects.filter(same, last_at__gte=moment).order_by("-last_at", "-pk")[:MOST])


def _forget_the_oldest(address: str) -> None:
    for knocks, most in (
        (Knock.objects.filter(address=address), MOST_PER_ADDRESS),
        (Knock.objects.all(), MOST),
    ):
        if surplus := list(knocks.order_by("-last_at", "-pk").values_list("pk", flat=True)[most:]):
            Knock.objects.filter(pk__in=surplus).delete()


def _storable(text: str, length: int) -> str:
    """What came from a stranger, without what a database or a terminal would stumble over (NUL, escapes)."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.strip(" \0"))[:length]


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
