"""What a store answers: lookups without a model, effects and geometry with one."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import neuroglass as ng

CONTEXT = 64
KEEP = ng.Keep(top=5, intervals=4, per_interval=3, firing=12, random=8)


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture(scope="module")
def sae(model: ng.LiveModel) -> ng.SAE:
    return ng.SAE.load("zoo/A-8x", model)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    kinds = ("english_prose", "code", "hebrew", "base64")
    return [t[:900] for kind in kinds for t in ng.zoo_texts(kind)[:5]]


@pytest.fixture(scope="module")
def store(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    out = tmp_path_factory.mktemp("store") / "s"
    return ng.harvest(model, sae, texts, out=out, context=CONTEXT, keep=KEEP, progress=False)


@pytest.fixture(scope="module")
def small(model: ng.LiveModel, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("store") / "s"
    one = ng.SAE.load("zoo/A-1x", model)
    return ng.harvest(model, one, texts, out=out, context=CONTEXT, keep=KEEP, progress=False)


@pytest.fixture(scope="module")
def busy(store: Any) -> int:
    """A feature that is on now and then."""
    f = store.to_frame()
    return int(f[(f["density"] > 0.01) & (f["density"] < 0.1)].index[0])


def test_opens_without_torch(store: Any, busy: int) -> None:
    code = (
        "import sys, neuroglass as ng\n"
        f"s = ng.open_store({str(store.folder)!r})\n"
        f"assert len(s.examples({busy})) == 5 and repr(s[{busy}])\n"
        f"s.find(token=' the', density=(0, .5)), s.to_frame(), s.histogram({busy})\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_handles_and_ids(store: Any, sae: ng.SAE, busy: int) -> None:
    assert store[busy].id == sae[busy].id == store.id(busy)
    assert store[sae[busy].id].index == busy
    assert store[busy].feature == sae[busy]
    assert store.index(sae[busy]) == busy
    assert len(store) == 4096
    for bad in (4096, -1, True, "zoo/A/neurons.0/other/3", None):
        with pytest.raises(ng.InputError):
            store[bad]
    alone = ng.open_store(store.folder)
    with pytest.raises(ng.InputError, match="no live model"):
        alone.search("text")
    assert alone.attach(store.model).basis.fingerprint == sae.fingerprint  # the zoo has it
    mine = replace(alone, meta=alone.meta | {"basis": alone.meta["basis"] | {"name": "mine"}})
    attached = mine.attach(store.model)
    with pytest.raises(ng.InputError, match="does not have the dictionary"):
        attached.search("text")


def test_examples_show_what_the_model_does(store: Any, sae: ng.SAE, busy: int) -> None:
    for group in ("top", "firing", "interval 3", "random"):
        for row in store.examples(busy, group).itertuples():
            run = store.model.run([*store.corpus.lead, *row.ids], sites=[sae.read_site])
            lead = len(store.corpus.lead)
            want = sae[busy].activations(run[sae.read_site][0])[lead:].numpy()
            np.testing.assert_allclose(row.values, np.maximum(want, 0), atol=2e-4)
            assert row.value == pytest.approx(row.values[row.at], abs=1e-6)
            assert "".join(row.tokens) == "".join(store.pieces(row.ids))
    top = store.examples(busy, "top")["value"]
    assert top.is_monotonic_decreasing
    assert top[0] == pytest.approx(store.to_frame().loc[busy, "max"])
    assert len(store.examples(busy, "random")) == 8
    assert set(store.examples(busy, None)["group"]) >= {"top", "firing", "random"}
    with pytest.raises(ng.InputError, match="no group 'best'"):
        store.examples(busy, "best")


def test_any_context(store: Any, busy: int) -> None:
    wide = store.examples(busy, "top", context=40)
    for row in wide.itertuples():
        size = int(np.diff(store.corpus.starts)[row.document])
        assert len(row.tokens) == min(40, size)
        assert row.values[row.at] == pytest.approx(row.value)
        begin = row.position - row.at
        doc = store.corpus.ids[store.corpus.starts[row.document] :]
        assert row.ids.tolist() == doc[begin : begin + len(row.ids)].tolist()
    beyond = store.examples(busy, "top", context=3 * CONTEXT)
    assert any(np.isnan(v).any() for v in beyond["values"])  # not measured is not zero


def test_find(store: Any, busy: int) -> None:
    f = store.to_frame()
    some = store.find(density=(0.01, 0.1), limit=None)
    assert set(some.index) == set(f[(f["density"] >= 0.01) & (f["density"] <= 0.1)].index)
    assert some["density"].is_monotonic_decreasing
    assert store.find(sort="max", descending=False, limit=3)["max"].tolist() == [0, 0, 0]
    token = store.tokens(busy).iloc[0]
    by_token = store.find(token=token["token"], limit=None)
    assert by_token.loc[busy, "share"] == pytest.approx(token["share"])
    assert by_token.loc[busy, "on"] == pytest.approx(token["on"])
    row = store.examples(busy, "top").iloc[0]
    words = "".join(row["tokens"][row["at"] - 1 : row["at"] + 2])
    assert busy in store.find(text=words, limit=None).index
    silent = store.find(text=words, limit=None)
    assert len(silent) < store.n_features / 4
    assert store.find(text="no such words anywhere").empty
    for bad, why in (
        ({"token": "nosuchtokenatall"}, "no single token"),
        ({"token": 99999}, "no token 99999"),
        ({"density": (1, 0)}, "no range"),
        ({"sort": "beauty"}, "no column 'beauty'"),
        ({"sort": "share"}, "no column 'share'"),
        ({"text": ""}, "is empty"),
    ):
        with pytest.raises(ng.InputError, match=why):
            store.find(**bad)


def test_search_equals_the_model(store: Any, sae: ng.SAE) -> None:
    text = "The law of the land"
    found = store.search(text, limit=10_000)
    run = store.model.run(text, sites=[sae.read_site])
    keep = ~run.masks["special"][0] & ~run.masks["massive"][0]
    dense = sae.encode_dense(run[sae.read_site][0])
    want = dense[keep].max(0).values
    on = (want > 0).nonzero().flatten().tolist()
    assert sorted(found.index) == on
    np.testing.assert_allclose(found["value"], want[found.index], rtol=1e-6)
    assert found["value"].is_monotonic_decreasing
    last = store.search(text, tokens=[-1 + int(run.mask.sum())])
    assert set(last.index) <= set(dense[-1].nonzero().flatten().tolist())
    with pytest.raises(ng.InputError, match="no token 50"):
        store.search(text, tokens=[50])


def test_predicate(store: Any, busy: int) -> None:
    everywhere = store.predicate(busy, lambda tokens, i: True)
    assert everywhere.specificity == 1
    assert math.isnan(everywhere.pearson)
    common = store.tokens(busy)["token"].tolist()
    rule = store.predicate(busy, lambda tokens, i: tokens[i] in common)
    assert rule.specificity == 1  # it is on at no other token
    random = store.examples(busy, "random")
    hits, ons = [], []
    for row in random.itertuples():
        hits += [t in common for t in row.tokens]
        ons += list(row.values)
    assert any(hits)
    assert not all(hits)
    wanted = np.mean([v > 0 for v, h in zip(ons, hits, strict=True) if h])
    assert rule.sensitivity == pytest.approx(wanted)
    assert rule.pearson == pytest.approx(np.corrcoef(hits, ons)[0, 1])
    assert rule.tokens == len(hits)
    assert rule.on == len(store.examples(busy, "firing")) == KEEP.firing
    half = store.predicate(busy, lambda tokens, i: tokens[i] == common[0])
    share = store.to_frame().loc[busy, "single_token_share"]
    firing = store.examples(busy, "firing")
    assert half.specificity == (firing["token"] == common[0]).mean()
    assert abs(half.specificity - share) < 0.45  # a sample of twelve
    with pytest.raises(ng.InputError, match="ZeroDivisionError"):
        store.predicate(busy, lambda tokens, i: bool(1 / 0))


def test_coactive(store: Any, busy: int) -> None:
    found = store.coactive(busy)
    assert found["count"].is_monotonic_decreasing
    other = int(found["other"][0])
    assert store.coactive(other).set_index("other").loc[busy, "count"] == found["count"][0]
    assert (found["phi"].abs() <= 1).all()


def test_ablation_is_two_passes(store: Any, sae: ng.SAE, busy: int) -> None:
    row = store.examples(busy, "top").iloc[0]
    found = store[busy].ablation(row["ids"], at=int(row["at"]))
    ids = row["ids"].tolist()
    clean = store.model.run(ids, sites=[sae.read_site])
    x = clean[sae.read_site].clone()
    value = sae[busy].activations(x[0, row["at"]])
    x[0, row["at"]] -= value * sae[busy].direction * sae.scale(x[0, row["at"]])

    delta = x[0, row["at"]] - clean[sae.read_site][0, row["at"]]
    without = store.model.run(ids, edits=[ng.Add("neurons.0", delta, positions=[int(row["at"])])])
    np.testing.assert_allclose(found["effect"], (clean.logprobs - without.logprobs)[0], atol=2e-5)
    p, q = clean.logits[0].log_softmax(-1), without.logits[0].log_softmax(-1)
    np.testing.assert_allclose(found["kl"], (p.exp() * (p - q)).sum(-1), atol=2e-5)
    assert found["effect"][: row["at"]].fillna(0).eq(0).all()  # nothing before it changes
    best = (p[row["at"]].exp() - q[row["at"]].exp()).argmax()
    assert found["promoted"][row["at"]][0][0] == clean.piece(int(best))
    with pytest.raises(ng.InputError, match="no token 999"):
        store[busy].ablation(ids, at=999)


def test_direct_effect_is_the_gradient(store: Any, sae: ng.SAE, busy: int) -> None:
    """In a one-layer model the direct path is all there is; with the norm frozen it is linear."""
    row = store.examples(busy, "top").iloc[0]
    ids = row["ids"].tolist()[: int(row["at"]) + 2]
    if len(ids) < row["at"] + 2:
        pytest.skip("the example ends with its token")
    found = store[busy].direct_effect(ids)
    at = int(row["at"])
    logit = ng.Logit(ids[at + 1], at)
    gradients = store.model.grad(logit, ids, sites=["neurons.0"], freeze_norm=True)
    slope = float(gradients["neurons.0"][0, at] @ sae[busy].direction)
    assert found["next"][at] == pytest.approx(slope * found["value"][at], rel=1e-3)
    assert math.isnan(found["next"].iloc[-1])


def test_geometry(store: Any, sae: ng.SAE, busy: int) -> None:
    rows = torch.nn.functional.normalize(sae.weights.W_dec.float(), dim=1)
    cosine = rows @ rows[busy]
    cosine[busy] = -2
    near = store[busy].neighbours(k=4)
    assert near["feature"].tolist() == cosine.topk(4).indices.tolist()
    assert store[busy].neighbours(by="encoder", k=2)["cosine"].between(-1, 1).all()
    with pytest.raises(ng.InputError, match="neither"):
        store[busy].neighbours(by="middle")
    own = store[busy].alignment(3)
    direction = sae[busy].direction
    assert own["coordinate"][0] == int(direction.abs().argmax())
    assert own["share"][0] == pytest.approx(
        float(direction.abs().max() / direction.abs().sum()), rel=1e-5
    )


def test_other_stores(store: Any, small: Any, sae: ng.SAE, busy: int) -> None:
    tokens = 1500
    found = store.correlated(small, features=[busy, 3], tokens=tokens)
    split = small.splitting(store, tokens=tokens, least=0.5)
    # the same tokens, dense
    a, b = [], []
    for windows in store.corpus.scattered(tokens):
        run = store.model.run(store.corpus.rows(windows), sites=["neurons.0"])
        keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
        x = run["neurons.0"][keep]
        a.append(sae.encode_dense(x).double().numpy())
        b.append(small.basis.encode_dense(x).double().numpy())
    assert tokens <= sum(map(len, a)) < tokens + store.corpus.context
    wide, narrow = np.concatenate(a), np.concatenate(b)
    want = np.array([np.corrcoef(wide[:, busy], y)[0, 1] if y.any() else -1 for y in narrow.T])
    assert found.loc[busy, "other"] == int(want.argmax())
    assert found.loc[busy, "pearson"] == pytest.approx(want.max(), abs=1e-9)
    assert found.loc[busy, "count"] == (wide[:, busy] > 0).sum()
    sides = []
    for own, other, way in ((narrow, wide, 1), (wide, narrow, -1)):
        on = own > 0  # over the tokens where the one of `own` is on
        inside = np.sqrt((own**2).sum(0)[:, None] * (on.T @ other**2))
        cosine = np.divide((own.T @ other), inside, out=np.zeros_like(inside), where=inside > 0)
        cosine[on.sum(0) < 10] = 0
        sides.append(cosine if way == 1 else cosine.T)
    want_edges = np.maximum(*sides)
    i, j = np.nonzero(want_edges >= 0.5)
    got = split.set_index(["feature", "other"])["masked_cosine"]
    assert len(i) > 10
    assert set(got.index) == set(zip(i.tolist(), j.tolist(), strict=True))
    np.testing.assert_allclose(got[list(zip(i, j, strict=True))], want_edges[i, j], atol=1e-9)
    assert split["masked_cosine"].ge(0.5).all()


def test_transitions(store: Any, busy: int) -> None:
    found = store[busy].transitions(k=5)
    assert found["weight"].is_monotonic_decreasing
    effect = store.model.unembed(
        store.basis.model.to_residual("neurons.0", store[busy].feature.direction)
    )
    values = effect.values - effect.values.median()
    first = found.iloc[0]
    vocabulary = {p: i for i, p in enumerate(store.pieces(range(store.model.vocabulary)))}
    total = 0.0
    for piece in first["tokens"]:
        on = store.find(token=vocabulary[piece], limit=None).loc[int(first["next"]), "on"]
        total += float(values[vocabulary[piece]]) * on
    assert first["weight"] == pytest.approx(total, rel=1e-4)


def test_the_texts_of_the_corpus_are_its_tokens(store: Any) -> None:
    texts = list(store.texts())
    assert len(texts) == store.corpus.n_documents
    a, b = store.corpus.starts[:2]
    again = store.model.prompts.plain([texts[0]])[0]
    assert again[:20] == store.corpus.ids[a:b][:20].tolist()
