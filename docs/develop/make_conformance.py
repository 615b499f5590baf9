"""Writes docs/conformance/dicom.md, the DICOM conformance statement (`make docs`).

The words come from dicom.md.template beside it; every table and number comes from what the server works with. Where
words go with a table of the server (when each status is answered), a word too few or too many is an error.
"""

from __future__ import annotations

import ast
import inspect
import os
import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from types import ModuleType

import django
from django.apps import apps

if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    django.setup()

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description

from hozi import __version__
from hozi.archive import commitment as held
from hozi.archive import pictures
from hozi.archive.exceptions import IN_WORDS
from hozi.core.dicom import (
    charset,
    identifier,
    json_dataset,
    keys,
    limits,
    matching,
    sop_classes,
    syntaxes,
    times,
    uids,
)
from hozi.core.dicom.keys import Key
from hozi.core.dimse import command as commands
from hozi.core.dimse import negotiation, outbound, pdu, slots, status, terms, tls
from hozi.core.pixels.decode import can_decode
from hozi.core.pixels.transcode import NATIVE
from hozi.doors.dicomweb import accept, qido
from hozi.doors.dimse import commitment, echo, find, get, move, offer, server, session, store, suboperations, understand
from hozi.jobs import queue
from hozi.settings import Settings

PAGE = Path(__file__).parents[1] / "conformance" / "dicom.md"
TEMPLATE = PAGE.with_name("dicom.md.template")

#: What the requests of the server's table are called, and what the archive asks of others itself.
REQUESTS = {
    commands.C_ECHO_RQ: ("C-ECHO", "`hozi device echo`"),
    commands.C_STORE_RQ: ("C-STORE", "sub-operations of C-MOVE and C-GET"),
    commands.C_FIND_RQ: ("C-FIND", ""),
    commands.C_MOVE_RQ: ("C-MOVE", ""),
    commands.C_GET_RQ: ("C-GET", ""),
    commands.N_ACTION_RQ: ("N-ACTION", ""),
}

#: The fields of SOP Class Extended Negotiation, byte by byte.
EXTENDED_FIELDS = {
    "FIND": (
        "PS3.4 Table C.5.1.1-1",
        offer.FIND_EXTENDED,
        (
            "relational queries",
            "date and time as one range",
            "fuzzy semantic matching of names",
            "timezone query adjustment",
            "enhanced multi-frame image conversion",
        ),
    ),
    "MOVE and GET": (
        "PS3.4 Tables C.5.2.1-1 and C.5.3.1-1",
        offer.RETRIEVE_EXTENDED,
        ("relational retrieval", "enhanced multi-frame image conversion"),
    ),
    "Storage": (
        "PS3.4 Table B.3-1",
        offer.STORAGE_EXTENDED,
        ("level of support", "reserved", "level of digital signature support", "reserved", "coercion", "reserved"),
    ),
}

