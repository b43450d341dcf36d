"""The feature map: its numbers against a second way to them, what it refuses, requests, state."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass.features import plane as planes
from neuroglass.model.worker import Cancelled
from neuroglass.views import feature_map, map_frame, map_picture
from neuroglass.views.codec import unpack
from tests.unit.conftest import RecordingComm, comm_of


@pytest.fixture(scope="module")
def model() -> Any:
    made = ng.load("zoo/A")
    yield made
    made.close()


@pytest.fixture
def store(model: ng.LiveModel, tmp_path: Path) -> ng.Store:
    return ng.open_store("zoo/A-1x", model, annotations=tmp_path / "said")


@pytest.fixture(scope="module")
def wide(model: ng.LiveModel, tmp_path_factory: pytest.TempPathFactory) -> ng.FeatureMap:
    said = tmp_path_factory.mktemp("said")
    return ng.FeatureMap(ng.open_store("zoo/A-8x", model, annotations=said))


def by_covariance(rows: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """PCA as textbooks have it, with the same sign convention."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centred = unit - unit.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred, rowvar=False, bias=True))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    return centred @ axes, values[::-1][:2] / values.sum()


# ------------------------------------------------------------------ numbers


def test_pca_of_a_dictionary_equals_the_covariances_eigenvectors(wide: ng.FeatureMap) -> None:
    rows = wide.store.basis.weights.W_dec.double().numpy()  # type: ignore[attr-defined]
    want, shares = by_covariance(rows)
    frame = wide.to_frame()
    np.testing.assert_allclose(frame[["x", "y"]].to_numpy(), want, atol=1e-6)
    np.testing.assert_allclose(wide.frame["explained"], shares, atol=1e-6)
    assert 0 < shares[1] < shares[0] < 0.05
    table = wide.store.to_frame()
    assert (frame["density"].to_numpy() == table["density"].to_numpy()).all()


def test_more_columns_than_rows_and_the_sign_of_the_axes() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 40))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    want, shares = by_covariance(rows)
    for given in (unit, unit[::-1]):
        found, share = planes.pca(given)
        np.testing.assert_allclose(found, want if given is unit else want[::-1], atol=1e-10)
        np.testing.assert_allclose(share, shares, atol=1e-12)


def test_neurons_are_compared_in_the_residual_stream(model: ng.LiveModel, tmp_path: Path) -> None:
    neurons = ng.open_store("zoo/A-neurons", model, annotations=tmp_path)
    view = ng.FeatureMap(neurons)
    rows = np.stack([model.neuron(0, i).to_residual().double().numpy() for i in range(512)])
    np.testing.assert_allclose(view.to_frame()[["x", "y"]], by_covariance(rows)[0], atol=1e-5)
    assert "the residual stream" in view.frame["about"]


def test_two_stores_in_one_space(model: ng.LiveModel, store: ng.Store, tmp_path: Path) -> None:
    other = ng.open_store("zoo/A-8x", model, annotations=tmp_path / "other")
    view = ng.FeatureMap(store, others=[other], colour="store")
    rows = [s.basis.weights.W_dec.double().numpy() for s in (store, other)]  # type: ignore[attr-defined]
    frame = view.to_frame()
    np.testing.assert_allclose(frame[["x", "y"]], by_covariance(np.concatenate(rows))[0], atol=1e-6)
    assert frame["store"].value_counts().to_dict() == {"A-8x": 4096, "A-1x": 512}
    with pytest.raises(ng.InputError, match="no feature 600"):  # the other's are not for selection
        view.feature = 600
    elsewhere = ng.open_store("zoo/A-1x")
    elsewhere.meta = elsewhere.meta | {"fingerprint": "another"}
    with pytest.raises(ng.InputError, match="can't be compared"):
        ng.FeatureMap(store, others=[elsewhere])


