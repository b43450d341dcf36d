"""What steering does to texts of SmolLM2, by trained latents and a contrast: concept and cost.

    python -m tests.benchmarks.bench_steering_concept --corpus CORPUS.jsonl
        [--folder build/real_store --steer 843 2507 --held 40000 --latents 3 --samples 3 --new 40
        --threads 2]

``bench_real_store`` makes the folder: a dictionary, and a store of documents that it was not
trained on. Latents are chosen before anything is steered, by this rule. A latent's *list* is the
words of one token, of four letters or more and not among the 500 commonest, that carry at least 1 %
of its activation in the store; it needs five of them with four beginnings, none with more than
60 %. ``held_out`` is the share of its activation on documents that are not in the store that falls
on its list: at least 25 %. ``coherence`` is the mean cosine of the embeddings of words of the list
with different beginnings (the mean embedding taken away, weighted by activation). It is on at 50
tokens or more and at most at 1 %. Its product with ``held_out`` must be 0.05. That a latent reads a
concept does not say that it writes it (those of the largest product, *fully*, *completely* … did
nothing), so the last step is causal: ``writes`` is how much adding it at 0.1 ‖h‖ (the knee of the
contrast direction; a first version, at 0.3, chose latents at a strength that no text survives)
raises the log of the list's probability as the next token, the mean over eight beginnings of texts,
none of which is among those that are steered afterwards. The largest ``writes`` are steered, no two
with a word in common; ``--steer`` names others.

Each is added at every token, at multiples of its largest activation in the store, to eight neutral
prompts. Of the texts: *words*, how many in a hundred are of the list; *others*, likewise for the
other directions' lists (nothing but noise should be there); *activation*, the mean of the feature
as the untouched model reads the text; *perplexity* under the untouched model and *distinct_2*,
medians, and *fluent* and the knee as ``ng.dose_response`` defines them. Means have 95 % bootstrap
intervals over texts. A contrast direction of twelve sentences is measured in the same way (its list
has their nouns in it; *new_words* counts those alone that none of the sentences has), and a random
one of the best latent's length as a control. ``--latents 0`` measures the contrast alone.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neuroglass as ng
from neuroglass.model.basis import Directions, Feature
from neuroglass.steering.dose import Dosed, DoseResponse, Sweep
from neuroglass.steering.peek import Peek
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import Scales
from tests.benchmarks.bench_sae_quality import documents
from tests.benchmarks.common import emit

PROMPTS = (
    "I think that",
    "The best thing about",
    "Last week we",
    "My friend told me that",
    "It is important to",
    "She opened the door and",
    "The report says that",
    "Once upon a time",
)
BEGINNINGS = (
    "When I was young, I used to",
    "The children were playing with the",
    "People often forget about the",
    "In the morning he went to the",
    "A good example of this is the",
    "They had never seen such",
    "We talked for hours about",
    "On the table there was",
)
FLUENT = 0.1  # of ‖h‖: the knee of the contrast direction
TIMES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)  # of the largest activation
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # of ‖h‖
SEA = (
    "The waves rolled in and the sea was blue.",
    "The ship sailed over the deep ocean.",
    "Fish swim in the sea beneath the waves.",
    "The sailor looked out over the water from his boat.",
    "The tide came in over the sand of the beach.",
    "Whales and dolphins live in the ocean.",
)
LAND = (
    "The bell rang in and the class was full.",
    "The bus drove over the long bridge.",
    "Birds sing in the wood beneath the leaves.",
    "The farmer looked out over the field from his house.",
    "The crowd came in through the gate of the park.",
    "Lions and zebras live in the savanna.",
)
SEA_WORDS = """
sea ocean oceanic waves ship boat sailor sail sailed beach sand tide water whales dolphins fish swim
seas oceans wave ships sailing sails sailors boats coast coastal shore shores beaches tides tidal
marine maritime island islands harbor harbour port ports fishing fisherman fishermen coral reef
reefs whale dolphin shark sharks swimming surf surfing diving aquatic underwater captain voyage
crew lighthouse bay gulf
"""


@dataclass(frozen=True)
class Case:
    """A direction, what is done with it, and the words that were fixed for it beforehand."""

    name: str
    setting: Setting
    values: Sequence[float]
    words: Collection[str]
    scales: Scales | None
    new: Collection[str] = ()  # those that what made the direction does not have


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def rate(text: str, listed: Collection[str]) -> float:
    """Words of the list in a hundred words."""
    found = words_of(text)
    return 100 * sum(w in listed for w in found) / max(1, len(found))


Words = dict[int, float]  # token id -> share of a latent's activation


def whole_words(store: ng.Store) -> Counter[int]:
    """Tokens that are words in small letters, by how often they stand alone in the corpus."""
    pieces, _, _ = store.vocabulary
    ids = store.corpus.ids.astype(np.int64)
    inner = np.array([p[:1].isalpha() for p in pieces])  # goes on with the word before it
    plain = np.array([p.startswith(" ") and p[1:].isalpha() and p[1:].islower() for p in pieces])
    alone = ids[:-1][plain[ids[:-1]] & ~inner[ids[1:]]]
    return Counter(alone.tolist())


def lists(store: ng.Store) -> dict[int, Words]:
    """The list of each latent that has one."""
    pieces, seen = store.vocabulary[0], whole_words(store)
    common = {i for i, _ in seen.most_common(500)}
    content = {i for i, n in seen.items() if len(pieces[i]) >= 5 and n >= 3} - common
    table = store.to_frame()
    table = table[(table["count"] >= 50) & (table["density"] <= 0.01)]
    rows = store.sql("SELECT feature, token, count * mean AS mass FROM token_stats")
    rows = rows[rows["token"].isin(content) & rows["feature"].isin(table.index)]
    share = rows["mass"] / (table["mean"].loc[rows["feature"]].to_numpy() * store.n_tokens)
    rows = rows.assign(share=share)[share >= 0.01]
    out: dict[int, Words] = {}
    for index, found in rows.groupby("feature"):
        kept = dict(zip(found["token"].tolist(), found["share"].tolist(), strict=True))
        stems: dict[str, float] = {}
        for i, part in kept.items():
            stem = str(pieces[i])[:5]
            stems[stem] = stems.get(stem, 0.0) + part
        if len(kept) >= 5 and len(stems) >= 4 and max(stems.values()) <= 0.6:
            out[int(str(index))] = kept
    return out


def on_held_out(
    model: ng.LiveModel, sae: ng.SAE, listed: Mapping[int, Words], corpus: Path, tokens: int
) -> dict[int, float]:
    """The share of each latent's activation that falls on its list, on other documents."""
    indices = list(listed)
    inside = torch.zeros(len(indices), model.hf.config.vocab_size, dtype=torch.bool)
    for row, index in enumerate(indices):
        inside[row, list(listed[index])] = True
    total, mine = torch.zeros(len(indices)), torch.zeros(len(indices))
    for text in itertools.islice(documents(corpus, held_out=True), 0, None, 5):
        window = model.prompts.windows(text[:2000], 512)[0]
        run = model.run([window], sites=[sae.read_site], logits=False)
        keep = (run.mask & ~run.masks["special"] & ~run.masks["massive"])[0]
        values = sae.activations(run[sae.read_site][0][keep], indices).float()
        total += values.sum(0)
        mine += (values * inside[:, run.tokens[0][keep]].T).sum(0)
        tokens -= int(keep.sum())
        if tokens <= 0:
            break
    return dict(zip(indices, (mine / total.clamp_min(1e-9)).tolist(), strict=True))


