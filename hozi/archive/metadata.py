"""What the objects of a series say, but for their pixels: made once, kept compressed, and sent as it is kept.

It says what `fetch.Holding.send_as` would send: the stored bytes with the corrections in force. A copy has the stamps
of its series (see `stamp`) as they were read before anything else, so what it says is never older than they are;
whoever asks compares them with those in the database, and a copy with others is not used. Of a copy that is out of
date, the pieces of which nothing has changed are used again: ten slices that come to five thousand cost ten.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from hozi.accounts.authorise import EVERYTHING, Who, reach
from hozi.archive import fetch, give, looks, metadata_copies
from hozi.archive import reach as reaching
from hozi.archive.fetch import Damaged, Holding, Selection
from hozi.archive.metadata_copies import VERSION, Copy, Piece, Stamps
from hozi.archive.models import Instance, Series, Study
from hozi.archive.study_page import LOOK
from hozi.core.dicom import syntaxes
from hozi.core.dicom.json_dataset import Writer
from hozi.core.errors import NotThere, Unreadable
from hozi.core.gzip_parts import Part
from hozi.core.storage.volume import Missing
from hozi.settings import HOZI

log = logging.getLogger(__name__)

_MOST_TOGETHER: Final = 128
_PIECE_BYTES: Final = 1 << 20
"""A piece is made of at most so many objects, and ends as soon as it has so many bytes."""
_SOME_PIECES: Final = 8
_ROWS: Final = 500
_SETTLED_SECONDS: Final = 8.0
_NO_STAMPS: Final[Stamps] = (-1, -1)
"""Of what is made for one answer."""
_AVAILABLE_SYNTAX: Final = 0x00083002
_SOP_CLASS: Final = 0x00080016


@dataclass(frozen=True, slots=True)
class Metadata:
    """A JSON array of objects. ``tag`` is another one whenever anything of it is.

    ``copies``: what it is put together of, whose bulk data may be told at another address than ``base``; none when
    whoever asks has it.
    """

    tag: str
    base: str
    copies: tuple[Copy, ...] = ()

    @property
    def length(self) -> int:
        """About how many bytes it has."""
        return sum(piece.part.length for copy in self.copies for piece in copy.pieces)

    def packed(self) -> bytes:
        """The whole of it, as gzip."""
        copies = [_at(self.base, copy) for copy in self.copies]
        if len(copies) == 1:
            return copies[0].body
        return metadata_copies.body_of([piece for copy in copies for piece in copy.pieces])[0]

    def plain(self) -> bytes:
        """The whole of it, as it is read."""

        def made() -> bytes:
            return b"".join((b"[", b",".join(self.pieces()), b"]"))

        is_series = len(self.copies) == 1 and self.copies[0].stamps is not _NO_STAMPS
        return metadata_copies.plain(self.copies[0], self.base, made) if is_series else made()

    def pieces(self) -> Iterator[bytes]:
        """A few objects at a time, with commas between those of one piece."""
        for copy in self.copies:
            for piece in copy.pieces:
                yield _told_at(self.base, copy, piece)


def of_series(who: Who, study: str, series: str, base: str, known: Sequence[str] = ()) -> Metadata:
    """What the objects of a series say; their bulk data is told at ``base``.

    Without copies where ``known`` has its tag. Raises `NotThere`, and `Unavailable` when files cannot be read now.
    """
    found = Series.objects.filter(reaching.series(reach(who, LOOK)), uid=series, study__uid=study)
    row = found.select_related("study__patient").first()
    if row is None:
        raise NotThere("There is no such series.")
    _note(who, row.study)
    tag = _tag([row], base)
    return Metadata(tag, base, () if tag in known else (current(row, base),))


def of_study(who: Who, study: str, base: str, known: Sequence[str] = ()) -> Metadata:
    """The same of all series of a study that are reached."""
    rows = list(
        Series.objects.filter(reaching.series(reach(who, LOOK)), study__uid=study)
        .select_related("study__patient")
        .order_by("pk")
    )
    if not rows:
        raise NotThere("There is no such study.")
    _note(who, rows[0].study)
    tag = _tag(rows, base)
    return Metadata(tag, base, () if tag in known else tuple(current(row, base) for row in rows))


def of_instance(who: Who, study: str, series: str, instance: str, base: str, known: Sequence[str] = ()) -> Metadata:
    """The same of one object."""
    holding = give.one(reach(who, LOOK), study, series, instance)
    give.note(who, holding)
    tag = hashlib.sha256(f"{VERSION} {_name([holding])} {base}".encode()).hexdigest()[:32]
    if tag in known:
        return Metadata(tag, base)
    text, _ = _told(_writer(), holding, series, base)
    piece = Piece(instance, 1, "", Part.of([text.encode()]))
    return Metadata(tag, base, (Copy.of(series, _NO_STAMPS, base, (piece,)),))


def current(row: Series, base: str) -> Copy:
    """The copy of a series as it is now, made if need be; its bulk data may be told at another address than ``base``.

    ``row`` has its study; the caller has asked for the reach.
    """
    stamps = (row.stamp, row.study.stamp)
    found = metadata_copies.find(row.uid, stamps, base)
    if found is not None:
        return found
    with metadata_copies.making(row.uid):
        # Read again, and before anything that is made of it: whoever changes something meanwhile, changes them.
        fresh = Series.objects.filter(pk=row.pk).values_list("stamp", "study__stamp").first()
        if fresh is None:
            raise NotThere("There is no such series.")
        found = metadata_copies.find(row.uid, fresh, base)
        if found is None:
            found, lasting = _made(row.uid, fresh, metadata_copies.asked_at(base))
            # What is not to last is made again for the next request, but for the pieces that were whole.
            metadata_copies.keep(found if lasting else replace(found, stamps=_NO_STAMPS))
    return found


# Making -----------------------------------------------------------------------------------------------


def _made(series: str, stamps: Stamps, base: str) -> tuple[Copy, bool]:
    """The metadata of a series, and whether they may be kept: not while a file is missing that may come back."""
    before = metadata_copies.read(series)
    usable = before.pieces if before is not None and before.base == base and not _is_in_shreds(before) else ()
    making = _Making(series, base, usable)
    pieces = tuple(making.pieces())
    return Copy.of(series, stamps, base, pieces), making.lasting


def _is_in_shreds(copy: Copy) -> bool:
    """Whether it came piece by piece, so that it is better compressed anew."""
    return len(copy.pieces) > _SOME_PIECES + copy.count // _MOST_TOGETHER * 2


class _Making:
    """Goes through the objects of a series, and makes those pieces that there are not yet."""

    def __init__(self, series: str, base: str, usable: Sequence[Piece]) -> None:
        self.lasting = True
        self._series = series
        self._base = base
        self._usable = {piece.first: piece for piece in usable}
        self._writer = _writer()
        holdings = iter(Selection({fetch.SERIES_INSTANCE_UID: [series]}, EVERYTHING))
        self._holdings = holdings
        self._ahead: list[Holding] = []

    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order in which the objects came."""
        while (first := self._next()) is not None:
            self._ahead.insert(0, first)
            usable = self._usable.get(first.sop_instance)
            if usable is not None:
                those = self._take(usable.count)
                if len(those) == usable.count and _name(those) == usable.name:
                    yield usable
                    continue
                self._ahead[:0] = those
            yield self._piece()

    def _piece(self) -> Piece:
        """A new piece, up to where one begins that can be used again."""
        those: list[Holding] = []
        whole = True

        def texts() -> Iterator[bytes]:
            nonlocal whole
            size = 0
            while len(those) < _MOST_TOGETHER and size < _PIECE_BYTES:
                holding = self._next()
                if holding is None:
                    return
                if those and holding.sop_instance in self._usable:
                    self._ahead.insert(0, holding)
                    return
                text, lasting = _told(self._writer, holding, self._series, self._base)
                whole = whole and lasting
                data = text.encode()
                size += len(data)
                if those:
                    yield b","
                those.append(holding)
                yield data

        part = Part.of(texts())
        self.lasting = self.lasting and whole
        return Piece(those[0].sop_instance, len(those), _name(those) if whole else "", part)

    def _next(self) -> Holding | None:
        return self._ahead.pop(0) if self._ahead else next(self._holdings, None)

    def _take(self, count: int) -> list[Holding]:
        taken: list[Holding] = []
        while len(taken) < count and (holding := self._next()) is not None:
            taken.append(holding)
        return taken


