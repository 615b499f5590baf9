"""The schema of audit messages (DICOM PS3.15 §A.5.1), as a table of what may stand where, and a check against it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

Check = Callable[[str], bool]


def one_of(*words: str) -> Check:
    return lambda text: text in words


def token(text: str) -> bool:
    """Text without line ends, and without spaces at its ends or two of them together (XML Schema, token)."""
    return text == " ".join(text.split(" ")).strip(" ") and "  " not in text and not re.search("[\t\n\r]", text)


def anything(_: str) -> bool:
    return True


def base64_binary(text: str) -> bool:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text


def moment(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text) is not None


@dataclass(frozen=True)
class Shape:
    """Attributes (a mark ``?``: may be left out), and children in their order with how often (``1 ? + *``)."""

    attributes: dict[str, Check] = field(default_factory=dict)
    children: tuple[tuple[str, str], ...] = ()
    text: Check | None = None


_numbers = one_of(*map(str, range(1, 27)))
_CODED = {"csd-code": token, "codeSystemName": token, "displayName?": token, "originalText": token}

SHAPES: dict[str, Shape] = {
    "AuditMessage": Shape(
        children=(
            ("EventIdentification", "1"),
            ("ActiveParticipant", "+"),
            ("AuditSourceIdentification", "1"),
            ("ParticipantObjectIdentification", "*"),
        )
    ),
    "EventIdentification": Shape(
        {
            "EventActionCode?": one_of("C", "R", "U", "D", "E"),
            "EventDateTime": moment,
            "EventOutcomeIndicator": one_of("0", "4", "8", "12"),
        },
        (("EventID", "1"), ("EventTypeCode", "*"), ("EventOutcomeDescription", "?")),
    ),
    "EventID": Shape(_CODED),
    "EventTypeCode": Shape(_CODED),
    "EventOutcomeDescription": Shape(text=anything),
    "ActiveParticipant": Shape(
        {
            "UserID": anything,
            "AlternativeUserID?": anything,
            "UserName?": anything,
            "UserIsRequestor": one_of("true", "false"),
            "NetworkAccessPointID?": token,
            "NetworkAccessPointTypeCode?": one_of("1", "2", "3", "4", "5"),
        },
        (("RoleIDCode", "*"), ("MediaIdentifier", "?")),
    ),
    "RoleIDCode": Shape(_CODED),
    "AuditSourceIdentification": Shape(
        {"AuditEnterpriseSiteID?": token, "AuditSourceID": token}, (("AuditSourceTypeCode", "*"),)
    ),
    "ParticipantObjectIdentification": Shape(
        {
            "ParticipantObjectID": token,
            "ParticipantObjectTypeCode?": one_of("1", "2", "3", "4"),
            "ParticipantObjectTypeCodeRole?": _numbers,
            "ParticipantObjectDataLifeCycle?": one_of(*map(str, range(1, 16))),
            "ParticipantObjectSensitivity?": token,
        },
        (
            ("ParticipantObjectIDTypeCode", "1"),
            ("ParticipantObjectName|ParticipantObjectQuery", "1"),
            ("ParticipantObjectDetail", "*"),
            ("ParticipantObjectDescription", "*"),
        ),
    ),
    "ParticipantObjectIDTypeCode": Shape(_CODED),
    "ParticipantObjectName": Shape(text=token),
    "ParticipantObjectQuery": Shape(text=base64_binary),
    "ParticipantObjectDetail": Shape({"type": token, "value": base64_binary}),
    "ParticipantObjectDescription": Shape(
        children=(("MPPS", "*"), ("Accession", "*"), ("SOPClass", "*"), ("ParticipantObjectContainsStudy", "?"))
    ),
    "SOPClass": Shape({"UID?": token, "NumberOfInstances": str.isdigit}, (("Instance", "*"),)),
    "Instance": Shape({"UID": token}),
}

_OFTEN = {"1": "", "?": "?", "+": "+", "*": "*"}


def faults(element: Element, name: str = "AuditMessage") -> list[str]:
    """What is wrong with an element and everything in it; nothing when it follows the schema."""
    shape = SHAPES[name]
    found = [] if element.tag == name else [f"{element.tag} where {name} is wanted"]
    wanted = {key.rstrip("?"): (check, key.endswith("?")) for key, check in shape.attributes.items()}
    found += [f"{name} has no {key}" for key, (_, may) in wanted.items() if not may and key not in element.attrib]
    for key, value in element.attrib.items():
        if key not in wanted:
            found.append(f"{name} has {key}")
        elif not wanted[key][0](value):
            found.append(f"{name} has {key}={value!r}")
    pattern = "".join(f"(?:(?:{one}),){_OFTEN[often]}" for one, often in shape.children)
    children = "".join(f"{child.tag}," for child in element)
    if not re.fullmatch(pattern, children):
        found.append(f"{name} holds {children}")
    text = element.text or ""
    if (text.strip() and shape.text is None) or (shape.text is not None and not shape.text(text)):
        found.append(f"{name} says {text!r}")
    for child in element:
        found += faults(child, child.tag) if child.tag in SHAPES else [f"{name} holds {child.tag}"]
    return found
