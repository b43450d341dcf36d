"""How the models of the zoo were trained: one recipe each, one command each.

``neuroglass train A --corpus CORPUS.jsonl`` trains (or goes on training) model A into
``build/zoo/A``; B and A-gelu likewise. The tokenizer is made first, once, from the same corpus.
``neuroglass.recipes.ship`` turns the finished folders into the ones that are shipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroglass.model.errors import InputError, nearest
from neuroglass.recipes.data import Tokens, read_corpus, tokenize
from neuroglass.recipes.language_model import Recipe, train
from neuroglass.recipes.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import GPT2LMHeadModel

VOCABULARY = 4096
# Bricken et al. 2023, "Towards Monosemanticity", trained two models that differ in the seed; the
# third differs from the first in the activation function only
MODELS = {
    "A": Recipe(),
    "B": replace(Recipe(), seed=1),
    "A-gelu": replace(Recipe(), activation="gelu"),
}


def tokenizer_and_tokens(corpus: Path, folder: Path) -> tuple[Tokenizer, Tokens]:
    """The zoo's tokenizer and the corpus in it, both made once and kept in `folder`."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
    else:
        tokenizer = train_tokenizer(read_corpus(corpus), VOCABULARY)
        folder.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".part")
        tokenizer.save(str(scratch))
        scratch.replace(file)
    return tokenizer, tokenize(corpus, tokenizer, folder / "tokens.npz")


def train_zoo_model(
    name: str,
    corpus: str | Path,
    folder: str | Path = "build/zoo",
    *,
    tokens: int | None = None,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
) -> GPT2LMHeadModel:
    """Train a model of the zoo, or go on where the last call was interrupted.

    Args:
        name: ``"A"``, ``"B"`` or ``"A-gelu"``.
        corpus: what ``python -m neuroglass.recipes.corpus`` wrote.
        folder: for the tokenizer, the tokens, and one folder for each model.
        tokens: to train on, if not as many as the recipe says.
        report: is given every row of the log.
        stop: asked after each step; True ends the training, to be resumed later.

    Raises:
        InputError: unknown name, no corpus, or a folder that holds a run of another recipe.
        TrainingStopped: the loss is not a number.
    """
    if name not in MODELS:
        raise InputError(f"The zoo has no recipe {name!r}.", nearest(name, MODELS))
    recipe = MODELS[name] if tokens is None else replace(MODELS[name], tokens=tokens)
    _, data = tokenizer_and_tokens(Path(corpus), Path(folder))
    return train(recipe, data, VOCABULARY, Path(folder) / name, report=report, stop=stop)