def _writer() -> Writer:
    return Writer(HOZI.default_charset)


def _name(holdings: Sequence[Holding]) -> str:
    """Says all that what they say depends on."""
    digest = hashlib.sha256()
    for one in holdings:
        changes = json.dumps(sorted(one.changes.items())) if one.changes else ""
        digest.update(f"{one.sop_instance} {one.sha256} {one.transfer_syntax} {changes}\n".encode())
    return digest.hexdigest()[:32]


def _told(writer: Writer, holding: Holding, series: str, base: str) -> tuple[str, bool]:
    """What an object says, and whether it will say so again: not where its file was missing or cut short.

    Of one that cannot be read, what the index knows.
    """
    uri = f"{base}/studies/{holding.study}/series/{series}/instances/{holding.sop_instance}/bulkdata"
    added = {_AVAILABLE_SYNTAX: ("UI", holding.transfer_syntax)}
    syntax = syntaxes.for_unknown(holding.transfer_syntax)
    lasting = True
    try:
        with holding.stored() as file:
            begin = file.tell()

            def read(position: int, size: int) -> bytes:
                file.seek(begin + position)
                data = file.read(size)
                if len(data) < size:
                    raise Damaged("a stored file is shorter than the index says; run `hozi verify`")
                return data

            return writer.dataset(read, holding.length, syntax, uri, holding.changes, added), True
    except (Missing, Damaged, OSError) as error:
        log.warning("the metadata of an object are not to be had now (%s); run `hozi verify`", type(error).__name__)
        lasting = False
    except Unreadable:
        log.warning("the metadata of an object cannot be read from its file")
    known = {
        _SOP_CLASS: ("UI", holding.sop_class),
        fetch.SOP_INSTANCE_UID: ("UI", holding.sop_instance),
        fetch.STUDY_INSTANCE_UID: ("UI", holding.study),
        fetch.SERIES_INSTANCE_UID: ("UI", series),
    }
    return writer.dataset(lambda _, __: b"", 0, syntax, uri, None, known | added), lasting


