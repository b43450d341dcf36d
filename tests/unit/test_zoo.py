"""What ships: texts with their labels, models, and the shuffled control."""

from __future__ import annotations

import json

import pytest
import torch

import neuroglass as ng
from neuroglass import zoo
from neuroglass.model.zoo import shuffle_weights
from neuroglass.recipes.corpus import LIMITS
from neuroglass.recipes.data import held_out
from neuroglass.recipes.texts import LONGEST, PUBLIC, WRITTEN
from tests.unit.conftest import tiny


def test_there_are_texts_of_every_category() -> None:
    texts = ng.zoo_texts()
    assert set(texts) == set(LIMITS)
    assert all(len("".join(some)) > 800 for some in texts.values())
    assert ng.zoo_texts("dna") == texts["dna"]
    assert sum(c in "ACGTacgt" for c in "".join(texts["dna"])) > 0.8 * len("".join(texts["dna"]))
    scripts = {"hebrew": ("א", "ת"), "arabic": ("ء", "ي"), "korean": ("가", "힣")}
    for category, (low, high) in scripts.items():
        letters = [c for c in "".join(texts[category]) if c.isalpha()]
        assert sum(low <= c <= high for c in letters) > 0.5 * len(letters)


def test_every_text_names_a_free_source() -> None:
    kept = json.loads(zoo.path("texts.json").read_text("utf-8"))
    for category, rows in kept.items():
        for row in rows:
            if category in WRITTEN:
                assert row["text"] in WRITTEN[category]
            elif category != "legal":
                assert row["source"].startswith(tuple(PUBLIC[category]))


def test_texts_that_are_whole_documents_are_held_out_ones() -> None:
    # what was cut is longer than half of the limit
    whole = [
        t
        for c, some in ng.zoo_texts().items()
        for t in some
        if c not in WRITTEN and len(t) < LONGEST / 2
    ]
    assert len(whole) > 20
    assert all(held_out(text) for text in whole)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ng.InputError, match="hebrew"):
        ng.zoo_texts("herbew")
    with pytest.raises(ng.ModelLoadError, match="The zoo has no model 'Z'"):
        ng.load("zoo/Z")
    with pytest.raises(FileNotFoundError, match="no '../model'"):
        zoo.path("../model")


def test_a_shuffled_model_keeps_its_numbers_and_loses_their_places() -> None:
    before, hf = tiny("gpt2"), tiny("gpt2")
    shuffle_weights(hf)
    for (name, old), new in zip(before.named_parameters(), hf.parameters(), strict=True):
        if old.ndim > 1:
            assert torch.equal(old.flatten().sort().values, new.flatten().sort().values), name
            assert float((old == new).float().mean()) < 0.1, name
        else:
            assert torch.equal(old, new), name
    assert hf.lm_head.weight is hf.transformer.wte.weight
    again = tiny("gpt2")
    shuffle_weights(again)
    assert all(torch.equal(a, b) for a, b in zip(hf.parameters(), again.parameters(), strict=True))
    other = tiny("gpt2")
    shuffle_weights(other, seed=1)
    assert not torch.equal(other.transformer.wpe.weight, hf.transformer.wpe.weight)
