"""How the dictionaries of the zoo were trained: one recipe each, one command each.

``neuroglass train A-8x --corpus CORPUS.jsonl`` trains (or goes on training) a dictionary of the
neurons of model A into ``build/zoo/A-8x``. ``neuroglass.recipes.ship`` measures what is finished
and writes it, in float16, into the folders that are shipped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from neuroglass.model.errors import InputError, nearest
from neuroglass.model.load import load
from neuroglass.recipes.data import read_corpus
from neuroglass.recipes.held_out import sample
from neuroglass.sae.dictionary import SAE
from neuroglass.sae.recipes import Recipe, TopK, TowardsMonosemanticity
from neuroglass.sae.spec import Weights
from neuroglass.sae.training import Training, train_sae

if TYPE_CHECKING:
    from neuroglass.sae.report import Report

MODEL, SITE = "zoo/A", "neurons.0"
# Bricken et al. 2023: A/0 has as many latents as there are neurons, A/1 eight times as many
DICTIONARIES: dict[str, Recipe] = {
    "A-1x": TopK(n_latents=512, k=16, tokens=10_000_000, batch=2048),
    "A-8x": TopK(n_latents=4096, k=16, tokens=10_000_000, batch=2048),
    # it ends before latents die: after 1.4 M tokens they begin to, and after 3.5 M two thirds were
    # dead, resampled late or not ("too many steps" is one of the causes that the paper lists)
    "A-8x-relu": TowardsMonosemanticity(
        n_latents=4096, l1=0.006, tokens=1_600_000, batch=2048, decay=0.2
    ),
}
_SAMPLE = 10_000  # characters of each category that a card's figures are from
_FIGURES = ("l0", "fvu", "recovered_zero", "recovered_mean", "dead", "dense")


def training_texts(corpus: Path, tokens: int, seed: int = 0) -> list[str]:
    """About so many tokens (four characters each) of training documents, of all categories alike.

    A category that has less than its share is taken whole.
    """
    by_category: dict[str, list[str]] = {}
    for document in read_corpus(corpus):
        if not document.held_out:
            by_category.setdefault(document.category, []).append(document.text)
    share = tokens * 4 // len(by_category)
    chosen: list[str] = []
    for texts in by_category.values():
        size = 0
        for i in np.random.default_rng(seed).permutation(len(texts)):
            if size >= share:
                break
            chosen.append(texts[i])
            size += len(texts[i])
    return chosen


def train_zoo_dictionary(
    name: str,
    corpus: str | Path,
    folder: str | Path = "build/zoo",
    *,
    tokens: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SAE:
    """Train a dictionary of the zoo, or go on where the last call was interrupted.

    Args:
        name: one of `DICTIONARIES`.
        corpus: what ``python -m neuroglass.recipes.corpus`` wrote.
        folder: the checkpoint, the log and the dictionary go into a folder of this name in it.
        tokens: to train on, if not as many as the recipe says.
        stop: asked now and then; True ends the training, to be resumed later.

    Raises:
        InputError: unknown name, no corpus, or a folder that holds a run of another recipe.
        TrainingStopped: the loss is not a number.
    """
    if name not in DICTIONARIES:
        raise InputError(f"The zoo has no dictionary {name!r}.", nearest(name, DICTIONARIES))
    recipe, out = DICTIONARIES[name], Path(folder) / name
    recipe = recipe if tokens is None else replace(recipe, tokens=tokens)
    model = load(MODEL)
    texts = training_texts(Path(corpus), recipe.tokens)
    training = cast(
        "Training",
        train_sae(
            model, SITE, texts, recipe, name=name, out=out, context=model.context, wait=False
        ),
    )
    while not training.done:
        time.sleep(0.2)
        if stop():
            training.stop()
    sae = cast(SAE, training.result())
    if training.progress == 1:
        sae.save(out / "sae")
    return sae


def half(sae: SAE) -> SAE:
    """The dictionary in float16, with every latent's largest entry well inside its range."""
    weights: Weights = sae.weights.map(lambda t: t.half())
    if not all(bool(torch.isfinite(t).all()) for t in (weights.W_enc, weights.W_dec)):
        raise InputError(f"{sae.name} does not fit into float16.")
    return type(sae)(sae.spec, weights, name=sae.name, model=sae._model)


def figures(sae: SAE, texts: list[str]) -> dict[str, float]:
    """What a card says of a dictionary, on held-out texts."""
    report: Report = sae.report(texts, context=sae.model.context)
    return {name: report[name] for name in _FIGURES}


def card(name: str, rounded: dict[str, float], exact: dict[str, float]) -> str:
    """The dictionary's card."""
    recipe = DICTIONARIES[name]
    settings = json.dumps({k: v for k, v in asdict(recipe).items() if k != "seed"})
    rows = "\n".join(f"| {k} | {rounded[k]:.4g} | {exact[k]:.4g} |" for k in rounded)
    windows = "".join(
        f"- {what}: {here:,} tokens (the paper: {paper})\n"
        for what, here, paper in recipe.windows()
    )
    return (
        f"# neuroglass zoo: dictionary {name}\n\n"
        f"{recipe.n_latents:,} latents of the {SITE} of model A, by the recipe "
        f"{type(recipe).__name__} ({recipe.source}), seed {recipe.seed}:\n\n"
        f"    {settings}\n\n{windows}"
        f"- the command: `neuroglass train {name} --corpus CORPUS.jsonl`\n\n"
        "| on held-out documents | float16, as shipped | float32 |\n|---|---:|---:|\n"
        f"{rows}\n\nWords as in `sae.report`. Data, licences and limits: those of model A.\n"
    )


def ship_dictionaries(
    names: Sequence[str],
    corpus: Path,
    folder: Path,
    target: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Write the trained dictionaries of these names, with their cards, into `target`."""
    texts = [t for some in sample(read_corpus(corpus), _SAMPLE).values() for t in some]
    model = load(MODEL)
    for name in names:
        say(f"{name}: report")
        exact = train_zoo_dictionary(name, corpus, folder)
        # scales are in the weights once they are written, and rounding comes after
        small = half(SAE.load(folder / name / "sae", model))
        small.save(target / name)
        text = card(name, figures(small, texts), figures(exact, texts))
        (target / name / "README.md").write_text(text, "utf-8")
