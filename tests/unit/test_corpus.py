"""The corpus recipe: cutting, picking, odd formats. See also test_corpus_fetch and _build."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from pathlib import Path

import pytest

from neuroglass.recipes.corpus import CorpusError, assemble, science
from neuroglass.recipes.corpus.english import gloss
from neuroglass.recipes.corpus.machine import exchanges, shapes
from neuroglass.recipes.corpus.packages import PACKAGES
from neuroglass.recipes.corpus.scripts import HEBREW, strings
from neuroglass.recipes.corpus.text import files, mostly, pieces, read, reflow, sword, tidy, unhtml

# --- text


def test_pieces_are_whole_paragraphs_of_about_the_size() -> None:
    paragraphs = [f"{i} " + "x" * 28 for i in range(10)]  # 30 characters, 32 with the blank line
    cut = pieces("\n\n\n".join(paragraphs), size=64, low=31)
    assert cut == ["\n\n".join(paragraphs[i : i + 2]) for i in range(0, 10, 2)]


def test_the_last_piece_is_dropped_when_it_is_short() -> None:
    text = "a" * 70 + "\n\n" + "b" * 20
    assert pieces(text, size=64, low=23) == ["a" * 70]
    assert pieces(text, size=64, low=20) == ["a" * 70, "b" * 20]
    # with its blank line it counts as 22, but is measured again without
    assert pieces(text, size=64, low=21) == ["a" * 70]


@pytest.mark.parametrize(
    ("paragraph", "cuts"),
    [
        ("word " * 60, "all at spaces"),
        ("word word\n" * 30, "all at line ends"),
        ("w" * 300, "anywhere"),
    ],
)
def test_a_long_paragraph_is_cut_where_it_hurts_least(paragraph: str, cuts: str) -> None:
    cut = pieces(paragraph, size=50, low=1)
    assert all(len(piece) <= 100 for piece in cut)
    assert len(cut) >= 4
    if cuts == "anywhere":
        assert "".join(cut) == paragraph
    else:
        assert " ".join(cut).split() == paragraph.split()
    if cuts == "all at line ends":
        assert all(set(piece.split("\n")) == {"word word"} for piece in cut)


def test_tidy_and_reflow() -> None:
    assert tidy("a \t\r\nb\u00a0c\r\n\r\n\r\n\r\nd  ") == "a\nb c\n\nd"
    assert reflow("one\n  two\n\nthree\nfour") == "one two\n\nthree four"


def test_a_page_without_its_markup() -> None:
    page = (
        "<head><title>No</title></head><nav>No</nav><p>One &amp;\n two<br/>three</p>"
        "<script>no()</script><ul><li>four</ul>"
    )
    assert unhtml(page) == "One & two\nthree\n\nfour"


def test_the_top_of_a_help_page_is_left_out() -> None:
    top = "LibreOffice 7.4 Help\nLanguage list\n\U0001f50e\ufe0e\n"
    assert unhtml(top.replace("\n", "<br>") + "<p>Text</p>") == "Text"


def test_lines_mostly_in_a_script() -> None:
    lines = ["שלום world", "שלום עולם ok", "123", ""]
    assert mostly(lines, HEBREW.script) == ["שלום עולם ok"]
    assert mostly(lines, HEBREW.script, 0.4) == lines[:2]


def test_files_come_by_path_and_never_from_outside(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("of this machine")
    root = tmp_path / "package.x"
    for name in ("b/1.txt", "a-/1.txt", "a/1.txt", "a/1.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "a" / "2.txt").symlink_to(tmp_path / "outside.txt")
    (root / "a" / "3.txt").symlink_to("nowhere.txt")
    (root / "a" / "4.txt").symlink_to("../b/1.txt")
    found = [str(file.relative_to(root)) for file in files(root, "*.txt")]
    assert found == ["a-/1.txt", "a/1.txt", "a/4.txt", "b/1.txt"]  # "-" comes before "/"


def test_a_package_without_its_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no file 'data/\*\.txt'.*not the one expected"):
        files(tmp_path, "data/*.txt")


def test_text_that_is_no_utf8_is_latin1(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("é".encode())
    assert read(tmp_path / "a.txt") == read(tmp_path / "b.txt") == "é"


def test_a_sword_module_is_read_block_by_block(tmp_path: Path) -> None:
    blocks = [
        zlib.compress(b"<p>In the beginning<note>no</note></p>&quot;Let"),
        zlib.compress(b" there be\xff light&quot;<br/>And"),
    ]
    index = struct.pack("<III", 0, len(blocks[0]), 0)
    index += struct.pack("<III", 3, 5, 0)  # points into the middle of a block
    index += struct.pack("<III", len(blocks[0]), len(blocks[1]), 0)
    (tmp_path / "ot.bzs").write_bytes(index + b"odd")
    (tmp_path / "ot.bzz").write_bytes(b"".join(blocks))
    assert sword(tmp_path) == 'In the beginning\n"Let\n there be light"\nAnd'


def test_strings_of_nested_json_in_order() -> None:
    assert list(strings({"b": ["x", ["y", None]], "a": {"c": "z"}})) == ["x", "y", "z"]


def test_a_gloss_of_wordnet() -> None:
    line = "00001740 03 n 02 living_thing 0 being(a) 1 003 ~ 00001930 n 0000 | that which lives  "
    assert gloss(line, "noun") == "living thing, being (noun): that which lives"


# --- DNA, food, references

GENBANK = "LOCUS\nORIGIN      \n        1 acgtacgtac gtnn\n       15 ttt\n//\n"
EMBL = "ID   X\nSQ   Sequence 12 BP; 3 A;\n     acgtac GTACGT        12\n//\n"


def test_sequences_of_each_format() -> None:
    line = "ACGTN" * 12
    assert science.sequences(GENBANK) == ["acgtacgtacgtnnttt"]
    assert science.sequences(EMBL) == ["acgtacGTACGT"]
    assert science.sequences(f">one\n{line}\n{line}\n>two\n{line}\nACGT\n") == [line * 2, line]
    assert science.sequences("A cat ate a gnat") == []


@pytest.mark.parametrize(
    ("sequence", "dna"),
    [
        ("ACGTacgtA" + "N", True),  # a tenth
        ("ACGTacgt" + "N", False),
        ("ACGTACGTACGTACGTA" + "NN", False),
        ("ACGTacgtNu", False),  # RNA
        ("ACGT ACGT", False),
    ],
)
def test_the_dna_rule(sequence: str, dna: bool) -> None:
    assert science.is_dna(sequence) is dna


def test_sequences_are_cut_wrapped_and_written_in_both_cases() -> None:
    long = "ACGGTA" * 1000  # 2400 + 2400 + 1200
    found = [("a", long), ("a", "ACGU" * 500), ("a", long), ("a", long)]
    made = [text for _, text in science.sequence_documents(found)]
    assert len(made) == 9
    heads = [text.split("\n")[0] for text in made if text.startswith(">")]
    assert heads == [
        f">sequence_{number}:{start}-{end}"
        for number in (0, 3)
        for start, end in ((1, 2400), (2401, 4800), (4801, 6000))
    ]
    bodies = ["".join(part for part in text.split("\n") if part[0] != ">") for text in made]
    assert "".join(bodies).upper() == long * 3
    assert [body.islower() for body in bodies] == [i in {0, 5, 7} for i in range(9)]
    widths = [max(map(len, text.split("\n")[1:] or [text])) for text in made]
    assert widths == [60] * 3 + [80] * 3 + [2400, 2400, 1200]


def test_short_reads_of_a_package_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(science, "READS", 250)
    reads = [("a", "A" * 100)] * 4 + [("b", "C" * 100), ("b", "C" * 59)]
    kept = [source for source, _ in science.sequence_documents(reads)]
    assert kept == ["a", "a", "b"]


def test_food_in_sentences() -> None:
    head = "Code; code,Name; name,Latin; scie,Local; lang,Group; grup,Regions; regn,Tags; tags"
    head += ",Energy; enerc,Energy error; enerc_e,Water; water,Calcium; ca,Iron; fe"
    rice = "A1,Rice,Oryza sativa,,Cereals,6,,1418.4,9,0.131,0.00007,0.0012345"
    bran = "A2,Bran,Oryza sativa,,Cereals,6,,1500,9,0.2,0,NA"
    titles, (one, two) = science.food_table(f"{head}\n{rice}\n{bran}\n")
    label, text, whole = science.food_documents(one)
    assert label.splitlines() == [
        "Nutrition facts: Rice (Cereals)",
        "Serving size 100 g",
        "Amount per serving",
        "Energy 1418 kJ (339 kcal)",
        "Water 0.13 g",
        "Calcium 70 µg",
        "Iron 1.23 mg",
    ]
    assert text.startswith("Rice (Oryza sativa) belongs to the group cereals. Per 100 g of edible")
    assert whole.startswith("Composition of rice, per 100 g: Energy 1418 kJ (339 kcal); Water")
    assert [name for name, _ in two.main] == ["Energy", "Water"]
    del titles["fe"]  # NA compares with nothing
    assert list(science.comparisons(two, one, titles)) == [
        "Bran has more energy than Rice: 1500 kJ (359 kcal) against 1418 kJ (339 kcal) per 100 g.",
        "Bran has more water than Rice: 0.2 g against 0.13 g per 100 g.",
        "Bran has no more calcium than Rice: 0 µg against 70 µg per 100 g.",
    ]


def test_references_of_sequence_data() -> None:
    genbank = (
        "REFERENCE   1  (bases 1 to 9)\n  AUTHORS   Doe,J. and\n            Roe,R.\n"
        "  TITLE     On genes\n  JOURNAL   J. Genes 1 (1990)\n  PUBMED   123\n"
        "REFERENCE   2\n  AUTHORS   Doe,J.\n  TITLE     Direct\n  JOURNAL   Unpublished\nORIGIN\n"
    )
    embl = (
        "RN   [1]\nRP   1-9\nRA   Doe J., Roe R.;\n"
        'RT   "On\nRT   genes";\nRL   J. Genes 1:2-3.\nXX\n'
        "RN   [2]\nRA   Doe J.;\nRT   ;\nRL   Submitted.\nXX\n"
    )
    want = "Doe,J. and Roe,R.. On genes. J. Genes 1 (1990). PMID: 123"
    assert list(science.genbank_references(genbank)) == [want]
    assert list(science.embl_references(embl)) == ["Doe J., Roe R.. On genes. J. Genes 1:2-3."]


def test_references_of_docstrings() -> None:
    source = (
        '    """Sum.\n\n    References\n    ----------\n    .. [1] A. Author, "A paper about '
        'sums and more", J. Sums 3 (1987).\n\n    Examples\n    --------\n    >>> 1\n    """\n'
    )
    want = '.. [1] A. Author, "A paper about sums and more", J. Sums 3 (1987).'
    assert science.docstring_references(source) == [want]
    assert science.docstring_references(source.replace("1987", "in press")) == []


