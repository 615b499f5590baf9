"""People and programs bring objects over HTTP: whose these then are, and this process's way in."""

from __future__ import annotations

import atexit
import functools
import threading
import zlib
from collections.abc import Collection
from typing import Final

from hozi.accounts import authorise
from hozi.accounts.authorise import Scope, Who
from hozi.archive.arrived import Announced, Origin
from hozi.archive.facts import MODALITY, SOP_CLASS_UID, SOP_INSTANCE_UID, Facts
from hozi.archive.receive import Check, Receiver
from hozi.core.dicom import encodings, names, part10, syntaxes, uids
from hozi.core.errors import Refused
from hozi.facilities import places

PERMISSION: Final = "studies.store"

_LOOKED_AT: Final = 4096
_MOST_ELEMENTS: Final = 32
_GROUP: Final = 0x0008

_making = threading.Lock()


def origin(who: Who, facility: str = "", *, source: str) -> Origin:
    """Who brings objects, and to which facility these belong: the named one, else the only one that is meant.

    Raises Denied without the permission, Refused when the facility is none at which who asks may store, or when it
    could be several: numbers of patients of different hospitals must not be mixed.
    """
    codes = authorise.facilities(who, PERMISSION)
    code = facility.strip().upper()
    if codes is None:
        place = places.choose(code or None)
    elif code in codes or (not code and len(codes) == 1):
        place = places.choose(code or next(iter(codes)))
    else:
        told = ", ".join(sorted(codes))
        raise Refused(f"Say to which facility it belongs, one of yours: {told}", field="facility")
    department = _department(who, place.code)
    return Origin(who.actor, who.address, place.code, place.issuer, source=source, department=department)


def facilities(who: Who) -> list[tuple[str, str]]:
    """Code and name of the facilities to which who asks may bring objects. Raises Denied without the permission."""
    codes: Collection[str] | None = authorise.facilities(who, PERMISSION)
    return [(place.code, place.name) for place in places.listed(codes)]


def check_of(who: Who, facility: str) -> Check | None:
    """What looks at each object whether who asks may bring it there: grants may be for one modality, for one's own
    referrals, or for what has no name. None: whatever it is.
    """
    held = [entry.scope for entry in who.held if PERMISSION in entry.permissions and entry.scope.patient is None]
    scopes = [scope for scope in held if scope.facility in ("", facility)]
    if any(not scope.modality and scope.referring is None and not scope.deidentified for scope in scopes):
        return None

    def check(facts: Facts) -> None:
        if not any(_covers(scope, facts) for scope in scopes):
            raise Refused("You may not bring images of this kind")

    return check


def _covers(scope: Scope, facts: Facts) -> bool:
    """Whether an object is one that the scope reaches; its facility is asked elsewhere."""
    if scope.modality and scope.modality != facts.text(MODALITY):
        return False
    if scope.deidentified and not facts.identity_removed:
        return False
    return scope.referring is None or not {names.person(one) for one in scope.referring}.isdisjoint(facts.referrers())


def _department(who: Who, facility: str) -> str:
    """The department of which alone somebody may bring objects to that facility; else none is said."""
    scopes = [held.scope for held in who.held if PERMISSION in held.permissions and held.scope.patient is None]
    here = {scope.department for scope in scopes if scope.facility in ("", facility)}
    return here.pop() if len(here) == 1 else ""


def receiver() -> Receiver:
    """This process's way into the archive, made when it is first needed; then what a crash left is taken in, too."""
    with _making:
        return _receiver()


@functools.cache
def _receiver() -> Receiver:
    made = Receiver()
    atexit.register(made.close)
    made.take_in_leftovers()
    return made


def forget() -> None:
    """Closes what `receiver` made: for a process whose storage folder changes."""
    with _making:
        if _receiver.cache_info().currsize:
            made = _receiver()
            atexit.unregister(made.close)
            made.close()
            _receiver.cache_clear()


def announced(start: bytes, header: part10.FileHeader) -> Announced:
    """What a file says that it holds, from its beginning.

    The dataset's own UIDs go before those of the header in front, which programs forget to change.
    """
    told = _uids(start[header.dataset_offset : header.dataset_offset + _LOOKED_AT], header.transfer_syntax)
    return Announced(
        told.get(SOP_CLASS_UID) or header.sop_class,
        told.get(SOP_INSTANCE_UID) or header.sop_instance,
        header.transfer_syntax,
    )


def _uids(dataset: bytes, uid: str) -> dict[int, str]:
    """SOP Class and Instance UID, when they stand where they nearly always do: among the first elements."""
    syntax = syntaxes.for_unknown(uid)
    found: dict[int, str] = {}
    if syntax.deflated:
        try:
            dataset = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, _LOOKED_AT)
        except zlib.error:
            return found
    encoding = encodings.of(syntax)
    at = 0
    for _ in range(_MOST_ELEMENTS):
        if at + 12 > len(dataset):
            break
        if encoding.explicit:
            group, element, vr, length = encoding.header(dataset, at)
            start = at + 8
            if vr in encodings.LONG_VRS:
                (length,) = encoding.long(dataset, start)
                start += 4
        else:
            group, element, length = encoding.item(dataset, at)
            start = at + 8
        at = start + length
        if group != _GROUP or at > len(dataset):
            break
        tag = group << 16 | element
        if tag in (SOP_CLASS_UID, SOP_INSTANCE_UID):
            found[tag] = uids.clean(dataset[start:at])
    return found
