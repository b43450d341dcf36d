"""Every sort and filter of the features of a store, against pandas on the same table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuroglass as ng
from neuroglass import InputError
from neuroglass.features.browse import FeatureTable
from neuroglass.features.query import Query
from tests.altered import NEVER_FINITE, SOMETIMES, ULTRALOW, altered, with_nan

WORDS = ["Hebrew letters", "line BREAKS", "Straße and breaks", "the determiner", "DNA"]


@pytest.fixture(scope="module")
def model() -> Iterator[ng.LiveModel]:
    opened = ng.load()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ng.Store:
    """512 features, one never finite, one ultralow; some explained, rated, listed."""
    made = with_nan(tmp_path_factory.mktemp("stores") / "store")
    rng = np.random.default_rng(0)
    notes = made.annotations
    for i, text in enumerate(WORDS):
        row = notes.explain(10 * i, text)
        if i % 2:
            notes.score(10 * i, row["id"], "correlation", float(rng.random()))
    for feature in rng.choice(512, 40, replace=False):
        notes.rate(int(feature), int(rng.integers(1, 6)))
    notes.note(4, "look again")
    notes.put("mine", 3, 200, 7, 40)
    notes.put("b", 40)
    return made


@pytest.fixture(scope="module")
def table(store: ng.Store) -> FeatureTable:
    return FeatureTable(store)


@pytest.fixture(scope="module")
def frame(store: ng.Store) -> pd.DataFrame:
    """What pandas knows: the store's table beside its annotations."""
    made = store.to_frame()
    unknown = (made["count"] == 0) & (made["not_finite"] > 0)
    for name in ("count", "density", "max", "min", "mean", "mean_square", "skew", "kurtosis",
                 "single_token_share"):  # fmt: skip
        made[name] = made[name].astype(float).mask(unknown)
    made["dead"] = (made["count"] == 0) & (made["not_finite"] == 0)
    made["ultralow"] = (made["density"] < 1e-6) & ~unknown
    return made.join(store.annotations.table().set_index("feature"))


def brute(frame: pd.DataFrame, keys: Any, descending: bool) -> list[int]:
    """Sorted by key, those without one last, equal ones by index."""
    keyed = [(f, k) for f, k in zip(frame.index, keys, strict=True) if not pd.isna(k)]
    rest = [f for f, k in zip(frame.index, keys, strict=True) if pd.isna(k)]
    return [f for f, _ in sorted(keyed, key=lambda p: p[1], reverse=descending)] + rest


def keys_of(name: str, frame: pd.DataFrame, store: ng.Store) -> Any:
    pieces = store.vocabulary[0]
    if name == "feature":
        return frame.index
    if name == "top_token":
        return [pieces[i] if i >= 0 else None for i in frame[name]]
    if name in {"promoted", "suppressed"}:
        return [by[0] for by in frame[f"{name}_by"]]
    if name == "flags":
        return 1 * frame["dead"] + 2 * frame["ultralow"] + 4 * (frame["not_finite"] > 0)
    if name == "explanation":
        return [None if pd.isna(text) else text.lower() for text in frame[name]]
    return frame[name]


@pytest.mark.parametrize("descending", [True, False])
def test_each_sort_is_that_of_pandas(
    table: FeatureTable, frame: pd.DataFrame, store: ng.Store, descending: bool
) -> None:
    assert {"density", "max", "kurtosis", "top_token", "promoted", "rating", "flags"} <= {
        *table.columns
    }
    for name in table.columns:
        keys = keys_of(name, frame, store)
        # sorted() keeps equal ones in their order, reversed too
        found = table.find(Query(), name, descending).features.tolist()
        assert found == brute(frame, keys, descending), name
    assert table.find(Query()).sort == "density"


