"""Takes what code and templates say over into the translations, hozi/locale/*/LC_MESSAGES/django.po (`make texts`).

It does what Django's makemessages does, without gettext's programs, and without guessing: a new text comes in with an
empty translation, and what nobody says any more goes out. The tests compare with the same collection.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

Text = str | tuple[str, ...]
"""A text; or one and many of something."""

HOZI = Path(__file__).parents[2] / "hozi"
LANGUAGES = {"sn": "chiShona", "nd": "isiNdebele"}
HEAD = """\
# {name} translation of Hozi.
# This file is distributed under the same licence as Hozi (Apache-2.0).
msgid ""
msgstr ""
"Project-Id-Version: Hozi\\n"
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""
"""Without dates and names: they are in Git, and two who work at once would differ in nothing else."""

_MARKS = {
    **dict.fromkeys(("_", "gettext", "gettext_noop", "gettext_lazy"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
}
_LEFT_OUT = {"migrations", "made", "collected"}


def texts_of(source: str, *, template: bool) -> Iterator[tuple[str | None, Text]]:
    """The texts that one file marks for translation, each with its context."""
    code = templatize(source) if template else source
    for _line, text, _comments, context in extract("python", io.BytesIO(code.encode()), keywords=_MARKS):
        yield context, text if isinstance(text, str) else tuple(text[:2])


def said() -> dict[tuple[str | None, Text], tuple[str, ...]]:
    """All texts of Hozi, each with the files that say it, relative to `hozi/`."""
    found: dict[tuple[str | None, Text], tuple[str, ...]] = {}
    for path in sorted(HOZI.rglob("*")):
        if path.suffix not in (".py", ".html", ".txt") or _LEFT_OUT & set(path.parts):
            continue
        source = path.read_text(encoding="utf-8")
        for key in texts_of(source, template=path.suffix != ".py"):
            found[key] = (*found.get(key, ()), str(path.relative_to(HOZI)))
    return found


def po_file(language: str) -> Path:
    """The translation into that language."""
    return HOZI / "locale" / language / "LC_MESSAGES" / "django.po"


def taken_over(old: Catalog, language: str) -> str:
    """The translation with all that is said now, and nothing else."""
    template = Catalog()
    for context, text in said():
        template.add(text, context=context)
    old.update(template, no_fuzzy_matching=True)
    written = io.BytesIO()
    write_po(written, old, width=100, ignore_obsolete=True, omit_header=True)
    return HEAD.format(name=LANGUAGES[language], language=language) + "\n" + written.getvalue().decode().strip() + "\n"


def main() -> None:
    """Brings every translation up to date, and says what is left to translate."""
    if not settings.configured:
        settings.configure(USE_I18N=True)
    for language in LANGUAGES:
        path = po_file(language)
        with path.open("rb") as file:
            text = taken_over(read_po(file, abort_invalid=True), language)
        path.write_text(text, encoding="utf-8")
        messages = [message for message in read_po(io.StringIO(text)) if message.id]
        left = sum(
            not (message.string if isinstance(message.string, str) else all(message.string)) for message in messages
        )
        print(f"{path.relative_to(HOZI.parent)}: {len(messages)} texts, {left} of them not translated")


if __name__ == "__main__":
    main()
