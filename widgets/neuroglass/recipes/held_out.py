"""How well a model predicts held-out documents, per category: beside n-grams and another model.

Nats per token depend on the tokenizer; bits per byte do not, so models with different tokenizers
are compared by them, on the same documents.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.recipes.data import Document, Tokens, held_out_streams
from neuroglass.recipes.ngrams import NGrams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from transformers import PreTrainedModel

LN2 = math.log(2)


def tokens_per_byte(corpus: Tokens) -> dict[str, float]:
    """Of each category's held-out documents, and of all; the `END` before a document counts."""
    length = np.diff(corpus.starts)
    rows = {c: corpus.held & (corpus.category == i) for i, c in enumerate(corpus.categories)}
    rows["all"] = corpus.held
    return {
        name: float(length[kept].sum() / corpus.size[kept].sum())
        for name, kept in rows.items()
        if kept.any()
    }


def ngram_losses(corpus: Tokens, vocabulary: int) -> dict[str, dict[str, float]]:
    """Nats/token of unigram, bigram and trigram, counted on the training documents (each once)."""
    seen = np.concatenate([corpus.document(int(i)) for i in np.flatnonzero(~corpus.held)])
    models = NGrams(seen.astype(np.int64), vocabulary)
    each = {
        name: models.losses(ids.astype(np.int64)) for name, ids in held_out_streams(corpus).items()
    }
    out: dict[str, dict[str, float]] = {}
    for n, word in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
        whole = np.concatenate([losses[n] for losses in each.values()])
        out[word] = {c: float(losses[n].mean()) for c, losses in each.items()}
        out[word]["all"] = float(whole.mean())
    return out


def sample(documents: Iterable[Document], size: int) -> dict[str, list[str]]:
    """The first held-out documents of each category, up to `size` characters (at least one)."""
    taken: dict[str, list[str]] = {}
    for document in documents:
        if document.held_out:
            have = taken.setdefault(document.category, [])
            if not have or sum(map(len, have)) + len(document.text) <= size:
                have.append(document.text)
    return taken


def bits_per_byte(
    hf: PreTrainedModel,
    encode: Callable[[str], Sequence[int]],
    lead: int,
    texts: dict[str, list[str]],
    context: int,
) -> dict[str, float]:
    """Bits per byte of UTF-8, each document by itself and led by the token `lead`.

    A document longer than `context` tokens is read in windows that overlap by half, and a token is
    predicted from at least half a window where the document has one.
    """
    bits: dict[str, float] = {}
    whole, size = 0.0, 0
    for category, documents in texts.items():
        nats = sum(_nats(hf, [lead, *encode(text)], context) for text in documents)
        length = sum(len(text.encode()) for text in documents)
        bits[category] = nats / LN2 / length
        whole, size = whole + nats, size + length
    bits["all"] = whole / LN2 / size
    return bits


def _nats(hf: Any, ids: Sequence[int], context: int) -> float:
    """Sum over all tokens but the first."""
    total, scored = 0.0, 1
    row = torch.tensor([ids])
    for start in range(0, len(ids), context // 2):
        window = row[:, start : start + context]
        fresh = start + window.shape[1] - scored  # tokens that no earlier window predicted
        if not fresh:
            break
        with torch.no_grad():
            logits = hf(input_ids=window, use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="none")
        total += float(losses[-fresh:].sum())
        scored += fresh
    return total