def fires(store: ng.Store, piece: str) -> dict[int, tuple[float, float]]:
    token = int(np.flatnonzero(store.vocabulary[0] == piece)[0])
    found = store.sql("SELECT feature, count FROM token_stats WHERE token = ?", token)
    total = store.vocabulary[2][token]
    counts = store.to_frame()["count"]
    return {
        int(f): (int(n) / int(counts[f]), int(n) / total)
        for f, n in zip(found["feature"], found["count"], strict=True)
    }


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ({"density": (0.02, 0.05)}, lambda f: f.density.between(0.02, 0.05)),
        ({"density": (0.0, 1.0)}, lambda f: f.density.notna()),
        ({"flags": "not finite"}, lambda f: f.not_finite > 0),
        ({"flags": ["ultralow"]}, lambda f: f.ultralow),
        ({"without": ["dead", "ultralow"]}, lambda f: ~f.dead & ~f.ultralow),
        ({"without": "not finite"}, lambda f: f.not_finite == 0),
        ({"rating": (2, 4)}, lambda f: f.rating.between(2, 4)),
        (
            {"explanation": "BREAKS"},
            lambda f: f.explanation.fillna("").str.contains("breaks", case=False),
        ),
        ({"explanation": "and straße"}, lambda f: f.explanation == "Straße and breaks"),
        ({"list": "mine"}, lambda f: f.index.isin([3, 200, 7, 40])),
        (
            {"list": "mine", "rating": [1, 5]},
            lambda f: f.index.isin([3, 200, 7, 40]) & (f.rating > 0),
        ),
        (
            {"density": (0.01, 0.1), "without": "not finite", "explanation": "e"},
            lambda f: f.density.between(0.01, 0.1)
            & (f.not_finite == 0)
            & f.explanation.fillna("").str.contains("e"),
        ),
    ],
)  # fmt: skip
def test_each_filter_is_that_of_pandas(
    store: ng.Store, table: FeatureTable, frame: pd.DataFrame, query: dict[str, Any], keep: Any
) -> None:
    wanted = frame[keep(frame)]
    assert 0 < len(wanted) < 512
    found = table.find(Query.of(query, store), "max", False)
    assert found.features.tolist() == brute(wanted, wanted["max"], False)


def test_on_at_a_token(store: ng.Store, table: FeatureTable) -> None:
    wanted = fires(store, " the")
    for token in (" the", "·the", int(np.flatnonzero(store.vocabulary[0] == " the")[0])):
        found = table.find(Query.of({"token": token}, store))
        assert (found.sort, len(found)) == ("share", len(wanted))
        for feature, share, on in zip(
            found.features.tolist(), found.extra["share"], found.extra["on"], strict=True
        ):
            assert (share, on) == pytest.approx(wanted[feature])
        assert (np.diff(found.extra["share"]) <= 0).all()


def test_raises_or_lowers_a_token(store: ng.Store, table: FeatureTable) -> None:
    frame = store.to_frame()
    token = int(np.flatnonzero(store.vocabulary[0] == " number")[0])
    wanted: dict[int, float] = {}
    for feature, row in frame.iterrows():
        for name in ("promoted", "suppressed"):
            at = np.flatnonzero(row[name] == token)
            if len(at):
                wanted[int(feature)] = float(row[f"{name}_by"][at[0]])  # type: ignore[call-overload]
    found = table.find(Query.of({"logit": " number"}, store))
    assert len(wanted) > 1
    assert dict(zip(found.features.tolist(), found.extra["logit"], strict=True)) == wanted
    assert (np.diff(found.extra["logit"]) <= 0).all()
    assert "raises most" in found.left_out[0]


def test_on_within_a_text_is_what_find_says(store: ng.Store, table: FeatureTable) -> None:
    query = Query.of({"text": "of the"}, store)
    assert table.takes_long(query)
    found = table.find(query)
    assert not table.takes_long(query)  # the corpus is not read again
    other = store.find(text="of the", limit=None)
    assert found.features.tolist() == other.index.tolist()
    assert found.extra["examples"].tolist() == other["examples"].tolist()


def test_a_subset_and_a_query_go_together(store: ng.Store, table: FeatureTable) -> None:
    found = table.find(Query.of({"list": "mine"}, store), "feature", False, subset=[200, 3, 5, 3])
    assert found.features.tolist() == [3, 200]