#: When each status is answered, by its name in `core.dimse.status`. These are for every service:
EVERYWHERE = {
    "NOT_AUTHORIZED": "the device is known, but not admitted for this service",
    "UNRECOGNIZED_OPERATION": "the request is none of the presentation context's SOP class",
    "PROCESSING_FAILURE": "something failed at the archive; nothing was acknowledged, and the request may be repeated",
}
ECHO_STATUSES = {"SUCCESS": "the archive is there"}
STORE_STATUSES = {
    "SUCCESS": "the object is durable: on the disk, in the index and in the audit; the same object again is a success",
    "OUT_OF_RESOURCES": "the disk has no room, or the object is larger than the limit; nothing is kept",
}
FIND_STATUSES = {
    "PENDING": "a match",
    "PENDING_UNSUPPORTED_KEYS": "a match; the identifier has keys that stand in none of the tables below, which were"
    " ignored",
    "SUCCESS": "all matches were sent",
    "CANCEL": "C-CANCEL was received",
    "OUT_OF_RESOURCES": "there are more matches than the limit; those up to it were sent",
    "IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS": "the level is missing or unknown, a unique key above it is missing, or a key"
    " asks for too much",
    "UNABLE_TO_PROCESS": "the identifier is not readable",
}
GET_STATUSES = {
    "PENDING": "sub-operations go on; the numbers of remaining, completed, failed and warning ones are given",
    "SUCCESS": "every object was sent, or nothing was found",
    "SUB_OPERATIONS_COMPLETE_WITH_FAILURES": "sub-operations failed (Failed SOP Instance UID List names the objects)"
    " or ended with warnings",
    "OUT_OF_RESOURCES_SUB_OPERATIONS": "no sub-operation could be begun, for example because the destination cannot be"
    " reached; Failed SOP Instance UID List names the objects",
    "CANCEL": "C-CANCEL was received; no further sub-operation was begun",
    "IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS": "the level is missing or unknown, or nothing is named",
    "UNABLE_TO_PROCESS": "the identifier is not readable",
}
MOVE_STATUSES = {
    **GET_STATUSES,
    "MOVE_DESTINATION_UNKNOWN": "no device with this AE title is admitted to receive",
}
ACTION_STATUSES = {
    "SUCCESS": "the request is kept, and the report will come",
    "NO_SUCH_OBJECT_INSTANCE": "the requested SOP instance is not the well-known one",
    "NO_SUCH_ACTION": "the action type is unknown",
    "INVALID_ARGUMENT_VALUE": "Transaction UID or Referenced SOP Sequence is missing or not valid, or the archive does"
    " not know where to send the report",
}
FAILURE_REASONS = {
    "NO_SUCH_OBJECT_INSTANCE": "the archive does not hold the object",
    "CLASS_INSTANCE_CONFLICT": "the object is held with another SOP class",
    "PROCESSING_FAILURE": "the object's file is missing or not whole",
}
REJECTIONS = {
    "CALLING_AE_NOT_RECOGNIZED": "no device with this AE title is admitted at this address with this certificate",
    "CALLED_AE_NOT_RECOGNIZED": "the device calls the archive by another name than its AE title",
    "NO_REASON_GIVEN": "the device must present a user identity, and did not or presented another one",
    "APPLICATION_CONTEXT_NOT_SUPPORTED": "the application context is not DICOM's",
    "PROTOCOL_VERSION_NOT_SUPPORTED": "bit 0 of the protocol version is not set",
    "LOCAL_LIMIT_EXCEEDED": "there are as many associations as the settings allow, in all or from this address",
    "TEMPORARY_CONGESTION": "the archive cannot decide, for example because its database does not answer",
}


class OutOfStep(Exception):
    """The words of this program and a table of the server do not belong together."""


