"""Rules: patterns and functions over tokens, and how they fit features."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass.features.rules import Rule, Verdicts, bytes_of, fit
from neuroglass.features.trace import Trace, read_corpus
from neuroglass.model.tokens import display_bytes


@pytest.fixture(scope="module")
def store() -> Any:
    return ng.open_store("zoo/A-1x", ng.load("zoo/A"))


@pytest.mark.parametrize(
    "raw", [b" the", "\u05d0".encode(), b"\xd7", b"a\xe2\x80", b"\x00\n", b"\xe2\x80\x8b"]
)
def test_the_bytes_of_a_piece_are_those_it_was_made_of(raw: bytes) -> None:
    piece, kind = display_bytes(raw)
    assert bytes_of(piece, int(kind)) == raw


def test_the_bytes_of_a_text_are_the_text(store: Any) -> None:
    text = "שלום עולם, hello 안녕 \n x"
    ids = store.model.tokenize(text)[0][0].tolist()
    whole = b"".join(store.token_bytes[i] for i in ids)
    assert whole.decode() == text


def test_a_pattern_counts_every_token_it_touches(store: Any) -> None:
    text = "abc שלום def"
    ids = np.array(store.model.tokenize(text)[0][0].tolist())
    found = Rule.of(r"\p{Hebrew}+").over(store, ids)
    pieces = store.pieces(ids)
    # by hand: bytes of the text, token by token
    at, want = 0, []
    inside = range(len(b"abc "), len("abc שלום".encode()))
    for i in ids:
        size = len(store.token_bytes[i])
        want.append(any(k in inside for k in range(at, at + size)))
        at += size
    assert found.tolist() == [float(w) for w in want], pieces
    assert 0 < found.sum() < len(ids)


def test_a_rule_sees_one_window(store: Any) -> None:
    corpus = store.corpus
    verdicts = Verdicts(store, Rule.of("the"))
    verdicts.catch_up(2)
    asked = np.concatenate(
        [w for _, w in zip(range(2), corpus.scattered(corpus.n_tokens), strict=False)]
    )
    on = 0
    for row, d, s, n in zip(corpus.rows(asked), *corpus.place(asked), strict=True):
        text = b"".join(store.token_bytes[i] for i in row).decode("utf-8", "replace")
        first = int(corpus.starts[d] + s)
        found = verdicts.values[first : first + n].sum()
        assert (found > 0) == ("the" in text)
        on += found
    assert on == verdicts.values.sum() > 0  # nothing was said of others


def test_what_is_no_rule_is_refused(store: Any) -> None:
    with pytest.raises(ng.InputError, match="no regular expression"):
        Rule.of("(")
    with pytest.raises(ng.InputError, match="empty"):
        Rule.of("")
    with pytest.raises(ng.InputError, match="int"):
        Rule.of(3)  # type: ignore[arg-type]
    slow = Rule.of(r"(a|aa)+$")
    b = store.model.tokenize("a" * 60 + "!")[0][0].numpy()
    with pytest.raises(ng.InputError, match="too long"):
        slow.over(store, b)
    assert Rule.of(re.compile("THE", re.IGNORECASE)).over(store, b).sum() == 0


def test_a_function_may_give_numbers(store: Any) -> None:
    ids = np.array(store.model.tokenize("one two")[0][0].tolist())
    found = Rule.of(lambda tokens, i: i - 0.5).over(store, ids)
    assert found.tolist() == [i - 0.5 for i in range(len(ids))]
    with pytest.raises(ng.InputError, match="ValueError"):
        Rule.of(lambda tokens, i: float("x")).over(store, ids)


def test_fit_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    value = np.where(rng.random(500) < 0.2, rng.random(500), 0).astype(np.float32)
    rule = ((rng.random(500) < 0.1) | (value > 0.7)).astype(np.float32)
    at = np.flatnonzero(value)
    found = fit(rule, at, value[at])
    assert found.pearson == pytest.approx(np.corrcoef(rule, value)[0, 1], rel=1e-6)
    assert found.specificity == pytest.approx(rule[value > 0].mean())
    assert found.sensitivity == pytest.approx((value[rule > 0] > 0).mean())
    assert (found.tokens, found.on, found.holds) == (500, (value > 0).sum(), rule.sum())
    none = fit(np.zeros(4, np.float32), at[:0], value[:0])
    assert np.isnan([none.pearson, none.specificity, none.sensitivity]).all()


def test_a_trace_is_what_the_model_does(store: Any) -> None:
    """Against one run per window, and the histogram of the harvest."""
    frame = store.to_frame()
    feature = int((frame["density"] - 0.01).abs().idxmin())
    trace = Trace(store, feature)
    for step, _ in enumerate(trace.more()):
        if step == 2:
            break
    half = trace.tokens
    corpus = store.corpus
    windows = np.concatenate(
        [w for _, w in zip(range(3), corpus.scattered(corpus.n_tokens), strict=False)]
    )
    document, start, length = corpus.place(windows)
    want: dict[int, float] = {}
    for d, s, n in zip(document, start, length, strict=True):
        first = int(corpus.starts[d] + s)
        run = store.model.run(
            [corpus.ids[first : first + n].tolist()], sites=["neurons.0"], logits=False
        )
        f = store[feature].feature.activations(run["neurons.0"][0].float())
        want |= {first + i: v for i, v in enumerate(f.tolist()) if v}
    got = dict(zip(trace.read[trace.at].tolist(), trace.value.tolist(), strict=True))
    assert set(got) == set(want)
    # padded batches sum in another order: float32 rounding of sums of 512 terms
    np.testing.assert_allclose([got[k] for k in want], list(want.values()), rtol=2e-4, atol=1e-5)
    for _ in trace.more():  # goes on where it stopped
        pass
    assert trace.done
    assert trace.tokens == store.n_tokens > half
    assert len(np.unique(trace.read)) == store.n_tokens
    hist = store.histogram(feature)
    assert abs(len(trace.at) - frame.loc[feature, "count"]) <= 2  # ties of TopK
    edges = np.r_[hist["low"], hist["high"].iloc[-1]]
    all_, some = trace.stacked(np.ones(corpus.n_tokens, np.float32), edges)
    assert (all_ == some).all()
    assert np.abs(all_ - hist["count"].to_numpy()).sum() <= 0.01 * len(trace.at) + 2
    place, value = trace.between(1.0, 2.0)
    assert ((value >= 1) & (value <= 2)).all()
    assert len(place) == ((trace.value >= 1) & (trace.value <= 2)).sum()


def test_rules_over_all_features_equal_each_alone(store: Any) -> None:
    rules: dict[str, Any] = {"hebrew": r"\p{Hebrew}", "the": lambda tokens, i: tokens[i] == " the"}
    found = store.rules(rules, tokens=20_000)
    assert set(found["rule"]) == set(rules)
    best = found[found["rule"] == "hebrew"].iloc[0]
    assert best["pearson"] > 0.5
    places, values = [], []
    feature = store[int(best["feature"])].feature
    for _, place, x in read_corpus(store, tokens=20_000):
        places.append(place)
        values.append(feature.activations(x).numpy())
    place, value = np.concatenate(places), np.concatenate(values)
    verdicts = Verdicts(store, Rule.of(r"\p{Hebrew}"))
    verdicts.catch_up(10**6)
    rule = verdicts.values
    at = np.flatnonzero(value)
    alone = fit(rule[place], at, value[at])
    for name in ("specificity", "sensitivity", "pearson"):
        assert best[name] == pytest.approx(getattr(alone, name), rel=1e-4)
    assert best["tokens"] == alone.tokens
    assert best["both"] == alone.both
    silent = found[(found["rule"] == "the") & (found["on"] == 0)]
    assert silent["pearson"].isna().all()