def test_rows_come_in_the_order_asked_for(store: ng.Store, table: FeatureTable) -> None:
    order = [300, 4, 40, 0]
    rows = table.rows(order)
    assert rows.index.tolist() == order
    assert rows["max"].tolist() == store.to_frame()["max"][order].tolist()
    assert rows["note"][4] == "look again"
    assert rows["lists"][40] == "mine, b"
    assert table.rows([]).empty
    whole = table.frame(table.find(Query(), "max"))
    assert len(whole) == 512
    assert (np.diff(whole["max"].to_numpy()[:-1]) <= 0).all()
    pieces = store.vocabulary[0]
    raw = store.to_frame()
    assert whole["top_token"][4] == pieces[raw["top_token"][4]]
    assert whole["promoted"][4] == list(pieces[raw["promoted"][4]])


def test_what_was_only_ever_nan_is_never_zero(store: ng.Store, table: FeatureTable) -> None:
    whole = table.frame(table.find(Query(), "density", False))
    density = whole["density"].to_numpy(np.float64)
    assert whole.index[-1] == NEVER_FINITE  # it is neither the smallest nor the largest
    assert table.find(Query(), "density").features[-1] == NEVER_FINITE
    row = whole.loc[NEVER_FINITE]
    assert row[["count", "density", "max", "mean"]].isna().all()
    assert not row["dead"]
    assert not row["ultralow"]
    assert NEVER_FINITE not in table.find(Query.of({"flags": "dead"}, store)).features
    assert NEVER_FINITE not in table.find(Query.of({"density": (0, 1e-3)}, store)).features
    assert density[whole.index.get_loc(SOMETIMES)] > 0
    assert whole.loc[ULTRALOW, "ultralow"]
    assert table.largest(["max", "kurtosis"])["max"] == store.to_frame()["max"].max()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"tokn": " the"}, "no condition 'tokn'. Did you mean 'token'"),
        ({"token": "Parisian wines"}, "no single token"),
        ({"token": "thex"}, "Did you mean .*'the'"),
        ({"token": 99999}, "no token 99999"),
        ({"logit": "thex"}, "'thex' is no single token"),
        ({"list": "mien"}, "no list 'mien'. Did you mean 'mine'"),
        ({"density": (0.5, 0.1)}, "no range"),
        ({"density": (2, 3)}, "a share, 0 to 1"),
        ({"density": "0.1"}, "no range"),
        ({"density": (0, float("nan"))}, "no range"),
        ({"rating": (0, 0)}, "1 to 5"),
        ({"rating": (1.5, 3)}, "1 to 5"),
        ({"flags": "ded"}, "no flag 'ded'. Did you mean 'dead'"),
        ({"explanation": 5}, "explanation=5 is no text"),
        ({"token": 1.5}, "token=1.5 is no text"),
        ({"tokens": "1"}, "no positions"),
        ({"tokens": [-1]}, "no positions"),
        ({"by": "mean"}, "by='mean' is not known"),
        ({"bos": 1}, "neither True nor False"),
        ({"prompt": "a"}, "needs the live model. Attach it: store = store.attach"),
        ("density > 0", "a dict of conditions"),
    ],
)
def test_queries_that_can_not_be_met(
    store: ng.Store, table: FeatureTable, query: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        table.check(Query.of(query, store))


def test_a_list_in_a_store_without_lists(tmp_path: Path) -> None:
    empty = ng.open_store("zoo/A-1x", annotations=tmp_path)
    with pytest.raises(InputError, match=r"store\.annotations\.put makes one"):
        Query.of({"list": "mine"}, empty)


def test_a_query_goes_through_json_and_leaves_out_what_says_nothing(store: ng.Store) -> None:
    given = {"explanation": "", "token": " the", "density": [0, 0.5], "flags": [], "by": "max",
             "rating": None, "list": "mine"}  # fmt: skip
    query = Query.of(given, store)
    assert query.wire == {"token": " the", "density": [0.0, 0.5], "list": "mine"}
    assert Query.of(query.wire, store) == Query.of(query, store) == query


def test_an_unknown_column_names_the_nearest(table: FeatureTable) -> None:
    with pytest.raises(InputError, match="no column 'densty' here. Did you mean 'density'"):
        table.find(Query(), "densty")
    with pytest.raises(InputError, match="no column 'share'"):  # only with a token
        table.find(Query(), "share")


def test_a_site_without_a_direct_path_to_the_logits(tmp_path: Path) -> None:
    from neuroglass.features.corpus import need_store

    parquet = need_store("pyarrow.parquet")
    made = altered(tmp_path / "store")
    path = made.folder / "features.parquet"
    whole = parquet.read_table(path)
    parts = ["promoted", "promoted_by", "suppressed", "suppressed_by"]
    parquet.write_table(whole.drop_columns(parts), path)
    table = FeatureTable(ng.open_store(made.folder))
    assert "promoted" not in table.columns
    assert "promoted" not in table.frame(table.find(Query(), "max"))
    with pytest.raises(InputError, match="no direct path to the logits"):
        table.find(Query(logit=" the"))


def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    made = altered(tmp_path / "store", damaged=["features.parquet"])
    with pytest.raises(InputError, match="is damaged"):
        FeatureTable(made).find(Query())


# --- a prompt

PROMPT = "The capital of France is Paris"


def values_on(store: ng.Store, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[tokens, features] the long way: the site's vectors, encoded."""
    run = store.model.run(PROMPT, sites=[store.basis.read_site])
    x = run[store.basis.read_site][0].float()
    return encoded(store, x)[tokens]


def encoded(store: ng.Store, x: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    basis: Any = store.basis
    found: np.ndarray[Any, np.dtype[np.float32]] = basis.activations(x, list(range(512))).numpy()
    positive: np.ndarray[Any, np.dtype[np.float32]] = np.maximum(found, 0)
    return positive


@pytest.mark.parametrize("by", ["max", "sum"])
def test_search_by_a_prompt_is_the_encoder_on_the_chosen_tokens(
    model: ng.LiveModel, by: str
) -> None:
    store = ng.open_store("zoo/A-1x", model)
    tokens = [2, 3, 5]
    dense = values_on(store, tokens)
    wanted = dense.max(0) if by == "max" else dense.sum(0)
    found = store.search(PROMPT, tokens, limit=None, by=by)
    assert set(found.index) == set(np.flatnonzero(wanted > 0).tolist())
    np.testing.assert_allclose(found["value"], wanted[found.index], rtol=1e-5)
    assert (np.diff(found["value"]) <= 0).all()
    at = np.array(tokens)[dense.argmax(0)]
    assert found["position"].tolist() == at[found.index].tolist()
    largest = store.to_frame()["max"][found.index]
    np.testing.assert_allclose(found["share"], dense.max(0)[found.index] / largest, rtol=1e-5)
    query = Query.of({"prompt": PROMPT, "tokens": tokens, "by": by}, store)
    rows = FeatureTable(store).find(query, on_prompt=found)
    assert rows.sort == "value"
    np.testing.assert_allclose(rows.extra["value"], found["value"])
    assert list(rows.extra["at"]) == found["token"].tolist()
    with pytest.raises(InputError, match="by='mean'"):
        store.search(PROMPT, by="mean")


def test_bos_is_left_out_unless_it_is_asked_for(model: ng.LiveModel) -> None:
    store = ng.open_store("zoo/A-1x", model)
    bos = model.prompts.need_tokenizer().bos_token_id
    prompt: Any = [bos, *model.prompts.rows(PROMPT)[0]]
    run = model.run(prompt, sites=[store.basis.read_site])
    assert run.masks["bos"][0, 0]
    x = run[store.basis.read_site][0].float()
    dense = encoded(store, x)

    def values(**options: Any) -> list[float]:
        found = store.search(prompt, limit=None, **options)["value"]
        return [found.get(i, 0.0) for i in range(512)]

    assert (dense[0] > dense[1:].max(0)).any()
    for options, rows in (
        ({}, dense[1:]),
        ({"bos": False}, dense[1:]),
        ({"bos": True}, dense),
        ({"tokens": [0, 2]}, dense[[0, 2]]),
        ({"tokens": [0, 2], "bos": True}, dense[[0, 2]]),
        ({"tokens": [0, 2], "bos": False}, dense[[2]]),
    ):
        np.testing.assert_allclose(values(**options), rows.max(0), rtol=1e-4, atol=1e-6)
    assert store.search(prompt, [0], limit=None, bos=False).empty
