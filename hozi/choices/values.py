"""What holds now, how it came to be, and how it is changed.

The environment goes before what was chosen, and that before the default. A process asks the database at most every two
seconds; what somebody else chose holds everywhere after that.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, Max, Window
from django.utils import timezone

from hozi.audit.record import Code, Entry, Type, record
from hozi.choices import kinds
from hozi.choices.declared import BY_KEY, CHOICES, Choice
from hozi.choices.models import ChoiceValue
from hozi.core.errors import Changed, NotThere, Refused
from hozi.settings import HOZI

Source = Literal["environment", "chosen", "default"]

_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of a choice now, and where it comes from. ``version`` counts its changes; 0: never changed.

    ``at``, ``by`` and ``reason`` are those of the last change.
    """

    choice: Choice
    value: Any
    source: Source
    version: int = 0
    at: datetime | None = None
    by: str = ""
    reason: str = ""

    @property
    def fixed(self) -> bool:
        """Whether the environment fixes it, so that nobody can choose."""
        return self.source == "environment"


@dataclass(frozen=True, slots=True)
class Past:
    """One change of a choice: from what to what, by whom and why. None stands for the default."""

    version: int
    before: Any
    after: Any
    at: datetime
    by: str
    reason: str


def get(key: str) -> Any:
    """The value that holds now, of the setting's type. It may be two seconds old. Raises KeyError: no such choice."""
    choice = BY_KEY[key]
    if choice.setting in HOZI.model_fields_set:
        return getattr(HOZI, choice.setting)
    return _known.values().get(key, choice.default)


def get_or_default(key: str) -> Any:
    """`get`, or the default while the database does not answer: for pages that must show something anyway."""
    try:
        return get(key)
    except DatabaseError:
        return BY_KEY[key].default


def standing(key: str) -> Standing:
    """What holds of one choice, read now. Raises NotThere when there is no such choice."""
    choice = _choice(key)
    return _standing(choice, _last(key))


def listed() -> list[Standing]:
    """What holds of every choice, read now, in the order of the list."""
    rows = {row.key: row for row in _latest()}
    return [_standing(choice, rows.get(choice.key)) for choice in CHOICES]


def history(key: str, most: int = 50) -> list[Past]:
    """The changes of a choice, newest first. Raises NotThere when there is no such choice."""
    _choice(key)
    rows = list(ChoiceValue.objects.filter(key=key).order_by("-version")[: most + 1])
    older: list[ChoiceValue | None] = [*rows[1:], None][: len(rows)]
    changes = [
        Past(row.version, before.value if before else None, row.value, row.at, row.by, row.reason)
        for row, before in zip(rows, older, strict=True)
    ]
    return changes[:most]


def change(
    key: str, value: Any, *, expected_version: int, reason: str = "", actor: str, address: str = ""
) -> Standing:  # fmt: skip
    """Chooses a value, or the default (None); takes effect everywhere within two seconds.

    ``value`` may be text, as forms have it. ``expected_version`` is the version that the caller has looked at. A rule
    of access needs a reason. Choosing what holds already writes nothing.

    Raises NotThere when there is no such choice; Refused when the value is none of its own, a reason is missing, or
    the environment fixes it; Changed when somebody was faster.
    """
    choice = _choice(key)
    if choice.setting in HOZI.model_fields_set:
        raise Refused(f"{choice.variable} is set where Hozi is started, and goes before what is chosen here: ask there")
    clean = None if value is None else _understood(choice, value)
    why = reason.strip()
    if len(why) > _LONGEST_REASON or not why.isprintable():
        raise Refused(f"A reason has at most {_LONGEST_REASON} printable characters, in one line", field="reason")
    if choice.security and not why:
        raise Refused("This is a rule of access: say why it changes", field="reason")
    with transaction.atomic():
        row = _write(choice, clean, expected_version, why, actor, address)
    forget()
    return _standing(choice, row)


def undo(key: str, *, expected_version: int, actor: str, address: str = "") -> Standing:
    """Goes back to what held before the last change, by one more change. Raises as `change` does.

    Raises Refused when there is nothing to take back.
    """
    _choice(key)
    last = _last(key)
    if last is None:
        raise Refused("It was never changed: there is nothing to take back")
    before = ChoiceValue.objects.filter(key=key, version=last.version - 1).first()
    reason = f"change {last.version} taken back"
    value = before.value if before else None
    return change(key, value, expected_version=expected_version, reason=reason, actor=actor, address=address)


def forget() -> None:
    """Reads the choices again at the next question, whatever was read before."""
    _known.forget()


class _Known:
    """All values that were chosen, read again when older than two seconds."""

    SECONDS = 2.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._values: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at >= self.SECONDS:
                standings = [_standing(BY_KEY[row.key], row) for row in _latest() if row.key in BY_KEY]
                self._values = {entry.choice.key: entry.value for entry in standings}
                self._read_at = now
            return self._values

    def forget(self) -> None:
        with self._lock:
            self._read_at = None


_known = _Known()


def _choice(key: str) -> Choice:
    if key not in BY_KEY:
        raise NotThere(f"There is no choice {key!r}")
    return BY_KEY[key]


def _understood(choice: Choice, value: Any) -> Any:
    try:
        return kinds.understood(choice.setting, value)
    except ValueError as error:
        raise Refused(f"{choice.label}: {error}", field="value") from None


def _write(choice: Choice, value: Any, expected: int, reason: str, actor: str, address: str) -> ChoiceValue | None:
    last = _last(choice.key)
    if (last.version if last else 0) != expected:
        raise _faster(choice)
    before = last.value if last else None
    if value == before:
        return last
    row = ChoiceValue(
        key=choice.key, version=expected + 1, value=value, at=timezone.now(), by=actor[:128], reason=reason
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise _faster(choice) from None
    kind = Type.SECURITY_CONFIGURATION if choice.security else Type.SOFTWARE_CONFIGURATION
    told = {"type": kind.value, "choice": choice.key, "from": before, "to": value, "reason": reason}
    record(Entry(Code.SECURITY_ALERT, "U", actor, address=address, detail=told))
    return row


def _faster(choice: Choice) -> Changed:
    return Changed(f"Somebody else has just changed “{choice.label}”: look at what they chose, then decide")


def _last(key: str) -> ChoiceValue | None:
    return ChoiceValue.objects.filter(key=key).order_by("-version").first()


def _latest() -> list[ChoiceValue]:
    newest = Window(Max("version"), partition_by=F("key"))
    return list(ChoiceValue.objects.annotate(newest=newest).filter(version=F("newest")))


def _standing(choice: Choice, row: ChoiceValue | None) -> Standing:
    version, at, by, reason = (row.version, row.at, row.by, row.reason) if row else (0, None, "", "")
    value, source = _holds(choice, row)
    return Standing(choice, value, source, version, at, by, reason)


def _holds(choice: Choice, row: ChoiceValue | None) -> tuple[Any, Source]:
    if choice.setting in HOZI.model_fields_set:
        return getattr(HOZI, choice.setting), "environment"
    if row is not None and row.value is not None:
        try:
            return kinds.understood(choice.setting, row.value), "chosen"
        except ValueError:
            # An earlier version of Hozi allowed it, or a later one will: the default is what is safe.
            pass
    return choice.default, "default"