# Sending ----------------------------------------------------------------------------------------------


def _note(who: Who, study: Study) -> None:
    """One look with that at the pictures themselves."""
    patient = study.patient
    key = (who.actor, who.address, study.uid, patient.issuer, patient.patient_id, study.facility)
    if give.NOTED.is_new(key):
        looks.note(who, study, "pictures")
        give.NOTED.add(key)


def _tag(rows: Sequence[Series], base: str) -> str:
    told = [VERSION, base, *((row.uid, row.stamp, row.study.stamp) for row in rows)]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _at(base: str, copy: Copy) -> Copy:
    """The copy with its bulk data told at another address, where it was made for another one."""
    if copy.base == base:
        return copy
    pieces = tuple(
        Piece(piece.first, piece.count, piece.name, Part.of([_told_at(base, copy, piece)])) for piece in copy.pieces
    )
    made = Copy.of(copy.series, copy.stamps, base, pieces)
    metadata_copies.remember(made)
    return made


def _told_at(base: str, copy: Copy, piece: Piece) -> bytes:
    content = piece.part.content()
    if copy.base == base:
        return content
    # A quotation mark in a text is written with a backslash before it: this stands nowhere but where an address begins.
    old, new = (f'"BulkDataURI":"{one}/studies/'.encode() for one in (copy.base, base))
    return content.replace(old, new)


# Ahead ------------------------------------------------------------------------------------------------


class Settling:
    """Makes the metadata of series to which nothing has come for a while, before somebody asks."""

    def __init__(self, seconds: float = _SETTLED_SECONDS) -> None:
        self._seconds = seconds
        self._last: int | None = None
        self._moving: dict[int, float] = {}

    def look(self) -> int:
        """Notes what has come since the last time, and makes those that have settled; returns how many."""
        address = metadata_copies.base()
        if not address:
            return 0  # nobody here asks for metadata
        now = time.monotonic()
        if self._last is None:
            newest = Instance.objects.order_by("-pk").values_list("pk", flat=True).first()
            self._last = newest or 0
        arrived = Instance.objects.filter(pk__gt=self._last).order_by("pk").values_list("pk", "series_id")
        for pk, series in arrived:
            self._last = pk
            self._moving[series] = now
        settled = [series for series, since in self._moving.items() if now - since >= self._seconds]
        for row in Series.objects.filter(pk__in=settled, study__rejected=False).select_related("study"):
            current(row, address)
        for series in settled:
            del self._moving[series]
        return len(settled)


_SETTLING: Final = Settling()


def settle() -> None:
    """Regular work: makes the metadata of series that have come, once they seem to be complete."""
    _SETTLING.look()


def sweep() -> int:
    """Regular work: removes what is kept of series that are gone or were rejected; returns of how many."""
    removed = 0
    kept = metadata_copies.everything()
    while some := dict(islice(kept, _ROWS)):
        there = Series.objects.filter(uid__in=some, study__rejected=False, instances__stored__isnull=False).distinct()
        for series in some.keys() - set(there.values_list("uid", flat=True)):
            some[series].unlink(missing_ok=True)
            removed += 1
    return removed
