"""Every steering mode against its formula, in prefill and cached decoding, padded and batched."""
# ruff: noqa: E501 - the table of bad input has one entry a line

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import neuroglass as ng
from neuroglass import InputError, LiveModel, load
from neuroglass.model.basis import Directions, Feature
from neuroglass.model.edits import Add, Cap, Clamp, Edit, Orthogonal, Scale
from neuroglass.steering.setting import MODES, Setting, edits_of
from neuroglass.steering.strength import Scales, calibrate, scales
from tests.unit.conftest import tiny
from tests.unit.test_edits import Token, change, hooks_of, plain, vector
from tests.unit.written_out import forward

PROMPTS = [[3, 14, 15, 92, 65], [2, 71, 82]]  # the second is padded beside the first
NEW = 4
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32: other sums of numbers of size 1
FELT = 1e-3
SITE = "resid_post.1"
POSITIONS: list[Any] = ["all", "prompt", "generated", slice(2, None), slice(-2, 6), [1, 5], -1]
Load = Callable[..., LiveModel]


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, LiveModel]]:
    made = {kind: load(tiny(kind, eos_token_id=None)) for kind in ("llama", "gpt2", "mistral")}
    yield made
    for model in made.values():
        model.close()


@pytest.fixture(scope="module")
def zoo() -> Iterator[LiveModel]:
    model = load("zoo/A")
    yield model
    model.close()


def direction(model: LiveModel, v: torch.Tensor, site: str = SITE) -> Feature:
    return Directions(model, site, v[None], "d")[0]


