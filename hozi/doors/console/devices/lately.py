"""What a device did lately, in plain words: from the audit, without naming patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, Literal

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hozi.audit import deeds
from hozi.audit.deeds import Deed
from hozi.audit.record import Code
from hozi.facilities import knocks
from hozi.facilities.devices import Permit
from hozi.facilities.suggest import why
from hozi.settings import HOZI

DAYS: Final = 7
_MOST: Final = 200
_AT_THE_DOOR: Final = ("calling-ae", "called-ae", "address", "certificate")
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Line:
    """Something that a device did, once or several times in a row: ``last`` and ``first`` are the same when once."""

    first: datetime
    last: datetime
    ok: bool
    text: str
    technical: str = ""


def of(device: Permit) -> list[Line]:
    """What the device did in the last days, the last first."""
    since = timezone.now() - timedelta(days=DAYS)
    # Refusals at the door stand in the audit by the AE title, whoever used it: the knocks tell them apart.
    done = [deed for deed in deeds.of(device.name, since, most=_MOST) if deed.detail.get("reason") not in _AT_THE_DOOR]
    lines = [*_lines(done), *_refused(device, since)]
    return sorted(lines, key=lambda line: line.last, reverse=True)[:_SHOWN]


def _refused(device: Permit, since: datetime) -> Iterator[Line]:
    for knock in knocks.since(since, device.ae_title):
        told = why(knock, HOZI.ae_title)
        yield Line(max(knock.first_at, since), knock.last_at, False, told.sentence, told.technical)


def _lines(done: list[Deed]) -> Iterator[Line]:
    for (kind, ok, technical), group in groupby(done, key=lambda deed: (_kind(deed), deed.ok, _technical(deed))):
        together = list(group)
        yield Line(together[-1].at, together[0].at, ok, _told(kind, ok, together), technical)


Kind = Literal["stored", "queried", "fetched", "commitment", "other"]

_KINDS: Final[dict[tuple[str, str], Kind]] = {
    (Code.INSTANCES_TRANSFERRED, "C"): "stored",
    (Code.QUERY, "E"): "queried",
    (Code.INSTANCES_TRANSFERRED, "R"): "fetched",
    (Code.INSTANCES_ACCESSED, "E"): "commitment",
}


def _kind(deed: Deed) -> Kind:
    return _KINDS.get((deed.code, deed.action), "other")


def _technical(deed: Deed) -> str:
    parts = []
    if status := deed.detail.get("status"):
        parts.append(f"status {status}H")
    if not deed.ok and (reason := deed.detail.get("reason")):
        parts.append(str(reason))
    return ", ".join(parts)


def _told(kind: Kind, ok: bool, done: list[Deed]) -> str:
    count = len(done)
    numbers = {"count": count}
    if kind == "stored":
        if ok:
            return ngettext("%(count)d image arrived", "%(count)d images arrived", count) % numbers
        return ngettext("%(count)d image was not taken in as it is", "%(count)d images were not", count) % numbers
    if kind == "queried":
        if ok:
            found = {"count": count, "matches": sum(int(deed.detail.get("matches", 0)) for deed in done)}
            return ngettext("searched, %(matches)d found", "searched %(count)d times, %(matches)d found", count) % found
        return _("searched, and was not answered")
    if kind == "fetched":
        sent = sum(int(deed.detail.get("sent", 0)) for deed in done)
        if sent:
            return ngettext("was given %(count)d image", "was given %(count)d images", sent) % {"count": sent}
        return _("asked for images, and was given none")
    if kind == "commitment":
        return _("asked whether its images are safe") if ok else _("asked whether its images are safe, and was refused")
    if done[0].detail.get("reason") == "user identity":
        return _("did not present the user name and passcode that it must present")
    return _("did something else") if ok else _("was refused")
