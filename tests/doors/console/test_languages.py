"""Pages in chiShona and isiNdebele: their words, and what stays the same in every language."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from django.test import Client

from hozi.archive.models import Study
from hozi.doors.console import borrowed
from tests.archive.conftest import Counter, counter
from tests.dicom_files import write

__all__ = ["counter"]

SignedIn = Callable[..., Client]
MOMENT = re.compile(r"\b\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d\b")
WORDS = {
    "en": ("Studies", "People", "Sign out", "Keep this search", "Referred by"),
    "sn": ("Ongororo", "Vanhu", "Buda", "Chengeta kutsvaga uku", "Akatumirwa na"),
    "nd": ("Ukuhlolwa", "Abantu", "Phuma", "Gcina lokhu kudinga", "Uthunywe ngu"),
}


def _page(client: Client, url: str, language: str) -> str:
    client.cookies["hozi_language"] = language
    response = client.get(url)
    assert response.status_code == 200, url
    assert response["Content-Language"] == language
    return response.content.decode()


@pytest.fixture
def study(counter: Counter, tmp_path: Path) -> Study:
    """A study with so many images that a separator of thousands would show."""
    write(tmp_path / "disc" / "1.dcm", StudyDescription="CHEST", StudyDate="20260203", StudyTime="083100")
    counter.bring(tmp_path / "disc")
    Study.objects.update(instance_count=1234567)
    return Study.objects.get()


@pytest.mark.parametrize("language", WORDS)
def test_pages_speak_the_language_that_was_chosen(signed_in: SignedIn, study: Study, language: str) -> None:
    client = signed_in("pacs_admin")
    said = _page(client, "/studies/", language) + _page(client, f"/studies/{study.pk}/", language)
    searched = client.post("/studies/", {"modality": "CT", "text": "x"}, follow=True).content.decode()
    for own, *others in zip(
        WORDS[language], *(words for code, words in WORDS.items() if code != language), strict=True
    ):
        assert f">{own}<" in said + searched, own
        for other in others:
            assert f">{other}<" not in said + searched, other


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("sn", ("Pinda", "Zita rekupinda naro", "Pasiwedhi", "Zita kana pasiwedhi zvawanyora hazvina kururama.")),
        ("nd", ("Ngena", "Ibizo lokungena", "Iphasiwedi", "Ibizo kumbe iphasiwedi oyibhalileyo kakulunganga.")),
    ],
)
def test_signing_in_and_failing_to_speak_it_too(
    anybody: Client, signed_in: SignedIn, language: str, words: tuple[str, ...]
) -> None:
    signed_in("pacs_admin")
    said = _page(anybody, "/account/login/", language)
    said += anybody.post("/account/login/", {"login": "nobody", "password": "wrong"}).content.decode()
    assert not [word for word in words if word not in said]
    assert "Username" not in said
    assert "not correct" not in said


def test_dates_and_numbers_look_the_same_in_every_language(signed_in: SignedIn, study: Study) -> None:
    client = signed_in("pacs_admin")
    pages = {language: _page(client, f"/studies/{study.pk}/", language) for language in WORDS}
    pages = {language: page + _page(client, "/studies/", language) for language, page in pages.items()}
    moments = {language: MOMENT.findall(page) for language, page in pages.items()}
    assert moments["en"]
    assert moments["sn"] == moments["nd"] == moments["en"]
    counts = {language: page.count(">1234567<") for language, page in pages.items()}
    assert counts["en"]
    assert set(counts.values()) == {counts["en"]}


def test_what_others_say_on_our_pages_is_what_they_say_still() -> None:
    """A new version of allauth that says it otherwise would show English: the text here must change with it."""
    for package, texts in (("allauth", borrowed.SIGN_IN), ("django", borrowed.FORMS)):
        folder = Path(str(import_module(package).__file__)).parent
        parts = ("account", "mfa", "templates") if package == "allauth" else ("forms", "core/validators.py")
        files = [path for part in parts for path in (folder / part, *(folder / part).rglob("*")) if path.is_file()]
        said = "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".html"))
        assert not [text for text in texts if text not in said]
