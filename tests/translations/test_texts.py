"""The translations say what the code says: all of it, with its placeholders, and nothing that is gone."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from hozi.core.errors import Refused
from hozi.doors.cli.tongues import compiled
from tests.guards.generators import load

take_texts = load("take_texts")
LANGUAGES = tuple(take_texts.LANGUAGES)
Text = str | tuple[str, ...]
Said = dict[tuple[str | None, Text], tuple[str, ...]]

WHOLE = re.compile(
    r"doors/console/(borrowed|navigation|entry|studies|study|exceptions|middleware|needs|templatetags/console)\.py"
    r"|doors/http/pages\.py"
    r"|doors/console/templates/(account|mfa|allauth)/.*"
    r"|doors/console/templates/console/(home|studies|study|exceptions)/.*"
    r"|doors/console/templates/console/[a-z_]+\.html"
)
"""What is translated whole, into every language: signing in, the frame of all pages, Home, studies, exceptions."""

_PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w*\}")
_TAG = re.compile(r"<[^>]*>?|&\w+;")


@pytest.fixture(scope="module")
def said() -> Said:
    """All that code and templates say."""
    found: Said = take_texts.said()
    return found


def translation(language: str) -> Catalog:
    """The translation, read."""
    with take_texts.po_file(language).open("rb") as file:
        return read_po(file, abort_invalid=True)


def entries(catalog: Catalog) -> list[Message]:
    """What it holds, without its head."""
    return [message for message in catalog if message.id]


def _forms(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _key(message: Message) -> tuple[str | None, Text]:
    return message.context, message.id if isinstance(message.id, str) else tuple(message.id)


def wrong(message: Message, plurals: int) -> list[str]:
    """What of a translation differs from its text and must not."""
    texts, translated = _forms(message.id), _forms(message.string)
    if not any(translated):
        return []
    wanted = plurals if len(texts) > 1 else 1
    if len(translated) != wanted or not all(translated):
        return [f"{texts[0]!r}: {wanted} forms are needed"]
    complaints = []
    for index, said_here in enumerate(translated):
        text = texts[min(index, len(texts) - 1)]
        for what in (_PLACEHOLDER, _TAG):
            if Counter(what.findall(text)) != Counter(what.findall(said_here)):
                complaints.append(f"{text!r}: {said_here!r} has other placeholders or tags")
        if (text[0].isspace(), text[-1].isspace()) != (said_here[0].isspace(), said_here[-1].isspace()):
            complaints.append(f"{text!r}: {said_here!r} begins or ends with other space")
    return complaints


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_that_the_code_says_is_in_the_translation_and_nothing_else(language: str, said: Said) -> None:
    there = {_key(message) for message in entries(translation(language))}
    assert not said.keys() - there, "`make texts` takes them over"
    assert not there - said.keys(), "nobody says that any more: `make texts` takes it out"


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_guessed_or_left_over(language: str) -> None:
    catalog = translation(language)
    assert not catalog.obsolete
    assert not [message.id for message in entries(catalog) if message.fuzzy]


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_placeholders_tags_and_the_number_of_forms(language: str) -> None:
    catalog = translation(language)
    assert (catalog.num_plurals, catalog.plural_expr.replace(" ", "")) == (2, "(n!=1)")
    assert not [line for message in entries(catalog) for line in wrong(message, catalog.num_plurals)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_everybody_meets_is_translated_whole(language: str, said: Said) -> None:
    translated = {_key(message) for message in entries(translation(language)) if all(_forms(message.string))}
    whole = {text for text, files in said.items() if any(WHOLE.fullmatch(file) for file in files)}
    assert len(whole) > 100, "the files have moved"
    assert not sorted(str(text) for _context, text in whole - translated)


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ('msgid "of %(name)s"', 'msgstr "ye%(nem)s"'),
        ('msgid "of %(count)d"', 'msgstr "ye%(count)s"'),
        ('msgid "of %(name)s"', 'msgstr "ye"'),
        ('msgid "a day"', 'msgstr "<b>zuva</b>"'),
        ('msgid "a day "', 'msgstr "zuva"'),
        ('msgid "%(n)d day"\nmsgid_plural "%(n)d days"', 'msgstr[0] "zuva %(n)d"\nmsgstr[1] ""'),
        ('msgid "%(n)d day"\nmsgid_plural "%(n)d days"', 'msgstr[0] "zuva %(n)d"\nmsgstr[1] "mazuva"'),
        ('msgid "%(n)d day"\nmsgid_plural "%(n)d days"', 'msgstr[0] "zuva %(n)d"'),
    ],
)
def test_a_translation_that_loses_something_is_found(text: str, translated: str) -> None:
    head = 'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
    (message,) = entries(read_po(io.BytesIO(f"{head}{text}\n{translated}\n".encode())))
    assert wrong(message, 2)


def test_texts_are_found_in_code_and_in_templates() -> None:
    code = 'a = _("one")\nb = ngettext("%(n)d day", "%(n)d days", n)\nc = gettext_lazy(\n  "two " "three")\nd = f("no")'
    assert [text for _context, text in take_texts.texts_of(code, template=False)] == [
        "one",
        ("%(n)d day", "%(n)d days"),
        "two three",
    ]
    page = (
        '{% trans "one" %}{% include "a.html" with title=_("two") %}'
        "{% blocktrans count counter=n %}{{ counter }} day{% plural %}{{ counter }} days{% endblocktrans %}"
    )
    assert {text for _context, text in take_texts.texts_of(page, template=True)} == {
        "one",
        "two",
        ("%(counter)s day", "%(counter)s days"),
    }


def test_a_translation_becomes_what_django_reads_and_is_made_anew_when_it_changes(tmp_path: Path) -> None:
    source = tmp_path / "sn" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    source.write_bytes(take_texts.po_file("sn").read_bytes())
    (made,) = compiled(tmp_path)
    assert made == source.with_suffix(".mo")
    first = made.read_bytes()
    assert first[:4] in (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde")
    source.write_text(source.read_text(encoding="utf-8").replace('msgstr "Pinda"', 'msgstr "Pindai"'), encoding="utf-8")
    compiled(tmp_path)
    assert made.read_bytes() != first
    assert sorted(path.name for path in source.parent.iterdir()) == ["django.mo", "django.po"]


def test_a_translation_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    source = tmp_path / "sn" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    source.write_text('msgid "one"\nmsgstr "two\nnonsense', encoding="utf-8")
    with pytest.raises(Refused, match=r"django\.po cannot be read"):
        compiled(tmp_path)
    assert not source.with_suffix(".mo").exists()