def coherence(store: ng.Store, listed: Words) -> float:
    """See the module."""
    pieces = store.vocabulary[0]
    weight = store.model.hf.get_input_embeddings().weight.detach().float()
    x = torch.nn.functional.normalize(weight[list(listed)] - weight.mean(0), dim=-1)
    total = above = 0.0
    for (i, one), (j, other) in itertools.combinations(enumerate(listed), 2):
        if pieces[one][:5] != pieces[other][:5]:
            by = listed[one] * listed[other]
            total, above = total + by, above + by * float(x[i] @ x[j])
    return above / total


def writes(store: ng.Store, sae: ng.SAE, index: int, listed: Words) -> float:
    """See the module."""
    ids = torch.tensor(list(listed))
    gained = []
    for text in BEGINNINGS:
        found = Peek(store.model, text)([Setting(sae[index], "add", FLUENT, "norm")])
        gained.append(float(found.steered[ids].logsumexp(0) - found.base[ids].logsumexp(0)))
    return statistics.fmean(gained)


def candidates(store: ng.Store, sae: ng.SAE, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Latents that pass the rule, best first."""
    listed, pieces = lists(store), store.vocabulary[0]
    held = on_held_out(store.model, sae, listed, given.corpus, given.held)
    passed = [
        {
            "latent": index,
            "writes": round(writes(store, sae, index, words), 2),
            "held_out": round(share, 3),
            "coherence": round(coherent, 3),
            "tokens": int(store[index].row["count"]),
            "words": [pieces[i].strip() for i in sorted(words, key=lambda i: -words[i])],
        }
        for index, words in listed.items()
        if (share := held[index]) >= 0.25 and (coherent := coherence(store, words)) * share >= 0.05
    ]
    return sorted(passed, key=lambda row: -float(row["writes"]))


def chosen(rows: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The best ones, no two with a word in common."""
    out: list[dict[str, Any]] = []
    for row in rows:
        if len(out) < n and not any(set(row["words"]) & set(o["words"]) for o in out):
            out.append(row)
    return out


def interval(values: Sequence[float]) -> list[float]:
    chance = random.Random(0)
    means = sorted(statistics.fmean(chance.choices(values, k=len(values))) for _ in range(2000))
    return [round(means[50], 2), round(means[-51], 2)]


def measure(
    model: ng.LiveModel, case: Case, others: Collection[str], given: argparse.Namespace
) -> None:
    """All prompts at all strengths; rows, the knee, samples."""
    texts: list[Dosed] = []
    known: list[Scales] = []
    feature = case.setting.feature
    assert isinstance(feature, Feature)
    scales = {} if case.scales is None else {feature.id: case.scales}
    for prompt in PROMPTS:
        sweep = Sweep(
            model,
            prompt,
            n=given.samples,
            max_new_tokens=given.new,
            temperature=0.8,
            scales=scales,
        )
        found = sweep.start(case.setting, case.values).result()
        known.append(sweep.scales[feature.id])
        texts += found.texts
    whole = DoseResponse(case.setting, texts, "activation")
    knee = whole.knee()
    for value in (None, *whole.values):
        here = [t for t in texts if t.value == value]
        mine = [rate(t.text, case.words) for t in here]
        new = [rate(t.text, case.new) for t in here]
        shares = [k.convert(value or 0.0, case.setting.unit)["norm"] or 0.0 for k in known]
        emit(
            what=case.name,
            strength=value,
            unit=case.setting.unit,
            of_norm=round(statistics.median(shares), 3),
            texts=len(here),
            words=round(statistics.fmean(mine), 2),
            words_95=interval(mine),
            **({"new_words": round(statistics.fmean(new), 2)} if case.new else {}),
            texts_with=round(sum(w > 0 for w in mine) / len(mine), 2),
            others=round(statistics.fmean(rate(t.text, others) for t in here), 2),
            activation=round(statistics.fmean(t.concept for t in here), 3),
            perplexity=round(math.exp(statistics.median(t.surprisal for t in here)), 1),
            distinct_2=round(statistics.median(t.distinct for t in here), 3),
            fluent=value is None or whole.fluent(value),
            knee=value is not None and value == knee,
        )
    for value in dict.fromkeys((None, knee, whole.values[-1])):
        for text in [t.text for t in texts if t.value == value and t.sample == 0][:4]:
            emit(what=f"sample, {case.name}", strength=value, text=" ".join(text.split()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/real_store"))
    parser.add_argument("--steer", type=int, nargs="*", default=[])
    for name, value in (
        ("held", 40_000),
        ("latents", 3),
        ("samples", 3),
        ("new", 40),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    sae = ng.SAE.load(given.folder / "dictionary", model, any_model=True)
    store = ng.open_store(given.folder / "store").attach(model, sae)
    rows = candidates(store, sae, given) if given.latents or given.steer else []
    named = [row for row in rows if row["latent"] in given.steer]
    best = named if given.steer else chosen(rows, given.latents)
    emit(what="latents that pass", of=store.n_features, passed=len(rows), store=store.n_tokens)
    for row in rows[:15]:
        emit(what="candidate", steered=row in best, **row)

    cases = []
    for row in best:
        stored = store[row["latent"]]
        scales = ng.Scales(float(sae[stored.index].direction.norm()), float(stored.row["max"]))
        setting = Setting(sae[stored.index], "add", 1.0, "max")
        name = f"latent {stored.index} ({', '.join(row['words'][:3])})"
        cases.append(Case(name, setting, TIMES, set(row["words"]), scales))
        for example in store.examples(stored.index, "top", context=16)[:6].to_dict("records"):
            text = "".join(example["tokens"])
            emit(what=f"example, {name}", value=round(float(example["value"]), 2), text=text)
    site = str(sae.read_site)
    sea = ng.contrast(model, SEA, LAND, site, tokens="mean", name="sea")
    sea_words = set(words_of(SEA_WORDS))
    new = sea_words - {w for text in (*SEA, *LAND) for w in words_of(text)}
    separation = round(sea.separation, 3)
    emit(what="contrast of twelve sentences", separation=separation, words=len(sea_words))
    cases.append(
        Case("contrast sea", Setting(sea[0], "add", 0.1, "norm"), SHARES, sea_words, None, new)
    )
    if best:
        first = cases[0]
        assert isinstance(first.setting.feature, Feature)
        assert first.scales is not None
        length = float(first.setting.feature.direction.norm()) * float(first.scales.max or 0.0)
        v = torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
        noise = Directions(model, site, v / v.norm() * length, "random")[0]
        cases.append(Case("random, as long as the first", Setting(noise), TIMES, first.words, None))
    for case in cases:
        lists = [set(c.words) for c in cases if c.words is not case.words]
        measure(model, case, set().union(*lists) - set(case.words), given)
    model.close()


if __name__ == "__main__":
    main()
