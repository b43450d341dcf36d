"""The live heatmap on real and tiny models: requests, newest-wins, settings from Python, errors."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neuroglass import (
    SAE,
    Ablate,
    Directions,
    InputError,
    LiveModel,
    LiveTokenHeatmap,
    Priority,
    TokenHeatmap,
    heatmap,
    load,
)
from neuroglass.views.codec import unpack
from neuroglass.views.live_heatmap import _Picture, _Settings
from tests.unit.conftest import RecordingComm, comm_of

pytestmark = pytest.mark.model
TEXT = "The capital of France is Paris."
IDS = itertools.count(1)


def ask(view: LiveTokenHeatmap, mounted: str = "u", **body: Any) -> int:
    number = next(IDS)
    settings = {
        "text": view.text,
        "site": view.site,
        "layer": view.layer,
        "features": view.features,
    }
    comm_of(view).receive(
        {"v": 1, "view": mounted, "id": number, "kind": "run", **settings, **body}
    )
    return number


def answer(view: LiveTokenHeatmap, number: int) -> dict[str, Any]:
    """The last answer to a request, waited for."""
    for _ in range(400):
        for message in comm_of(view).answers():
            if message["id"] == number and message["done"]:
                return message
        time.sleep(0.02)
    raise TimeoutError(f"no answer to request {number}")


def frames(view: LiveTokenHeatmap) -> list[dict[str, Any]]:
    return [u["frame"] for u in comm_of(view).updates() if "frame" in u]


def test_the_first_picture_is_there_at_once_and_right(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="neurons.20", features=[7, 1000])
    run = smollm2.run(TEXT, sites=["neurons.20"])
    assert [r["label"] for r in view.frame["rows"]] == ["neurons.20 / 7", "neurons.20 / 1000"]
    for row in view.frame["rows"]:
        want = run["neurons.20"][0, :, row["feature"]].numpy()
        np.testing.assert_array_equal(unpack(row["values"]), want)
    (seq,) = view.frame["seqs"]
    assert "".join(seq["pieces"]) == TEXT
    np.testing.assert_array_equal(unpack(seq["logprobs"]), run.logprobs[0].numpy())
    np.testing.assert_array_equal(unpack(seq["entropy"]), run.entropy[0].numpy())
    ids, _ = run.top(5)
    np.testing.assert_array_equal(unpack(seq["top"]["ids"]), ids[0].numpy())
    assert seq["top"]["pieces"][str(int(ids[0, 4, 0]))] == " Paris"
    assert view.live


def test_without_features_the_strongest_are_shown(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="neurons.20")
    run = smollm2.run(TEXT, sites=["neurons.20"])
    counted = run["neurons.20"][0][~run.masks["massive"][0]]
    want = counted.abs().amax(0).topk(3).indices.tolist()
    assert view.features == want


def test_massive_tokens_are_marked_and_do_not_set_the_scale(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="resid_post.15", features=[3])
    masked = unpack(view.frame["seqs"][0]["masked"])
    assert masked.tolist() == [4, 0, 0, 0, 0, 0, 0]
    values = unpack(view.frame["rows"][0]["values"])
    assert view.frame["rows"][0]["domain"][1] == np.abs(values[1:]).max()


def test_a_request_draws_and_tells_python(smollm2: LiveModel, comms: list[RecordingComm]) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    number = ask(view, text="Hello there", site="mlp_out", layer=3, features=[1, 2])
    assert "error" not in answer(view, number)
    assert (view.text, view.site, view.layer, view.features) == (
        "Hello there",
        "mlp_out",
        3,
        [1, 2],
    )
    assert (view.frame["view"], view.frame["id"]) == ("u", number)
    assert "site='mlp_out.3'" in view.code
    # everything that shows came as one message
    (update,) = [u for u in comm_of(view).updates() if "frame" in u]
    assert {"text", "site", "layer", "features", "code"} <= set(update)


def test_the_code_makes_the_same_view_again(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, 'It\'s "here"\n', site="attn_out.4", features=[1])
    scope: dict[str, Any] = {}
    line = view.code.splitlines()[-1]
    exec("import neuroglass as ng\nagain = " + line, {"model": smollm2}, scope)
    assert scope["again"].frame == view.frame


def test_of_many_quick_requests_the_newest_is_drawn_last_and_none_is_late(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    numbers = [ask(view, text=f"Edit number {i}") for i in range(30)]
    answers = [answer(view, n) for n in numbers]
    assert view.text == "Edit number 29"
    assert [f["text"] for f in frames(view)][-1] == "Edit number 29"
    drawn = [f["id"] for f in frames(view)]
    assert drawn == sorted(drawn)
    superseded = [bool(a.get("superseded")) for a in answers]
    assert superseded.count(False) == len(drawn)
    assert not superseded[-1]


def test_two_mounted_views_do_not_supersede_each_other(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    first, second = ask(view, "one", text="From one"), ask(view, "two", text="From two")
    assert "superseded" not in answer(view, first)
    assert "superseded" not in answer(view, second)


def test_cancel_ends_a_waiting_request(smollm2: LiveModel, comms: list[RecordingComm]) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    block = smollm2.work(lambda _: time.sleep(0.3), priority=Priority.INTERACTIVE)
    number = ask(view, text="never drawn")
    comm_of(view).receive(
        {"v": 1, "view": "u", "id": next(IDS), "kind": "cancel", "target": number}
    )
    assert answer(view, number)["cancelled"]
    block.result(5)
    assert view.text == TEXT


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": "a " * 9000}, "reads at most 8192"),
        ({"site": "neurnos"}, "Did you mean 'neurons'"),
        ({"layer": 30}, "Layers go from 0 to 29"),
        ({"features": [1536]}, "Features go from 0 to 1535"),
        ({"features": [-1]}, "no feature -1"),
        ({"features": ["7"]}, "whole numbers"),
        ({"layer": "x"}, "usable 'layer'"),
        ({"text": None}, "usable 'text'"),
    ],
)
def test_a_bad_request_is_answered_and_keeps_the_picture(
    body: dict[str, Any], message: str, smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    before = view.frame
    error = answer(view, ask(view, **body))["error"]
    assert message in error["message"] + " " + error["hint"]
    assert view.frame is before
    assert view.error == error
    good = ask(view, text="fine again", features=[5], site="neurons", layer=15)
    answer(view, good)
    assert view.error is None


def test_settings_from_python_run_the_model(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    view.text = "Another text"
    view.wait()
    assert "".join(view.frame["seqs"][0]["pieces"]) == "Another text"
    view.layer = 2
    view.features = [9, 10]
    view.wait()
    assert [r["label"] for r in view.frame["rows"]] == ["neurons.2 / 9", "neurons.2 / 10"]
    view.site = "resid_post"  # other features live there: the strongest are chosen
    view.wait()
    assert view.frame["site"] == "resid_post"
    assert len(view.features) == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("site", "neurnos", "Did you mean 'neurons'"),
        ("layer", 30, "no layer 30"),
        ("features", [1536], "no feature 1536"),
    ],
)
def test_a_bad_setting_from_python_raises_in_the_cell_and_changes_nothing(
    name: str, value: Any, message: str, smollm2: LiveModel
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    before = getattr(view, name)
    with pytest.raises(InputError, match=message):
        setattr(view, name, value)
    assert getattr(view, name) == before
    assert view.error is None


def test_a_text_that_is_too_long_from_python_shows_in_the_cell(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    view.text = "a " * 9000
    with pytest.raises(InputError, match="at most 8192"):
        view.wait()
    assert "at most 8192" in view.error["message"]
    view.text = TEXT
    view.wait()
    assert view.error is None


def test_empty_text_is_an_empty_picture_not_an_error(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, "")
    assert view.frame["rows"] == []
    assert view.error is None
    view.text = "now"
    view.wait()
    assert len(view.frame["rows"]) == 3


def test_half_a_surrogate_pair_from_the_browser_is_replaced(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    assert "error" not in answer(view, ask(view, text="a\ud800b"))
    assert view.text == "a?b"
    json.dumps(comm_of(view).updates(), ensure_ascii=False, default=str).encode("utf-8")


def test_a_selection_that_the_new_text_lacks_is_dropped(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, features=[5, 6])
    view.selected = (1, 6)
    view.text = "The capital of France is London."
    view.wait()
    assert view.selected == (1, 6)
    view.text = "Short"
    view.wait()
    assert view.selected is None


def test_detail_names_the_strongest_features_of_a_token(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, site="neurons.20", features=[7])
    number = next(IDS)
    comm_of(view).receive(
        {"v": 1, "view": "u", "id": number, "kind": "detail", "row": 0, "position": 3}
    )
    got = answer(view, number)
    here = smollm2.run(TEXT, sites=["neurons.20"])["neurons.20"][0, 3]
    assert got["value"] == float(here[7])
    want = here.abs().topk(8).indices.tolist()
    assert [s["feature"] for s in got["strongest"]] == want
    assert got["strongest"][0]["value"] == float(here[want[0]])


def test_state_comes_back_static_or_live(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="neurons.20", features=[7])
    static = LiveTokenHeatmap.from_state(view.state)
    assert type(static).__name__ == TokenHeatmap.__name__
    assert not static.live
    assert static.frame == view.frame
    again = LiveTokenHeatmap.from_state(view.state, smollm2)
    assert again.live
    assert again.frame == view.frame


def test_bad_construction(smollm2: LiveModel, load_tiny: Callable[..., LiveModel]) -> None:
    with pytest.raises(InputError, match=r"needs a live model.*ng.load"):
        heatmap("smollm2", TEXT)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be a string"):
        heatmap(smollm2, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no layer 77"):
        heatmap(smollm2, TEXT, site="neurons.77")
    with pytest.raises(InputError, match="can't show the site 'logits'"):
        heatmap(smollm2, TEXT, site="logits")
    with pytest.raises(InputError, match="no feature 1536.*Did you mean"):
        heatmap(smollm2, TEXT, features=[1536])
    with pytest.raises(TypeError, match="'sit'"):
        heatmap(smollm2, TEXT, sit="neurons.1")
    with pytest.raises(InputError, match="without a tokenizer"):
        heatmap(load_tiny(), TEXT)


def test_500_jobs_from_two_widgets_and_a_cell_never_mix(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    """On a real model: every frame belongs to its request, every run to its prompt."""
    a = heatmap(smollm2, "a", site="resid_post.2", features=[1])
    b = heatmap(smollm2, "b", site="mlp_out.1", features=[2, 3])
    words = ["red", "green", "blue", "black", "white"]
    direct = {w: smollm2.run(w, sites=["resid_post.2"], logits=False) for w in words}
    numbers: dict[LiveTokenHeatmap, list[int]] = {a: [], b: []}
    for i in range(170):
        word = words[i % 5]
        numbers[a].append(ask(a, text=f"{word} {i}", site="resid_post", layer=2, features=[1]))
        numbers[b].append(ask(b, text=f"{word} {i}", site="mlp_out", layer=1, features=[2, 3]))
        if i < 160:
            got = smollm2.run(word, sites=["resid_post.2"], logits=False)
            assert torch.equal(got["resid_post.2"], direct[word]["resid_post.2"])
    for view, asked in numbers.items():
        answer(view, asked[-1])
        for made in frames(view):
            i = asked.index(made["id"])
            assert made["text"] == f"{words[i % 5]} {i}"
            assert "".join(made["seqs"][0]["pieces"]) == made["text"]
            assert made["site"] == ("resid_post" if view is a else "mlp_out")
        assert frames(view)[-1]["id"] == asked[-1]


def test_an_observer_may_run_the_model_while_results_are_due(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    ran: list[Any] = []
    view.observe(lambda _: ran.append(smollm2.run("Hi")), "selected")  # on the message's thread
    view.observe(lambda _: ran.append(smollm2.run("Ho")), "frame")  # where results are delivered
    number = ask(view, text="Something to deliver")
    comm_of(view).receive_state(selected=[0, 1])
    assert "error" not in answer(view, number)
    assert len(ran) == 2


def test_wait_returns_when_the_picture_is_drawn(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    for i in range(20):
        view.text = f"Text {i}"
        view.wait()
        assert view.frame["text"] == f"Text {i}"


def test_an_assignment_is_not_lost_to_a_result_that_arrives_at_that_moment(
    smollm2: LiveModel,
) -> None:
    view = heatmap(smollm2, TEXT, features=[5])
    settings = _Settings(TEXT, site="neurons", layer=15, features=(5,))
    late = _Picture(settings, view.frame, "")
    with view._lock:  # the cell's assignment stores its value, then waits for the lock …
        cell = threading.Thread(target=lambda: setattr(view, "text", "From the cell"))
        cell.start()
        for _ in range(200):
            if view.text == "From the cell":
                break
            time.sleep(0.01)
        view._draw(late)  # … while an older result sets the traits back
    cell.join(10)
    view.wait()
    assert (view.text, view.frame["text"]) == ("From the cell", "From the cell")


# ---------------------------------------------------------------------- dictionaries and directions


@pytest.fixture(scope="module")
def with_bases() -> tuple[LiveModel, SAE, Directions]:
    model = load()
    chance = torch.Generator().manual_seed(0)
    rows = torch.randn(5, model.d_model, generator=chance)
    return model, SAE.load("zoo/A-8x", model), Directions(model, "resid_post.0", rows, "probe")


def test_latents_are_rows_like_neurons(with_bases: tuple[LiveModel, SAE, Directions]) -> None:
    model, sae, probe = with_bases
    view = heatmap(model, "Vitamin C 0.63 mg", site=sae, bases=[probe])
    assert view.site == "A-8x"
    run = model.run(view.text, sites=["neurons.0", "resid_post.0"])
    dense = sae.encode_dense(run["neurons.0"][0])
    peaks = dense[1:].max(0).values if run.masks["bos"][0, 0] else dense.max(0).values
    assert view.features == peaks.topk(3).indices.tolist()
    for row, i in zip(view.frame["rows"], view.features, strict=True):
        assert row["label"] == f"A-8x / {i}"
        assert not row["signed"]
        np.testing.assert_allclose(unpack(row["values"]), dense[:, i].numpy(), atol=1e-5)
    view.site = "probe"
    view.wait()
    values = probe.activations(run["resid_post.0"][0].float(), view.features)
    assert len(view.features) == 3
    for k, row in enumerate(view.frame["rows"]):
        assert row["signed"]
        np.testing.assert_allclose(unpack(row["values"]), values[:, k].numpy(), atol=1e-5)
    view.site = "neurons"
    view.wait()
    assert view.frame["rows"][0]["label"].startswith("neurons.0 / ")


def test_a_token_names_its_strongest_latents(
    with_bases: tuple[LiveModel, SAE, Directions], comms: list[RecordingComm]
) -> None:
    model, sae, _ = with_bases
    view = heatmap(model, "Vitamin C 0.63 mg", site=sae)
    comm_of(view).receive(
        {"v": 1, "view": "u", "id": 900, "kind": "detail", "row": 0, "position": 5}
    )
    found = answer(view, 900)
    here = sae.encode_dense(model.run(view.text, sites=["neurons.0"])["neurons.0"][0, 5])
    best = here.topk(8)
    assert [s["feature"] for s in found["strongest"]] == best.indices.tolist()
    np.testing.assert_allclose([s["value"] for s in found["strongest"]], best.values, atol=1e-5)


def test_the_code_of_a_dictionary_makes_the_view_again(
    with_bases: tuple[LiveModel, SAE, Directions],
) -> None:
    model, sae, probe = with_bases
    view = heatmap(model, "Vitamin C 0.63 mg", site=sae, features=[7, 9])
    assert 'ng.SAE.load("zoo/A-8x", model)' in view.code
    names: dict[str, Any] = {}
    exec(view.code.replace("ng.heatmap(", "made = ng.heatmap("), names)
    assert names["made"].frame["rows"] == view.frame["rows"]
    own = heatmap(model, "x", site=probe)
    assert "basis = ...  # probe, 5 features of resid_post.0" in own.code
    again = LiveTokenHeatmap.from_state(view.state, model, bases=[sae])
    assert (again.site, again.features) == ("A-8x", [7, 9])
    with pytest.raises(InputError, match="A-8x"):
        LiveTokenHeatmap.from_state(view.state, model)


def test_bases_that_do_not_fit_are_refused(
    with_bases: tuple[LiveModel, SAE, Directions], smollm2: LiveModel
) -> None:
    model, sae, _ = with_bases
    with pytest.raises(InputError, match="two things called 'A-8x'"):
        heatmap(model, "x", bases=[sae, SAE.load("zoo/A-8x", model)])
    with pytest.raises(InputError, match="A-8x"):
        heatmap(smollm2, "x", bases=[sae])
    with pytest.raises(InputError, match="A-8x has no feature 4096"):
        heatmap(model, "x", site=sae, features=[4096])
    other: Any = object()
    with pytest.raises(InputError, match="object is no basis"):
        heatmap(model, "x", bases=[other])


def test_rows_that_stay_when_the_site_changes(
    with_bases: tuple[LiveModel, SAE, Directions],
) -> None:
    model, sae, probe = with_bases
    keys = ["surprise", "A-8x/77", "neurons.0/12", "probe/3", "rank", "entropy"]
    view = heatmap(model, "Vitamin C 0.63 mg", site="resid_post.0", bases=[sae, probe], locked=keys)
    rows = view.frame["rows"]
    assert [r["key"] for r in rows[:6]] == keys
    assert [r["locked"] for r in rows] == [True] * 6 + [False] * 3
    run = model.run(view.text, sites=["neurons.0", "resid_post.0"])
    neurons, residual = run["neurons.0"][0], run["resid_post.0"][0].float()
    want = {
        "surprise": -run.logprobs[0],
        "A-8x/77": sae.encode_dense(neurons, [77])[:, 0],
        "neurons.0/12": neurons[:, 12],
        "probe/3": probe.activations(residual, [3])[:, 0],
        "rank": run.ranks[0].log10(),
        "entropy": run.entropy[0],
    }
    for row in rows[:6]:
        np.testing.assert_allclose(unpack(row["values"]), want[row["key"]].numpy(), atol=1e-5)
    view.site = "embed"
    view.wait()
    assert [r["key"] for r in view.frame["rows"][:6]] == keys
    assert view.frame["rows"][6]["label"].startswith("embed / ")
    view.locked = ["rank"]
    view.wait()
    assert [r["key"] for r in view.frame["rows"] if r["locked"]] == ["rank"]
    # a kept feature is not also chosen as one of the strongest
    first = view.features[0]
    view.features = []
    view.wait()
    view.locked = [f"embed/{first}"]
    view.features = []
    view.wait()
    assert first not in view.features
    assert len(view.features) == 3


def test_ranks_are_those_of_a_sort(with_bases: tuple[LiveModel, SAE, Directions]) -> None:
    model, *_ = with_bases
    run = model.run(["Vitamin C 0.63 mg", "a"])
    assert run.logits is not None
    for b, row in enumerate(run.tokens.tolist()):
        n = int(run.mask[b].sum())
        for i in range(1, n):
            order = run.logits[b, i - 1].sort(descending=True, stable=True).indices.tolist()
            assert run.ranks[b, i] == 1 + order.index(row[i])
        assert run.ranks[b, 0].isnan()
        assert run.ranks[b, n:].isnan().all()


def test_rows_that_are_none_are_refused(with_bases: tuple[LiveModel, SAE, Directions]) -> None:
    model, *_ = with_bases
    view = heatmap(model, "Vitamin C", locked=["surprise"])
    for key, message in (
        ("surprize", "is no row"),
        ("neurons.0/x", "is no row"),
        ("neurons.0/512", "no feature 512"),
        ("A-8x/1", "A-8x"),
    ):
        with pytest.raises(InputError, match=message):
            view.locked = [key]
    with pytest.raises(InputError, match="locked twice"):
        view.locked = ["rank", "rank"]
    assert view.locked == ["surprise"]


def test_the_browser_asks_for_rows_that_stay(
    with_bases: tuple[LiveModel, SAE, Directions], comms: list[RecordingComm]
) -> None:
    model, sae, _ = with_bases
    view = heatmap(model, "Vitamin C 0.63 mg", bases=[sae])
    answer(view, ask(view, locked=["surprise", "A-8x/7"]))
    assert view.locked == ["surprise", "A-8x/7"]
    assert [r["key"] for r in view.frame["rows"]][:2] == ["surprise", "A-8x/7"]
    assert "locked=['surprise', 'A-8x/7']" in view.code
    assert "bases=[basis_0]" in view.code
    names: dict[str, Any] = {}
    exec(view.code.replace("ng.heatmap(", "made = ng.heatmap("), names)
    assert names["made"].frame["rows"] == view.frame["rows"]
    failed = answer(view, ask(view, locked=["nothing/7"]))
    assert "nothing" in failed["error"]["message"]
    # the first token has no surprise: a number that is missing, not zero
    comm_of(view).receive(
        {"v": 1, "view": "u", "id": 901, "kind": "detail", "row": 0, "position": 0}
    )
    assert answer(view, 901)["value"] is None
    again = LiveTokenHeatmap.from_state(view.state, model, bases=[sae])
    assert [r["key"] for r in again.frame["rows"]] == [r["key"] for r in view.frame["rows"]]


# ------------------------------------------------------- two texts, every layer, edits, features


def test_two_texts_share_rows_a_scale_and_their_difference(
    with_bases: tuple[LiveModel, SAE, Directions],
) -> None:
    model, sae, _ = with_bases
    first, second = "The Congress shall have power", "The Congress shall never have power"
    view = heatmap(model, first, site=sae, features=[63, 7], locked=["surprise"], compare=second)
    assert [r["seq"] for r in view.frame["rows"]] == [0, 1, 1] * 3
    a, b = model.run(first, sites=[sae.read_site]), model.run(second, sites=[sae.read_site])
    tokens = a.tokens[0].tolist(), b.tokens[0].tolist()
    aligned = [unpack(seq["aligned"]) for seq in view.frame["seqs"]]
    for here, there, pairs in zip(tokens, reversed(tokens), aligned, strict=True):
        assert all(j < 0 or there[j] == here[i] for i, j in enumerate(pairs))
    assert (aligned[1] >= 0).sum() == len(tokens[0])  # all of the first text is in the second
    for k, of in ((0, lambda run: -run.logprobs[0]), (3, lambda run: column(sae, run, 63))):
        one, two, change = (unpack(r["values"]) for r in view.frame["rows"][k : k + 3])
        np.testing.assert_allclose(one, of(a).numpy(), rtol=0, atol=0)
        np.testing.assert_allclose(two, of(b).numpy(), rtol=0, atol=0)
        want = [two[i] - one[j] if j >= 0 else np.nan for i, j in enumerate(aligned[1])]
        np.testing.assert_array_equal(change, np.array(want, np.float32))
    rows = view.frame["rows"]
    assert rows[3]["domain"] == rows[4]["domain"]
    assert [r["key"] for r in rows] == ["surprise", "", "", "A-8x/63", "", "", "A-8x/7", "", ""]
    view.compare = ""
    view.wait()
    assert [r["seq"] for r in view.frame["rows"]] == [0, 0, 0]
    assert "compare" not in view.code


def column(sae: SAE, run: Any, feature: int) -> torch.Tensor:
    return sae.activations(run[sae.read_site][0].flatten(1), [feature])[:, 0]


def test_equal_texts_differ_by_nothing_that_shows(
    with_bases: tuple[LiveModel, SAE, Directions],
) -> None:
    model, sae, _ = with_bases
    view = heatmap(model, "Congress", site=sae, compare="Congress")
    rows = view.frame["rows"]
    for first, change in zip(rows[0::3], rows[2::3], strict=True):
        assert np.abs(unpack(change["values"])).max() <= 1e-6
        assert change["domain"][1] >= 1e-4 * first["domain"][1]


def test_one_feature_in_every_layer(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="resid_post.15", features=[3, 8], across=True)
    run = smollm2.run(TEXT, sites=[f"resid_post.{i}" for i in range(30)])
    rows = view.frame["rows"]
    assert [r["key"] for r in rows] == [f"resid_post.{i}/3" for i in range(30)]
    for i, made in enumerate(rows):
        np.testing.assert_array_equal(unpack(made["values"]), run[f"resid_post.{i}"][0, :, 3])
    assert "1 more" in view.frame["notice"]
    assert "across=True" in view.code
    view.across = False
    view.wait()
    assert [r["key"] for r in view.frame["rows"]] == ["resid_post.15/3", "resid_post.15/8"]


def test_a_direction_is_read_out_of_every_layer(smollm2: LiveModel) -> None:
    rows = torch.randn(2, smollm2.d_model, generator=torch.Generator().manual_seed(1))
    probe = Directions(smollm2, "resid_post.15", rows, "probe")
    view = heatmap(smollm2, TEXT, site=probe, features=[1], across=True)
    run = smollm2.run(TEXT, sites=[f"resid_post.{i}" for i in range(30)])
    for i, made in enumerate(view.frame["rows"]):
        want = probe.activations(run[f"resid_post.{i}"][0], [1])[:, 0]
        np.testing.assert_allclose(unpack(made["values"]), want.numpy(), rtol=1e-5, atol=1e-5)
    labels = [made["label"] for made in view.frame["rows"]]
    assert labels[15] == "probe / 1"
    assert labels[3] == "probe / 1 read from resid_post.3"
    keys = [made["key"] for made in view.frame["rows"]]
    assert keys[15] == "probe/1"
    assert keys[3] == ""


def test_a_site_without_layers_can_not_be_looked_at_across_them(smollm2: LiveModel) -> None:
    with pytest.raises(InputError, match="no layers"):
        heatmap(smollm2, TEXT, site="embed", across=True)


def test_edits_change_the_picture_and_can_be_taken_back(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="resid_post.20", features=[7])
    before = unpack(view.frame["rows"][0]["values"])
    edit = Ablate("mlp_out.10", "zero")
    view.edits = [edit]
    view.wait()
    want = smollm2.run(TEXT, sites=["resid_post.20"], edits=[edit])["resid_post.20"][0, :, 7]
    np.testing.assert_array_equal(unpack(view.frame["rows"][0]["values"]), want.numpy())
    assert "edits=edits" in view.code
    assert "edits" not in view.state
    with pytest.raises(InputError, match="no edit"):
        view.edits = ["mlp_out.10"]
    view.edits = []
    view.wait()
    np.testing.assert_array_equal(unpack(view.frame["rows"][0]["values"]), before)


def test_edits_stay_when_the_browser_asks_for_another_text(
    smollm2: LiveModel, comms: list[RecordingComm]
) -> None:
    edit = Ablate("mlp_out.10", "zero")
    view = heatmap(smollm2, TEXT, site="resid_post.20", features=[7], edits=[edit])
    answer(view, ask(view, text="Hello there"))
    want = smollm2.run("Hello there", sites=["resid_post.20"], edits=[edit])
    got = unpack(view.frame["rows"][0]["values"])
    np.testing.assert_array_equal(got, want["resid_post.20"][0, :, 7].numpy())


def test_the_feature_in_focus_can_be_read_and_set(
    with_bases: tuple[LiveModel, SAE, Directions],
) -> None:
    model, sae, _ = with_bases
    view = heatmap(model, "The Congress shall", bases=[sae], features=[5, 6])
    assert view.feature == "zoo/A/neurons.0/neurons/5" == model.neuron(0, 5).id
    view.selected = (1, 2)
    assert (view.feature, view.token) == ("zoo/A/neurons.0/neurons/6", 2)
    view.feature = sae[63].id
    view.wait()
    assert (view.site, view.features) == ("A-8x", [63])
    assert view.feature == sae[63].id
    view.feature = sae[64].id
    view.wait()
    assert view.features == [64, 63]
    for wrong, message in (
        ("zoo/B/neurons.0/neurons/5", "belongs to zoo/B"),
        ("zoo/A/neurons.0/neurons/512", "no feature 512"),
        ("zoo/A/neurons.0/other/5", "no basis 'other'"),
        ("nonsense", "is no feature's id"),
    ):
        with pytest.raises(InputError, match=message):
            view.feature = wrong
        assert view.feature == sae[64].id


def test_a_token_is_selected_by_its_position_alone(smollm2: LiveModel) -> None:
    view = heatmap(smollm2, TEXT, site="neurons.20", features=[7, 1000])
    view.token = 4
    assert view.selected == (0, 4)
    view.selected = (1, 2)
    assert view.token == 2
    view.token = None
    assert view.selected is None
    view.token = 999  # another view's text may be longer
    assert view.selected is None
