"""The console's addresses: each area's module has a list ``urlpatterns`` and is entered in `AREAS`."""

from __future__ import annotations

from typing import Final

from allauth.account import views as account
from allauth.socialaccount.providers.openid_connect import views as oidc
from django.urls import URLPattern, URLResolver, include, path

from hozi.doors.console import elsewhere, entry, front, home

AREAS: Final = (
    "about",
    "audit.addresses",
    "devices.addresses",
    "drift",
    "emergency",
    "exceptions",
    "facilities",
    "facility_parts",
    "marking",
    "ohif",
    "organisations",
    "people",
    "printing",
    "readable",
    "rejecting",
    "reviews",
    "settings",
    "studies",
    "study",
    "upload",
    "viewer",
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("settle/", front.settle, name="settle"),
    path("enter/<str:token>/", entry.enter, name="enter"),
    path("language/", front.language, name="language"),
    path("theme/", front.theme, name="theme"),
    *(path("", include(f"hozi.doors.console.{area}")) for area in AREAS),
    # Of allauth's addresses only those that are used: nobody signs up, nothing is sent by e-mail.
    path("account/login/", account.login, name="account_login"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", account.password_change, name="account_change_password"),
    path("account/oidc/<str:provider_id>/login/", elsewhere.login, name="openid_connect_login"),
    path("account/oidc/<str:provider_id>/login/callback/", oidc.callback, name="openid_connect_callback"),
    path("account/factors/", include("allauth.mfa.urls")),
]
