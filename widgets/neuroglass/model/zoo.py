"""What comes with the package, by its name: ``ng.load("zoo/A")``, ``ng.zoo_texts("hebrew")``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, overload

import torch

from neuroglass import zoo
from neuroglass.model.errors import InputError, ModelLoadError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

PREFIX = "zoo/"
SHUFFLED = "-shuffled"


def locate(name: str) -> Path:
    """The folder of ``"zoo/A"``; of ``"zoo/A-shuffled"``, that of the model to shuffle.

    Raises:
        ModelLoadError: the zoo has no such model.
    """
    models = zoo.names()
    entry = name.removeprefix(PREFIX)
    if entry.removesuffix(SHUFFLED) not in models:
        have = [f"{PREFIX}{m}{end}" for m in models for end in ("", SHUFFLED)]
        raise ModelLoadError(f"The zoo has no model {entry!r}.", nearest(name, have))
    return zoo.path(entry.removesuffix(SHUFFLED))


def locate_dictionary(name: str) -> Path:
    """The folder of a sparse dictionary such as ``"zoo/A-8x"``.

    Raises:
        InputError: the zoo has no such dictionary.
    """
    entry = name.removeprefix(PREFIX)
    if entry not in zoo.dictionaries():
        have = [f"{PREFIX}{d}" for d in zoo.dictionaries()]
        raise InputError(f"The zoo has no dictionary {entry!r}.", nearest(name, have))
    return zoo.path(entry)


def shuffle_weights(hf: PreTrainedModel, seed: int = 0) -> None:
    """Put the entries of each weight matrix in random order, in place.

    The control of Bricken et al. 2023, *Towards Monosemanticity* (appendix, "Feature
    interpretability in randomised transformers"): every matrix keeps the distribution of its
    entries and loses what it has learned. Embeddings and the output matrix are shuffled too; biases
    and the norms' weights stay. Matrices that are one (tied) stay one.
    """
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in hf.parameters():
            if p.ndim > 1:
                order = torch.randperm(p.numel(), generator=chance).to(p.device)
                p.copy_(p.flatten()[order].view_as(p))


@overload
def zoo_texts(category: None = None) -> dict[str, list[str]]: ...
@overload
def zoo_texts(category: str) -> list[str]: ...
def zoo_texts(category: str | None = None) -> list[str] | dict[str, list[str]]:
    """Real texts of a category, which no model of the zoo has seen in training.

    Args:
        category: one of fourteen, such as ``"hebrew"``, ``"dna"`` or ``"code"``; None for all of
            them, as a dict by category.

    All are in the public domain; ``neuroglass/zoo/texts.json`` says where each is from.

    Raises:
        InputError: there is no such category.
    """
    kept = json.loads(zoo.path("texts.json").read_text("utf-8"))
    texts = {name: [row["text"] for row in rows] for name, rows in kept.items()}
    if category is None:
        return texts
    if category not in texts:
        raise InputError(f"There are no texts of {category!r}.", nearest(category, texts))
    return texts[category]
