"""Django's settings, derived from Hozi's own (`environment.py`), which are to be had from here."""

from __future__ import annotations

import sys
from pathlib import Path

import django.conf.locale
from django.utils.functional import SimpleLazyObject

from hozi.environment import HOZI, Settings, unknown_variables

__all__ = ["HOZI", "Settings", "unknown_variables"]

if sys.platform == "linux":
    # Debian 12's SQLite (3.40.1) can corrupt a database in WAL mode (fixed in 3.51.3):
    # the library inside pysqlite3 takes its place before Django loads it.
    import pysqlite3

    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

SECRET_KEY = SimpleLazyObject(HOZI.secret_key)
"""Looked for when something is signed, not before: a command that only looks makes no file."""

DEBUG = False
USE_TZ = True
TIME_ZONE = HOZI.time_zone
DATABASES = {"default": HOZI.database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "hozi.accounts.passwords.Policy"}]
AUTH_USER_MODEL = "accounts.Person"
LOGGING_CONFIG = None
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "hozi.doors.api",
    "hozi.doors.console",  # before allauth, whose templates it replaces
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "csp",
    "hozi.audit",
    "hozi.choices",
    "hozi.facilities",
    "hozi.accounts",
    "hozi.jobs",
    "hozi.archive",
]

# The web. What stands before Django (hosts, proxies, limits, headers, the access log): hozi/doors/http.

ROOT_URLCONF = "hozi.urls"
WSGI_APPLICATION = "hozi.wsgi.application"
ALLOWED_HOSTS = HOZI.allowed_hosts
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "hozi.doors.http.route.Route",
    "hozi.doors.http.static.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "hozi.doors.console.middleware.Language",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hozi.doors.console.middleware.Gate",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

SESSION_ENGINE = "django.contrib.sessions.backends.db"
# Behind a proxy that speaks TLS, hozi/doors/http marks the cookies Secure.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HOZI.http_tls
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME, LANGUAGE_COOKIE_NAME = "hozi_session", "hozi_csrf", "hozi_language"

SESSION_COOKIE_AGE = HOZI.session_hours * 3600
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# Signing in: allauth, with our adapter; nobody signs up, and nothing is sent by e-mail.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
if HOZI.ldap_server:
    AUTHENTICATION_BACKENDS.append("hozi.doors.console.directory.Directory")
LOGIN_URL, LOGIN_REDIRECT_URL = "account_login", "/"
ACCOUNT_ADAPTER = "hozi.doors.console.adapter.Accounts"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/account/login/"
ACCOUNT_PRESERVE_USERNAME_CASING = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_CHANGE_EMAIL = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
# Ten in a minute from one address, and five in five minutes for one name from anywhere.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "10/m/ip,5/300s/key", "reauthenticate": "10/m/user"}
SOCIALACCOUNT_ADAPTER = "hozi.doors.console.elsewhere.Elsewhere"
SOCIALACCOUNT_PROVIDERS = HOZI.oidc_providers()
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Hozi"
USERSESSIONS_TRACK_ACTIVITY = False
# Counted for all processes and nodes together.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "console_cache"}}

# No script and no style but our own files; nothing from elsewhere, nothing inside others' pages.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'", *HOZI.oidc_origin()],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
        "worker-src": ["'self'"],
    }
}
SECURE_HSTS_SECONDS = 365 * 24 * 3600  # sent over https only
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CSRF_FAILURE_VIEW = "hozi.doors.http.pages.csrf_failure"

DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = 2 << 20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 20
FILE_UPLOAD_PERMISSIONS = 0o600

_CONSOLE = Path(__file__).parent / "doors" / "console"
STATIC_URL = "/static/"
STATIC_ROOT = _CONSOLE / "collected"
# Both folders are made by `hozi assets`: STATIC_ROOT holds all, this one what others made (vendor/) and the icons.
STATICFILES_DIRS = [_CONSOLE / "made"]
OHIF_ROOT = _CONSOLE / "collected-ohif"
"""OHIF's files, compressed; made by `hozi assets`, given out to whoever may open studies."""
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "hozi.doors.http.static.Storage",
        # Whoever sets Hozi up is often another account than the one that runs it.
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Django knows neither of the two; their own names are what is shown.
django.conf.locale.LANG_INFO.update(
    {
        "sn": {"bidi": False, "code": "sn", "name": "Shona", "name_local": "chiShona"},
        "nd": {"bidi": False, "code": "nd", "name": "North Ndebele", "name_local": "isiNdebele"},
    }
)
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("sn", "chiShona"), ("nd", "isiNdebele")]
LOCALE_PATHS = [Path(__file__).parent / "locale"]
