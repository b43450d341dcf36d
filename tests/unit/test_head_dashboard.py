"""A head's page: stored numbers against the store, live ones against brute force, the view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuroglass as ng
from neuroglass.features import head_live, head_pairs
from neuroglass.model.worker import Priority
from neuroglass.views import head_dashboard
from neuroglass.views.codec import unpack
from tests.gallery.head_dashboard import harvested
from tests.unit.conftest import RecordingComm, comm_of

TEXT = "The Congress shall have power to lay and collect taxes"


@pytest.fixture(scope="module")
def model() -> Any:
    made = ng.load("zoo/A")
    yield made
    made.close()


@pytest.fixture(scope="module")
def store(model: ng.LiveModel, tmp_path_factory: pytest.TempPathFactory) -> ng.Store:
    return harvested(model, tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def alone(store: ng.Store) -> ng.Store:
    return ng.open_store(store.folder)


def read(head: ng.Head, text: str, most: int = 512) -> head_live.Reading:
    job = head.model.work(
        lambda job: head_live.read(head, text, job, most), priority=Priority.INTERACTIVE
    )
    made: head_live.Reading = job.result(60)
    return made


# ------------------------------------------------------------------ against brute force


def written_out(head: ng.Head, text: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Attention, value norms and what each key says, from the model's own modules and weights."""
    model, layer = head.model, head.layer
    hf: Any = model.hf
    last = f"resid_post.{model.n_layers - 1}"
    run = model.run(text, sites=[f"v.{layer}", f"pattern.{layer}", last], logits=False)
    pattern = run[f"pattern.{layer}"][0, head.index].double()
    n = len(pattern)
    size = head.d_head
    if hasattr(hf, "transformer"):  # the zoo: GPT-2, whose matrices stand the other way round
        norm, eps = hf.transformer.ln_f, hf.config.layer_norm_epsilon
        matrix = hf.transformer.h[layer].attn.c_proj.weight.detach().double().T
    else:
        norm, eps = hf.model.norm, hf.model.norm.variance_epsilon
        matrix = hf.model.layers[layer].self_attn.o_proj.weight.detach().double()
    own = matrix[:, head.index * size : (head.index + 1) * size]  # [d_model, d_head]
    v = run[f"v.{layer}"][0, :, head.kv_head].double()
    written = torch.zeros(n, n, dtype=torch.float64)
    for query in range(n):
        for key in range(query + 1):
            written[query, key] = (pattern[query, key] * (own @ v[key])).norm()
    x, moved = run[last][0].double(), v @ own.T
    if hasattr(norm, "bias"):
        x, moved = x - x.mean(-1, keepdim=True), moved - moved.mean(-1, keepdim=True)
    scale = 1 / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    moved = moved * norm.weight.detach().double() * scale
    says = moved @ hf.lm_head.weight.detach().double().T
    return pattern, written, says


def check(model: ng.LiveModel, where: tuple[int, int], text: str, tolerance: float) -> None:
    head = model.head(*where)
    reading = read(head, text)
    pattern, written, says = written_out(head, text)
    torch.testing.assert_close(reading.pattern.double(), pattern, atol=1e-6, rtol=tolerance)
    torch.testing.assert_close(reading.written.double(), written, atol=1e-6, rtol=tolerance)
    assert float(reading.written.triu(1).abs().max()) == 0
    for key in (0, 3, len(reading.ids) - 1):
        got = reading.says(key)
        want = says[key]
        error = (got.values.double() - want).abs().max() / want.abs().max()
        assert float(error) < tolerance, key
        kept = want.masked_fill(~got.kept, -torch.inf)
        assert got.top(1)[0][1] == int(kept.argmax())


@pytest.mark.parametrize("head", [(0, 0), (0, 3)])
def test_the_zoos_heads_equal_brute_force(model: ng.LiveModel, head: tuple[int, int]) -> None:
    check(model, head, TEXT, 1e-4)


@pytest.mark.model
def test_smollm2s_heads_equal_brute_force(smollm2: ng.LiveModel) -> None:
    check(smollm2, (3, 7), TEXT, 2e-3)
    check(smollm2, (20, 2), TEXT, 2e-3)


def test_a_long_text_is_cut_and_told(model: ng.LiveModel) -> None:
    head = model.head(0, 1)
    whole, part = read(head, TEXT), read(head, TEXT, 5)
    assert (part.total, len(part.ids), part.written.shape) == (whole.total, 5, (5, 5))
    assert torch.equal(part.written, whole.written[:5, :5])
    with pytest.raises(ng.InputError, match="no token 5"):
        part.says(5)


# ------------------------------------------------------------------ what is stored


