"""Person names: their parts, and the forms in which they are compared (PS3.5 §6.2.1, PS3.4 §C.2.2.2.1)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import jellyfish

LONGEST_WORD: Final = 64

# Accents of alphabets. Marks of other scripts (Indic vowels, kana voicing) make another letter and stay.
_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")
_SPACES: Final = re.compile(r"\s+")
_BETWEEN_WORDS: Final = re.compile(r"[\s^=,;.*?/\\\u2010-\u2015-]+")
_TITLES: Final = re.compile(r"^(?:(?:dr|prof|mr|mrs|ms|miss)\b[.,\s]*)+(?=\S)")
_INSIDE_WORDS: Final = str.maketrans("", "", "'`\u2018\u2019\u02bc\"()[]")


def fold(text: str) -> str:
    """Give the form of a text in which case, accents, width and runs of spaces make no difference.

    Folding a folded text changes nothing. Characters are composed, so that `?` in a pattern is one of them.
    """
    if text.isascii():
        plain = text.lower()
        return " ".join(plain.split()) if " " in plain or not plain.isprintable() else plain
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).casefold()
    composed = unicodedata.normalize("NFKC", _ACCENTS.sub("", folded))
    return _SPACES.sub(" ", composed).strip()


def split(name: str) -> tuple[str, str, str]:
    """Split a PN value into its alphabetic, ideographic and phonetic group; empty components at the end fall away."""
    groups = (*name.split("=", 2), "", "")[:3]
    return _trim(groups[0]), _trim(groups[1]), _trim(groups[2])


def keys(name: str) -> tuple[str, str, str]:
    """Fold the three groups of a name, component by component: the form that the index keeps and matches."""
    alphabetic, ideographic, phonetic = split(name)
    return _fold_group(alphabetic), _fold_group(ideographic), _fold_group(phonetic)


def key(name: str) -> str:
    """Fold a whole name into one text, its groups with `=` between them: for columns that hold all groups."""
    return "=".join(keys(name)).rstrip("=")


def person(name: str) -> str:
    """Give the form in which two names mean the same person: folded family, given and middle name, without titles.

    Of the first group that is there. Prefixes and suffixes are left out, and titles that stand before a family name
    (`DR MOYO^TENDAI`). Who is written in another order (`TENDAI MOYO`) is somebody else. Doing it again
    changes nothing.
    """
    group = next(filter(None, keys(name)), "")
    parts = group.split("^")[:3]
    parts[0] = _TITLES.sub("", parts[0])
    return "^".join(parts).rstrip("^ ")


def words(name: str) -> list[str]:
    """List the folded words of a name, each once, at most `LONGEST_WORD` characters each (for fuzzy matching)."""
    found = (word[:LONGEST_WORD] for word in _BETWEEN_WORDS.split(fold(name).translate(_INSIDE_WORDS)))
    return list(dict.fromkeys(word for word in found if word))


def sound(word: str) -> str:
    """Give the Metaphone key of a folded word; empty when the word has no Latin letters."""
    return jellyfish.metaphone(word[:LONGEST_WORD])[:LONGEST_WORD]


def _trim(group: str) -> str:
    return group.strip().rstrip("^ ")


def _fold_group(group: str) -> str:
    if not group:
        return ""
    return "^".join(fold(component) for component in group.split("^")).rstrip("^ ")
