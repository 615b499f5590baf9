"""The audit's codes in words: the standard's, for machines, and plain ones, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.audit.record import Code, Outcome, Type

MEANING: Final[dict[str, str]] = {
    Code.APPLICATION_ACTIVITY: "Application Activity",
    Code.AUDIT_LOG_USED: "Audit Log Used",
    Code.BEGIN_TRANSFERRING: "Begin Transferring DICOM Instances",
    Code.INSTANCES_ACCESSED: "DICOM Instances Accessed",
    Code.INSTANCES_TRANSFERRED: "DICOM Instances Transferred",
    Code.STUDY_DELETED: "DICOM Study Deleted",
    Code.EXPORT: "Export",
    Code.IMPORT: "Import",
    Code.PATIENT_RECORD: "Patient Record",
    Code.PROCEDURE_RECORD: "Procedure Record",
    Code.QUERY: "Query",
    Code.SECURITY_ALERT: "Security Alert",
    Code.USER_AUTHENTICATION: "User Authentication",
    Type.APPLICATION_START: "Application Start",
    Type.APPLICATION_STOP: "Application Stop",
    Type.LOGIN: "Login",
    Type.LOGOUT: "Logout",
    Type.NODE_AUTHENTICATION: "Node Authentication",
    Type.EMERGENCY_OVERRIDE_STARTED: "Emergency Override Started",
    Type.NETWORK_CONFIGURATION: "Network Configuration",
    Type.SECURITY_CONFIGURATION: "Security Configuration",
    Type.SOFTWARE_CONFIGURATION: "Software Configuration",
    Type.RESTRICTED_FUNCTION: "Use of Restricted Function",
    Type.AUDIT_RECORDING_STOPPED: "Audit Recording Stopped",
    Type.AUDIT_RECORDING_STARTED: "Audit Recording Started",
    Type.OBJECT_ATTRIBUTES_CHANGED: "Object Security Attributes Changed",
    Type.SECURITY_ROLES_CHANGED: "Security Roles Changed",
    Type.USER_ATTRIBUTES_CHANGED: "User Security Attributes Changed",
    Type.EMERGENCY_OVERRIDE_STOPPED: "Emergency Override Stopped",
}
"""Code meanings of DICOM PS3.16 (CID 400, 401), in the standard's own words."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event as people name it: a code, and where that says too little, a type or an action."""

    key: str
    label: str | Promise
    code: Code
    type: str = ""
    actions: str = ""

    def fits(self, code: str, action: str, kind: str) -> bool:
        """Whether an event is of this kind."""
        return code == self.code and self.type in ("", kind) and (not self.actions or action in self.actions)


KINDS: Final[tuple[Kind, ...]] = (
    Kind("opened", _("Opened images or a study"), Code.INSTANCES_ACCESSED, actions="R"),
    Kind("changed", _("Changed what the archive says of images"), Code.INSTANCES_ACCESSED, actions="CUDE"),
    Kind("sent", _("Was sent images"), Code.INSTANCES_TRANSFERRED, actions="R"),
    Kind("sending", _("Began to be sent images"), Code.BEGIN_TRANSFERRING),
    Kind("brought", _("Brought images"), Code.INSTANCES_TRANSFERRED, actions="CUDE"),
    Kind("searched", _("Searched"), Code.QUERY),
    Kind("exported", _("Exported, downloaded or printed"), Code.EXPORT),
    Kind("imported", _("Imported"), Code.IMPORT),
    Kind("deleted", _("Removed a study"), Code.STUDY_DELETED),
    Kind("patient", _("Patient record"), Code.PATIENT_RECORD),
    Kind("procedure", _("Procedure record"), Code.PROCEDURE_RECORD),
    Kind("login", _("Signed in, or tried to"), Code.USER_AUTHENTICATION, Type.LOGIN),
    Kind("logout", _("Signed out"), Code.USER_AUTHENTICATION, Type.LOGOUT),
    Kind("signing", _("Sign-in"), Code.USER_AUTHENTICATION),
    Kind("emergency", _("Emergency access began"), Code.SECURITY_ALERT, Type.EMERGENCY_OVERRIDE_STARTED),
    Kind("emergency-end", _("Emergency access ended"), Code.SECURITY_ALERT, Type.EMERGENCY_OVERRIDE_STOPPED),
    Kind("node", _("Device was refused"), Code.SECURITY_ALERT, Type.NODE_AUTHENTICATION),
    Kind("network", _("Network configuration changed"), Code.SECURITY_ALERT, Type.NETWORK_CONFIGURATION),
    Kind("security", _("Security configuration changed"), Code.SECURITY_ALERT, Type.SECURITY_CONFIGURATION),
    Kind("software", _("Settings changed"), Code.SECURITY_ALERT, Type.SOFTWARE_CONFIGURATION),
    Kind("restricted", _("Tried what they may not do"), Code.SECURITY_ALERT, Type.RESTRICTED_FUNCTION),
    Kind("roles", _("Roles changed"), Code.SECURITY_ALERT, Type.SECURITY_ROLES_CHANGED),
    Kind("people", _("Account changed"), Code.SECURITY_ALERT, Type.USER_ATTRIBUTES_CHANGED),
    Kind("alert", _("Security event"), Code.SECURITY_ALERT),
    Kind("start", _("Archive started"), Code.APPLICATION_ACTIVITY, Type.APPLICATION_START),
    Kind("stop", _("Archive stopped"), Code.APPLICATION_ACTIVITY, Type.APPLICATION_STOP),
    Kind("application", _("Archive"), Code.APPLICATION_ACTIVITY),
    Kind("verified", _("Looked whether the audit is whole"), Code.AUDIT_LOG_USED, actions="E"),
    Kind("audit", _("Read the audit"), Code.AUDIT_LOG_USED),
)
"""Every kind; of several that fit, the first says most."""

BY_KEY: Final = {kind.key: kind for kind in KINDS}

ACTIONS: Final[dict[str, str | Promise]] = {
    "C": _("create"),
    "R": _("read"),
    "U": _("update"),
    "D": _("delete"),
    "E": _("execute"),
}

OUTCOMES: Final[dict[int, str | Promise]] = {
    Outcome.SUCCESS: _("Done"),
    Outcome.MINOR_FAILURE: _("Refused"),
    Outcome.SERIOUS_FAILURE: _("Failed"),
    Outcome.MAJOR_FAILURE: _("Failed badly"),
}


def kind_of(code: str, action: str, kind: str) -> Kind | None:
    """The kind of an event, or None when it has a code that this version does not know."""
    return next((one for one in KINDS if one.fits(code, action, kind)), None)


def label(code: str, action: str, kind: str) -> str:
    """What was done, in a few words."""
    found = kind_of(code, action, kind)
    return str(found.label) if found else code
