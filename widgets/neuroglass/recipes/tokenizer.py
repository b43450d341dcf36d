"""A byte-level BPE of a few thousand entries in which every category has its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from neuroglass.recipes.data import END, Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PER_CATEGORY = 2_000_000  # characters; else prose alone would decide the merges


def train_tokenizer(documents: Iterable[Document], vocabulary: int) -> Tokenizer:
    """Byte-level BPE with GPT-2's splitting: any text, no unknown token. Held-out text is unseen.

    Args:
        documents: a corpus.
        vocabulary: entries, the 256 bytes and `END` (id 0) included.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_shares(documents), trainer)
    return tokenizer


def _shares(documents: Iterable[Document]) -> Iterator[str]:
    taken: Counter[str] = Counter()
    for document in documents:
        if not document.held_out and taken[document.category] < PER_CATEGORY:
            taken[document.category] += len(document.text)
            yield document.text
