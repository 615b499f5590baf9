"""Answers to proposals: each context on its own, one transfer syntax each, no role that was not asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hozi.core.dimse.association import AssociateRequest, ProposedContext
from hozi.core.dimse.negotiation import agreed, choose, choose_roles, choose_syntax
from hozi.core.dimse.terms import AssociateAnswer, ContextAnswer
from tests.core.dimse.listening import (
    BIG_ENDIAN,
    COMMITMENT,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    MR_IMAGE,
    VERIFICATION,
)

ALL = frozenset((IMPLICIT, EXPLICIT, BIG_ENDIAN, JPEG_BASELINE))


def request(*contexts: ProposedContext, roles: dict[str, tuple[bool, bool]] | None = None) -> AssociateRequest:
    return AssociateRequest("CT1", "HOZI", contexts, roles=roles or {})


def test_it_answers_contexts_of_one_sop_class_independently_e03() -> None:
    proposal = request(
        ProposedContext(1, CT_IMAGE, (IMPLICIT,)),
        ProposedContext(3, CT_IMAGE, (JPEG_BASELINE,)),
        ProposedContext(5, CT_IMAGE, ("1.2.3",)),
    )
    assert choose(proposal, lambda uid: ALL) == [
        ContextAnswer(1, 0, IMPLICIT),
        ContextAnswer(3, 0, JPEG_BASELINE),
        ContextAnswer(5, 4, "1.2.3"),
    ]


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ((IMPLICIT, EXPLICIT), EXPLICIT),
        ((BIG_ENDIAN, IMPLICIT), IMPLICIT),
        ((BIG_ENDIAN,), BIG_ENDIAN),
        ((JPEG_BASELINE, EXPLICIT), JPEG_BASELINE),
        ((IMPLICIT, JPEG_BASELINE), IMPLICIT),
        (("1.2.3", JPEG_BASELINE, EXPLICIT), JPEG_BASELINE),
        (("1.2.3",), None),
        ((), None),
    ],
)
def test_it_chooses_exactly_one_transfer_syntax_e04(proposed: tuple[str, ...], chosen: str | None) -> None:
    assert choose_syntax(proposed, ALL) == chosen


@given(st.lists(st.sampled_from([*ALL, "1.2.3", "1.2.4"]), max_size=6))
def test_it_never_chooses_what_was_not_proposed_or_is_not_supported(proposed: list[str]) -> None:
    chosen = choose_syntax(proposed, ALL)
    assert chosen in ALL & set(proposed) or (chosen is None and not ALL & set(proposed))


def test_it_says_why_no_context_is_acceptable_e05() -> None:
    proposal = request(ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, CT_IMAGE, ()))
    answers = choose(proposal, {CT_IMAGE: ALL}.get)
    assert [(answer.id, answer.result) for answer in answers] == [(1, 3), (3, 4)]
    assert agreed(proposal, AssociateAnswer(tuple(answers)), is_requestor=False) == {}


def test_it_answers_roles_by_what_is_allowed_e10() -> None:
    proposal = request(
        ProposedContext(1, CT_IMAGE, (IMPLICIT,)),
        ProposedContext(3, COMMITMENT, (IMPLICIT,)),
        ProposedContext(5, MR_IMAGE, (IMPLICIT,)),
        ProposedContext(7, VERIFICATION, (IMPLICIT,)),
        roles={CT_IMAGE: (True, True), COMMITMENT: (False, True), MR_IMAGE: (True, True)},
    )
    roles = choose_roles(proposal, lambda uid: (True, uid != MR_IMAGE))
    assert roles == {CT_IMAGE: (True, True), COMMITMENT: (False, True), MR_IMAGE: (True, False)}
    answer = AssociateAnswer(tuple(choose(proposal, lambda uid: ALL)), roles=roles)
    ours = agreed(proposal, answer, is_requestor=False)
    theirs = agreed(proposal, answer, is_requestor=True)
    assert [(ours[i].as_scu, ours[i].as_scp) for i in (1, 3, 5, 7)] == [
        (True, True),
        (True, False),
        (False, True),
        (False, True),
    ]
    assert [(theirs[i].as_scu, theirs[i].as_scp) for i in (1, 3, 5, 7)] == [
        (True, True),
        (False, True),
        (True, False),
        (True, False),
    ]


def test_it_gives_a_requestor_no_role_that_the_acceptor_did_not_answer() -> None:
    proposal = request(ProposedContext(1, CT_IMAGE, (IMPLICIT,)), roles={CT_IMAGE: (True, True)})
    context = agreed(proposal, AssociateAnswer((ContextAnswer(1, 0, IMPLICIT),)), is_requestor=True)[1]
    assert (context.as_scu, context.as_scp) == (True, False)


def test_it_does_not_count_answers_to_what_was_not_proposed() -> None:
    proposal = request(ProposedContext(1, CT_IMAGE, (IMPLICIT,)))
    answer = AssociateAnswer((ContextAnswer(1, 0, EXPLICIT), ContextAnswer(3, 0, IMPLICIT), ContextAnswer(1, 4)))
    assert agreed(proposal, answer, is_requestor=True) == {}
