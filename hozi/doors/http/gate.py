"""Who asks, and may this request come in at all? Decided from its head, before a thread is spent on it.

A request's head comes from a stranger. What passes has exactly one `Host` that is ours (RFC 9112 §3.2), names that
cannot be taken for others, no control characters; and the address of who asked, which a proxy may tell only when it is
one of `HOZI_TRUSTED_PROXIES`.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from django.http.request import split_domain_port, validate_host

MOST_HEADERS: Final = 100
MOST_HEADER_BYTES: Final = 32 << 10
MOST_TARGET_BYTES: Final = 8 << 10

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_LENGTH = re.compile(r"[0-9]{1,18}")
_TOLD_BY_PROXIES = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Headers(Protocol):
    """A request's headers as Granian gives them: names in small letters, one pair for each line."""

    def items(self) -> list[tuple[str, str]]:
        """All of them, in their order."""
        ...


class Scope(Protocol):
    """A request's head, as Granian gives it (RSGI 1.5)."""

    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    authority: str | None

    @property
    def headers(self) -> Headers:
        """What the client said beside."""
        ...


class NotLetIn(Exception):
    """A request that is not worked on: ``status``, and why, in words that may be logged."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request that was let in."""

    number: str
    method: str
    path: str
    query: str
    version: str
    scheme: str
    host: str
    address: str
    length: int | None
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The value of that header (in small letters); empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def environ(self) -> dict[str, Any]:
        """The request as WSGI wants it (PEP 3333), without a body."""
        server, port = split_domain_port(self.host)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path.encode("utf-8", "surrogatepass").decode("latin-1"),
            "QUERY_STRING": self.query,
            "SERVER_NAME": server,
            "SERVER_PORT": port or ("443" if self.scheme == "https" else "80"),
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "REMOTE_ADDR": self.address,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.scheme,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "hozi.request": self.number,
        }
        for name, value in self.headers:
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            between = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{between}{value}" if key in environ else value
        return environ


class Gate:
    """Lets requests in: those for one of these hosts, believing only these proxies."""

    def __init__(self, hosts: Sequence[str], proxies: Sequence[Network], tls: bool) -> None:
        self._hosts = list(hosts)
        self._proxies = tuple(proxies)
        self._tls = tls

    def number(self, scope: Scope) -> str:
        """What this request is called in the log and on error pages: a trusted proxy's number for it, or a new one."""
        if self._trusts(_address(scope.client)):
            told = next((value for name, value in scope.headers.items() if name == "x-request-id"), "")
            if _REQUEST_ID.fullmatch(told):
                return told
        return secrets.token_hex(8)

    def address(self, scope: Scope) -> str:
        """Where the request comes from: the peer, or who a trusted proxy says it works for."""
        peer = _address(scope.client)
        if not self._trusts(peer):
            return peer
        told = ",".join(value for name, value in scope.headers.items() if name == "x-forwarded-for")
        nearest = peer
        # From the right: each proxy adds who called it, and what stands further left may be invented.
        for part in reversed([part.strip() for part in told.split(",") if part.strip()]):
            parsed = _parsed(part)
            if parsed is None:
                break
            nearest = str(parsed)
            if not self._trusts(nearest):
                break
        return nearest

    def let_in(self, scope: Scope, number: str, *, chunked: bool = False) -> Request:
        """The request, with who asked; raises NotLetIn when it cannot be worked on.

        ``chunked``: its body may come without a length, since whoever reads it sees where it must end.
        """
        headers = scope.headers.items()
        if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
            raise NotLetIn(431, "its headers are too long")
        if len(scope.path) + len(scope.query_string) > MOST_TARGET_BYTES:
            raise NotLetIn(414, "its address is too long")
        if scope.method not in _METHODS:
            raise NotLetIn(405, "no such method")
        if not scope.path.startswith("/") or _CONTROL.search(scope.path):
            raise NotLetIn(400, "its path is none")
        encodings = [value.strip().lower() for name, value in headers if name == "transfer-encoding"]
        if encodings and (not chunked or encodings != ["chunked"]):
            # Granian ends a chunked body that breaks off like one that is whole.
            raise NotLetIn(411, "its body has no length")
        return Request(
            number=number,
            method=scope.method,
            path=scope.path,
            query=scope.query_string,
            version="1.0" if scope.http_version in ("1", "1.0") else scope.http_version,
            scheme=self._scheme(scope),
            host=self._host(scope, headers),
            address=self.address(scope),
            length=_length(headers),
            headers=tuple(
                (name, value)
                for name, value in headers
                # X_Forwarded_For would become the same WSGI name as X-Forwarded-For.
                if "_" not in name and name not in _TOLD_BY_PROXIES and name != "proxy"
            ),
        )

    def _host(self, scope: Scope, headers: Iterable[tuple[str, str]]) -> str:
        named = [value for name, value in headers if name == "host"]
        if len(named) != 1:
            raise NotLetIn(400, "it names no host, or more than one")
        [host] = named
        if scope.authority and scope.authority.lower() != host.lower():
            raise NotLetIn(400, "it names two hosts")
        domain, _ = split_domain_port(host)
        if not domain or not validate_host(domain, self._hosts):
            raise NotLetIn(400, "it names a host that this is not (HOZI_HTTP_HOSTS)")
        return host

    def _scheme(self, scope: Scope) -> str:
        if self._tls:
            return "https"
        if self._trusts(_address(scope.client)):
            told = [value for name, value in scope.headers.items() if name == "x-forwarded-proto"]
            if told and told[-1].rpartition(",")[2].strip().lower() == "https":
                return "https"
        return "http"

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address) if self._proxies else None
        return parsed is not None and any(parsed in network for network in self._proxies)


@lru_cache(maxsize=4096)
def _address(client: str) -> str:
    """The address of ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``; an IPv4 address in IPv6 clothes as IPv4."""
    host = client.rpartition(":")[0].strip("[]") or client
    parsed = _parsed(host)
    return str(parsed) if parsed is not None else host


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _length(headers: Iterable[tuple[str, str]]) -> int | None:
    told = [value for name, value in headers if name == "content-length"]
    if not told:
        return None
    if len(told) > 1 or not _LENGTH.fullmatch(told[0]):
        raise NotLetIn(400, "its length is none")
    return int(told[0])