def test_excerpts_have_the_query_and_the_key_that_were_harvested(alone: Any) -> None:
    whole = alone.heads()
    gaps = 0
    for head in head_pairs.harvested(alone):
        pairs: Any = head_pairs.pairs_of(alone, head)
        own = whole[(whole["layer"] == head[0]) & (whole["head"] == head[1])]
        assert pairs["value"].tolist() == own["value"].tolist()
        for row, names in zip(pairs.itertuples(), own.itertuples(), strict=True):
            shown = head_pairs.excerpt(alone, row)
            assert shown["pieces"][shown["query"]] == names.query_token
            assert shown["pieces"][shown["key"]] == names.key_token
            assert shown["distance"] == names.query - names.key
            assert len(shown["pieces"]) <= 4 * head_pairs.AROUND + 4
            seen = shown["query"] - shown["key"] + shown["gap"]
            assert seen == shown["distance"]
            gaps += shown["gap"] > 0
    assert gaps > 5


def test_numbers_of_a_head(alone: Any) -> None:
    pairs: Any = head_pairs.pairs_of(alone, (0, 1))
    made = head_pairs.summary(alone, pairs)
    top, random = pairs[pairs["group"] == "top"], pairs[pairs["group"] == "random"]
    assert made["max"] == top["value"].max()
    assert made["mean"] == pytest.approx(random["value"].mean())
    assert made["mean_error"] == pytest.approx(2 * random["value"].sem())
    assert made["previous"] == pytest.approx((top["query"] - top["key"] == 1).mean())
    assert made["first"] == pytest.approx((top["key"] == top["start"]).mean())  # no BOS here
    whole = alone.heads()
    own = whole[(whole["layer"] == 0) & (whole["head"] == 1) & (whole["group"] == "top")]
    assert made["keys"][0][1] == own["key_token"].value_counts().iloc[0]
    assert sum(made["reach"]["top"]) == len(top)
    assert sum(made["reach"]["random"]) == len(random)
    assert len(made["reach"]["labels"]) == len(made["reach"]["top"])


def test_bins_of_distance() -> None:
    distances = np.arange(20)
    assert head_pairs.reach(distances, 19) == [1, 1, 1, 2, 4, 8, 3]
    assert head_pairs.labels_of(7) == ["0 (itself)", "1", "2", "3–4", "5–8", "9–16", "17–32"]
    assert head_pairs.reach(np.zeros(0), 0) == [0, 0, 0]


def test_what_it_refuses(store: ng.Store, alone: Any, model: ng.LiveModel) -> None:
    with pytest.raises(ng.InputError, match=r"ng\.harvest\(.*heads=\[\(layer, head\)\]\)"):
        ng.HeadDashboard(ng.open_store("zoo/A-1x"))
    with pytest.raises(ng.InputError, match=r"Head \(0, 2\) was not harvested.*\(0, 0\), \(0, 1\)"):
        ng.HeadDashboard(store, (0, 2))
    for bad in ("0/1", 3, (0, True), (0,), (0, 1.0)):
        with pytest.raises(ng.InputError, match="is no head"):
            ng.HeadDashboard(store, bad)
    with pytest.raises(ng.InputError, match=r"attach a model: store\.attach\(model\)"):
        ng.HeadDashboard(alone, text=TEXT)
    with pytest.raises(ng.InputError, match="of a store, not of LiveModel"):
        ng.HeadDashboard(model)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no keyword 'txt'"):
        ng.HeadDashboard(store, txt="")
    view = ng.HeadDashboard(store)
    with pytest.raises(ng.InputError, match="not harvested"):
        view.head = (0, 2)
    assert view.head == (0, 0)


# ------------------------------------------------------------------ the view


def test_text_head_and_colouring_change_what_is_shown(store: ng.Store, model: ng.LiveModel) -> None:
    view = ng.HeadDashboard(store, model.head(0, 1), text=TEXT)
    want = read(model.head(0, 1), TEXT)
    np.testing.assert_array_equal(unpack(view.attention["written"]), want.written.numpy())
    np.testing.assert_array_equal(unpack(view.attention["pattern"]), want.pattern.numpy())
    view.token = len(want.ids) - 1
    view.head = (0, 3)
    view.wait()
    other = read(model.head(0, 3), TEXT)
    np.testing.assert_array_equal(unpack(view.attention["written"]), other.written.numpy())
    assert view.frame["head"] == [0, 3]
    assert view.to_frame()["value"].max() == view.frame["summary"]["max"]
    view.text = "Hi"
    view.wait()
    assert "".join(view.attention["pieces"]) == "Hi"
    assert view.token is None  # the new text does not have it
    view.text = ""
    assert view.attention == {}
    view.text = "too long " * 300
    with pytest.raises(ng.InputError, match="tokens"):
        view.wait()
    assert "tokens" in view.error["message"]


