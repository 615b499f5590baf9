"""What clients really send is understood, and what nobody should send costs nothing (PS3.18 §8.7)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.doors.dicomweb.accept import MOST_ALTERNATIVES, Offer, choose, wanted
from hozi.doors.dicomweb.exchange import NotAcceptable

EXPLICIT = "1.2.840.10008.1.2.1"
J2K = "1.2.840.10008.1.2.4.90"

STORED = Offer("application/dicom", J2K, multipart=True, unnamed=False)
PLAIN = Offer("application/dicom", EXPLICIT, multipart=True)
ALONE = Offer("application/dicom", EXPLICIT)
INSTANCE = (STORED, PLAIN, ALONE)

JP2 = Offer("image/jp2", J2K, multipart=True)
RAW = Offer("application/octet-stream", J2K, multipart=True, unnamed=False)
DECODED = Offer("application/octet-stream", EXPLICIT, multipart=True)
ONE_JP2 = Offer("image/jp2", J2K)
FRAME = (JP2, RAW, DECODED, ONE_JP2)


@pytest.mark.parametrize(
    ("header", "offers", "chosen"),
    [
        ("", INSTANCE, STORED),
        ("*/*", INSTANCE, STORED),
        ("*", INSTANCE, STORED),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", INSTANCE, STORED),
        ('multipart/related; type="application/dicom"', INSTANCE, PLAIN),
        ("multipart/related;type=application/dicom", INSTANCE, PLAIN),
        ("multipart/related; type='application/dicom'", INSTANCE, PLAIN),
        ('Multipart/Related; TYPE="Application/DICOM"; transfer-syntax=*', INSTANCE, STORED),
        (f'multipart/related; type="application/dicom"; transfer-syntax={J2K}', INSTANCE, STORED),
        (f'multipart/related; transfer-syntax="{EXPLICIT}"; type="application/dicom";', INSTANCE, PLAIN),
        ("multipart/related", INSTANCE, STORED),
        ("application/dicom", INSTANCE, ALONE),
        ("application/dicom;q=0.1, */*;q=0.2", INSTANCE, STORED),
        ('application/dicom, multipart/related; type="application/dicom";q=0.9', INSTANCE, ALONE),
        # OHIF, for everything it asks for
        (
            "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
            FRAME,
            RAW,
        ),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", FRAME, RAW),
        ("multipart/related; type=application/octet-stream", FRAME, DECODED),
        # dicomweb-client
        (
            f'multipart/related; type="application/octet-stream"; transfer-syntax="{EXPLICIT}", '
            f'multipart/related; type="image/jp2"; transfer-syntax="{J2K}"',
            FRAME,
            JP2,
        ),
        ('multipart/related; type="image/jp2"', FRAME, JP2),
        ('multipart/related; type="image/*"', FRAME, JP2),
        ("image/dicom+jp2", FRAME, ONE_JP2),
        ("image/*", FRAME, ONE_JP2),
        ("multipart/related; type=image/jp2;q=0, */*;q=0.5", FRAME, RAW),
        (";;;,,,/,a/,*/b,=;q=9, multipart/related; type=image/jp2; q=abc", FRAME, JP2),
    ],
)
def test_it_understands_what_clients_send(header: str, offers: tuple[Offer, ...], chosen: Offer) -> None:
    assert choose(wanted(header), offers) == chosen


def test_it_says_what_there_is_to_whom_nothing_suits() -> None:
    with pytest.raises(NotAcceptable, match=r'multipart/related; type="application/dicom"; transfer-syntax=1\.2'):
        choose(wanted("image/gif, application/dicom;q=0"), INSTANCE)
    with pytest.raises(NotAcceptable):
        choose(wanted("*/*; transfer-syntax=1.2.840.10008.1.2.4.80"), INSTANCE)


def test_the_parameter_in_the_address_comes_before_the_header() -> None:
    assert choose(wanted("application/dicom", 'multipart/related; type="application/dicom"'), INSTANCE) == PLAIN
    # As it reads after a plus sign was decoded.
    assert wanted("", "application/dicom json")[0].media == "application/dicom+json"
    assert choose(wanted("application/dicom", "nonsense"), INSTANCE) == ALONE


def test_a_bomb_is_looked_at_in_part_and_at_once() -> None:
    begun = time.perf_counter()
    for bomb in (
        "a/b," * 100_000,
        '"' * 100_000,
        ";" * 100_000,
        "*/*;q=" * 50_000,
        'a/b;c="\\' * 20_000,
        "," * 100_000,
    ):
        assert len(wanted(bomb)) <= MOST_ALTERNATIVES
    assert time.perf_counter() - begun < 0.5
    # What stands behind the end is not taken for something else.
    assert choose(wanted("application/dicom," + "x/y," * 900 + "application/dicom;q=0" + "," * 600), INSTANCE) == ALONE


_pieces = st.sampled_from(
    [
        *("multipart/related", "application/dicom", "*/*", "image/*", ";", ",", "=", '"', "\\", "q", "0", "1.5"),
        *("type", " ", "transfer-syntax", "*", EXPLICIT, J2K, "\u00e9", "\x00", "charset=utf-8"),
    ]
)


@given(st.lists(_pieces, max_size=40).map("".join) | st.text(max_size=200))
def test_whatever_is_sent_is_answered(header: str) -> None:
    said = wanted(header)
    assert said
    assert all(0 <= one.q <= 1 for one in said)
    try:
        assert choose(said, INSTANCE) in INSTANCE
    except NotAcceptable:
        pass


@given(
    st.lists(
        st.tuples(
            st.sampled_from(INSTANCE + FRAME),
            st.integers(0, 1000),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
        unique_by=lambda one: one[0],
    )
)
def test_what_is_liked_best_is_given(said: list[tuple[Offer, int, bool]]) -> None:
    def written(offer: Offer, thousandths: int, quoted: bool) -> str:
        mark = '"' if quoted else ""
        inner = f"multipart/related; type={mark}{offer.media}{mark}" if offer.multipart else offer.media
        return f"{inner}; transfer-syntax={mark}{offer.syntax}{mark}; q={thousandths / 1000:.3f}"

    header = ", ".join(written(*one) for one in said)
    best = max(thousandths for _, thousandths, _ in said)
    if best == 0:
        with pytest.raises(NotAcceptable):
            choose(wanted(header), INSTANCE + FRAME)
    else:
        chosen = choose(wanted(header), INSTANCE + FRAME)
        assert (chosen, best) in {(offer, thousandths) for offer, thousandths, _ in said}