# --- HTTP, base64


def recorded(**changed: str) -> str:
    fields = {
        "scheme": "https",
        "verb": "POST",
        "host": "api.example",
        "port": "None",
        "path": "/things?x=1",
        "head": "{'Accept': 'text/plain', 'X-Id': '7'}",
        "body": '{"a": 1}',
        "status": "201",
        "answer_head": "[('status', '201 Created'), ('content-type', 'text/plain')]",
        "answer_body": "made",
    }
    return "\n".join((fields | changed).values()) + "\n"


def test_a_recorded_exchange_becomes_http() -> None:
    assert list(exchanges(recorded())) == [
        "POST /things?x=1 HTTP/1.1\nHost: api.example\nAccept: text/plain\nX-Id: 7\n\n"
        '{"a": 1}\n\nHTTP/1.1 201 Created\nContent-Type: text/plain\n\nmade'
    ]


def test_exchanges_are_cut_short_and_damaged_ones_skipped() -> None:
    recording = "\n".join(
        [
            recorded(head="{'no", answer_body="unseen"),
            recorded(body="b" * 2000, status="599", answer_body="c" * 700),
            recorded(body="None"),
            "https\nGET\ncut off",
        ]
    )
    long, bare = exchanges(recording)
    assert f"\n\n{'b' * 1500}\n\nHTTP/1.1 599\n" in long
    assert long.endswith("\n\n" + "c" * 600)
    assert "None" not in bare


