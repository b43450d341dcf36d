"""From finished trainings to what the package ships: weights in fp16, tokenizer, card, figures.

    python -m neuroglass.recipes.ship --corpus CORPUS.jsonl [--folder build/zoo] [NAME ...]

Every figure of the cards is measured here, on held-out documents, with the weights that ship. The
models go first: the dictionaries are trained on them as they ship.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neuroglass import zoo
from neuroglass.model.errors import NeuroglassError
from neuroglass.recipes.data import END, Tokens, read_corpus
from neuroglass.recipes.dictionaries import DICTIONARIES, ship_dictionaries
from neuroglass.recipes.held_out import LN2, bits_per_byte, ngram_losses, sample, tokens_per_byte
from neuroglass.recipes.language_model import LOG, evaluate, trained
from neuroglass.recipes.texts import public_texts
from neuroglass.recipes.zoo import MODELS, VOCABULARY, tokenizer_and_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import GPT2LMHeadModel

SAMPLE = 10_000  # characters of each category on which models with other tokenizers are compared


def ship(
    names: Sequence[str],
    corpus: Path,
    folder: Path,
    target: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Write the trained models of these names, their figures and the texts into `target`."""
    tokenizer, data = tokenizer_and_tokens(corpus, folder)
    models = {name: _finished(name, folder, data) for name in names}
    say("n-grams")
    figures: dict[str, Any] = {"nats_per_token": ngram_losses(data, VOCABULARY)}
    for name, hf in models.items():
        say(f"{name}: held-out documents")
        figures["nats_per_token"][name] = evaluate(hf, data)
    figures["tokens_per_byte"] = tokens_per_byte(data)
    figures["training_tokens"] = _training_tokens(data)
    say("other tokenizers")
    figures["sample_bits_per_byte"] = _compare(models, tokenizer, corpus)
    for name, hf in models.items():
        place = target / name
        hf.half().save_pretrained(place)
        _wrap(tokenizer).save_pretrained(place)
        log = [json.loads(row) for row in (folder / name / LOG).read_text("utf-8").splitlines()]
        (place / "README.md").write_text(card(name, figures, log), "utf-8")
        (place / "training.json").write_text(json.dumps(_thin(log), indent=0), "utf-8")
    (target / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    texts = json.dumps(public_texts(read_corpus(corpus)), indent=1, ensure_ascii=False)
    (target / "texts.json").write_text(texts + "\n", "utf-8")


def _finished(name: str, folder: Path, data: Tokens) -> GPT2LMHeadModel:
    """The trained model, rounded to what will ship."""
    recipe = MODELS[name]
    hf = trained(recipe, data, VOCABULARY, folder / name)
    with torch.no_grad():
        for p in hf.parameters():
            p.copy_(p.half().float())
    hf.eval()
    return hf


def _wrap(tokenizer: Tokenizer) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        model_max_length=MODELS["A"].context,
        clean_up_tokenization_spaces=False,
    )


def _training_tokens(data: Tokens) -> dict[str, int]:
    import numpy as np

    length = np.diff(data.starts)
    return {
        c: int(length[~data.held & (data.category == i)].sum())
        for i, c in enumerate(data.categories)
    }


def _compare(
    models: dict[str, GPT2LMHeadModel], tokenizer: Tokenizer, corpus: Path
) -> dict[str, dict[str, float]]:
    """Bits per byte on the same held-out documents: ours, and SmolLM2 where it is installed."""
    from neuroglass.model import smollm2

    texts = sample(read_corpus(corpus), SAMPLE)
    lead = tokenizer.encode(END).ids[0]
    window = MODELS["A"].context
    out = {
        name: bits_per_byte(hf, lambda t: tokenizer.encode(t).ids, lead, texts, window)
        for name, hf in models.items()
    }
    if (gguf := smollm2.packaged()) is not None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        place = smollm2.converted(gguf)
        other = AutoTokenizer.from_pretrained(place)
        hf = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16).eval()
        end = other.get_vocab()[END]
        out["SmolLM2-135M-Instruct"] = bits_per_byte(
            hf, lambda t: other(t, verbose=False)["input_ids"], end, texts, window
        )
    return out


def _thin(log: list[dict[str, Any]], most: int = 400) -> list[dict[str, Any]]:
    """The training curve in at most so many rows, and every evaluation."""
    losses = [row for row in log if "loss" in row]
    step = max(1, -(-len(losses) // most))
    kept = [*losses[::step], losses[-1], *(row for row in log if "held_out" in row)]
    unique = {json.dumps(row): row for row in kept}
    return sorted(unique.values(), key=lambda row: row["step"])


def table(figures: dict[str, Any]) -> str:
    """Nats/token and bits/byte per category, as Markdown."""
    nats, per_byte = figures["nats_per_token"], figures["tokens_per_byte"]
    columns = [*(m for m in MODELS if m in nats), "unigram", "bigram", "trigram"]
    others = [n for n in figures["sample_bits_per_byte"] if n not in MODELS]
    lines = [
        f"| category | training tokens | {' | '.join(columns)} | A, bits/byte |"
        + "".join(f" A / {o}, bits/byte on a sample |" for o in others),
        "|---|" + "---:|" * (len(columns) + 2 + len(others)),
    ]
    for category in nats["A"]:
        seen = figures["training_tokens"]
        count = seen[category] if category in seen else sum(seen.values())
        pairs = "".join(
            f" {figures['sample_bits_per_byte']['A'][category]:.2f} / "
            f"{figures['sample_bits_per_byte'][o][category]:.2f} |"
            for o in others
        )
        bits = nats["A"][category] * per_byte[category] / LN2
        cells = " | ".join(f"{nats[c][category]:.2f}" for c in columns)
        lines.append(f"| {category} | {count:,} | {cells} | {bits:.2f} |{pairs}")
    return "\n".join(lines)


def card(name: str, figures: dict[str, Any], log: list[dict[str, Any]]) -> str:
    """The model card."""
    recipe = MODELS[name]
    other = {
        "A": "Model B differs in the seed, A-gelu in the activation function only.",
        "B": "It differs from model A in the seed only (weights and order of the data).",
        "A-gelu": "It differs from model A in the activation function only.",
    }[name]
    rows = [{"tokens": 0}, *(row for row in log if "loss" in row)]
    seconds = sum((b["tokens"] - a["tokens"]) / b["tokens_per_second"] for a, b in pairwise(rows))
    settings = asdict(recipe) | {"activation": {"relu": "ReLU", "gelu": "GELU"}[recipe.activation]}
    return (
        (Path(__file__).parent / "card.md")
        .read_text("utf-8")
        .format(
            **settings,
            name=name,
            other=other,
            vocabulary=VOCABULARY,
            hours=seconds / 3600,
            repeats=", ".join(f"{c} {n}×" for c, n in recipe.repeated.items()),
            table=table(figures),
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Ship from a shell; the exit code is 1 if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m neuroglass.recipes.ship")
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default all models")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"))
    parser.add_argument("--target", type=Path, default=Path(zoo.__file__).parent)
    given = parser.parse_args(argv)
    try:
        models = [n for n in given.names or MODELS if n not in DICTIONARIES]
        dictionaries = [n for n in given.names if n in DICTIONARIES]
        if models:
            ship(models, given.corpus, given.folder, given.target)
        if dictionaries:
            ship_dictionaries(dictionaries, given.corpus, given.folder, given.target)
    except (NeuroglassError, OSError) as error:
        print(f"ship: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
