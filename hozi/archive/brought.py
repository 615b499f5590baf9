"""The image that a device brought last: for those who look whether a new device's images arrive."""

from __future__ import annotations

from datetime import datetime

from hozi.accounts.authorise import Who, reach
from hozi.archive import reach as reaching
from hozi.archive.models import Instance
from hozi.audit import deeds
from hozi.audit.record import Code


def by(who: Who, permission: str, device: str, since: datetime) -> tuple[int, int] | None:
    """Numbers of the study and of the image that the device brought last since then; None for what is out of reach."""
    stored = deeds.of(device, since, code=Code.INSTANCES_TRANSFERRED, action="C", ok=True, most=1)
    if not stored:
        return None
    reached = reaching.series(reach(who, permission), "series__")
    rows = Instance.objects.filter(reached, uid=stored[0].object_uid)
    return rows.values_list("series__study_id", "pk").first()
