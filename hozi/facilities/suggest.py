"""What somebody who knocked probably is: why it was refused, in words, and what one click would admit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Literal

from django.utils.translation import gettext as _

from hozi.facilities import addresses
from hozi.facilities.devices import MAY, Permit, admit
from hozi.facilities.models import Facility, Knock
from hozi.facilities.recognise import listed

Kind = Literal["new", "moved", "name", "certificate"]

_MODALITIES: Final = (
    ("CT", r"CT\d*"),
    ("MR", r"MRI?\d*"),
    ("US", r"US\d*|ULTRA\w*|SONO\w*|ECHO\w*"),
    ("MG", r"MG\d*|MAMM?O\w*"),
    ("CR", r"CR\d*"),
    ("DX", r"DX\d*|DR\d*|XR\d*|XRAY\w*|CHEST\w*"),
    ("XA", r"XA\d*|ANGIO\w*|CATH\w*"),
    ("RF", r"RF\d*|FLUO\w*|CARM\w*"),
    ("NM", r"NM\d*|SPECT\w*|GAMMA\w*"),
    ("PT", r"PT\d*|PET\w*"),
    ("PX", r"PX\d*|OPG\w*|PANO\w*"),
    ("ES", r"ES\d*|ENDO\w*"),
)
_VIEWERS: Final = r"VIEW\w*|WS\d*|WORK\w*|READ\w*|OSIRIX\w*|HOROS\w*|WEASIS\w*|RADIANT\w*|REPORT\w*|DIAG\w*"
_NEIGHBOURS: Final = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Why:
    """Why somebody was refused: a sentence, what to do about it, and the protocol's own words for an engineer."""

    sentence: str
    advice: str
    technical: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What would be admitted. ``device`` is the one that is there already, but for a ``new`` one.

    ``facility`` is empty where it cannot be guessed and must be asked.
    """

    kind: Kind
    name: str
    ae_title: str
    host: str
    may: tuple[str, ...]
    facility: str
    modality: str
    device: Permit | None = None


def why(knock: Knock, own_ae: str) -> Why:
    """Says why a knock was refused (PS3.8 §9.3.4), and what to do about it."""
    names = {
        "title": knock.calling_ae,
        "called": knock.called_ae,
        "own": own_ae,
        "address": knock.address,
        "subject": knock.tls_subject,
    }
    sentence, advice = {
        "calling-ae": (_("%(title)s is not admitted."), _("Admit it, if it is yours.")),
        "address": (
            _("%(title)s is admitted at another address, but called from %(address)s."),
            _("Has it moved, or is this another device with the same name? Two devices should not share one."),
        ),
        "called-ae": (
            _("%(title)s calls this archive %(called)s; its name is %(own)s."),
            _("Change it on the device, or admit the name here."),
        ),
        "certificate": (
            _("%(title)s showed a certificate that is not the one that was admitted."),
            _("If it was given a new one, admit it. If not, find out who is calling."),
        ),
    }.get(knock.reason, (_("%(title)s was refused."), ""))
    if knock.reason == "certificate" and not knock.tls_subject:
        sentence, advice = _("%(title)s must call over TLS and did not."), _("Switch TLS on at the device.")
    code, meaning = ("1/1/7", "called") if knock.reason == "called-ae" else ("1/1/3", "calling")
    technical = (
        f"A-ASSOCIATE-RJ {code}, {meaning} AE title not recognized; "
        f"calling {knock.calling_ae}, called {knock.called_ae}, from {knock.address}"
    )
    if knock.tls_subject:
        technical += f", certificate {knock.tls_subject}"
    return Why(sentence % names, advice % names, technical)


def suggest(knock: Knock, within: Collection[str] | None = None) -> tuple[Suggestion, ...]:
    """What could be admitted, the likeliest first; empty when nothing can be (it must change something itself).

    ``within``: the codes of the facilities that the asker looks after (None: all); others' devices are left alone.
    """
    known = [device for device in listed() if device.ae_title == knock.calling_ae]
    mine = [device for device in known if within is None or device.facility in within]
    if knock.reason in ("called-ae", "certificate"):
        nearest = _nearest(known, knock)
        if nearest not in mine or (knock.reason == "certificate" and not knock.tls_subject):
            return ()
        return (_as_it_is(nearest, "name" if knock.reason == "called-ae" else "certificate"),)
    new = _new(knock, within)
    return (*(_as_it_is(device, "moved", knock.address) for device in mine), new)


def accept(
    knock: Knock, chosen: Suggestion, *, own_ae: str, facility: str = "", actor: str, address: str = ""
) -> Permit:
    """Admits what was suggested, as it was suggested. Raises Refused when it no longer applies."""
    return admit(
        knock,
        chosen.name,
        own_ae=own_ae,
        may=chosen.may,
        facility=facility or chosen.facility or None,
        modality=chosen.modality,
        actor=actor,
        address=address,
    )


def modality_of(ae_title: str) -> str:
    """What kind of images a device of that AE title probably makes; empty when nothing says so."""
    words = _words(ae_title)
    for modality, pattern in _MODALITIES:
        if any(re.fullmatch(pattern, word) for word in words):
            return modality
    return ""


def _new(knock: Knock, within: Collection[str] | None) -> Suggestion:
    modality = modality_of(knock.calling_ae)
    viewer = not modality and any(re.fullmatch(_VIEWERS, word) for word in _words(knock.calling_ae))
    return Suggestion(
        kind="new",
        name=_free_name(knock.calling_ae),
        ae_title=knock.calling_ae,
        host=knock.address,
        may=MAY[1:3] if viewer else MAY[:3],
        facility=_facility(knock.address, within),
        modality=modality,
    )


def _as_it_is(device: Permit, kind: Kind, host: str = "") -> Suggestion:
    return Suggestion(
        kind,
        device.name,
        device.ae_title,
        host or device.host,
        device.may,
        device.facility,
        device.modality,
        device,
    )


def _nearest(devices: Collection[Permit], knock: Knock) -> Permit | None:
    peer = addresses.address(knock.address)
    near = [device for device in devices if peer is not None and peer in addresses.network(device.host)]
    return max(near, key=lambda device: addresses.network(device.host).prefixlen, default=None)


def _facility(address: str, within: Collection[str] | None) -> str:
    """The facility of the devices in the same network, or the only one there is."""
    peer = addresses.address(address)
    if peer is not None:
        around = ip_network(f"{peer}/{_NEIGHBOURS[peer.version]}", strict=False)
        codes = Counter(
            device.facility
            for device in listed()
            if addresses.network(device.host).version == peer.version
            and addresses.network(device.host).network_address in around
            and (within is None or device.facility in within)
        )
        if len(codes) == 1:
            return next(iter(codes))
    facilities = Facility.objects.order_by("code")
    if within is not None:
        facilities = facilities.filter(code__in=within)
    found = list(facilities.values_list("code", flat=True)[:2])
    return found[0] if len(found) == 1 else ""


def _free_name(ae_title: str) -> str:
    taken = {device.name for device in listed()}
    name = ae_title
    number = 2
    while name in taken:
        name = f"{ae_title} {number}"
        number += 1
    return name


def _words(ae_title: str) -> list[str]:
    return [word for word in re.split(r"[^A-Z0-9]+", ae_title.upper()) if word]
