"""Calls a device (C-ECHO), and says in plain words what is wrong when it does not answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass

from hozi.core.dicom import sop_classes
from hozi.core.dimse import status
from hozi.core.dimse.failures import Aborted, Lost, ProtocolError, Rejected, TimedOut, Unreachable
from hozi.core.dimse.requestor import associate, propose
from hozi.core.dimse.terms import Timeouts
from hozi.core.errors import HoziError

_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_PROBE_SECONDS = 5.0

# OpenSSL's verification results (X509_verify_cert_error_string(3)).
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)


@dataclass(frozen=True, slots=True)
class EchoReport:
    """How a call went: one sentence, what to do about it, and the protocol's own words for an engineer."""

    ok: bool
    summary: str
    advice: str = ""
    technical: str = ""
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    host: str
    port: int
    calling_ae: str
    called_ae: str
    secure: bool

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def explain_echo(
    host: str,
    port: int,
    calling_ae: str,
    called_ae: str,
    *,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    timeouts: Timeouts | None = None,
) -> EchoReport:
    """Associates with a device, sends one C-ECHO (PS3.4 Annex A) and reports. Never raises for what a peer does."""
    call = _Call(host, port, calling_ae, called_ae, tls is not None)
    begun = time.monotonic()
    try:
        association = associate(
            host,
            port,
            calling_ae=calling_ae,
            called_ae=called_ae,
            contexts=propose({sop_classes.VERIFICATION: _SYNTAXES}),
            timeouts=timeouts or Timeouts(),
            tls=tls,
            server_hostname=server_hostname,
        )
        try:
            offered = association.contexts_for(sop_classes.VERIFICATION)
            if not offered:
                association.release()
                return EchoReport(
                    False,
                    f"{called_ae} at {call.place} took our call, but does not answer echoes.",
                    "Nothing is wrong with address, port and names. Some devices have no echo (Verification) service: "
                    "try what it is there for.",
                    "A-ASSOCIATE-AC; Verification SOP Class not accepted",
                )
            answer = association.echo(offered[0])
            with contextlib.suppress(HoziError):
                association.release()
        finally:
            association.close()
    except HoziError as error:
        return _explain(error, call)
    if answer.status != status.SUCCESS:
        return EchoReport(
            False,
            f"{called_ae} at {call.place} answered, but with an error.",
            "Look into the device's own log: it is reached and knows this archive.",
            f"C-ECHO-RSP status {answer.status or 0:04X}H ({status.describe(answer.status or 0)})",
        )
    milliseconds = round((time.monotonic() - begun) * 1000)
    return EchoReport(
        True,
        f"{called_ae} at {call.place} answers ({milliseconds} ms{', over TLS' if call.secure else ''}).",
        milliseconds=milliseconds,
    )


def _explain(error: HoziError, call: _Call) -> EchoReport:
    if isinstance(error, Rejected):
        return _rejected(error, call)
    if isinstance(error, Unreachable):
        return _no_tls(error, call) if error.kind == "tls" else _unreachable(error, call)
    if isinstance(error, Lost) and not call.secure and _speaks_tls(call):
        return _wants_tls(call)
    if isinstance(error, Aborted):
        return EchoReport(
            False,
            f"{call.called_ae} at {call.place} broke the call off.",
            "It speaks DICOM but did not like something. Look into its log; a device that ends calls from names that "
            f"it does not know needs this archive's AE title {call.calling_ae} and address entered.",
            f"A-ABORT, source {error.source}, reason {error.reason}",
        )
    if isinstance(error, ProtocolError):
        return EchoReport(
            False,
            f"Something listens at {call.place}, but it is no DICOM device.",
            "Check the port: 104 and 11112 are usual; a web page or another service may be at this one.",
            str(error),
        )
    if isinstance(error, TimedOut):
        return EchoReport(
            False,
            f"{call.place} takes the call and then says nothing.",
            "The device may be busy or hang, something else may listen at this port, or a firewall may swallow the "
            "conversation. Restart the DICOM service on the device; check the port.",
            str(error),
        )
    if isinstance(error, Lost):
        return EchoReport(
            False,
            f"{call.place} hung up without a word.",
            "Some devices do that when they do not know the caller: enter this archive there, with AE title "
            f"{call.calling_ae} and its address. "
            + (
                "Or it does not accept this archive's certificate: install HOZI_TLS_CA there."
                if call.secure
                else "Or another kind of service listens at this port."
            ),
            str(error),
        )
    return EchoReport(False, f"{call.called_ae} at {call.place} could not be called.", "", str(error))


