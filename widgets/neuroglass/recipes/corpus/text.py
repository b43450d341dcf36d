"""Text out of files: what every category shares.

A category turns unpacked packages (name -> folder) into documents, pairs (source, text). Here is
how files are found and read, cleaned, and cut into documents at blank lines.
"""

from __future__ import annotations

import glob
import gzip
import html
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from neuroglass.recipes.corpus.errors import CorpusError

Packages = Mapping[str, Path]
Documents = Iterator[tuple[str, str]]


def files(root: Path, pattern: str) -> list[Path]:
    """The files below `root` whose path ends like `pattern`, in the order of their paths.

    Raises:
        CorpusError: there is none. A package that lost its files would otherwise go unnoticed.
    """
    # Path.glob would follow no links to folders, and find hidden files
    names = sorted(glob.glob(f"**/{pattern}", root_dir=root, recursive=True))  # noqa: PTH207
    found = [root / name for name in names if _own_file(root, root / name)]
    if not found:
        raise CorpusError(
            f"There is no file {pattern!r} in {root}, so this package is not the one expected.",
            "Remove that folder to have it unpacked again, or start with an empty --cache.",
        )
    return found


def _own_file(root: Path, file: Path) -> bool:
    """Whether it is a file, and not by a link that leads to this machine's files."""
    if not file.is_file():
        return False
    return not file.is_symlink() or file.resolve().is_relative_to(root.resolve())


def inside(root: Path, file: Path) -> str:
    """The path of `file` below `root`, with a slash in front: "/networkx/tests/a.py"."""
    return f"/{file.relative_to(root).as_posix()}"


def read(file: Path) -> str:
    """The text of a file, plain or gzipped: UTF-8, or else Latin-1."""
    raw = file.read_bytes()
    if file.suffix in {".gz", ".dz"}:
        raw = gzip.decompress(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def tidy(text: str) -> str:
    """One kind of line end and of space, no trailing blanks, no more than one empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    text = re.sub(r"[^\S\n]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def reflow(text: str) -> str:
    """Join hard-wrapped lines inside paragraphs."""
    return "\n\n".join(
        re.sub(r"\s*\n\s*", " ", paragraph).strip()
        for paragraph in re.split(r"\n\s*\n", tidy(text))
    )


_HIDDEN = re.compile(r"(?is)<(script|style|nav|head|svg)\b.*?</\1>")
_BREAKS = re.compile(r"(?i)</?(p|br|div|li|tr|h[1-6]|dd|dt|pre|ul|ol|table|title)\b[^>]*>")
# what LibreOffice's help has above each page, up to the magnifying glass of its search field
_HELP_TOP = re.compile(r"\ALibreOffice [\d.]+ [^\n]*\n.*?\U0001f50e\S*\s*", re.DOTALL)


def untag(text: str) -> str:
    """Without <tags>."""
    return re.sub(r"<[^>]+>", "", text)


def unhtml(page: str) -> str:
    """The text of an HTML page, a line for each block."""
    page = re.sub(r"\s+", " ", _HIDDEN.sub(" ", page))
    page = html.unescape(untag(_BREAKS.sub("\n", page)))
    page = re.sub(r"\n[ \n]*\n", "\n\n", re.sub(r"[ \t]+", " ", page))
    return _HELP_TOP.sub("", tidy(page))


def pieces(text: str, size: int = 4000, low: int = 200) -> list[str]:
    """Cut at blank lines into documents of about `size` characters; none shorter than `low`."""
    done: list[str] = []
    waiting: list[str] = []
    length = 0
    for whole in re.split(r"\n\s*\n", tidy(text)):
        cut, rest = _cut(whole, size)
        done += cut
        waiting.append(rest)
        length += len(rest) + 2
        if length >= size:
            done.append("\n\n".join(waiting))
            waiting, length = [], 0
    if length >= low:
        done.append("\n\n".join(waiting))
    return [document for document in done if len(document) >= low]


def _cut(paragraph: str, size: int) -> tuple[list[str], str]:
    """Parts of a paragraph of more than twice `size`, cut at a line end or a space; the rest."""
    parts: list[str] = []
    at = 0
    while len(paragraph) - at > 2 * size:
        cut = paragraph.rfind("\n", at, at + size)
        if cut <= at + size // 2:
            cut = paragraph.rfind(" ", at, at + size)
        if cut <= at:
            cut = at + size
        parts.append(paragraph[at:cut].strip())
        at = cut
    return parts, paragraph[at:].lstrip() if at else paragraph


def rows(lines: list[str], count: int, joint: str = "\n") -> Iterator[str]:
    """Documents of `count` lines each."""
    for start in range(0, len(lines), count):
        yield joint.join(lines[start : start + count])


def wrap(text: str, width: int) -> str:
    """Cut into lines of exactly `width` characters; the last may be shorter."""
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def share(text: str, low: str, high: str) -> float:
    """The part of the letters that lies between two code points."""
    letters = [c for c in text if c.isalpha()]
    return sum(low <= c <= high for c in letters) / len(letters) if letters else 0.0


def mostly(lines: Iterable[str], script: tuple[str, str], need: float = 0.6) -> list[str]:
    """The lines with at least `need` of their letters in a script."""
    return [line for line in lines if line.strip() and share(line, *script) >= need]


def sword(folder: Path) -> str:
    """The text of a compressed SWORD module: zlib blocks listed in *.?zs (offset, size, length)."""
    blocks: list[str] = []
    for index in files(folder, "*.?zs"):
        data = index.with_suffix(index.suffix[:-1] + "z").read_bytes()
        entries = index.read_bytes()
        whole = entries[: len(entries) // 12 * 12]
        for offset, size, _ in struct.iter_unpack("<III", whole):
            try:
                block = zlib.decompress(data[offset : offset + size])
            except zlib.error:
                continue  # an entry that points at nothing
            blocks.append(block.decode("utf-8", "replace"))
    text = re.sub(r"(?is)<note\b[^>]*>.*?</note>", "", "\n".join(blocks))
    text = re.sub(r"(?i)</?(p|br|lb|div|verse|l|lg|item|list)\b[^>]*>", "\n", text)
    return tidy(html.unescape(untag(text)).replace("\ufffd", ""))
