"""What is said of a store's features: written, read again by others, refused where it can't be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroglass import InputError, open_store
from neuroglass.features.annotations import Annotations, home, main_score

N = 50


@pytest.fixture
def said(tmp_path: Path) -> Annotations:
    return Annotations(tmp_path / "said", N)


def again(said: Annotations) -> Annotations:
    """As another process sees it."""
    return Annotations(said.folder, N)


def test_what_was_said_is_there_for_others(said: Annotations) -> None:
    text = "Hebrew letters: אבג\u2028and a line\nbreak\x85, \"quotes\", 'more'"
    one = said.explain(3, text, author="ada")
    said.score(3, one["id"], "correlation", np.float32(0.5))  # type: ignore[arg-type]
    said.score(3, one["id"], "detection", None)
    said.rate(3, np.int64(4))  # type: ignore[arg-type]
    said.note(3, "  look again \n")
    said.put("scripts", 3, np.int64(7))  # type: ignore[arg-type]
    for reader in (said, again(said)):
        of = reader.of(3)
        [explanation] = of["explanations"]
        assert explanation["text"] == text
        assert explanation["author"] == "ada"
        assert explanation["scores"] == {"correlation": 0.5, "detection": None}
        assert (of["rating"], of["note"], of["lists"]) == (4, "look again", ["scripts"])
        assert reader.lists() == {"scripts": [3, 7]}
        assert reader.of(7) == {
            "explanations": [],
            "rating": None,
            "note": "",
            "lists": ["scripts"],
        }
        assert reader.of(8)["lists"] == []
    assert "1 explanations, 2 scores, 1 ratings, 1 notes, 2 lists" in repr(said)


def test_half_a_character_does_not_damage_the_file(said: Annotations) -> None:
    said.note(1, "half \ud83d a character")
    assert again(said).of(1)["note"] == "half \ud83d a character"


def test_the_newest_counts_and_can_be_taken_back(said: Annotations) -> None:
    for value in (1, 5, 2):
        said.rate(9, value)
    said.note(9, "first")
    said.note(9, "second")
    assert (said.of(9)["rating"], said.of(9)["note"]) == (2, "second")
    other = again(said)  # a second process, with a file of its own
    other.rate(9, None)
    other.note(9, "")
    other.put("a", 9, 1)
    other.drop("a", 9)
    assert (said.of(9)["rating"], said.of(9)["note"], said.lists()) == (None, "", {"a": [1]})
    assert len(said.frame("ratings", 9)) == 4  # nothing is ever lost
    assert len(list((said.folder / "ratings").iterdir())) == 2
    assert said.frame("scores").columns.tolist() == ["id", "feature", "author", "created"]


def test_explanations_with_the_best_score_come_first(said: Annotations) -> None:
    ids = [said.explain(0, text)["id"] for text in ("old", "good", "bad", "new")]
    said.score(0, ids[1], "correlation", 0.9)
    said.score(0, ids[2], "correlation", 0.1)
    said.score(0, ids[2], "detection", 1.0)
    order = [e["text"] for e in said.of(0)["explanations"]]
    assert order == ["good", "bad", "new", "old"]  # then the newest of those without a score
    assert main_score({"detection": 0.7, "fuzz": 0.2}) == 0.7
    assert main_score({"detection": None}) is None
    table = said.table().set_index("feature")
    assert (table.explanation[0], table.score[0]) == ("good", 0.9)


def test_the_table_has_a_row_for_each_feature_of_which_anything_was_said(
    said: Annotations,
) -> None:
    assert said.table().empty
    assert said.table().dtypes["rating"] == np.float64
    said.rate(2, 3)
    said.note(4, "x")
    said.put("b", 4, 6)
    said.put("a", 4)
    table = said.table()
    assert table.feature.tolist() == [2, 4, 6]
    assert table.rating.fillna(-1).tolist() == [3, -1, -1]
    assert table.note.isna().tolist() == [True, False, True]
    assert table.lists[1:].tolist() == ["b, a", "b"]
    assert table[["explanation", "author", "score"]].isna().all(axis=None)
    changed = said.table()
    changed["rating"] = 0  # a copy
    assert said.table().rating[0] == 3
    said.drop("b", 6)
    assert said.table().feature.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.explain(1, " \n"), "without words"),
        (lambda s: s.explain(N, "x"), "no feature 50"),
        (lambda s: s.explain(-1, "x"), "no feature -1"),
        (lambda s: s.explain(1.5, "x"), "no feature 1.5"),
        (lambda s: s.explain(True, "x"), "no feature True"),
        (lambda s: s.explain("3", "x"), "no feature '3'"),
        (lambda s: s.explain(1, "x", what=object()), "can't be kept"),
        (lambda s: s.score(1, "nothing", "correlation", 1.0), "no explanation 'nothing'"),
        (lambda s: s.score(2, s.explain(2, "x")["id"], "fuzz", np.nan), "finite"),
        (lambda s: s.rate(1, 6), "1 to 5, not 6"),
        (lambda s: s.rate(1, 0), "1 to 5, not 0"),
        (lambda s: s.rate(1, True), "1 to 5, not True"),
        (lambda s: s.rate(1, 2.5), "1 to 5, not 2.5"),
        (lambda s: s.put("  ", 1), "needs a name"),
        (lambda s: s.put("new", 1, N), "no feature 50"),
        (lambda s: s.drop("nowhere", 1), "no list 'nowhere'"),
    ],
)
def test_what_can_not_be_said(said: Annotations, call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(said)
    assert not said.lists()  # of several features, all or none
    assert said.frame("ratings").empty


def test_a_list_that_is_not_there_names_the_nearest(said: Annotations) -> None:
    said.put("hebrew letters", 1)
    with pytest.raises(InputError, match="Did you mean 'hebrew letters'"):
        said.drop("hebrew leters", 1)


def test_a_damaged_line_is_named_and_one_that_is_being_written_waits(said: Annotations) -> None:
    said.rate(1, 2)
    [file] = (said.folder / "ratings").iterdir()
    whole = file.read_bytes()
    other = file.with_name("other.jsonl")
    line = json.dumps({**json.loads(whole), "value": 5, "created": "9999", "id": "z"}).encode()
    other.write_bytes(line[:20])
    assert said.of(1)["rating"] == 2
    other.write_bytes(line + b"\n")
    assert said.of(1)["rating"] == again(said).of(1)["rating"] == 5
    other.write_bytes(b'{"feature": 1}\n')  # shorter than what was read: from the start
    with pytest.raises(InputError, match=r"Line 1 of .*other.jsonl.* no usable 'id'"):
        said.of(1)
    for bad, words in (
        (b"[]", "no object"),
        (b"{", "damaged"),
        (json.dumps({**json.loads(whole), "feature": N}).encode(), "no feature 50"),
        (json.dumps({**json.loads(whole), "feature": -2}).encode(), "below 0"),
    ):
        other.write_bytes(whole + bad + b"\n")
        with pytest.raises(InputError, match=words) as caught:
            again(said).of(1)
        assert "Line 2" in caught.value.message
        assert "Take the line out" in caught.value.hint


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written") as caught:
        Annotations(tmp_path / "file", N).rate(1, 2)
    assert "annotations=folder" in caught.value.hint


def test_listeners_hear_which_features_until_they_are_gone(said: Annotations) -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard: list[int] = []

        def hear(self, features: Any) -> None:
            self.heard += features

    ear = Ear()
    said.listen(ear.hear)
    said.put("a", 3, 4)
    said.rate(5, 1)
    assert ear.heard == [3, 4, 5]
    del ear
    said.rate(6, 1)
    assert said._heard == []


def test_those_of_the_zoo_are_in_the_users_folder(tmp_path: Path) -> None:
    store = open_store("zoo/A-1x")
    assert home(store).is_relative_to(os.environ["NEUROGLASS_DATA"])
    assert home(store) != home(open_store("zoo/A-8x"))
    own = open_store("zoo/A-1x", annotations=tmp_path)
    own.annotations.rate(1, 5)
    assert list(tmp_path.rglob("*.jsonl"))
    assert open_store("zoo/A-1x").annotations.of(1)["rating"] is None


def test_thousands_of_remarks_are_read_once(said: Annotations) -> None:
    said._write("ratings", [said._row(i % N, "", {"value": 1 + i % 5}) for i in range(3000)])
    said.of(1)
    [path] = said._read
    done, rows = said._read[path]
    said.rate(1, 5)
    assert said.of(1)["rating"] == 5
    assert said._read[path][0] - done < 300  # the new line alone
    assert said._read[path][1] is rows
