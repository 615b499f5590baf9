"""Small objects that are made from numbers, so that each can be made again byte for byte; and who sends which when."""

from __future__ import annotations

import dataclasses
import random
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

CT: Final = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"

_COLUMNS: Final = 64
_LEAST, _MOST = 2_000, 1_000_000
_PEOPLE: Final = ("Moyo^Fadzai", "Ndlovu^Themba", "Chikomba^Rutendo", "Sibanda^Nokuthula")


@dataclass(frozen=True, slots=True)
class Made:
    """One object: where it belongs, how large it is, and the seed of its pixels.

    Two with the same ``uid`` and another ``seed`` are one SOP Instance UID with different content.
    """

    round: int
    patient: int
    study: str
    series: str
    uid: str
    number: int
    size: int
    seed: int

    def dataset(self) -> bytes:
        """Its dataset in Explicit VR Little Endian (PS3.5 §A.2), as DCMTK would write it too."""
        rows = self.size // (2 * _COLUMNS)
        pixels = random.Random(self.seed).randbytes(rows * _COLUMNS * 2)
        return b"".join(
            (
                _text(0x0008, 0x0016, b"UI", CT),
                _text(0x0008, 0x0018, b"UI", self.uid),
                _text(0x0008, 0x0020, b"DA", "20260105"),
                _text(0x0008, 0x0060, b"CS", "CT"),
                _text(0x0010, 0x0010, b"PN", _PEOPLE[self.patient % len(_PEOPLE)]),
                _text(0x0010, 0x0020, b"LO", f"T-{self.round}-{self.patient}"),
                _text(0x0020, 0x000D, b"UI", self.study),
                _text(0x0020, 0x000E, b"UI", self.series),
                _text(0x0020, 0x0013, b"IS", str(self.number)),
                _short(0x0028, 0x0002, 1),
                _text(0x0028, 0x0004, b"CS", "MONOCHROME2"),
                _short(0x0028, 0x0010, rows),
                _short(0x0028, 0x0011, _COLUMNS),
                _short(0x0028, 0x0100, 16),
                _short(0x0028, 0x0101, 16),
                _short(0x0028, 0x0102, 15),
                _short(0x0028, 0x0103, 0),
                struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, len(pixels)),
                pixels,
            )
        )

    def otherwise(self) -> Made:
        """The same SOP Instance UID with other content."""
        return dataclasses.replace(self, seed=self.seed + 1)


def _text(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += b"" if len(value) % 2 == 0 else b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def _short(group: int, element: int, value: int) -> bytes:
    return struct.pack("<HH2sHH", group, element, b"US", 2, value)


@dataclass(frozen=True, slots=True)
class Sending:
    """An object that a sender is to send; with ``meeting``, at the same moment as another sender."""

    made: Made
    meeting: threading.Barrier | None = None


class Maker:
    """Makes new objects of one round: some studies of some series, into which all senders send."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self._rng = rng
        self._round = number
        self.series: list[tuple[int, str, str]] = []
        for study in range(rng.randint(2, 4)):
            uid = self._uid()
            # Some patients have several of the studies.
            self.series.extend((study // 2, uid, self._uid()) for _ in range(rng.randint(1, 3)))
        self._count = 0

    @property
    def studies(self) -> list[str]:
        """The UIDs of the round's studies."""
        return list(dict.fromkeys(study for _, study, _ in self.series))

    def new(self) -> Made:
        """An object that nobody has seen; most are small."""
        self._count += 1
        patient, study, series = self._rng.choice(self.series)
        size = int(_LEAST * (_MOST / _LEAST) ** (self._rng.random() ** 1.5))
        return Made(self._round, patient, study, series, self._uid(), self._count, size, self._rng.getrandbits(48))

    def endless(self) -> Iterator[Sending]:
        """New objects for as long as they are asked for."""
        while True:
            yield Sending(self.new())

    def _uid(self) -> str:
        return f"2.25.{self._rng.getrandbits(120)}"


def plan(rng: random.Random, maker: Maker, earlier: Sequence[Made], senders: int, each: int) -> list[list[Sending]]:
    """For each sender what it sends, in order: new objects, and among them

    - some that it has sent before, and some of ``earlier`` rounds,
    - some that another sender sends at the same moment (with the same content, or with other content),
    - some whose SOP Instance UID it, or another sender, has used for other content.
    """
    plans = [[Sending(maker.new()) for _ in range(each)] for _ in range(senders)]
    for sendings in plans:
        for _ in range(each // 12):
            first = rng.randrange(len(sendings))
            sendings.insert(rng.randint(first + 1, len(sendings)), Sending(sendings[first].made))
        for made in rng.sample(earlier, min(2, len(earlier))):
            sendings.insert(rng.randrange(len(sendings)), Sending(made))
    for turn in range(each // 6):
        one, other = rng.sample(plans, 2)
        made, meeting = maker.new(), threading.Barrier(2)
        same = made.otherwise() if turn % 4 == 3 else made
        place = rng.randrange(each)
        one.insert(place, Sending(made, meeting))
        other.insert(place, Sending(same, meeting))
    for _ in range(each // 20):
        one, other = rng.choices(plans, k=2)
        first = rng.randrange(each)
        other.insert(rng.randint(first + 1, len(other)), Sending(one[first].made.otherwise()))
    return plans
