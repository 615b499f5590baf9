"""The status codes of DIMSE responses (PS3.7 annex C; PS3.4 annexes B, C and J)."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x0000
CANCEL: Final = 0xFE00
PENDING: Final = 0xFF00
PENDING_UNSUPPORTED_KEYS: Final = 0xFF01
"""Matches go on, but one or more optional keys were not supported (PS3.4 §C.4.1.1.4)."""

# General statuses, PS3.7 annex C
ATTRIBUTE_LIST_ERROR: Final = 0x0107
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
CLASS_INSTANCE_CONFLICT: Final = 0x0119
DUPLICATE_SOP_INSTANCE: Final = 0x0111
DUPLICATE_INVOCATION: Final = 0x0210
INVALID_ARGUMENT_VALUE: Final = 0x0115
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
INVALID_OBJECT_INSTANCE: Final = 0x0117
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
MISTYPED_ARGUMENT: Final = 0x0212
NO_SUCH_ACTION: Final = 0x0123
NO_SUCH_ARGUMENT: Final = 0x0114
NO_SUCH_EVENT_TYPE: Final = 0x0113
NO_SUCH_OBJECT_INSTANCE: Final = 0x0112
NO_SUCH_SOP_CLASS: Final = 0x0118
NOT_AUTHORIZED: Final = 0x0124
PROCESSING_FAILURE: Final = 0x0110
RESOURCE_LIMITATION: Final = 0x0213
UNRECOGNIZED_OPERATION: Final = 0x0211

# Storage, PS3.4 table B.2-1
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
COERCION_OF_DATA_ELEMENTS: Final = 0xB000
ELEMENTS_DISCARDED: Final = 0xB006
DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING: Final = 0xB007

# Query and retrieve, PS3.4 tables C.4-1, C.4-2 and C.4-3
OUT_OF_RESOURCES_MATCHES: Final = 0xA701
OUT_OF_RESOURCES_SUB_OPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
UNABLE_TO_PROCESS: Final = 0xC000
SUB_OPERATIONS_COMPLETE_WITH_FAILURES: Final = 0xB000

_WORDS: Final = {
    SUCCESS: "success",
    CANCEL: "cancelled",
    PENDING: "pending",
    PENDING_UNSUPPORTED_KEYS: "pending; an optional key is not supported",
    0x0001: "the requested optional attributes are not supported",
    0x0105: "no such attribute",
    ATTRIBUTE_LIST_ERROR: "attribute list error",
    0x0116: "attribute value out of range",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    CLASS_INSTANCE_CONFLICT: "the SOP instance is not of this SOP class",
    DUPLICATE_SOP_INSTANCE: "the SOP instance exists already",
    DUPLICATE_INVOCATION: "the message ID is in use",
    INVALID_ARGUMENT_VALUE: "invalid argument value",
    INVALID_ATTRIBUTE_VALUE: "invalid attribute value",
    INVALID_OBJECT_INSTANCE: "invalid SOP instance UID",
    MISSING_ATTRIBUTE: "a required attribute is missing",
    MISSING_ATTRIBUTE_VALUE: "a required attribute has no value",
    MISTYPED_ARGUMENT: "mistyped argument",
    NO_SUCH_ACTION: "no such action",
    NO_SUCH_ARGUMENT: "no such argument",
    NO_SUCH_EVENT_TYPE: "no such event type",
    NO_SUCH_OBJECT_INSTANCE: "no such SOP instance",
    NO_SUCH_SOP_CLASS: "no such SOP class",
    NOT_AUTHORIZED: "not authorized",
    PROCESSING_FAILURE: "processing failed",
    RESOURCE_LIMITATION: "resources are short",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
    OUT_OF_RESOURCES: "refused: out of resources",
    OUT_OF_RESOURCES_MATCHES: "refused: out of resources, the number of matches cannot be calculated",
    OUT_OF_RESOURCES_SUB_OPERATIONS: "refused: out of resources, sub-operations cannot be performed",
    MOVE_DESTINATION_UNKNOWN: "refused: move destination unknown",
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS: "the dataset or identifier does not match the SOP class",
    COERCION_OF_DATA_ELEMENTS: "warning: elements coerced, or one or more sub-operations failed",
    ELEMENTS_DISCARDED: "warning: elements discarded",
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING: "warning: the dataset does not match the SOP class",
}


def is_pending(status: int) -> bool:
    """Whether more responses follow."""
    return status in (PENDING, PENDING_UNSUPPORTED_KEYS)


def is_warning(status: int) -> bool:
    """Whether the operation succeeded with a reservation (PS3.7 annex C: 0001, 0107, 0116, Bxxx)."""
    return status in (0x0001, 0x0107, 0x0116) or status >> 12 == 0xB


def is_failure(status: int) -> bool:
    """Whether the operation failed: neither success, warning, pending nor cancelled."""
    return not (status in (SUCCESS, CANCEL) or is_pending(status) or is_warning(status))


def describe(status: int) -> str:
    """Return the meaning of a status in plain words, with its code, whatever the code."""
    words = _WORDS.get(status)
    if words is None:
        family = status >> 8
        if family == 0xA7:
            words = "refused: out of resources"
        elif family == 0xA9:
            words = "the dataset or identifier does not match the SOP class"
        elif status >> 12 == 0xC:
            words = "the peer could not process it"
        elif status >> 12 == 0xB:
            words = "warning"
        else:
            words = "failed for a reason of the peer's own"
    return f"{words} ({status:04X})"
