"""``ng.FeatureBrowser``: settings, requests through a recording comm, state, fallback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import traitlets as t

import neuroglass as ng
from neuroglass import InputError
from neuroglass.views.browser_rows import FIRST
from neuroglass.views.codec import unpack
from tests.altered import NEVER_FINITE, altered, with_nan
from tests.unit.conftest import RecordingComm, comm_of

PROMPT = "The capital of France is Paris"
_ids = count(1)


@pytest.fixture(scope="module")
def model() -> Iterator[ng.LiveModel]:
    opened = ng.load()
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> ng.Store:
    return ng.open_store("zoo/A-8x", annotations=tmp_path / "said")


def browser(store: ng.Store, **more: Any) -> ng.FeatureBrowser:
    return ng.FeatureBrowser(store, **{"opens": False} | more)


def ask(view: ng.FeatureBrowser, kind: str, **body: Any) -> dict[str, Any]:
    """The last answer to a request; an error is one, too."""
    number = next(_ids)
    comm_of(view).receive({"v": 1, "view": "page", "id": number, "kind": kind, **body})
    deadline = time.monotonic() + 30
    while True:
        answers = [a for a in comm_of(view).answers() if a["id"] == number and a["done"]]
        if answers:
            return answers[-1]
        assert time.monotonic() < deadline, f"no answer to {kind}"
        time.sleep(0.005)


def drawn(rows: dict[str, Any]) -> list[int]:
    return [int(i) for i in unpack(rows["features"])]


def test_all_features_the_densest_first(comms: Any, store: ng.Store) -> None:
    view = browser(store)
    frame = view.frame
    wanted = store.to_frame().sort_values("density", ascending=False, kind="stable")
    assert (frame["total"], frame["sort"], frame["descending"]) == (4096, "density", True)
    assert len(drawn(frame["rows"])) == FIRST
    assert view.to_frame().index.tolist() == wanted.index.tolist()
    assert drawn(frame["rows"]) == wanted.index[:FIRST].tolist()
    density = unpack(frame["rows"]["numbers"]["density"])
    np.testing.assert_allclose(density, wanted["density"][:FIRST], rtol=1e-6)
    assert "explanation" not in view.columns  # there are none
    assert repr(view) == "FeatureBrowser(A-8x: 4,096 of 4,096)"
    json.dumps(view.state, allow_nan=False)


def test_a_click_on_a_header_sorts_and_tells_which_request_it_answers(
    comms: Any, store: ng.Store
) -> None:
    view = browser(store)
    for descending in (True, False):
        reply = ask(view, "run", sort="kurtosis", descending=descending)
        assert not reply.get("error")
        frame = view.frame
        assert (frame["view"], frame["id"]) == ("page", reply["id"])
        found = view.to_frame()["kurtosis"].dropna()
        assert found.is_monotonic_decreasing if descending else found.is_monotonic_increasing
    updates = [u for u in comm_of(view).updates() if "frame" in u]
    assert {"sort", "descending", "frame", "code"} <= set(updates[-1]) | {"sort"}
    assert "sort='kurtosis', descending=False" in view.code


def test_rows_of_any_stretch_come_packed(comms: Any, store: ng.Store) -> None:
    view = browser(store, sort="max")
    reply = ask(view, "rows", **{"from": 4000, "to": 4200})
    frame = view.to_frame().iloc[4000:4200]
    assert drawn(reply) == frame.index.tolist()
    assert reply["result"] == view.frame["result"]
    top = unpack(reply["tokens"]["top_token"])
    for token, piece in zip(top, frame["top_token"], strict=True):
        assert reply["pieces"].get(str(token)) == (piece if token >= 0 else None)
    promoted = unpack(reply["tokens"]["promoted"])
    assert [reply["pieces"][str(i)] for i in promoted[0]] == frame["promoted"].iloc[0][:5]
    for bad in ({"from": 0, "to": 4096}, {"from": -1, "to": 3}, {"from": 5, "to": 3}):
        assert "can't be read at once" in ask(view, "rows", **bad)["error"]["message"]
    before = view.frame["result"]
    ask(view, "run", sort="max", descending=False)
    assert view.frame["result"] != before  # rows of the old result are known as such


def test_conditions_from_the_page_and_from_python_agree(comms: Any, store: ng.Store) -> None:
    view, other = browser(store), browser(store)
    query = {"token": " the", "without": ["ultralow"]}
    assert not ask(view, "run", query=query).get("error")
    other.query = query
    pd.testing.assert_frame_equal(view.to_frame(), other.to_frame())
    assert view.frame["extra"] == ["share", "on"]
    assert "commonest tokens were kept" in view.frame["notice"]
    view.sort = "on"
    assert view.frame["sort"] == "on"
    view.query = {"density": (1e-3, 1)}  # "on" is no column any more
    assert (view.sort, view.frame["sort"]) == ("", "density")
    scope: dict[str, Any] = {}
    exec(view.code.replace("ng.FeatureBrowser(", "again = ng.FeatureBrowser("), scope)
    assert scope["again"].to_frame().index.tolist() == view.to_frame().index.tolist()


def test_texts_are_looked_for_on_another_thread(comms: Any, store: ng.Store) -> None:
    view = browser(store)
    reply = ask(view, "run", query={"text": "copyright"})
    assert not reply.get("error")
    wanted = store.find(text="copyright", limit=None)
    assert view.to_frame().index.tolist() == wanted.index.tolist()
    view.query = {"text": "the king"}
    view.wait()
    assert len(view.to_frame()) == len(store.find(text="the king", limit=None))


def test_an_empty_result_says_why(comms: Any, store: ng.Store, model: ng.LiveModel) -> None:
    view = browser(store)
    for query, words in (
        ({"explanation": "aardvark"}, "No feature is explained with “aardvark”. Words are"),
        ({"density": (0.9, 1)}, "No feature is density 0.9 to 1. Widen the range."),
        ({"density": (0.9, 1), "flags": "dead"}, "fits all of: density 0.9 to 1; dead. Take one"),
    ):
        view.query = query
        assert words in view.frame["empty"]
        assert view.to_frame().empty
        assert drawn(view.frame["rows"]) == []
    view.attach(store.attach(model))
    view.query = {"prompt": PROMPT, "tokens": [0], "density": (0.9, 1)}
    view.wait()
    assert "on at the chosen tokens" in view.frame["empty"]
    assert "0 of 4,096" in repr(view)
    assert "<table>" in view.fallback_html()


def test_search_by_a_prompt(comms: Any, store: ng.Store, model: ng.LiveModel) -> None:
    attached = store.attach(model)
    view = browser(attached, sort="max")
    told = ask(view, "tokenise", prompt=PROMPT)
    assert "".join(told["pieces"]) == PROMPT
    assert ask(view, "tokenise", prompt="")["pieces"] == []
    query = {"prompt": PROMPT, "tokens": [2, 3], "by": "sum"}
    reply = ask(view, "run", query=query, sort="", descending=True)
    assert not reply.get("error")
    wanted = attached.search(PROMPT, [2, 3], limit=None, by="sum", bos=False)
    assert view.to_frame().index.tolist() == wanted.index.tolist()
    np.testing.assert_allclose(view.to_frame()["value"], wanted["value"])
    assert view.frame["prompt"]["pieces"] == told["pieces"]
    ran: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ng.LiveModel, "run", lambda *given, **_: ran.append(given))
        ask(view, "run", sort="density")
        view.sort = "of_max"
    assert ran == []  # another order of the same features reads nothing
    found = view.to_frame()["of_max"]
    assert found.is_monotonic_decreasing
    assert len(found) == len(wanted)
    error = ask(view, "run", query={"prompt": PROMPT, "tokens": [99]})["error"]
    assert "no token 99" in error["message"]
    view.query = {"prompt": "a b c", "tokens": [99]}
    with pytest.raises(InputError, match="no token 99"):
        view.wait()
    assert "no token 99" in view.error["message"]


def test_of_many_prompts_the_last_is_drawn(
    comms: Any, store: ng.Store, model: ng.LiveModel
) -> None:
    view = browser(store.attach(model))
    for k in range(12):
        view.query = {"prompt": f"{PROMPT} {k}"}
    view.wait()
    assert view.query == {"prompt": f"{PROMPT} 11"}
    assert "".join(view.frame["prompt"]["pieces"]) == f"{PROMPT} 11"
    view.query = {}  # at once, while an older one may still be read
    view.query = {"prompt": "something else"}
    view.query = {"flags": "dead"}
    time.sleep(0.3)
    assert view.frame["total"] == 204


def test_without_a_model_prompts_say_what_to_do(comms: Any, store: ng.Store) -> None:
    view = browser(store)
    for reply in (
        ask(view, "run", query={"prompt": PROMPT}),
        ask(view, "tokenise", prompt=PROMPT),
    ):
        assert "needs the live model" in reply["error"]["message"]
        assert "store.attach(model)" in reply["error"]["hint"]
    with pytest.raises(InputError, match="needs the live model"):
        view.query = {"prompt": PROMPT}
    assert view.query == {}
    with pytest.raises(InputError, match="needs the live model"):
        browser(store, query={"prompt": PROMPT})


def test_another_store_can_not_be_attached(
    comms: Any, store: ng.Store, model: ng.LiveModel
) -> None:
    view = browser(store)
    with pytest.raises(InputError, match="not the store of this view"):
        view.attach(ng.open_store("zoo/A-1x", model))
    other = ng.load("zoo/B")
    with pytest.raises(InputError, match="This store is of"):
        store.attach(other)
    other.close()


def test_remarks_are_kept_and_seen_at_once(comms: Any, store: ng.Store) -> None:
    view, other = browser(store), browser(store)
    assert not ask(view, "rate", features=[3, 5], value=4).get("error")
    ask(view, "note", feature=3, text=" look again ")
    ask(view, "put", name="mine", features=[3, 9])
    for seen in (view, other):  # every view of the store in this kernel
        assert seen.remarks["of"]["3"]["rating"] == 4
        assert seen.remarks["of"]["3"]["note"] == "look again"
        assert seen.remarks["of"]["9"]["lists"] == ["mine"]
        assert seen.remarks["lists"] == [["mine", 2]]
    kept = ng.open_store("zoo/A-8x", annotations=store.annotations.folder)
    assert kept.annotations.of(3)["rating"] == 4
    assert kept.annotations.lists() == {"mine": [3, 9]}
    view.query = {"list": "mine"}
    assert sorted(view.to_frame().index) == [3, 9]
    ask(view, "drop", name="mine", features=[9])
    assert view.remarks["lists"] == [["mine", 1]]
    store.annotations.rate(5, None)  # a line of Python
    assert view.remarks["of"]["5"]["rating"] is None
    for body, words in (
        ({"kind": "rate", "features": [3], "value": 9}, "1 to 5"),
        ({"kind": "rate", "features": [5000], "value": 1}, "no feature 5000"),
        ({"kind": "put", "name": " ", "features": [3]}, "needs a name"),
        ({"kind": "drop", "name": "nowhere", "features": [3]}, "no list 'nowhere'"),
        ({"kind": "note", "feature": "3", "text": "x"}, "without a usable 'feature'"),
    ):
        assert words in ask(view, **body)["error"]["message"]


def test_a_list_of_thousands_is_not_sent_to_the_page(comms: Any, store: ng.Store) -> None:
    view = browser(store)
    ask(view, "choose", **{"from": 0, "to": 4096})
    assert len(view.chosen) == 4096
    ask(view, "put", name="all", features=view.chosen)
    assert len(view.remarks["of"]) == FIRST
    assert view.remarks["fresh"] == 1  # what the page knows of other rows is old
    assert ask(view, "rows", **{"from": 4000, "to": 4001})["said"] != {}


def test_ticking_copying_and_the_place_of_a_feature(comms: Any, store: ng.Store) -> None:
    view = browser(store, sort="max")
    order = view.to_frame().index.tolist()
    ask(view, "choose", **{"from": 700, "to": 703})
    ask(view, "choose", **{"from": 703, "to": 701})
    assert view.chosen == order[700:703]
    assert unpack(ask(view, "indices")["features"]).tolist() == order
    assert ask(view, "place", feature=order[321])["row"] == 321
    view.subset = [4, 7]
    assert sorted(view.to_frame().index) == [4, 7]
    assert ask(view, "place", feature=5)["row"] is None
    assert not ask(view, "run", subset=[]).get("error")
    assert (view.subset, view.frame["total"]) == ([], 4096)


def test_bad_settings_change_nothing(comms: Any, store: ng.Store) -> None:
    view = browser(store)
    before = dict(view.frame)
    for name, value, words in (
        ("sort", "densty", "no column 'densty' here. Did you mean 'density'"),
        ("columns", ["max", "mex"], "no column 'mex' here"),
        ("query", {"token": "thex"}, "'thex' is no single token"),
        ("query", {"list": "x"}, "no list 'x'"),
        ("subset", [4096], "no feature 4096"),
        ("chosen", [-1], "no feature -1"),
        ("feature", 4096, "no feature 4096"),
    ):
        with pytest.raises(InputError, match=words):
            setattr(view, name, value)
    with pytest.raises(t.TraitError):
        view.query = 5  # type: ignore[assignment]
    for options, words in (
        ({"sort": "densty"}, "no column 'densty'"),
        ({"columns": ["nothing"]}, "no column 'nothing'"),
        ({"subset": [9999]}, "no feature 9999"),
        ({"chosen": [9999]}, "no feature 9999"),
        ({"query": {"flags": "ded"}}, "no flag 'ded'"),
    ):
        with pytest.raises(InputError, match=words):
            browser(store, **options)
    with pytest.raises(TypeError, match="no keyword 'colums'"):
        browser(store, colums=[])
    with pytest.raises(InputError, match=r"needs a store, not str.*|ng\.open_store"):
        ng.FeatureBrowser("zoo/A-8x")  # type: ignore[arg-type]
    assert view.frame == before
    for body, words in (
        ({"query": {"tokn": 1}}, "no condition 'tokn'"),
        ({"sort": "x"}, "no column 'x'"),
        ({"descending": 1}, "usable 'descending'"),
    ):
        assert words in ask(view, "run", **body)["error"]["message"]
    assert view.frame == before


def test_features_that_were_nan_are_sent_as_nan(comms: Any, tmp_path: Path) -> None:
    view = browser(with_nan(tmp_path / "store"), sort="not_finite")
    rows = view.frame["rows"]
    assert drawn(rows)[0] == NEVER_FINITE
    for name in ("density", "max", "count", "kurtosis"):
        assert np.isnan(unpack(rows["numbers"][name])[0]), name
    assert unpack(rows["numbers"]["not_finite"])[0] == 425_776
    assert "no value" in view.fallback_html()
    json.dumps(view.state, allow_nan=False)


def test_a_damaged_store_is_told_in_place(comms: Any, tmp_path: Path) -> None:
    view = browser(altered(tmp_path / "whole"))
    before = dict(view.frame)
    cut = tmp_path / "whole" / "token_stats.parquet"
    cut.unlink()
    cut.write_bytes(b"PAR1")
    error = ask(view, "run", query={"token": " the"})["error"]
    assert "is damaged" in error["message"]
    assert view.frame == before
    with pytest.raises(InputError, match="is damaged"):
        browser(altered(tmp_path / "cut", damaged=["features.parquet"]))


def test_state_comes_back_live_or_as_a_picture(
    comms: Any, store: ng.Store, model: ng.LiveModel
) -> None:
    store.annotations.rate(7, 2)
    view = browser(
        store.attach(model), query={"prompt": PROMPT}, sort="density", descending=False,
        columns=["max", "rating"], subset=range(2000), chosen=[7], feature=7,
    )  # fmt: skip
    state = json.loads(json.dumps(view.state))
    again = ng.FeatureBrowser.from_state(state, store.attach(model))
    pd.testing.assert_frame_equal(again.to_frame(), view.to_frame())
    for name in ("query", "sort", "descending", "columns", "subset", "chosen", "feature", "opens"):
        assert getattr(again, name) == getattr(view, name), name
    still = ng.FeatureBrowser.from_state(state)
    assert not still.live
    assert drawn(still.frame["rows"]) == drawn(view.frame["rows"])
    assert repr(still) == "FeatureBrowser(saved)"
    with pytest.raises(InputError, match="without its store"):
        still.to_frame()
    stored = ng.FeatureBrowser.from_state(state, store)  # without a model its prompt can't be read
    assert stored.query == {}
    with pytest.raises(InputError, match="no state of a FeatureBrowser"):
        ng.FeatureBrowser.from_state({"nonsense": 1})


def test_the_fallback_is_small_escaped_and_says_what_is_left_out(
    comms: Any, store: ng.Store, tmp_path: Path
) -> None:
    store.annotations.explain(1801, "<script>alert(1)</script>" * 40)
    html = browser(store).fallback_html()
    assert len(html.encode()) < 50_000
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "4,056 more rows are not shown" in html
    assert "by density, largest first" in html
    page = browser(store, query={"token": " the"}).to_html(tmp_path / "page.html")
    text = page.read_text("utf-8")
    assert "http://" not in text.split("<script")[0]
    assert text.count("export{") >= 1


def test_the_page_of_a_feature_opens_and_the_two_follow_each_other(
    comms: list[RecordingComm], store: ng.Store, model: ng.LiveModel
) -> None:
    view = ng.FeatureBrowser(store)
    assert view.dashboard is None
    view.feature = 5
    page = view.dashboard
    assert isinstance(page, ng.FeatureDashboard)
    assert (page.index, page.frame["feature"]) == (5, 5)
    assert list(view.hosted()) == [page]
    assert view.get_state("dashboard") == {"dashboard": f"anywidget:{page.model_id}"}
    view.feature = 6
    assert view.dashboard is page
    assert page.frame["feature"] == 6
    page.feature = 8  # "next" in the page
    assert view.index == 8
    view.theme = "dark"
    assert page.theme == "dark"
    ask(view, "rate", features=[8], value=3)
    assert page.said["rating"] == 3
    view.attach(store.attach(model))
    assert page.attached
    assert view.state["dashboard"] is None
    view.feature = None
    assert page.frame["feature"] == 8  # it stays, out of sight
    view.attach(store.attach(model))
    assert view.dashboard is None
    page.feature = 9
    assert view.feature == ""  # the old one is let go
    view.feature = 4
    assert view.dashboard.attached
    view.opens = False
    assert view.dashboard is None
    assert ng.FeatureBrowser(store, feature=3).dashboard is not None


def test_views_of_a_store_are_linked_by_subset_and_feature(comms: Any, store: ng.Store) -> None:
    left, right = browser(store), browser(store, sort="max")
    ng.link(left, right, "subset", "feature", "chosen")
    left.subset = [9, 8, 7]
    assert sorted(right.to_frame().index) == [7, 8, 9]
    assert right.frame["sort"] == "max"
    right.feature = 7
    assert left.index == 7
    ask(right, "run", subset=[8])
    assert left.to_frame().index.tolist() == [8]