def test_requests_from_the_page(store: ng.Store, alone: Any, comms: list[RecordingComm]) -> None:
    view = ng.HeadDashboard(store, (0, 1))
    ask = {"v": 1, "view": "a", "id": 1, "kind": "read", "text": TEXT}
    comm_of(view).receive(ask)
    view.wait()
    assert view.text == TEXT
    assert len(view.attention["pieces"]) > 8
    comm_of(view).receive({"v": 1, "view": "a", "id": 2, "kind": "ov", "position": 3})
    said = wait_for(view, 2)
    assert view._reading is not None
    want = view._reading.says(3)
    assert [list(p) for p in said["promoted"]] == [list(p) for p in want.top(10)]
    assert [list(p) for p in said["suppressed"]] == [list(p) for p in want.top(10, lowest=True)]
    comm_of(view).receive({**ask, "id": 3, "text": ""})
    assert (view.text, view.attention) == ("", {})
    comm_of(view).receive({**ask, "id": 4, "text": "too long " * 300})
    assert "tokens" in wait_for(view, 4)["error"]["message"]
    assert "tokens" in view.error["message"]
    still = ng.HeadDashboard(alone)
    for kind in ({"kind": "read", "text": "a"}, {"kind": "ov", "position": 0}):
        comm_of(still).receive({"v": 1, "view": "a", "id": 9, **kind})
        assert "live model" in comm_of(still).answers()[-1]["error"]["message"]


def wait_for(view: Any, number: int) -> dict[str, Any]:
    """The last answer to a request."""
    import time

    end = time.monotonic() + 20
    while True:
        found = [a for a in comm_of(view).answers() if a["id"] == number and a["done"]]
        if found:
            return found[-1]
        assert time.monotonic() < end, comm_of(view).answers()
        time.sleep(0.01)


def test_without_a_model_what_is_stored_is_shown_and_attaching_reads(
    alone: Any, model: ng.LiveModel
) -> None:
    view = ng.HeadDashboard(alone)
    assert not view.attached
    assert len(view.frame["pairs"]["top"]) == min(20, view.frame["summary"]["top"])
    assert view.frame["size"] is None
    view.attach(alone.attach(model))
    assert view.frame["size"] == [1, 4]
    view.text = TEXT
    view.wait()
    assert view.attention["text"] == TEXT


def test_long_texts_go_in_eight_bits(store: ng.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = ng.HeadDashboard(store, text=TEXT)
    monkeypatch.setattr(head_dashboard, "_EXACT", 4)
    monkeypatch.setattr(head_dashboard, "TOKENS", 8)
    view = ng.HeadDashboard(store, text=TEXT)
    assert view.attention["written"]["dtype"] == "q8"
    assert "The first 8 of" in view.attention["notice"]
    want = unpack(exact.attention["written"])[:8, :8]
    np.testing.assert_allclose(unpack(view.attention["written"]), want, atol=want.max() / 400)


def test_state_code_figures_and_fallback(store: ng.Store, tmp_path: Path) -> None:
    view = ng.HeadDashboard(store, (0, 1), text="a <b>x</b> text", by="pattern", token=1)
    state = json.loads(json.dumps(view.state))
    still = ng.HeadDashboard.from_state(state)
    assert not still.live
    assert still.fallback_html() == view.fallback_html()
    with pytest.raises(ng.InputError, match="from_state"):
        still.to_frame()
    again = ng.HeadDashboard.from_state(state, store)
    assert (again.head, again.by, again.text, again.token) == (view.head, "pattern", view.text, 1)
    without = ng.HeadDashboard.from_state(state, ng.open_store(store.folder))
    assert (without.head, without.text) == ((0, 1), "")
    scope: dict[str, Any] = {}
    exec(view.code, scope)
    scope["store"].model.close()
    call = "ng.HeadDashboard(store, (0, 1), text='a <b>x</b> text', by='pattern')"
    assert view.code.endswith(call)
    figure: Any = view.plot().to_json().replace("\\u003c", "<")
    assert "<b>" not in figure
    np.testing.assert_allclose(view.plot().data[0].z, unpack(view.attention["pattern"]))
    view.text = ""
    bars = view.plot().data
    assert [b.name for b in bars] == ["top", "random"]
    assert sum(bars[0].y) == pytest.approx(1)
    fallback = view.fallback_html()
    assert "its 10 strongest pairs" in fallback
    assert len(fallback) < 50_000
    pair = {**view.frame["pairs"]["top"][0], "pieces": ["<i>"] * 30}
    view.frame = {**view.frame, "pairs": {"top": [pair]}}
    assert "<i>" not in view.fallback_html()
    page = again.to_html(tmp_path / "head.html").read_text("utf-8")
    assert "<b>x" not in page
    assert repr(again).startswith("HeadDashboard(head 1 of layer 0; ")