def page() -> str:
    """The whole statement, as it must stand in the repository."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    parts = {**_values(), **_sop_class_tables(), **_association_tables(), **_status_tables()}
    parts |= {**_query_tables(), **_search_tables()}
    _same("parts of the page", set(template.get_identifiers()), set(parts))
    return template.substitute(parts)


def _values() -> dict[str, str]:
    """Everything that is one value in a sentence."""
    return {
        "version": __version__,
        "message_syntaxes": _named(offer.MESSAGE_SYNTAXES, " and "),
        "preferred": _named(negotiation._UNCOMPRESSED, ", "),
        "abstract_syntax_not_supported": str(terms.ABSTRACT_SYNTAX_NOT_SUPPORTED),
        "transfer_syntaxes_not_supported": str(terms.TRANSFER_SYNTAXES_NOT_SUPPORTED),
        "levels": ", ".join(keys.LEVELS),
        "moments": ", ".join(" and ".join(keys.BY_TAG[tag].keyword for tag in pair) for pair in keys.DATE_AND_TIME),
        "utf8": charset.UTF8,
        "latin1": charset.LATIN1,
        "action_type": str(commitment.REQUEST_STORAGE_COMMITMENT),
        "event_all": str(commitment.ALL_SUCCESSFUL),
        "event_failures": str(commitment.FAILURES_EXIST),
        "inline_bytes": str(json_dataset.INLINE_BYTES),
        "most_alternatives": str(accept.MOST_ALTERNATIVES),
        "htj2k": " and ".join(uid for uid in pictures.WIRE if uid != syntaxes.EXPLICIT_LITTLE),
        "first_pause": f"{queue.FIRST_PAUSE:g}",
        "longest_pause": f"{queue.LONGEST_PAUSE:g}",
        "private_information": uids.PRIVATE_INFORMATION_CREATOR_UID,
        "tls_version": tls._hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).minimum_version.name.replace(
            "v1_", " 1."
        ),
        "tls_ciphers": tls._CIPHERS_1_2,
        **{
            name: _setting(name)
            for name in ("ae_title", "dicom_port", "commitment_wait_minutes", "commitment_retry_days")
        },
    }


def _sop_class_tables() -> dict[str, str]:
    _same("requests", set(server.HANDLERS), set(REQUESTS))
    overview = [(name, _classes(request), scu, "yes") for request, (name, scu) in REQUESTS.items()]
    services = [
        (_code(uid), sop_classes.name(uid), ", ".join(REQUESTS[one][0] for one in requests), *_roles(uid))
        for uid, requests in offer.SERVICES.items()
    ]
    kept = [syntax for syntax in syntaxes.ALL if syntax.uid in syntaxes.STORABLE]
    others = [syntax for syntax in syntaxes.ALL if syntax.uid not in syntaxes.STORABLE]
    return {
        "overview": _table(("service", "SOP classes", "as SCU (user)", "as SCP (provider)"), overview),
        "services": _table(("SOP class UID", "name", "requests", "SCU", "SCP"), services),
        "storage": _table(
            ("SOP class UID", "name", "SCU", "SCP"),
            [(_code(uid), name, *_roles(uid)) for uid, name in sop_classes.STORAGE.items()],
        ),
        "transfer_syntaxes": _table(
            ("transfer syntax UID", "name", "retired", "sent uncompressed"),
            [(_code(one.uid), one.name, _yes(one.retired), _yes(_can_uncompress(one.uid))) for one in kept],
        ),
        "unsupported_syntaxes": _table(("transfer syntax UID", "name"), [(_code(one.uid), one.name) for one in others]),
    }


def _association_tables() -> dict[str, str]:
    crowd = slots.AcceptorLimits()
    bounds = [
        ("application context", _code(terms.APPLICATION_CONTEXT)),
        ("largest PDU that is received", f"{_setting('max_pdu')} bytes (`HOZI_MAX_PDU`; 0: no limit)"),
        ("largest PDU that is sent", f"what the peer takes, at most {outbound.LARGEST_PDU} bytes"),
        ("largest A-ASSOCIATE PDU", f"{pdu.MAX_ASSOCIATE_LENGTH} bytes"),
        ("presentation contexts of an association", str(pdu.MAX_CONTEXTS)),
        ("associations at the same time", f"{_setting('max_associations')} (`HOZI_MAX_ASSOCIATIONS`)"),
        (
            "associations from one address",
            f"{_setting('max_associations_per_address')} (`HOZI_MAX_ASSOCIATIONS_PER_ADDRESS`)",
        ),
        (
            "connections that have not negotiated yet",
            f"{crowd.pending_total}, from one address {crowd.pending_per_address}; then the oldest is closed",
        ),
        ("asynchronous operations", "none: one operation at a time; a proposed window is not answered"),
        ("implementation class UID", _code(uids.IMPLEMENTATION_CLASS_UID)),
        ("implementation version name", _code(uids.IMPLEMENTATION_VERSION_NAME)),
        ("time to negotiate", f"{_setting('artim_seconds')} s (`HOZI_ARTIM_SECONDS`)"),
        ("time between messages", f"{_setting('idle_seconds')} s (`HOZI_IDLE_SECONDS`)"),
        ("time between parts of a message", f"{_setting('message_seconds')} s (`HOZI_MESSAGE_SECONDS`)"),
    ]
    proposals = [
        (
            "sub-operations of C-MOVE",
            "for each SOP class every stored transfer syntax in a context of its own, and one context more with"
            f" {_named(move._FALLBACK, ' and ')} where that can be sent; several associations, one after the other,"
            " when there are more contexts than one can have",
        ),
        (
            "commitment reports",
            f"{sop_classes.name(sop_classes.STORAGE_COMMITMENT_PUSH)} with {_named(commitment._SYNTAXES, ' and ')};"
            " by role selection the archive is the SCP",
        ),
        ("echo", f"{sop_classes.name(sop_classes.VERIFICATION)} with {_named(echo._SYNTAXES, ' and ')}"),
    ]
    rejections = {name: one for name, one in vars(terms).items() if isinstance(one, terms.Rejection)}
    _same("rejections", set(rejections), set(REJECTIONS))
    return {
        "association_limits": _table(("what", "value"), bounds),
        "proposals": _table(("for", "what is proposed"), proposals),
        "rejections": _table(
            ("result/source/reason", "meaning", "when"),
            [
                (f"{one.result}/{one.source}/{one.reason}", _words(name), REJECTIONS[name])
                for name in REJECTIONS
                for one in [rejections[name]]
            ],
        ),
        "extended": _table(
            ("service", "byte", "field", "value", "source"),
            [
                (service, str(number), field, str(value), source)
                for service, (source, answer, fields) in EXTENDED_FIELDS.items()
                for number, (field, value) in enumerate(zip(fields, answer, strict=True), 1)
            ],
        ),
    }


def _status_tables() -> dict[str, str]:
    quarantined = {code for code, _ in store._STATUS.values()}
    others = {name for name in _constants(store, "status") if getattr(status, name) in quarantined}
    reasons = _constants(held) & {name for name in vars(status) if name.isupper()}
    _same("failure reasons", reasons, set(FAILURE_REASONS))
    return {
        "echo_statuses": _statuses(ECHO_STATUSES, server, session),
        "store_statuses": _statuses(STORE_STATUSES, store, server, session, but=others),
        "find_statuses": _statuses(FIND_STATUSES, find, understand, server, session),
        "move_statuses": _statuses(MOVE_STATUSES, move, suboperations, understand, server, session),
        "get_statuses": _statuses(GET_STATUSES, get, suboperations, understand, server, session),
        "action_statuses": _statuses(ACTION_STATUSES, commitment, server, session),
        "quarantine": _table(
            ("status", "kind", "reason", "meaning"),
            [
                (f"{code:04X}", "warning" if status.is_warning(code) else "failure", reason.value, IN_WORDS[reason])
                for reason, (code, _) in store._STATUS.items()
            ],
        ),
        "noted": _table(
            ("reason", "meaning"), [(one, words) for one, words in IN_WORDS.items() if one not in set(store._STATUS)]
        ),
        "failure_reasons": _table(
            ("reason", "meaning", "when"),
            [(f"{getattr(held, name):04X}", _words(name), when) for name, when in FAILURE_REASONS.items()],
        ),
    }


def _query_tables() -> dict[str, str]:
    scan = limits.Limits()
    storage_limits = [
        ("largest object", f"{_setting('max_object_bytes')} bytes (`HOZI_MAX_OBJECT_BYTES`)"),
        ("room that stays free on the disk", f"{_setting('min_free_bytes')} bytes (`HOZI_MIN_FREE_BYTES`)"),
        ("sequences inside one another", str(scan.depth)),
        ("elements", str(scan.elements)),
        ("items of sequences", str(scan.items)),
        ("a deflated dataset, inflated", f"{scan.inflated_bytes} bytes"),
    ]
    find_limits = [
        ("matches", f"{_setting('max_query_results')} (`HOZI_MAX_QUERY_RESULTS`)"),
        ("characters of a key that is no UID", str(matching.LONGEST_PATTERN)),
        ("alternatives in a key", f"{matching.MOST_ALTERNATIVES} patterns, ranges or items; any number of UIDs"),
        ("sequences inside one another", str(identifier.LIMITS.depth)),
        ("elements", str(identifier.LIMITS.elements)),
    ]
    known = [term for term in python_encoding if _is_defined(term) and charset.character_set(term).known]
    return {
        "storage_limits": _table(("what", "limit"), storage_limits),
        "find_limits": _table(("what", "limit"), find_limits),
        **{f"keys_{level.lower()}": _keys(level) for level in (*keys.LEVELS, "ANY")},
        "character_sets": _table(
            ("defined term", "read as"), [(_code(term), ", ".join(charset.encoders(term))) for term in known]
        ),
        "settings": _table(
            ("variable", "default", "meaning"),
            [
                (f"`HOZI_{name.upper()}`", _setting(name), (field.description or "").replace("|", "\\|"))
                for name, field in Settings.model_fields.items()
                if not name.startswith(_NOT_DICOM)
            ],
        ),
    }


def _search_tables() -> dict[str, str]:
    """What is given of each level whether it was asked for or not."""

    def given(level: str) -> str:
        found = [keys.BY_TAG[tag] for tag in qido.GIVEN[level]]
        rows = [
            (dictionary_description(key.tag), _code(key.keyword), f"({key.name[:4]},{key.name[4:]})", key.vr)
            for key in found
        ]
        return _table(("element", "keyword", "tag", "VR"), rows)

    return {f"given_{level.lower()}": given(level) for level in qido.GIVEN} | {"search_seconds": f"{qido.SECONDS:.0f}"}


def _keys(level: str) -> str:
    heads = ("attribute", "keyword", "tag", "VR", "usage", "matching", "source", "elements of the items")
    rows = [
        (
            dictionary_description(key.tag),
            _code(key.keyword),
            f"({key.tag >> 16:04X},{key.tag & 0xFFFF:04X})",
            key.vr,
            key.usage,
            ", ".join(_kinds_of_matching(key)),
            "archive" if key.source == "computed" else "object",
            ", ".join(_code(inner.keyword) for inner in matching.item_keys(key)),
        )
        for key in keys.at_level(level)
    ]
    return _table(heads, rows)


def _kinds_of_matching(key: Key) -> list[str]:
    """What the matcher does with a key, found by asking it (PS3.4 §C.2.2.2)."""
    if key.vr == "SQ":
        return ["sequence", "universal"]
    found = ["single value"]
    for kind, text, fuzzy in (
        ("list of UID", "1.2\\1.3", False),
        ("range", "20200101-20210101" if key.vr == "DA" else "10-11", False),
        ("wildcard", "A*B", False),
        ("fuzzy", "A", True),
    ):
        understood = {
            "list of UID": (matching.List,) if key.vr == "UI" else (),
            "range": (times.Range,),
            "wildcard": (matching.Wildcard, matching.Name),
            "fuzzy": (matching.Words,),
        }[kind]
        if isinstance(matching.parse(key, text, fuzzy=fuzzy), understood):
            found.append(kind)
    return [*found, "universal"]


# What tables are made of -----------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def _statuses(words: Mapping[str, str], *modules: ModuleType, but: Collection[str] = ()) -> str:
    """The statuses that these modules answer; ``but`` stand elsewhere."""
    told = {**words, **EVERYWHERE}
    _same(
        f"statuses of {modules[0].__name__}",
        {n for m in modules for n in _constants(m, "status")} - set(but),
        set(told),
    )
    rows = [(f"{getattr(status, name):04X}", _words(name), when) for name, when in told.items()]
    return _table(("status", "meaning", "when"), rows)


def _constants(module: ModuleType, of: str = "") -> set[str]:
    """The constants that a module's code uses: its own, or those of another module by that name."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
    own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    others = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == of
    }
    return {name for name in (others if of else own) if name.isupper()}