def test_a_body_that_looks_like_a_scheme_starts_no_exchange() -> None:
    first, second = exchanges(recorded(answer_body="https") + recorded(path="/second"))
    assert first.endswith("\n\nhttps")
    assert second.startswith("POST /second ")


def test_headers_are_read_as_literals_and_never_run() -> None:
    assert list(exchanges(recorded(head="__import__('os').abort()"))) == []


def test_base64_in_three_shapes() -> None:
    varied = bytes(range(256)) * 7 + bytes(8)  # 1800 bytes
    raw = varied + varied + varied + bytes(1800) + varied[:900]
    lines, uri, plain, last = shapes(raw, "jpg")
    encoded = base64.b64encode(varied).decode()
    assert lines.replace("\n", "") == encoded
    assert {len(line) for line in lines.split("\n")[:-1]} == {76}
    assert uri == f'"image": "data:image/jpg;base64,{encoded}"'
    assert plain == encoded
    # the padding is left out, yet counts: the fifth part has the second shape
    assert last == f'"image": "data:image/jpg;base64,{base64.b64encode(varied[:900]).decode()}"'


# --- picking


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def test_of_equal_texts_the_first_source_counts() -> None:
    found = [("a", " one\n"), ("b", "one"), ("b", "two"), ("c", "  "), ("d", "th\ud800ree")]
    made = assemble.distinct(found)
    assert {key: (d.source, d.text) for key, d in made.items()} == {
        sha1("one"): ("a", "one"),
        sha1("two"): ("b", "two"),
        sha1("three"): ("d", "three"),
    }


def test_documents_are_picked_in_the_order_of_their_sha1_up_to_the_limit() -> None:
    texts = [f"שלום {i}" for i in range(20)]  # 10 or 11 bytes
    made = assemble.distinct(("s", text) for text in texts)
    ordered = sorted(texts, key=sha1)
    assert [d.text for d in assemble.pick(made, 10_000)] == ordered
    first = len(ordered[0].encode())
    assert [d.text for d in assemble.pick(made, first)] == ordered[:1]
    assert [d.text for d in assemble.pick(made, first + 1)] == ordered[:2]
    assert list(assemble.pick(made, 0)) == []


def test_a_line_is_json_with_its_letters_readable() -> None:
    (document,) = assemble.distinct([("deb:x", "שלום\n\u2028")]).values()
    line = assemble.as_line(document, "hebrew")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert "שלום".encode() in line
    assert json.loads(line) == {"text": "שלום", "category": "hebrew", "source": "deb:x"}


def test_each_category_has_a_maker_and_each_package_a_version() -> None:
    assert list(assemble.MAKERS) == list(assemble.LIMITS)
    assert len({package.name for package in PACKAGES}) == len(PACKAGES)
    assert all(bool(p.version) is (p.registry != "Debian") for p in PACKAGES)
