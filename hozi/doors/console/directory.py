"""Passwords of the hospital's directory (LDAP, Active Directory), for people who have an account here.

The directory says whether name and password belong together; who may do what stands here. Nobody gets an account by
being in the directory. Needs the extra ``ldap``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from hozi.settings import HOZI

log = logging.getLogger(__name__)

_SECONDS = 5
_NOBODY = "cn=nobody"


class Directory(ModelBackend):
    """Asks the directory for the password of a name that has an account here."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> AbstractBaseUser | None:
        """The person, when the directory takes the password; None when not, or when it does not answer.

        Always asked, whoever the name belongs to: how long it takes must not say who exists.
        """
        if not username or not password:  # with an empty password, directories let anybody in as nobody (RFC 4513)
            return None
        if not _takes(username, password):
            return None
        people = self._people().filter(username__iexact=username)
        person = people.first()
        return person if person is not None and self.user_can_authenticate(person) else None

    def _people(self) -> Any:
        from django.contrib.auth import get_user_model

        return get_user_model()._default_manager


def _takes(name: str, password: str) -> bool:
    """Whether exactly one entry of the directory has the name, and its password is this."""
    import ldap3
    from ldap3.core.exceptions import LDAPException
    from ldap3.utils.conv import escape_filter_chars

    server = ldap3.Server(HOZI.ldap_server, tls=_tls(), connect_timeout=_SECONDS, get_info=ldap3.NONE)
    try:
        with _connected(server, HOZI.ldap_bind_dn, _secret()) as search:
            search.search(
                HOZI.ldap_base,
                HOZI.ldap_filter.replace("{name}", escape_filter_chars(name)),
                size_limit=2,
                attributes=[],
            )
            found = [entry["dn"] for entry in search.response or () if entry.get("type") == "searchResEntry"]
        entry = found[0] if len(found) == 1 else _NOBODY
        with _connected(server, entry, password) as bound:
            return bool(bound.bound) and entry != _NOBODY
    except (LDAPException, OSError) as error:
        log.warning("the directory does not answer: %s", type(error).__name__)
        return False


@contextmanager
def _connected(server: Any, dn: str, password: str) -> Iterator[Any]:
    """A connection bound as that entry (or not: ``bound`` says), over TLS, closed afterwards."""
    import ldap3

    connection = ldap3.Connection(
        server, dn or None, password or None, receive_timeout=_SECONDS, read_only=True, raise_exceptions=False
    )
    try:
        connection.open()
        if not server.ssl:
            connection.start_tls()
        connection.bind()
        yield connection
    finally:
        connection.strategy.close()
        if connection.socket is not None:  # left open by ldap3 when TLS failed
            connection.socket.close()


def _tls() -> Any:
    import ldap3

    ca = HOZI.ldap_ca
    return ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(ca) if ca else None, version=ssl.PROTOCOL_TLS_CLIENT)


def _secret() -> str:
    file: Path | None = HOZI.ldap_password_file
    return file.read_text(encoding="utf-8").strip() if file else ""