def _same(what: str, used: set[str] | set[int], told: set[str] | set[int]) -> None:
    if used != told:
        raise OutOfStep(f"{what}: without words {sorted(used - told)}, words for nothing {sorted(told - used)}")


def _classes(request: int) -> str:
    if request == commands.C_STORE_RQ:
        return f"{len(sop_classes.STORAGE)} storage classes: the standard's, retired ones too; private ones by setting"
    return ", ".join(sop_classes.name(uid) for uid, requests in offer.SERVICES.items() if request in requests)


def _roles(uid: str) -> tuple[str, str]:
    """Whether the archive is SCU and whether it is SCP of a SOP class."""
    return _yes(uid in sop_classes.STORAGE or uid == sop_classes.VERIFICATION), _yes(
        offer.transfer_syntaxes(uid) is not None
    )


def _can_uncompress(uid: str) -> bool:
    return uid in NATIVE or can_decode(uid)


def _is_defined(term: str) -> bool:
    """Whether a term is one of PS3.3 §C.12.1.1.2, and no misspelling that is in use."""
    return term.startswith(("ISO_IR ", "ISO 2022 IR ")) or term in ("GB18030", "GBK")


def _oldest_tls() -> str:
    context = tls._hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return ssl.TLSVersion(context.minimum_version).name.replace("v1_", " 1.")


def _named(some: Sequence[str], last: str) -> str:
    names = [syntaxes.for_unknown(uid).name for uid in some]
    return last.join(filter(None, (", ".join(names[:-1]), names[-1])))


def _words(name: str) -> str:
    return name.replace("_", " ").lower()


def _code(text: str) -> str:
    return f"`{text}`"


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


# How the names of settings begin that no DICOM peer can notice.
_NOT_DICOM = (
    *("home", "database", "storage", "transcode", "time_zone", "log_level"),
    *("http_", "api_", "trusted_proxies", "secret_key", "session_hours", "mfa_required"),
    *("emergency", "inactive", "review", "audit", "echo_minutes", "oidc", "ldap", "password"),
    *("hospital", "support", "default_language", "default_theme"),
)


def _setting(name: str) -> str:
    """The default of a setting."""
    default = Settings.model_fields[name].default
    return "" if default is None else str(default)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
