"""How to reach a device: where it listens, by which name we call, and over which kind of connection."""

from __future__ import annotations

import ssl
from ipaddress import ip_network
from typing import Any

from hozi.core.dimse.association import Timeouts
from hozi.core.dimse.tls import client_context
from hozi.core.errors import Refused
from hozi.facilities.devices import Permit
from hozi.settings import HOZI


class NotReachable(Refused):
    """The device has no address or port to which we could connect."""


def reach(device: Permit, called_from: str = "") -> dict[str, Any]:
    """Arguments for `requestor.associate`. ``called_from`` is used when the device is registered with a whole network.

    Raises `NotReachable` when we do not know its port or its one address.
    """
    if device.port is None:
        raise NotReachable(f"register the port on which {device.name} listens: hozi device add ... --port")
    host = device.host
    if "/" in host:
        network = ip_network(host, strict=False)
        host = str(network.network_address) if network.num_addresses == 1 else called_from
    if not host:
        raise NotReachable(f"{device.name} is registered with a network: register the one address on which it listens")
    return {
        "host": host,
        "port": device.port,
        "calling_ae": HOZI.ae_title,
        "called_ae": device.ae_title,
        "max_pdu": HOZI.max_pdu,
        "timeouts": timeouts(),
        "tls": tls() if device.tls else None,
    }


def timeouts() -> Timeouts:
    """The settings' patience with peers."""
    return Timeouts(artim=HOZI.artim_seconds, idle=HOZI.idle_seconds, message=HOZI.message_seconds)


def tls() -> ssl.SSLContext:
    """The context for calling devices over TLS, with our certificate."""
    if HOZI.tls_ca is None or HOZI.tls_certificate is None or HOZI.tls_key is None:
        raise NotReachable("set HOZI_TLS_CERTIFICATE, HOZI_TLS_KEY and HOZI_TLS_CA to reach devices over TLS")
    return client_context(HOZI.tls_ca, HOZI.tls_certificate, HOZI.tls_key)
