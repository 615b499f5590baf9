"""What to answer to a proposal, and what follows from the answer (PS3.7 annex D, PS3.8 §9.3.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from hozi.core.dicom.syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hozi.core.dimse.terms import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTED,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    Acceptance,
    AssociateAnswer,
    AssociateRequest,
    Context,
    ContextAnswer,
    ProposedContext,
    Rejection,
)

__all__ = ["Acceptance", "ContextAnswer", "Rejection", "agreed", "choose", "choose_roles", "choose_syntax"]

_UNCOMPRESSED: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
_DEFAULT_ROLES: Final = (True, False)

Supported = Callable[[str], Collection[str] | None]
"""Abstract syntax to the transfer syntaxes taken for it; None when the abstract syntax is not supported."""


def choose(request: AssociateRequest, supported: Supported) -> list[ContextAnswer]:
    """Answer every proposed context on its own, in the order proposed, with exactly one transfer syntax each."""
    return [_answer(context, supported(context.abstract_syntax)) for context in request.contexts]


def _answer(context: ProposedContext, supported: Collection[str] | None) -> ContextAnswer:
    # A refused context has to name a transfer syntax too, which is not significant (PS3.8 table 9-18).
    first = context.transfer_syntaxes[0] if context.transfer_syntaxes else IMPLICIT_LITTLE
    if supported is None:
        return ContextAnswer(context.id, ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
    syntax = choose_syntax(context.transfer_syntaxes, supported)
    if syntax is None:
        return ContextAnswer(context.id, TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
    return ContextAnswer(context.id, ACCEPTED, syntax)


def choose_syntax(proposed: Collection[str], supported: Collection[str]) -> str | None:
    """Return the proposer's first supported transfer syntax; None if there is none.

    Many list implicit VR first although it loses the VRs: where the first one is uncompressed, explicit little endian
    goes before implicit, and that before big endian.
    """
    usable = [syntax for syntax in proposed if syntax in supported]
    if usable and usable[0] in _UNCOMPRESSED:
        return next(syntax for syntax in _UNCOMPRESSED if syntax in usable)
    return usable[0] if usable else None


def choose_roles(
    request: AssociateRequest, allowed: Callable[[str], tuple[bool, bool]]
) -> dict[str, tuple[bool, bool]]:
    """Answer the proposed (SCU, SCP) roles of the requestor by those that it is ``allowed`` (PS3.7 §D.3.3.4)."""
    roles = {}
    for sop_class, (as_scu, as_scp) in request.roles.items():
        may_scu, may_scp = allowed(sop_class)
        roles[sop_class] = (as_scu and may_scu, as_scp and may_scp)
    return roles


def agreed(request: AssociateRequest, answer: AssociateAnswer, *, is_requestor: bool) -> dict[int, Context]:
    """Return the accepted contexts by ID, with the roles of the local side.

    A context that was not proposed, or accepted with a transfer syntax that was not proposed, does not count.
    """
    proposed = {context.id: context for context in request.contexts}
    contexts: dict[int, Context] = {}
    for said in answer.contexts:
        context = proposed.get(said.id)
        if said.result != ACCEPTED or context is None or said.transfer_syntax not in context.transfer_syntaxes:
            continue
        as_scu, as_scp = _roles(context.abstract_syntax, request.roles, answer.roles)
        if not is_requestor:
            as_scu, as_scp = as_scp, as_scu
        contexts[said.id] = Context(said.id, context.abstract_syntax, said.transfer_syntax, as_scu, as_scp)
    return contexts


def _roles(
    sop_class: str, proposed: Mapping[str, tuple[bool, bool]], answered: Mapping[str, tuple[bool, bool]]
) -> tuple[bool, bool]:
    """Roles of the requestor: without a proposal and an answer to it, it is the SCU (PS3.7 §D.3.3.4)."""
    if sop_class not in proposed or sop_class not in answered:
        return _DEFAULT_ROLES
    asked, got = proposed[sop_class], answered[sop_class]
    return asked[0] and got[0], asked[1] and got[1]
