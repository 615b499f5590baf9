"""Sends a device an image of an invented patient, to see whether it takes one."""

from __future__ import annotations

import io
from typing import Final

from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from hozi.audit.record import Code, Entry, Outcome, record
from hozi.core.dicom import syntaxes
from hozi.core.dimse import status
from hozi.core.dimse.association import Association, Context
from hozi.core.dimse.failures import Aborted, Lost, ProtocolError, TimedOut
from hozi.core.dimse.requestor import ProposedContext, Rejected, Unreachable, associate
from hozi.core.errors import HoziError
from hozi.core.phantoms.studies import CT_IMAGE, STUDIES, Image
from hozi.doors.dimse.echo import EchoReport, explain_echo
from hozi.doors.dimse.reach import reach
from hozi.facilities.devices import Permit

STUDY_UID: Final = STUDIES[0].uid
"""The study of the test image: by it the audit tells what was sent as a test."""

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_IMPLICIT: Final = "1.2.840.10008.1.2"
_CONTEXTS: Final = tuple(
    ProposedContext(2 * number + 1, sop_class, (syntax,))
    for number, (sop_class, syntax) in enumerate(
        (sop_class, syntax)
        for sop_class in (CT_IMAGE, SECONDARY_CAPTURE)
        for syntax in (syntaxes.EXPLICIT_LITTLE, _IMPLICIT)
    )
)


def send(device: Permit, *, actor: str) -> EchoReport:
    """Sends one image by C-STORE and says how that went; the audit has it. Raises Refused without a port to send to."""
    report = _report(device)
    record(
        Entry(
            Code.INSTANCES_TRANSFERRED,
            "R",
            actor,
            Outcome.SUCCESS if report.ok else Outcome.MINOR_FAILURE,
            study_uid=STUDY_UID,
            facility=device.facility,
            detail={
                "receiver": device.name,
                "sent": int(report.ok),
                "failed": int(not report.ok),
                "told": report.summary,
                "advice": report.advice,
                "technical": report.technical,
            },
        )
    )
    return report


def _report(device: Permit) -> EchoReport:
    way = reach(device)
    try:
        association = associate(**way, contexts=_CONTEXTS)
    except (Rejected, Unreachable, Aborted, Lost, TimedOut, ProtocolError):
        # Nobody says better than the echo why a device cannot be called.
        named = {name: way[name] for name in ("calling_ae", "called_ae", "tls", "timeouts")}
        report = explain_echo(way["host"], way["port"], **named)
        return report if not report.ok else _ended(device, "it ended the call, and took the next one")
    try:
        return _store(association, device)
    except HoziError as error:
        return _ended(device, str(error))
    finally:
        association.close()


def _store(association: Association, device: Permit) -> EchoReport:
    contexts = [context for proposed in _CONTEXTS for context in _accepted(association, proposed)]
    if not contexts:
        association.release()
        return EchoReport(
            False,
            f"{device.ae_title} takes calls, but neither CT images nor secondary captures.",
            "If it takes other kinds of images only, leave this step out and fetch one of those on the device.",
            "A-ASSOCIATE-AC; CT Image and Secondary Capture Image Storage not accepted as uncompressed",
        )
    context = contexts[0]
    image = _image(context)
    association.send_store(context, image.sop_class, image.sop_instance, [image.dataset])
    answer = association.store_response().status
    association.release()
    kind = "CT image" if image.sop_class == CT_IMAGE else "secondary capture"
    technical = f"C-STORE-RSP status {answer:04X}H ({status.describe(answer)})"
    if status.is_failure(answer):
        return EchoReport(
            False,
            f"{device.ae_title} was sent a {kind} and refused it.",
            "Look into the device's own log: it is reached, knows this archive, and says there why.",
            technical,
        )
    return EchoReport(True, f"a {kind} of an invented patient was sent and taken (status {answer:04X}H)", "", technical)


def _accepted(association: Association, proposed: ProposedContext) -> list[Context]:
    return [
        context
        for context in association.contexts_for(proposed.abstract_syntax)
        if context.transfer_syntax == proposed.transfer_syntaxes[0]
    ]


def _ended(device: Permit, technical: str) -> EchoReport:
    return EchoReport(
        False,
        f"{device.ae_title} took the call, but broke off while it was sent an image.",
        "Look into the device's own log.",
        technical,
    )


def _image(context: Context) -> Image:
    """The first image of the phantom's CT, as the context wants it: as a secondary capture, with implicit VR."""
    image = next(iter(STUDIES[0].images()))
    if (context.abstract_syntax, context.transfer_syntax) == (image.sop_class, image.transfer_syntax):
        return image
    dataset = dcmread(io.BytesIO(image.dataset), force=True)
    if context.abstract_syntax == SECONDARY_CAPTURE:
        dataset.SOPClassUID, dataset.Modality, dataset.ConversionType = SECONDARY_CAPTURE, "OT", "SYN"
        dataset.SOPInstanceUID += ".1"
        dataset.SeriesInstanceUID += ".1"
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=context.transfer_syntax == _IMPLICIT, little_endian=True)
    return Image(context.abstract_syntax, dataset.SOPInstanceUID, context.transfer_syntax, buffer.getvalue())