def coordinate(x: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return x @ d / (d @ d)


V = vector(32, 4, 1.5)


def formulas(v: float, of_norm: bool) -> dict[str, Token]:
    """mode -> what it does to one token's vector x, along V: written out."""

    def units(x: torch.Tensor) -> float:
        return v * float(x.norm() / V.norm()) if of_norm else v

    return {
        "add": lambda x, _: x + units(x) * V,
        "clamp": lambda x, _: x + (units(x) - coordinate(x, V)) * V,
        "scale": lambda x, _: x + (v - 1) * coordinate(x, V) * V,
        "ablate": lambda x, _: x - coordinate(x, V) * V,
        "orthogonal": lambda x, _: (
            (torch.eye(32) - torch.outer(V, V) / (V @ V)) @ x + v * torch.outer(V, V) / (V @ V) @ x
        ),
        "cap": lambda x, _: x - max(0.0, float(coordinate(x, V)) - units(x)) * V,
    }


def check(
    model: LiveModel, site: str, edits: list[Edit], token: Token, positions: Any
) -> tuple[float, float]:
    """Cached, left-padded and batched equals an uncached forward of each row written out, and so
    does a right-padded run; how far each moved."""
    generation = model.generate(PROMPTS, edits=edits, sites=["logits"], max_new_tokens=NEW).finish()
    run = model.run(generation.sequences, edits=edits, n_prompt=[5, 3], sites=["logits"])
    moved = 0.0
    for row, ids in enumerate(PROMPTS):
        n, whole = len(ids), generation.sequences[row]
        places = positions
        if isinstance(positions, slice):
            start, stop = positions.start, positions.stop
            places = list(range(n + start if start < 0 else start, min(stop or n + NEW, n + NEW)))
        with torch.no_grad():
            want = forward(model.hf, whole, {site: change(site, token, places, n)}).logits
            moved = max(moved, float((want - forward(model.hf, whole).logits).abs().max()))
        got = [s.sites["logits"][row] for s in generation.steps]
        torch.testing.assert_close(got[0][-n:], want[:n], **CLOSE)
        torch.testing.assert_close(torch.stack([g[-1] for g in got]), want[n - 1 : -1], **CLOSE)
        torch.testing.assert_close(run["logits"][row, : len(whole)], want, **CLOSE)
    return moved, 0.0


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("mode", list(MODES))
def test_every_mode_equals_its_formula_in_prefill_and_cached_decoding(
    mode: Any, kind: str, models: dict[str, LiveModel]
) -> None:
    model = models[kind]
    feature = direction(model, V)
    for i, positions in enumerate(POSITIONS):
        for unit in ("raw", "norm"):
            if unit == "norm" and mode not in {"add", "clamp", "cap"}:
                continue
            v = -0.4 if mode == "cap" else 1.7 + i
            setting = Setting(feature, mode, v, unit, positions=positions)
            token = formulas(v, unit == "norm")[mode]
            moved, _ = check(model, SITE, setting.edits(), token, positions)
            assert moved > FELT or (mode == "cap" and positions not in ("all", "prompt"))


@pytest.mark.parametrize("mode", list(MODES))
def test_every_mode_of_a_latent_of_the_zoo_equals_its_formula(mode: Any, zoo: LiveModel) -> None:
    """f from one encode; the reconstruction error stays: only (v - f)·d is added."""
    sae = ng.SAE.load("zoo/A-8x", zoo)
    text = ng.zoo_texts("hebrew")[0][:120]
    ids = zoo.tokenize(text)[0][0].tolist()
    clean = zoo.run([ids], sites=["neurons.0"])["neurons.0"][0]
    dense = sae.encode_dense(clean)
    index = int(dense.mean(0).argmax())
    d = sae.weights.W_dec[index].float()
    f = dense[:, index]
    along = clean @ d / (d @ d)
    v = 0.1 if mode == "cap" else 2.5
    want = {
        "add": clean + v * d,
        "clamp": clean + (v - f)[:, None] * d,
        "scale": clean + (v - 1) * f[:, None] * d,
        "ablate": clean - f[:, None] * d,
        "orthogonal": clean + (v - 1) * along[:, None] * d,
        "cap": clean - (along - v).clamp_min(0)[:, None] * d,
    }[mode]
    edits = Setting(sae[index], mode, v, skip_special=False).edits()
    run = zoo.run([ids], edits=edits, sites=["neurons.0"])
    torch.testing.assert_close(run["neurons.0"][0], want, rtol=1e-4, atol=1e-5)
    # what the dictionary does not explain is where it was, before and after
    with torch.no_grad():
        latents = dense.clone()
        if mode in {"clamp", "scale", "ablate"}:
            latents[:, index] = {"clamp": torch.full_like(f, v), "scale": v * f}.get(mode, 0 * f)
            error = clean - sae.decode(dense, clean)
            torch.testing.assert_close(
                run["neurons.0"][0], sae.decode(latents, clean) + error, rtol=1e-4, atol=1e-4
            )
    # cached: the same logits as the run, one token at a time
    generation = zoo.generate([ids], edits=edits, sites=["logits"], max_new_tokens=5).finish()
    whole = zoo.run(generation.sequences, edits=edits, n_prompt=len(ids))["logits"][0]
    got = torch.stack([s.sites["logits"][0, -1] for s in generation.steps])
    torch.testing.assert_close(got, whole[len(ids) - 1 : -1], rtol=1e-3, atol=1e-3)


def test_rows_that_are_not_named_stay_to_the_bit(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    feature, ids = direction(model, V), PROMPTS[0]
    for edit in (
        Add(feature, strength=3.0, rows=[1]),
        Clamp(feature, 9.0, rows=[1], of_norm=True),
        Scale(SITE, 3.0, rows=[1]),
        Cap(feature, -2.0, rows=[1]),
        Orthogonal(feature, -1.0, rows=[1]),
        Clamp(model.neuron(1, 7), 5.0, rows=[1]),
        Scale("pattern.1", 2.0, heads=[0], rows=[1]),
        Add("q.1", vector(8), heads=[0], rows=[1]),
    ):
        both = model.run([ids, ids], edits=[edit])["logits"]
        unedited = model.run([ids, ids])["logits"]
        if str(edit.target).startswith("pattern"):  # by the eager function for all rows
            torch.testing.assert_close(both[0], unedited[0], **CLOSE)
            continue
        assert torch.equal(both[0], unedited[0])
        assert (both[1] - unedited[1]).abs().max() > FELT
        cached = model.generate(ids, n=2, edits=[edit], sites=["logits"], max_new_tokens=NEW)
        free = model.generate(ids, n=2, sites=["logits"], max_new_tokens=NEW).finish()
        for one, other in zip(cached.finish().steps, free.steps, strict=True):
            assert torch.equal(one.sites["logits"][0], other.sites["logits"][0])


def test_one_strength_per_row_equals_each_alone(models: dict[str, LiveModel]) -> None:
    model = models["gpt2"]
    feature, ids = direction(model, V), PROMPTS[0]
    values = [0.5, -2.0, 3.0]
    for make in (
        lambda v: Add(feature, strength=v),
        lambda v: Clamp(feature, v),
        lambda v: Scale(feature, v),
        lambda v: Cap(feature, v),
        lambda v: Orthogonal(feature, v),
    ):
        together = model.run([ids] * 3, edits=[make(values)])["logits"]
        for row, value in enumerate(values):
            alone = model.run([ids], edits=[make(value)])["logits"][0]
            torch.testing.assert_close(together[row], alone, **CLOSE)


def test_clamp_above_acts_only_where_the_feature_is_larger(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    neuron, ids = model.neuron(1, 7), PROMPTS[0]
    before = model.run([ids], sites=["neurons.1"])["neurons.1"][0, :, 7]
    threshold = float(before.median())
    edits = [Clamp(neuron, -1.0, above=threshold)]
    after = model.run([ids], sites=["neurons.1"], edits=edits)["neurons.1"][0, :, 7]
    assert torch.equal(after, torch.where(before > threshold, -1.0, before))


def test_settings_compose_in_their_order(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    feature, ids = direction(model, V), PROMPTS[0]
    other = direction(model, V + vector(32, 9))
    settings = [Setting(feature, "add", 2.0), Setting(other, "orthogonal", -1.5)]
    w = V + vector(32, 9)

    def both(first: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def changed(x: torch.Tensor) -> torch.Tensor:
            for add in (first, not first):
                x = x + 2 * V if add else x - 2.5 * coordinate(x, w)[:, None] * w
            return x

        return changed

    for order in (True, False):
        listed = settings if order else settings[::-1]
        got = model.run([ids], edits=edits_of(listed, model))["logits"][0]
        with torch.no_grad():
            want = forward(model.hf, ids, {SITE: both(order)}).logits
        torch.testing.assert_close(got, want, **CLOSE)
    # an open block's edits come first
    with model.edit(*settings[0].edits()):
        inside = model.run([ids], edits=settings[1].edits())["logits"]
    assert torch.equal(inside, model.run([ids], edits=edits_of(settings, model))["logits"])


def test_an_edit_at_other_layers_is_the_same_vector_there(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    setting = Setting(direction(model, V), "add", 0.5, layers=(0, 2))
    got = model.run([PROMPTS[0]], edits=setting.edits())["logits"][0]
    changes = {f"resid_post.{i}": lambda x: x + 0.5 * V for i in (0, 2)}
    with torch.no_grad():
        want = forward(model.hf, PROMPTS[0], changes).logits
    torch.testing.assert_close(got, want, **CLOSE)


def test_special_tokens_stay_what_they_are(zoo: LiveModel) -> None:
    tokenizer: Any = zoo.tokenizer
    bos = tokenizer.all_special_ids[:1]
    v = vector(zoo.d_model, 2)
    feature = Directions(zoo, "resid_pre.0", v[None], "d")[0]
    ids = [*bos, *zoo.prompts.plain(["Hello there"])[0]]
    before = zoo.run([ids], sites=["resid_pre.0"])["resid_pre.0"][0]
    for skip in (True, False):
        edits = Setting(feature, "add", 1.0, skip_special=skip).edits()
        after = zoo.run([ids], sites=["resid_pre.0"], edits=edits)["resid_pre.0"][0]
        assert torch.equal(after[0], before[0]) is skip
        torch.testing.assert_close(after[1:], before[1:] + v, **CLOSE)


# -- units -----------------------------------------------------------------------------------------


def test_units_convert_and_say_when_they_are_not_known(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    feature = direction(model, V)
    setting = Setting(feature, "clamp", 2.0, "max")
    assert setting.in_units() == {"raw": None, "max": 2.0, "std": None, "norm": None}
    with pytest.raises(InputError, match="largest activation of .* is not known yet.*calibrate"):
        setting.edits()
    known = Scales(direction=float(V.norm()), max=3.0, std=0.5, norm=10.0)
    units = setting.in_units(known)
    assert units["raw"] == 6.0
    assert units["std"] == 12.0
    assert units["norm"] == pytest.approx(6 * float(V.norm()) / 10)
    for unit, value in units.items():
        assert value is not None
        back = Setting(feature, "clamp", value, unit).in_units(known)
        assert back == pytest.approx(units)
    ids = PROMPTS[0]
    raw = model.run([ids], edits=Setting(feature, "clamp", 6.0).edits())["logits"]
    assert torch.equal(raw, model.run([ids], edits=setting.edits(known))["logits"])


def test_calibration_equals_brute_force(models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    feature, neuron = direction(model, V), model.neuron(2, 5)
    texts = [[3, 14, 15, 92, 65], [2, 71, 82], [9, 8, 7, 6, 5, 4]]
    seen: list[tuple[int, int]] = []
    found = calibrate(model, [feature, neuron], texts, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with torch.no_grad():
        passes = [forward(model.hf, ids).sites for ids in texts]
    h = torch.cat([p[SITE] for p in passes])
    x = coordinate(h, V)
    one = found[feature]
    assert one.max == pytest.approx(float(x.max()), rel=1e-4)
    assert one.std == pytest.approx(float(x.std(correction=0)), rel=1e-4)
    assert one.norm == pytest.approx(float(h.norm(dim=-1).median()), rel=1e-4)
    assert one.direction == pytest.approx(float(V.norm()))
    n = torch.cat([p["neurons.2"] for p in passes])[:, 5]
    assert found[neuron.id].max == pytest.approx(float(n.max()), rel=1e-4)
    assert found.tokens == 14
    assert found.texts == 3


def test_a_stores_row_gives_max_and_std(zoo: LiveModel) -> None:
    store = ng.open_store("zoo/A-8x")
    sae = ng.SAE.load("zoo/A-8x", zoo)
    row = store[77].row
    known = scales(sae[77], store[77], source="A-8x")
    assert known.max == row["max"]
    assert known.std == pytest.approx((row["mean_square"] - row["mean"] ** 2) ** 0.5)
    assert known.norm is None
    assert known.source == "A-8x"
    stored: Any = ng.open_store("zoo/A-8x", model=zoo)[77]
    assert isinstance(Setting(stored, "clamp", 1.0, "max").feature, Feature)


# -- JSON and bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "add", "value": 2.0, "unit": "norm", "positions": slice(4, None)},
        {"mode": "clamp", "value": -1.0, "positions": [1, -1], "skip_special": False},
        {"mode": "cap", "value": 0.5, "layers": (0, 2)},
        {"mode": "ablate", "positions": slice(-3, 9)},
        {"mode": "scale", "value": 3.0, "positions": -1},
    ],
)
def test_settings_survive_json(options: dict[str, Any], models: dict[str, LiveModel]) -> None:
    model = models["llama"]
    basis = Directions(model, SITE, torch.stack([V, -V + 1]), "d")
    for feature in (basis[1], model.neuron(1, 3)):
        if "layers" in options and feature.basis is not basis:
            continue
        setting = Setting(feature, **options)
        data = json.loads(json.dumps(setting.to_json()))
        assert Setting.from_json(data, model, [basis]) == setting
        code = setting.code()
        names = {"ng": ng, "model": model, "bases": [basis]}
        assert eval(code.replace("bases=[]", "bases=bases"), names) == setting
    head = Setting(model.head(1, 2), "scale", 0.5)
    assert Setting.from_json(head.to_json(), model) == head


NAN, INF = float("nan"), float("inf")
BAD: dict[str, tuple[Callable[[LiveModel], Any], list[str]]] = {
    "NaN": (lambda m: Setting(m.neuron(0, 1), "add", NAN), ["nan", "finite"]),
    "infinity": (lambda m: Setting(m.neuron(0, 1), "clamp", INF), ["inf", "finite"]),
    "a text": (lambda m: Setting(m.neuron(0, 1), "add", "3"), ["'3'", "number"]),  # type: ignore[arg-type]
    "no feature": (lambda m: Setting("neurons.0", "add", 1.0), ["str", "can't be steered"]),  # type: ignore[arg-type]
    "a mode": (lambda m: Setting(m.neuron(0, 1), "ad"), ["'ad'", "add"]),  # type: ignore[arg-type]
    "a unit": (lambda m: Setting(m.neuron(0, 1), "add", 1.0, "maximum"), ["maximum", "max"]),  # type: ignore[arg-type]
    "a factor's unit": (lambda m: Setting(m.neuron(0, 1), "scale", 1.0, "max"), ["pure number"]),
    "a head added": (lambda m: Setting(m.head(0, 1), "add", 1.0), ["head", "scale"]),
    "no layers": (lambda m: Setting(direction(m, V), "add", 1.0, layers=()), ["layers"]),
    "a layer too many": (lambda m: Setting(direction(m, V), "add", 1.0, layers=(3,)), ["layer 3", "0 to 2"]),
    "a clamp elsewhere": (lambda m: Setting(m.neuron(0, 1), "clamp", 1.0, layers=(1,)), ["layer 0", "layer 1"]),
    "huge against h": (
        lambda m: edits_of([Setting(direction(m, V), "add", 5000.0)], m, {direction(m, V).id: Scales(float(V.norm()), norm=10.0)}),
        ["times its own norm", "‖h‖ is about 10", "at most"],
    ),
    "150 times h": (lambda m: Setting(direction(m, V), "add", 150.0, "norm").edits(), ["150 times", "at most 100"]),
    "two clamps": (
        lambda m: edits_of([Setting(m.neuron(0, 1), "clamp", 1.0), Setting(m.neuron(0, 1), "clamp", 2.0)], m),
        ["clamp and clamp", "neurons/1", "Keep one"],
    ),
    "clamp and ablate": (
        lambda m: edits_of([Setting(m.neuron(0, 1), "ablate"), Setting(m.neuron(0, 1), "clamp", 2.0, positions="prompt")], m),
        ["ablate and clamp", "same tokens"],
    ),
    "one setting": (lambda m: edits_of(Setting(m.neuron(0, 1)), m), ["list"]),  # type: ignore[arg-type]
    "an unknown key": (lambda m: Setting.from_json({"feature": m.neuron(0, 1).id, "strenght": 1}, m), ["strenght", "Did you mean"]),
    "an id of another model": (lambda m: Setting.from_json({"feature": "gpt9/neurons.0/neurons/1"}, m), ["gpt9"]),
    "a basis that is not there": (lambda m: Setting.from_json({"feature": f"{m.name}/resid_post.1/mine/1"}, m), ["mine", "dictionary"]),
    "a slice that is empty": (lambda m: m.run([PROMPTS[0]], edits=Setting(m.neuron(0, 1), "add", 1.0, positions=slice(9, None)).edits()), ["empty", "5 tokens"]),
    "rows that are not there": (lambda m: m.run([PROMPTS[0]], edits=[Add(m.neuron(0, 1), rows=[1])]), ["no row 1"]),
    "no rows": (lambda m: m.run([PROMPTS[0]], edits=[Add(m.neuron(0, 1), rows=[])]), ["rows are empty"]),
    "a site's fraction": (lambda m: m.run([PROMPTS[0]], edits=[Add(SITE, V, of_norm=True)]), ["of_norm", "feature"]),
    "a capped site": (lambda m: m.run([PROMPTS[0]], edits=[Cap(SITE, 1.0)]), ["Cap needs a feature", "Directions"]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_bad_settings_are_refused_and_the_model_is_intact(
    name: str, models: dict[str, LiveModel]
) -> None:
    model = models["llama"]
    before = plain(model.hf, PROMPTS[0])
    make, parts = BAD[name]
    with pytest.raises(InputError) as caught:
        make(model)
    for part in parts:
        assert part in str(caught.value)
    assert hooks_of(model.hf) == 0
    assert torch.equal(plain(model.hf, PROMPTS[0]), before)


def test_a_feature_of_another_model_is_refused(models: dict[str, LiveModel]) -> None:
    setting = Setting(models["gpt2"].neuron(0, 1), "add", 1.0)
    with pytest.raises(InputError, match="belongs to"):
        edits_of([setting], models["llama"])


def test_settings_of_one_feature_at_different_places_do_not_conflict(
    models: dict[str, LiveModel],
) -> None:
    model = models["llama"]
    neuron = model.neuron(0, 1)
    settings = [
        Setting(neuron, "clamp", 1.0, positions="prompt"),
        Setting(neuron, "clamp", 2.0, positions="generated"),
        Setting(neuron, "add", 1.0),
        Setting(model.neuron(0, 2), "clamp", 1.0),
    ]
    model.generate(PROMPTS, edits=edits_of(settings, model), max_new_tokens=2).finish()