def _rejected(error: Rejected, call: _Call) -> EchoReport:
    """A-ASSOCIATE-RJ (PS3.8 §9.3.4, Table 9-21)."""
    summary, advice = {
        (1, 7): (
            f"The device at {call.place} is there, but its name is not {call.called_ae}.",
            f"Look up its own AE title on the device (capitals count), and enter that here, not {call.called_ae}.",
        ),
        (1, 3): (
            f"{call.called_ae} at {call.place} does not admit this archive.",
            f"Enter this archive on the device: AE title {call.calling_ae}, and this machine's address.",
        ),
        (1, 2): (
            f"{call.called_ae} at {call.place} does not understand the kind of call.",
            "It is no DICOM device of today; look into its log.",
        ),
        (2, 2): (
            f"{call.called_ae} at {call.place} speaks another version of the protocol.",
            "Look into its log, or ask its vendor.",
        ),
        (3, 1): (
            f"{call.called_ae} at {call.place} is busy for the moment.",
            "Try again in a minute. If it stays so, restart its DICOM service.",
        ),
        (3, 2): (
            f"{call.called_ae} at {call.place} has as many connections as it allows.",
            "Try again in a minute. If it stays so, connections may hang there: restart its DICOM service, or allow "
            "more of them.",
        ),
    }.get(
        (error.source, error.reason),
        (
            f"{call.called_ae} at {call.place} refuses the call and gives no reason.",
            f"Often it does not know this archive: enter AE title {call.calling_ae} and this machine's address there.",
        ),
    )
    numbers = f"{error.result}/{error.source}/{error.reason}"
    return EchoReport(False, summary, advice, f"A-ASSOCIATE-RJ {numbers}: {error}")


def _unreachable(error: Unreachable, call: _Call) -> EchoReport:
    summary, advice = {
        "refused": (
            f"The machine {call.host} is there, but nothing listens at port {call.port}.",
            "Start the DICOM service on the device, and compare the port number with its settings. A firewall on the "
            "device can look the same.",
        ),
        "no-route": (
            f"There is no way to {call.host} from here.",
            "Check the address, this machine's network cable and its gateway; the device may be in another network.",
        ),
        "timeout": (
            f"{call.host} does not answer at all.",
            "Check that the device is switched on, its cable, its address, and that no firewall between lets the call "
            f"to port {call.port} disappear.",
        ),
        "name": (f"Nobody knows a machine called {call.host}.", "Write its address (for example 192.168.1.20)."),
    }[error.kind]
    cause = error.__cause__
    return EchoReport(False, summary, advice, f"{error}{f'; {cause}' if cause else ''}")


def _no_tls(error: Unreachable, call: _Call) -> EchoReport:
    if not call.secure:
        return _wants_tls(call, str(error))
    cause = error.__cause__
    # With TLS 1.3 our side of the handshake is over before the peer looks at our certificate.
    after_the_handshake = isinstance(cause, Lost)
    if after_the_handshake and cause is not None:
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _not_trusted(cause, error, call)
    reason = (getattr(cause, "reason", None) or "").upper()
    about_our_certificate = "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "ACCESS_DENIED" in reason
    if after_the_handshake or ("ALERT" in reason and about_our_certificate):
        expired = "its date has passed" if "EXPIRED" in reason else "it does not know the authority that issued it"
        return EchoReport(
            False,
            f"{call.called_ae} at {call.place} does not accept this archive's certificate.",
            f"Most likely {expired}: install this archive's authority (HOZI_TLS_CA) on the device, or renew "
            "HOZI_TLS_CERTIFICATE.",
            str(error),
        )
    if "ALERT" in reason or reason in ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "NO_SHARED_CIPHER"):
        return EchoReport(
            False,
            f"{call.called_ae} at {call.place} and this archive find no way to encrypt that both accept.",
            "This archive needs TLS 1.2 or later (BCP 195): update the device, or switch its BCP 195 profile on.",
            str(error),
        )
    return EchoReport(
        False,
        f"{call.place} is reached, but does not speak TLS.",
        "Switch TLS on at the device, or enter the port at which it speaks TLS (2762 is usual); or register it without "
        "--tls.",
        str(error),
    )


def _not_trusted(cause: ssl.SSLCertVerificationError, error: Unreachable, call: _Call) -> EchoReport:
    device = f"The certificate of {call.called_ae} at {call.place}"
    if cause.verify_code == _EXPIRED:
        summary, advice = f"{device} has expired.", "Renew it on the device; check this machine's clock too."
    elif cause.verify_code == _NOT_YET_VALID:
        summary = f"{device} is not valid yet."
        advice = "Check the clocks of this machine and of the device; one of them is wrong."
    elif cause.verify_code in _UNKNOWN_AUTHORITY:
        summary = f"{device} comes from an authority that is not known here."
        advice = "Add that authority's certificate to the file that HOZI_TLS_CA names, or issue the device another one."
    elif cause.verify_code in _OTHER_NAME:
        summary = f"{device} is issued for another machine."
        advice = (
            f"Issue the device a certificate that names {call.host}; or the address here is that of another device."
        )
    else:
        summary, advice = f"{device} is not good.", "Issue the device a new one."
    return EchoReport(False, summary, advice, f"{error} (OpenSSL {cause.verify_code})")


def _wants_tls(call: _Call, technical: str = "") -> EchoReport:
    return EchoReport(
        False,
        f"The device at {call.place} wants to be called over TLS.",
        "Register it with --tls; or enter the port at which it listens without.",
        technical or "it hangs up on a plain A-ASSOCIATE-RQ and answers a TLS ClientHello",
    )


def _speaks_tls(call: _Call) -> bool:
    """Whether a TLS server is there. Nothing is sent to it but a greeting, so its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((call.host, call.port), timeout=_PROBE_SECONDS) as plain:
            try:
                context.wrap_socket(plain).close()
            except ssl.SSLError as error:
                # An alert is a TLS server's way of saying no; anything else is not TLS.
                return "ALERT" in (error.reason or "")
            return True
    except (OSError, ValueError):
        return False
