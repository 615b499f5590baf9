"""What the archive has seen of a device that is on trial: in its audit, its knocks, its commitments and its echoes.

Each step of the trial is looked at by a function of its own; it says what was seen, or what is missing and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from django.utils import timezone

from hozi.archive import commitment
from hozi.audit import deeds
from hozi.audit.deeds import Deed
from hozi.audit.record import Code
from hozi.doors.dimse import phantom
from hozi.facilities import acceptance, knocks, liveness
from hozi.facilities.acceptance import Step
from hozi.facilities.addresses import network
from hozi.facilities.devices import Permit
from hozi.facilities.heard import last_heard
from hozi.facilities.suggest import why
from hozi.settings import HOZI

_NEEDS: Final = {
    "store": ("store", "it may not store here"),
    "send": ("receive", "it may not be sent images"),
    "query": ("query", "it may not search here"),
    "retrieve": ("retrieve", "it may not fetch images here"),
    "commitment": ("store", "it may not store here"),
}
_NO_PORT: Final = {
    "echo": "it has no port here at which it could be called",
    "commitment": "it has no port here to which the answer could be sent",
}


def look_at(key: str, since: datetime, device: Permit) -> Step:
    """How the step of that key stands for the device, by what was seen since."""
    if key in _NEEDS and _NEEDS[key][0] not in device.may:
        return Step(key, "left_out", reason=_NEEDS[key][1])
    if key in _NO_PORT and device.port is None:
        return Step(key, "left_out", reason=_NO_PORT[key])
    return _LOOKS[key](since, device)


def _names(since: datetime, device: Permit) -> Step:
    entered = f"entered as {acceptance.identity(device)}, of {device.facility}"
    refused = _refusal("names", since, device)
    if refused is not None:
        return refused
    echo, called = _echo(since, device), _called(since, device)
    if called.state == "passed" or echo.state == "passed":
        reached = called if called.state == "passed" else echo
        return Step("names", "passed", reached.at, (entered, *reached.evidence[:1]))
    port = f", port {HOZI.dicom_port}" + (f" (TLS: {HOZI.dicom_tls_port})" if HOZI.dicom_tls_port else "")
    return Step(
        "names",
        evidence=(entered,),
        explanation="Nothing has been heard of it yet.",
        advice=f"Enter this archive on the device: AE title {HOZI.ae_title}, this machine's address{port}.",
    )


def _echo(since: datetime, device: Permit) -> Step:
    alive = liveness.of(device.name)
    if alive is None or alive.last.at < since:
        return Step("echo", explanation="It has not been called yet.", advice="Let the archive call it.")
    last = alive.last
    if last.ok:
        return Step("echo", "passed", last.at, (f"{_at(last.at)}: {last.summary}",))
    return Step("echo", "failed", last.at, (), last.summary, last.advice, last.technical)


def _called(since: datetime, device: Permit) -> Step:
    refused = _refusal("call", since, device)
    if refused is not None:
        return refused
    heard = last_heard().get(device.name)
    if heard is not None and heard.called_at >= since:
        return Step("call", "passed", heard.called_at, (f"{_at(heard.called_at)}: it called from {heard.called_from}",))
    did = deeds.of(device.name, since, ok=True, most=1)
    if did:
        return Step("call", "passed", did[0].at, (f"{_at(did[0].at)}: it called from {did[0].address}",))
    return Step(
        "call",
        explanation="It has not called yet.",
        advice="Press echo, verify or test on the device. What it did is seen here within a minute.",
    )


def _refusal(key: str, since: datetime, device: Permit) -> Step | None:
    """The last time that it was refused at the door, unless it was let in since."""
    single = network(device.host).num_addresses == 1
    knocked = knocks.since(since, device.ae_title, device.host if single else "")
    identity = [
        deed
        for deed in deeds.of(device.name, since, code=Code.SECURITY_ALERT, ok=False, most=5)
        if deed.detail.get("reason") == "user identity"
    ]
    heard = last_heard().get(device.name)
    let_in = heard.called_at if heard else None
    if knocked and (let_in is None or knocked[0].last_at > let_in):
        told = why(knocked[0], HOZI.ae_title)
        return Step(key, "failed", knocked[0].last_at, (), told.sentence, told.advice, told.technical)
    if identity and (let_in is None or identity[0].at > let_in):
        return Step(
            key,
            "failed",
            identity[0].at,
            (),
            f"{device.name} did not present the user name and passcode that were entered here.",
            "Enter them on the device, or take them away here.",
            "A-ASSOCIATE-RJ 1/1/1; user identity negotiation (PS3.7 §D.3.3.7)",
        )
    return None


def _stored(since: datetime, device: Permit) -> Step:
    came = Code.INSTANCES_TRANSFERRED
    tally = deeds.tally(device.name, since, code=came, action="C")
    if tally is not None:
        images = "1 image arrived" if tally.count == 1 else f"{tally.count} images arrived"
        return Step("store", "passed", tally.first, (f"{_at(tally.last)}: {images}, whole and safe on disk",))
    failed = deeds.of(device.name, since, code=came, action="C", ok=False, most=1)
    if failed:
        return _failed("store", failed[0], "It sent an image, which was not taken in as it is")
    return Step(
        "store",
        explanation="No image has come yet.",
        advice="Send a test image from the device: an old study, or a phantom.",
    )


def _sent(since: datetime, device: Permit) -> Step:
    tried = [deed for deed in deeds.given(device.name, phantom.STUDY_UID, since) if "told" in deed.detail]
    if not tried:
        return Step(
            "send", explanation="No image has been sent to it yet.", advice="Let the archive send a test image."
        )
    last = tried[0]
    if last.ok:
        return Step("send", "passed", last.at, (f"{_at(last.at)}: {last.detail.get('told', '')}",))
    told = {name: str(last.detail.get(name, "")) for name in ("told", "advice", "technical")}
    return Step("send", "failed", last.at, (), told["told"], told["advice"], told["technical"])


def _queried(since: datetime, device: Permit) -> Step:
    asked = deeds.of(device.name, since, code=Code.QUERY, ok=True, most=1)
    if asked:
        matches = asked[0].detail.get("matches", 0)
        found = "found nothing" if not matches else "1 match" if matches == 1 else f"{matches} matches"
        level = str(asked[0].detail.get("level", "")).lower() or "unknown"
        return Step("query", "passed", asked[0].at, (f"{_at(asked[0].at)}: it searched at level {level}: {found}",))
    failed = deeds.of(device.name, since, code=Code.QUERY, ok=False, most=1)
    if failed:
        return _failed("query", failed[0], "It searched, and was not answered")
    return Step(
        "query", explanation="It has not searched yet.", advice="Search for a patient or a study on the device."
    )


def _retrieved(since: datetime, device: Permit) -> Step:
    for deed in _fetched(since, device):
        sent, failed = int(deed.detail.get("sent", 0)), int(deed.detail.get("failed", 0))
        if sent and not failed:
            objects = "1 image" if sent == 1 else f"{sent} images"
            receiver = deed.detail.get("receiver", device.name)
            return Step("retrieve", "passed", deed.at, (f"{_at(deed.at)}: {objects} sent to {receiver}",))
    tried = _fetched(since, device)
    if tried and "sent" in tried[0].detail:
        counts = f"{tried[0].detail['sent']} images went, {tried[0].detail['failed']} did not"
        return Step(
            "retrieve",
            "failed",
            tried[0].at,
            (f"{_at(tried[0].at)}: {counts}",),
            "Not all images that it asked for could be sent.",
            "See whether the device takes this kind of image, and its own log; try one image of a common kind.",
        )
    if tried:
        return _failed("retrieve", tried[0], "It asked for images, and was not given any")
    return Step(
        "retrieve", explanation="It has fetched nothing yet.", advice="Open a study on the device that is here."
    )


def _fetched(since: datetime, device: Permit) -> list[Deed]:
    return deeds.of(device.name, since, code=Code.INSTANCES_TRANSFERRED, action="R", most=20)


def _committed(since: datetime, device: Permit) -> Step:
    asked = commitment.asked_since(device.name, since)
    refused = deeds.of(device.name, since, code=Code.INSTANCES_ACCESSED, action="E", ok=False, most=1)
    if asked is None:
        if refused:
            return _failed("commitment", refused[0], "It asked, and was refused")
        return Step(
            "commitment",
            explanation="It has not asked yet.",
            advice="Switch storage commitment on at the device, and send a test image again.",
        )
    objects = "1 image" if asked.objects == 1 else f"{asked.objects} images"
    line = f"{_at(asked.at)}: it asked about {objects}"
    if asked.told_at is None:
        return Step(
            "commitment",
            "failed" if asked.trouble else "waiting",
            asked.at,
            (line,),
            "The answer could not be delivered yet." if asked.trouble else "The answer is on its way.",
            "Compare address and port with the device's settings; the answer is tried again by itself."
            if asked.trouble
            else "If images are missing, the answer waits for them some minutes.",
            asked.trouble,
        )
    if asked.failed:
        missing = f"{asked.failed} of {objects}"
        return Step(
            "commitment",
            "failed",
            asked.told_at,
            (line, f"{_at(asked.told_at)}: told that {missing} are not safe here"),
            f"The archive does not have {missing} that it asked about.",
            "Send them again from the device.",
        )
    return Step("commitment", "passed", asked.told_at, (line, f"{_at(asked.told_at)}: told that all are safe here"))


def _failed(key: str, deed: Deed, sentence: str) -> Step:
    reason = str(deed.detail.get("reason", "")) or str(deed.detail.get("result", ""))
    code = str(deed.detail.get("status", ""))
    explanation = f"{sentence}: {reason.replace('-', ' ').replace('_', ' ')}." if reason else f"{sentence}."
    technical = f"status {code}H" if code else ""
    return Step(key, "failed", deed.at, (), explanation, _ADVICE.get(code, ""), technical)


_ADVICE: Final = {
    "0124": "Change here what it may do, if it should be able to.",
    "A700": "There is no room on the archive's disk, or the image is too large: hozi doctor says more.",
    "0115": "The device's entry here lacks a port, or the request is malformed.",
}

_LOOKS: Final[dict[str, Callable[[datetime, Permit], Step]]] = {
    "names": _names,
    "echo": _echo,
    "call": _called,
    "store": _stored,
    "send": _sent,
    "query": _queried,
    "retrieve": _retrieved,
    "commitment": _committed,
}


def _at(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%d %b %Y %H:%M}"
