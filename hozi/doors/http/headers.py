"""Headers that every answer has, pages and files and errors alike."""

from __future__ import annotations

from typing import Final

HSTS: Final = "max-age=31536000"
"""Told over https only (RFC 6797 §7.2): a year."""

DEFAULTS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
        " microphone=(), midi=(), payment=(), usb=()"
    ),
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "server": "Hozi",
}
"""What an answer says unless Django has said it otherwise."""


def complete(pairs: list[tuple[str, str]], scheme: str, number: str) -> list[tuple[str, str]]:
    """Those headers, with the missing ones. Over https, cookies are Secure, whoever set them."""
    there = {name for name, _ in pairs}
    all_of_them = [
        (name, _secure(value) if name == "set-cookie" and scheme == "https" else value) for name, value in pairs
    ]
    all_of_them += [(name, value) for name, value in DEFAULTS.items() if name not in there]
    if scheme == "https" and "strict-transport-security" not in there:
        all_of_them.append(("strict-transport-security", HSTS))
    all_of_them.append(("x-request-id", number))
    return all_of_them


def _secure(cookie: str) -> str:
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    return cookie if "secure" in attributes else f"{cookie}; Secure"
