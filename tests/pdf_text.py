"""The texts and pictures of a PDF that typst wrote, page by page: enough of PDF to see what stands on our paper."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\b(.*?)\nendobj", re.DOTALL)
_SHOWN = re.compile(rb"/(f\d+) [\d.]+ Tf|\((?:\\.|[^\\()])*\)|\bET\b", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"(": b"(", b")": b")", b"\\": b"\\"}


@dataclass
class Page:
    """One page: its text, a line for each run, and how many pictures it shows."""

    text: str
    pictures: int


def pages(pdf: bytes) -> list[Page]:
    """The pages in their order."""
    objects = {int(number): body for number, body in _OBJECT.findall(pdf)}
    found = []
    for body in objects.values():
        if not re.search(rb"/Type\s*/Page\b", body):
            continue
        resources = re.search(rb"/Resources (\d+) 0 R", body)
        assert resources is not None
        named = re.findall(rb"/(f\d+) (\d+) 0 R", objects[int(resources[1])])
        fonts = {name.decode(): _letters(objects, int(number)) for name, number in named}
        content = re.search(rb"/Contents (\d+) 0 R", body)
        assert content is not None
        stream = _stream(objects[int(content[1])])
        found.append(Page(_text(stream, fonts), len(re.findall(rb"/x\d+ Do", stream))))
    return found


def _stream(body: bytes) -> bytes:
    start = re.search(rb"stream\r?\n", body)
    assert start is not None
    data = body[start.end() : body.rindex(b"endstream")]
    return zlib.decompress(data) if b"FlateDecode" in body[: start.start()] else data


def _letters(objects: dict[int, bytes], font: int) -> dict[int, str]:
    """What each glyph of a font stands for: its ToUnicode map."""
    reference = re.search(rb"/ToUnicode (\d+) 0 R", objects[font])
    if reference is None:
        return {}
    told = _stream(objects[int(reference[1])])
    letters: dict[int, str] = {}
    for block in re.findall(rb"beginbfchar(.*?)endbfchar", told, re.DOTALL):
        for glyph, text in re.findall(rb"<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>", block):
            letters[int(glyph, 16)] = bytes.fromhex(text.decode()).decode("utf-16-be")
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", told, re.DOTALL):
        for first, last, text in re.findall(rb"<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>", block):
            begin = int(text, 16)
            for place in range(int(last, 16) - int(first, 16) + 1):
                letters[int(first, 16) + place] = chr(begin + place)
    return letters


def _text(stream: bytes, fonts: dict[str, dict[int, str]]) -> str:
    lines, line, letters = [], "", {}
    for match in _SHOWN.finditer(stream):
        if match[1]:
            letters = fonts.get(match[1].decode(), {})
        elif match[0] == b"ET":
            lines.append(line)
            line = ""
        else:
            glyphs = _unescaped(match[0][1:-1])
            pairs = [int.from_bytes(glyphs[at : at + 2], "big") for at in range(0, len(glyphs), 2)]
            line += "".join(letters.get(glyph, "?") for glyph in pairs)
    return "\n".join(lines)


def _unescaped(data: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        told = match[1]
        return bytes([int(told, 8) & 0xFF]) if told[:1].isdigit() else _ESCAPES.get(told, told)

    return re.sub(rb"\\([0-7]{1,3}|.)", plain, data, flags=re.DOTALL)