def test_directions_that_are_nothing_are_left_out(
    store: ng.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store.basis.weights.W_dec.clone()  # type: ignore[attr-defined]
    rows[3], rows[5, 0] = 0, float("nan")
    monkeypatch.setattr("neuroglass.features.live.rows_of", lambda *_: rows)
    view = ng.FeatureMap(store, feature=3)
    frame = view.to_frame()
    assert frame.index[frame["x"].isna()].tolist() == [3, 5]
    assert "2 directions are zero or not finite" in view.frame["notice"]
    rest = np.delete(rows.double().numpy(), [3, 5], 0)
    got = frame[["x", "y"]].drop([3, 5]).to_numpy()
    np.testing.assert_allclose(got, by_covariance(rest)[0], atol=1e-6)
    monkeypatch.setattr("neuroglass.features.live.rows_of", lambda *_: rows * 0)
    with pytest.raises(ng.InputError, match="Only 0 directions"):
        planes.make([store], "pca", {})


needs_umap = pytest.mark.skipif(
    importlib.util.find_spec("umap") is None, reason="the extra `umap` is not installed"
)


@needs_umap
@pytest.mark.matrix  # minutes: numba compiles, twice
def test_umap_keeps_neighbours_is_the_same_each_time_and_can_be_stopped(store: ng.Store) -> None:
    parameters = planes.parameters_of("umap", {})
    assert (parameters["n_neighbors"], parameters["metric"]) == (15, "cosine")
    told: list[str] = []
    made = planes.make([store], "umap", parameters, told.append)
    assert any("% of its epochs" in text for text in told)
    again = planes.make([store], "umap", parameters)
    assert np.array_equal(again.xy, made.xy)
    rows = store.basis.weights.W_dec.double().numpy()  # type: ignore[attr-defined]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T - 2 * np.eye(len(unit))
    away = np.linalg.norm(made.xy[:, None] - made.xy[None], axis=-1) + 1e9 * np.eye(len(unit))
    nearest = away.argsort(1)[:, :15]
    # those that are near on the map point alike, more than those of a shuffled map
    alike = np.take_along_axis(cosine, nearest, 1).mean()
    shuffled = np.random.default_rng(0).permutation(len(unit))
    chance = np.take_along_axis(cosine, shuffled[nearest], 1).mean()
    assert alike > chance + 0.02
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        planes.umap(unit.astype(np.float32), parameters, lambda _: None, stop)
    wrong = {**parameters, "metric": "none"}
    with pytest.raises(ng.InputError, match="UMAP failed: .*metric"):
        planes.umap(unit.astype(np.float32), wrong, lambda _: None, threading.Event())


def test_umap_without_its_package_names_the_extra(
    store: ng.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "find_spec", lambda _: None)
    view = ng.FeatureMap(store, method="umap")
    with pytest.raises(ng.MissingExtraError, match=r"pip install 'neuroglass\[umap\]'"):
        view.wait()
    assert view.error["type"] == "MissingExtraError"
    assert view.progress == ""
    view.method = "pca"  # and one goes on with the other
    assert view.frame["method"] == "pca"
    assert view.error is None


# ------------------------------------------------------------------ what is kept


def test_a_map_is_made_once_and_opens_without_the_model(
    store: ng.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ng.FeatureMap(store)
    (file,) = (store.annotations.folder / "maps").iterdir()
    assert file.suffix == ".npz"
    assert file.stat().st_size < 20_000
    monkeypatch.setattr(planes, "make", lambda *_: pytest.fail("made again"))
    alone = ng.open_store("zoo/A-1x", annotations=store.annotations.folder)
    again = ng.FeatureMap(alone)
    assert not again.attached
    assert again.frame["xy"] == first.frame["xy"]
    assert again.frame["explained"] == first.frame["explained"]


def test_a_damaged_or_pickled_file_is_made_again(store: ng.Store) -> None:
    want = ng.FeatureMap(store).frame["xy"]
    (file,) = (store.annotations.folder / "maps").iterdir()
    good = file.read_bytes()
    hostile = np.array([{"a": 1}], object)
    for damage in ("cut", "pickle", "other size"):
        if damage == "cut":
            file.write_bytes(good[:-40])
        elif damage == "pickle":
            with file.open("wb") as out:
                np.savez(out, xy=hostile, explained=hostile)
        else:
            with file.open("wb") as out:
                np.savez(out, xy=np.zeros((3, 2), np.float32), explained=np.zeros(2))
        assert planes.kept([store], "pca", {}) is None, damage
        assert ng.FeatureMap(store).frame["xy"] == want
        assert planes.kept([store], "pca", {}) is not None


def test_other_parameters_and_other_stores_are_other_maps(store: ng.Store) -> None:
    wide = ng.open_store("zoo/A-8x", annotations=store.annotations.folder)
    names = {
        planes.file_of(stores, method, parameters)
        for stores in ([store], [wide], [store, wide], [wide, store])
        for method, parameters in (("pca", {}), ("umap", {"a": 1}), ("umap", {"a": 2}))
    }
    assert len(names) == 4 * 3


def test_a_folder_that_cant_be_written_is_told(
    store: ng.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(planes, "keep", refuse)
    assert "not kept: read-only" in ng.FeatureMap(store).frame["notice"]


def test_without_a_model_it_says_what_to_do_and_attaching_makes_it(
    store: ng.Store, model: ng.LiveModel
) -> None:
    alone = ng.open_store("zoo/A-1x", annotations=store.annotations.folder)
    view = ng.FeatureMap(alone)
    assert view.frame == {}
    assert view.fallback_html() == ""
    for call in (view.to_frame, view.plot, view.wait):
        with pytest.raises(ng.InputError, match=r"attach a model: store\.attach\(model\)"):
            call()
    view.attach(alone.attach(model))
    assert view.attached
    assert len(view.to_frame()) == 512


def test_a_long_making_blocks_nothing_and_can_be_stopped(
    store: ng.Store, monkeypatch: pytest.MonkeyPatch, comms: list[RecordingComm]
) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(stores: Any, method: str, parameters: Any, tell: Any, stop: Any) -> Any:
        tell("half of it")
        began.set()
        go.wait(20)
        if stop.is_set():
            raise Cancelled
        return real(stores, method, parameters)

    real = planes.make
    monkeypatch.setattr(planes, "make", slow)
    monkeypatch.setattr(feature_map, "_AT_ONCE", 0)
    view = ng.FeatureMap(store)
    assert began.wait(20)
    assert view.progress == "half of it"
    assert store.model.run("the model runs meanwhile").tokens.shape[1] > 1
    comm_of(view).receive({"v": 1, "view": "a", "id": 1, "kind": "stop"})
    assert view.progress == ""
    go.set()
    assert view._thread is not None
    view._thread.join(20)
    assert view.frame == {}
    view._start()
    view.wait(20)
    assert (len(view.to_frame()), view.progress) == (512, "")
    go.clear()
    began.clear()
    view.method = "umap"  # the old map stays until there is a new one
    assert began.wait(20)
    assert (view.frame["method"], view.progress) == ("pca", "half of it")
    view.stop()
    assert (view.method, view.progress) == ("pca", "")
    go.set()


# ------------------------------------------------------------------ what can be coloured by


def test_columns_say_what_is_zero_and_what_is_missing(wide: ng.FeatureMap) -> None:
    table = wide.to_frame()
    for column in wide.frame["columns"]:
        name = column["key"]
        got = map_picture.values_of(wide.frame, name)
        want = table[name].to_numpy(np.float64)
        np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-12, err_msg=name)
    by = {c["key"]: c for c in wide.frame["columns"]}
    assert by["density"]["log"]
    assert by["density"]["domain"][0] == pytest.approx(
        np.log10(table["density"][table["density"] > 0].min())
    )
    assert by["density"]["zero"] < by["density"]["domain"][0]
    assert not by["max"]["log"]
    assert {"count", "kurtosis", "single_token_share", "norm"} <= set(by)
    assert "top_token" not in by


def test_groups_and_a_column_of_ones_own(store: ng.Store) -> None:
    store.annotations.put("b", 1, 2)
    store.annotations.put("a", 2, 3)
    store.annotations.explain(4, "a <b>word</b>", author="me")
    mine = np.full(512, np.nan)
    mine[:3] = [1, 2, 3]
    view = ng.FeatureMap(store, colour="mine", columns={"mine": mine})
    groups = {c["key"]: c for c in view.frame["categories"]}
    codes = unpack(groups["list"]["codes"])
    assert groups["list"]["names"] == ["b", "a", "on no list"]
    assert codes[:5].tolist() == [2, 0, 0, 1, 2]
    assert view.frame["explanations"] == {"4": "a <b>word</b>"}
    counts = store.to_frame()["count"].to_numpy()
    firing = unpack(groups["firing"]["codes"])
    assert ((firing == 2) == (counts == 0)).all()
    kinds = unpack(groups["commonest token"]["codes"])
    names = groups["commonest token"]["names"]
    assert ((kinds == names.index(map_frame.NEVER)) == (counts == 0)).all()
    for bad in (mine[:4], "abc"):
        with pytest.raises((ng.InputError, ValueError)):
            ng.FeatureMap(store, columns={"mine": bad})


@pytest.mark.parametrize(
    ("piece", "kind", "want"),
    [
        (" the", 0, "word"),
        ("ing", 0, "part of a word"),
        (" שלום", 0, "other script"),
        ("é", 0, "part of a word"),
        ("12", 0, "number"),
        (");", 0, "punctuation"),
        ("\n\n", 0, "white space"),
        ("\\xe2", 1, "bytes or special"),
        ("<|end|>", 2, "bytes or special"),
    ],
)
def test_kinds_of_tokens(piece: str, kind: int, want: str) -> None:
    assert map_frame.kind_of(piece, kind) == want


def test_tokens_that_the_page_names(wide: ng.FeatureMap) -> None:
    store = wide.store
    pieces, frame = wide.frame["pieces"], wide.frame
    top, promoted = unpack(frame["top"]), unpack(frame["promoted"])
    for i in (5, 77, 4000):
        row = store[i].row
        assert [pieces[p] for p in promoted[i]] == [p for p, _ in store[i].promoted()[:5]]
        want = store.pieces([row["top_token"]])[0] if row["count"] else None
        assert (pieces[top[i]] if top[i] >= 0 else None) == want


# ------------------------------------------------------------------ the view


def test_what_it_refuses(store: ng.Store) -> None:
    for options, words in (
        ({"method": "tsne"}, "no map by 'tsne'"),
        ({"colour": "densty"}, "Did you mean 'density'"),
        ({"feature": 512}, "no feature 512"),
        ({"subset": [1, 600]}, "no feature 600"),
        ({"parameters": {"n_neighbors": 3}}, "pca has no parameter"),
        ({"method": "umap", "parameters": {"neighbours": 3}}, "Did you mean 'n_neighbors'"),
    ):
        with pytest.raises(ng.InputError, match=words):
            ng.FeatureMap(store, **options)
    with pytest.raises(ng.InputError, match="of a store, not of str"):
        ng.FeatureMap("zoo/A-8x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Did you mean 'theme'"):
        ng.FeatureMap(store, them="dark")
    view = ng.FeatureMap(store)
    for name, value in (("feature", 512), ("subset", [-1]), ("colour", "x"), ("method", "x")):
        before = getattr(view, name)
        with pytest.raises(ng.InputError):
            setattr(view, name, value)
        assert getattr(view, name) == before
    view.subset = [4, 4, 2]
    assert view.subset == [4, 2]


def test_a_list_is_written_from_the_page(store: ng.Store, comms: list[RecordingComm]) -> None:
    view = ng.FeatureMap(store, subset=[3, 1])
    ask = {"v": 1, "view": "a", "id": 1, "kind": "list", "name": " mine ", "features": [3, 1]}
    comm_of(view).receive(ask)
    said = comm_of(view).answers()[-1]
    assert (said["name"], said["count"], said["done"]) == ("mine", 2, True)
    assert store.annotations.lists() == {"mine": [3, 1]}
    assert view.lists == ["mine"]
    assert "list" in [c["key"] for c in view.frame["categories"]]
    for bad in ({"name": ""}, {"features": [9999]}, {"features": "3"}):
        comm_of(view).receive({**ask, "id": 2, **bad})
        assert "error" in comm_of(view).answers()[-1], bad
    assert store.annotations.lists() == {"mine": [3, 1]}


def test_it_is_linked_by_feature_and_subset(store: ng.Store) -> None:
    a, b = ng.FeatureMap(store), ng.FeatureMap(store, colour="max")
    ng.link(a, b, "feature", "subset")
    a.feature, b.subset = 7, [1, 2]
    assert (b.index, b.feature, a.subset) == (7, store.id(7), [1, 2])


def test_state_code_and_pictures(store: ng.Store, tmp_path: Path) -> None:
    store.annotations.explain(0, "<b>bold</b>", author="me")
    view = ng.FeatureMap(store, colour="firing", subset=[1], feature=2)
    state = json.loads(json.dumps(view.state))
    still = ng.FeatureMap.from_state(state)
    assert not still.live
    assert unpack(still.frame["xy"]).shape == (512, 2)
    assert still.fallback_html() == view.fallback_html()
    with pytest.raises(ng.InputError, match=r"from_state\(state, store\)"):
        still.to_frame()
    with pytest.raises(ng.InputError, match=r"from_state\(state, store\)"):
        still.refresh()
    still.stop()
    again = ng.FeatureMap.from_state(state, store)
    assert (again.colour, again.subset, again.index) == ("firing", [1], 2)
    scope: dict[str, Any] = {}
    exec(view.code.rsplit("\n", 1)[0], scope)
    assert scope["store"].name == "A-1x"
    assert "colour='firing'" in view.code
    scope["store"].model.close()
    for colour in ("firing", "density", "max"):
        view.colour = colour
        figure = view.plot()
        assert len(figure.data[0].x) == 512
        assert "<b>" not in figure.to_json().replace("\\u003c", "<")
    page = view.to_html(tmp_path / "map.html").read_text("utf-8")
    assert "<b>bold" not in page
    assert "FeatureMap(512 features by pca; 1 selected)" in repr(view)


def test_the_picture_without_scripts_is_small_and_shows_where_points_are(
    wide: ng.FeatureMap,
) -> None:
    html = wide.fallback_html()
    assert html.startswith("<img alt=")
    assert 1_000 < len(html) < 50_000
    assert "darker where more lie" in html
    grey = np.full((300, 420), 255, np.uint8)
    grey[10, 20] = 0
    assert map_picture._png(grey).startswith(b"\x89PNG")
    assert (
        len(map_picture._png(np.random.default_rng(0).integers(0, 9, (300, 420)).astype("u1")))
        < 100_000
    )
