"""Files for browsers: asked for once, compressed, whole; and pages work where they were not collected, or long ago."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.test import RequestFactory, override_settings

from hozi.doors.http.static import StaticFiles, collected

# The end of an answer is told to Django's connections.
pytestmark = pytest.mark.django_db

STYLE = "body{color:#333}" * 500


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """One style sheet where files come from, and nothing collected."""
    folder = tmp_path / "made" / "vendor"
    folder.mkdir(parents=True)
    (folder / "looks.css").write_text(STYLE)
    with override_settings(
        STATIC_ROOT=tmp_path / "collected",
        STATICFILES_DIRS=[tmp_path / "made"],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
    ):
        yield folder


def collect() -> None:
    call_command("collectstatic", clear=True, interactive=False, verbosity=0)


def name_of(path: str) -> str:
    return str(storages["staticfiles"].url(path))


def ask(path: str, **headers: str) -> HttpResponse:
    def nothing(request: HttpRequest) -> HttpResponse:
        return HttpResponseNotFound()

    answer: HttpResponse = StaticFiles(nothing)(RequestFactory().get(path, headers=headers or None))
    return answer


def body(answer: HttpResponse) -> bytes:
    try:
        return b"".join(answer)
    finally:
        answer.close()


def test_a_collected_file_is_kept_by_browsers_for_ever_since_its_name_changes_with_it(source: Path) -> None:
    collect()
    before = name_of("vendor/looks.css")
    answer = ask(before)
    assert body(answer).decode() == STYLE
    assert "immutable" in answer["Cache-Control"]
    assert answer["Content-Type"].startswith("text/css")
    (source / "looks.css").write_text(STYLE + "p{}")
    collect()
    after = name_of("vendor/looks.css")
    assert after != before
    assert body(ask(after)).decode() == STYLE + "p{}"


def test_it_travels_compressed(source: Path) -> None:
    collect()
    answer = ask(name_of("vendor/looks.css"), accept_encoding="gzip, br")
    assert answer["Content-Encoding"] == "br"
    packed = body(answer)
    assert len(packed) < len(STYLE) / 10
    assert brotli.decompress(packed).decode() == STYLE


def test_without_collecting_the_plain_files_are_served(source: Path) -> None:
    assert not collected()
    assert name_of("vendor/looks.css") == "/static/vendor/looks.css"
    assert body(ask("/static/vendor/looks.css")).decode() == STYLE


def test_a_file_that_came_after_collecting_does_not_break_the_page(source: Path) -> None:
    collect()
    assert name_of("vendor/new.css") == "/static/vendor/new.css"
    assert ask("/static/vendor/new.css").status_code == 404


def test_only_what_was_collected_is_served(source: Path) -> None:
    (source.parent / "secret.txt").write_text("secret")
    collect()
    (source.parent.parent / "collected" / "later.txt").write_text("later")
    for path in ("/static/../made/secret.txt", "/static/staticfiles.json/..", "/static/", "/static/vendor/"):
        assert ask(path).status_code == 404
