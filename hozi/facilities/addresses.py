"""AE titles, addresses and networks as people write them, and what is wrong with those that cannot be."""

from __future__ import annotations

import ipaddress
from functools import cache

from hozi.core.errors import Refused

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def ae_title(text: str, field: str = "ae_title") -> str:
    """The AE title without spaces around it (PS3.5 §6.2, AE). Raises Refused.

    1 to 16 characters of the default repertoire, no control characters, no backslash.
    """
    title = text.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise Refused(f"{text!r} is no AE title: 1 to 16 printable ASCII characters and no backslash", field=field)
    return title


def address(text: str) -> Address | None:
    """The address, an IPv4 one out of its IPv6 clothes (``::ffff:192.168.1.20``); None when it is none."""
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@cache
def network(text: str) -> Network:
    """The network that `written` has written."""
    return ipaddress.ip_network(text)


def network_given(text: str, field: str = "host") -> Network:
    """What a person wrote as an address or network. Raises Refused, with what would be right."""
    if found := address(text):
        return ipaddress.ip_network(str(found).partition("%")[0])
    try:
        given = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise Refused(
            f"{text!r} is no address: write 192.168.1.20, a network such as 192.168.1.0/24, or IPv6", field=field
        ) from None
    if given.ip != given.network.network_address:
        raise Refused(
            f"{text!r} is both: write {given.network} for the network or {given.ip} for one device", field=field
        )
    return given.network


def written(given: Network) -> str:
    """How it stands in the database: an address alone, or a network with its length."""
    return str(given.network_address) if given.num_addresses == 1 else str(given)
