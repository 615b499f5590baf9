"""A row of the audit as the standard's message (PS3.15 §A.5.1) in XML, well-formed whatever strangers wrote into it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC
from ipaddress import ip_address
from typing import Final
from xml.sax.saxutils import quoteattr

from hozi.audit.record import Code
from hozi.audit.search import Line
from hozi.audit.words import MEANING

SOURCE: Final = "HOZI"

_PERSON, _SYSTEM, _OTHER = "1", "2", "4"
_PATIENT_ROLE, _REPORT_ROLE, _SECURITY_ROLE, _QUERY_ROLE = "1", "3", "13", "24"

# XML 1.0 knows no control characters but three, no surrogates, and not U+FFFE and U+FFFF.
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACES: Final = re.compile(r"\s+")

_APPLICATION, _DESTINATION, _SOURCE_ROLE = "110150", "110152", "110153"
_ROLES: Final = {
    _APPLICATION: "Application",
    _DESTINATION: "Destination Role ID",
    _SOURCE_ROLE: "Source Role ID",
}
_ID_TYPES: Final = {
    "2": ("2", "RFC-3881", "Patient Number"),
    "12": ("12", "RFC-3881", "URI"),
    "110180": ("110180", "DCM", "Study Instance UID"),
    "110181": ("110181", "DCM", "SOP Class UID"),
}


def message(line: Line, source: str = SOURCE) -> str:
    """The whole ``AuditMessage`` element, in one line, without an XML declaration.

    ``source`` names this archive (AuditSourceID). Its own number is in it as ``urn:hozi:audit:<number>``.
    """
    return (
        "<AuditMessage>"
        + _event(line)
        + "".join(_participants(line, source))
        + _element("AuditSourceIdentification", {"AuditEnterpriseSiteID": line.facility, "AuditSourceID": source}, "")
        + "".join(_objects(line))
        + "</AuditMessage>"
    )


def document(messages: Iterator[str]) -> Iterator[str]:
    """The pieces of a document that holds these messages, each in its own line."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n'
    for one in messages:
        yield one + "\n"
    yield "</AuditMessages>\n"


def _event(line: Line) -> str:
    at = line.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    reason = line.detail.get("reason") or line.detail.get("status") or ""
    inside = _coded("EventID", line.code)
    if line.type:
        inside += _coded("EventTypeCode", line.type)
    if line.outcome and isinstance(reason, str) and reason:
        inside += f"<EventOutcomeDescription>{_text(reason)}</EventOutcomeDescription>"
    attributes = {"EventActionCode": line.action, "EventDateTime": at, "EventOutcomeIndicator": str(line.outcome)}
    return _element("EventIdentification", attributes, inside)


def _participants(line: Line, source: str) -> Iterator[str]:
    """Who did it, and the archive itself; for transfers each says which end it is (PS3.15 §A.5.3.7)."""
    ours = theirs = ""
    if line.code in (Code.INSTANCES_TRANSFERRED, Code.BEGIN_TRANSFERRING):
        theirs, ours = (_SOURCE_ROLE, _DESTINATION) if line.action == "C" else (_DESTINATION, _SOURCE_ROLE)
    elif line.code == Code.APPLICATION_ACTIVITY:
        ours = _APPLICATION
    if line.actor != source:
        yield _participant(line.actor or "unknown", True, theirs, line.address)
    receiver = line.detail.get("receiver")
    if isinstance(receiver, str) and receiver and receiver != line.actor:
        yield _participant(receiver, False, _DESTINATION, "")
    yield _participant(source, line.actor == source, ours, "")


def _participant(user: str, requestor: bool, role: str, address: str) -> str:
    attributes = {"UserID": user, "UserIsRequestor": "true" if requestor else "false"}
    if address:
        attributes |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": _kind_of_address(address)}
    return _element("ActiveParticipant", attributes, _coded("RoleIDCode", role, _ROLES[role]) if role else "")


def _kind_of_address(address: str) -> str:
    try:
        ip_address(address.partition("%")[0])
    except ValueError:
        return "1"
    return "2"


def _objects(line: Line) -> Iterator[str]:
    if line.study_uid:
        inside = _contents("110180", line.study_uid)
        if line.object_uid:
            inside += (
                '<ParticipantObjectDescription><SOPClass NumberOfInstances="1">'
                f"<Instance UID={_attribute(line.object_uid)}/></SOPClass></ParticipantObjectDescription>"
            )
        yield _object(line.study_uid, _SYSTEM, _REPORT_ROLE, inside)
    if line.patient_id:
        # As HL7 writes it: the number, and who gave it.
        number = f"{line.patient_id}^^^{line.issuer}" if line.issuer else line.patient_id
        yield _object(number, _PERSON, _PATIENT_ROLE, _contents("2", "patient"))
    if line.code == Code.QUERY:
        asked = _base64(json.dumps(line.detail, ensure_ascii=False, sort_keys=True))
        inside = _coded("ParticipantObjectIDTypeCode", *_ID_TYPES["110181"])
        model = line.detail.get("model")
        yield _object(
            model if isinstance(model, str) and model else "query",
            _SYSTEM,
            _QUERY_ROLE,
            f"{inside}<ParticipantObjectQuery>{asked}</ParticipantObjectQuery>",
        )
    yield _object(f"urn:hozi:audit:{line.id}", _OTHER, _SECURITY_ROLE, _contents("12", "audit row") + _details(line))


def _details(line: Line) -> str:
    """What else the row says; values in base64, as the standard wants what may hold anything."""
    found = {} if line.code == Code.QUERY else dict(line.detail)
    if line.object_uid and not line.study_uid:
        found["object"] = line.object_uid
    pieces = []
    for name, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        pieces.append(f"<ParticipantObjectDetail type={_attribute(name)} value={_attribute(_base64(text))}/>")
    return "".join(pieces)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _object(number: str, kind: str, role: str, inside: str) -> str:
    attributes = {
        "ParticipantObjectID": number,
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    return _element("ParticipantObjectIdentification", attributes, inside)


def _contents(id_type: str, name: str) -> str:
    kind = _coded("ParticipantObjectIDTypeCode", *_ID_TYPES[id_type])
    return f"{kind}<ParticipantObjectName>{_text(_token(name))}</ParticipantObjectName>"


def _coded(element: str, code: str, system: str = "", meaning: str = "") -> str:
    if not meaning:
        system, meaning = "DCM", system or MEANING.get(code, code)
    return _element(element, {"csd-code": code, "codeSystemName": system, "originalText": meaning}, "")


def _element(name: str, attributes: dict[str, str], inside: str) -> str:
    given = "".join(f" {key}={_attribute(value)}" for key, value in attributes.items() if value)
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"


def _attribute(value: str) -> str:
    return quoteattr(_token(value))


def _token(value: str) -> str:
    return _SPACES.sub(" ", _harmless(value)).strip()


def _text(value: str) -> str:
    return _harmless(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _harmless(text: str) -> str:
    """The text with what XML does not know written out."""
    return _NO_XML.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
