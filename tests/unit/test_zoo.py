"""What ships: texts with their labels, models, and the shuffled control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open

import neuroglass as ng
from neuroglass import zoo
from neuroglass.model.zoo import shuffle_weights
from neuroglass.recipes.corpus import LIMITS
from neuroglass.recipes.data import held_out
from neuroglass.recipes.ship import table
from neuroglass.recipes.texts import LONGEST, PUBLIC, WRITTEN
from tests.unit.conftest import tiny

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[2]


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


# ------------------------------------------------------------------ the models as they ship


@pytest.fixture(scope="module")
def zoo_a() -> Iterator[ng.LiveModel]:
    made = ng.load()
    yield made
    made.close()


def nats(model: ng.LiveModel, category: str) -> float:
    """Mean loss over the tokens of a category's shipped texts, each led by the end token."""
    assert model.tokenizer is not None
    lead = model.tokenizer.bos_token_id
    windows = [
        [lead, *row]
        for text in ng.zoo_texts(category)
        for row in model.prompts.windows(text, model.context - 1)
    ]
    losses = []
    for at in range(0, len(windows), 16):
        run = model.run(windows[at : at + 16], sites=[])
        losses.append(-run.logprobs[:, 1:][run.mask[:, 1:]])
    return float(torch.cat(losses).mean())


@pytest.mark.parametrize(("name", "activation"), [("A", "relu"), ("B", "relu"), ("A-gelu", "gelu")])
def test_a_shipped_model_is_the_one_layer_transformer_of_the_paper(
    name: str, activation: str
) -> None:
    with safe_open(zoo.path(name) / "model.safetensors", "pt") as kept:
        kinds = {kept.get_tensor(key).dtype for key in kept.keys()}  # noqa: SIM118 - not a dict
    assert kinds == {torch.float16}
    model = ng.load(f"zoo/{name}")
    assert (model.n_layers, model.d_model, model.width("neurons.0")) == (1, 128, 512)
    assert model.hf.config.activation_function == activation
    assert model.hf.config.tie_word_embeddings is False
    assert 4000 <= model.vocabulary <= 8192
    card = (zoo.path(name) / "README.md").read_text("utf-8")
    assert "| all |" in card
    assert "## Limits" in card
    model.close()


def test_the_readme_has_the_figures_that_were_measured() -> None:
    figures = json.loads((zoo.path("texts.json").parent / "figures.json").read_text("utf-8"))
    assert table(figures) in (ROOT / "README.md").read_text("utf-8")
    assert table(figures) in (zoo.path("A") / "README.md").read_text("utf-8")


def test_every_category_has_tokens_of_its_own_and_comes_back_as_it_was(
    zoo_a: ng.LiveModel,
) -> None:
    assert zoo_a.tokenizer is not None
    for category, texts in ng.zoo_texts().items():
        text = "".join(texts)
        ids = zoo_a.tokenizer(text, verbose=False)["input_ids"]
        assert zoo_a.tokenizer.decode(ids) == text
        # letters of these are two bytes and three: tokens are letters at least
        least = {"hebrew": 2, "arabic": 2, "korean": 2}.get(category, 1.15)
        assert len(text.encode()) / len(ids) > least, category


def test_the_default_has_learned_every_category(zoo_a: ng.LiveModel) -> None:
    figures = json.loads((zoo.path("texts.json").parent / "figures.json").read_text("utf-8"))
    table = figures["nats_per_token"]
    assert set(table["A"]) == {*LIMITS, "all"}
    assert table["A"]["all"] < table["trigram"]["all"]
    for category in LIMITS:
        assert nats(zoo_a, category) < table["unigram"][category] - 0.5, category


def test_the_shuffled_control_has_not(zoo_a: ng.LiveModel) -> None:
    control = ng.load("zoo/A-shuffled")
    assert nats(control, "english_prose") > nats(zoo_a, "english_prose") + 3
    control.close()


def test_two_seeds_are_two_models_of_one_quality(zoo_a: ng.LiveModel) -> None:
    other = ng.load("zoo/B")
    assert abs(nats(other, "english_prose") - nats(zoo_a, "english_prose")) < 0.1
    assert other.fingerprint != zoo_a.fingerprint
    assert not torch.equal(
        other.hf.transformer.h[0].mlp.c_fc.weight, zoo_a.hf.transformer.h[0].mlp.c_fc.weight
    )
    other.close()


# ------------------------------------------------------------------ the dictionaries as they ship


@pytest.mark.parametrize(
    ("name", "latents", "architecture"),
    [("A-1x", 512, "topk"), ("A-8x", 4096, "topk"), ("A-8x-relu", 4096, "relu")],
)
def test_a_shipped_dictionary_explains_the_neurons_of_model_a(
    zoo_a: ng.LiveModel, name: str, latents: int, architecture: str
) -> None:
    sae = ng.SAE.load(f"zoo/{name}", zoo_a)
    assert (sae.n_features, sae.spec.architecture) == (latents, architecture)
    assert sae.weights.W_enc.dtype == torch.float16
    assert str(sae.read_site) == "neurons.0"
    texts = [t for some in ng.zoo_texts().values() for t in some]
    report = sae.report(texts, tokens=6000, context=256)
    assert 10 < report["l0"] < 25
    assert report["recovered_mean"] > 0.8
    card = (zoo.path(name) / "README.md").read_text("utf-8")
    said = {
        cells[1].strip(): [float(cell) for cell in cells[2:4]]
        for line in card.splitlines()
        if len(cells := line.split("|")) == 5 and cells[1].strip() in report.values
    }
    shipped, exact = said["recovered_mean"]
    assert abs(shipped - exact) < 0.005  # what float16 may cost
    assert report["recovered_mean"] == pytest.approx(shipped, abs=0.1)  # other texts


def test_a_shipped_dictionary_is_not_for_another_model() -> None:
    other = ng.load("zoo/B")
    with pytest.raises(ng.InputError, match="zoo/A"):
        ng.SAE.load("zoo/A-8x", other)
    other.close()
