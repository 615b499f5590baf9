"""The console's addresses. An area has a module of views and names its own."""

from __future__ import annotations

from allauth.account import views as account
from django.urls import URLPattern, URLResolver, include, path

from hozi.doors.console import entry, front, home, settings
from hozi.doors.console.devices import addresses as devices

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("settle/", front.settle, name="settle"),
    path("enter/<str:token>/", entry.enter, name="enter"),
    path("language/", front.language, name="language"),
    path("theme/", front.theme, name="theme"),
    *settings.urlpatterns,
    *devices.urlpatterns,
    # Of allauth's addresses only those that are used: nobody signs up, nothing is sent by e-mail.
    path("account/login/", account.login, name="account_login"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", account.password_change, name="account_change_password"),
    path("account/oidc/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("account/factors/", include("allauth.mfa.urls")),
]
