"""Documents → tokens on disk → batches, as a pure function of corpus, tokenizer, seed and step.

A corpus is one JSONL file of ``{"text", "category", "source"}``. Documents whose hash says so are
held out: never seen by the tokenizer or a model, kept for figures and for the texts that ship.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HELD_OUT = 50  # one document in so many
END = "<|endoftext|>"  # stands before every document; id 0


@dataclass(frozen=True)
class Document:
    """One text of a corpus."""

    text: str
    category: str
    source: str

    @property
    def held_out(self) -> bool:
        return held_out(self.text)


def held_out(text: str) -> bool:
    """Whether the hash of this text keeps it out of training."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % HELD_OUT == 0


def read_corpus(path: Path) -> Iterator[Document]:
    """The documents of a corpus, in its order.

    Raises:
        InputError: no such file, or a line that is no document.
    """
    if not path.is_file():
        raise InputError(
            f"There is no corpus {str(path)!r}.",
            "python -m neuroglass.recipes.corpus CORPUS.jsonl makes it.",
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                yield Document(row["text"], row["category"], row["source"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"Line {number} of {path.name} is no document: {line[:60]!r}.",
                    'Each line is {"text": ..., "category": ..., "source": ...}; a file that '
                    "ends in the middle of a line was interrupted: make it again.",
                ) from error


@dataclass(frozen=True, eq=False)
class Tokens:
    """A corpus as token ids.

    ``ids`` [tokens] holds all documents one after another, each led by `END`; document ``i`` is
    ``ids[starts[i] : starts[i + 1]]``, of category ``categories[category[i]]``, ``size[i]`` bytes
    of UTF-8 long, ``held[i]`` if it is held out.
    """

    ids: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    category: npt.NDArray[np.int64]
    held: npt.NDArray[np.bool_]
    categories: tuple[str, ...]

    def document(self, i: int) -> npt.NDArray[np.uint16]:
        return self.ids[self.starts[i] : self.starts[i + 1]]

    @cached_property
    def mark(self) -> str:
        """Hash of tokens, documents and split: equal for equal training."""
        found = hashlib.sha256()
        for part in (self.ids, self.starts, self.category, self.held):
            found.update(part.data)
        return found.hexdigest()

    @lru_cache(maxsize=1)  # noqa: B019 - one epoch of one corpus, gone with it
    def epoch(self, number: int, *, seed: int, times: tuple[int, ...]) -> npt.NDArray[np.uint16]:
        """All training documents, category ``c`` ``times[c]`` times, in this epoch's order."""
        rng = np.random.default_rng([seed, number])
        usable = np.flatnonzero(~self.held)
        usable = np.repeat(usable, np.asarray(times)[self.category[usable]])
        return np.concatenate([self.document(int(i)) for i in rng.permutation(usable)])

    def batch(
        self, step: int, *, rows: int, context: int, seed: int, times: tuple[int, ...]
    ) -> npt.NDArray[np.uint16]:
        """Windows [rows, context + 1] of training step `step` (from 0)."""
        each = int((np.diff(self.starts) * np.asarray(times)[self.category])[~self.held].sum())
        steps = (each - 1) // (rows * context)  # a few tokens at an epoch's end are left out
        if steps == 0:
            raise InputError(
                f"A batch of {rows} × {context} tokens is more than the corpus has.",
                "Choose fewer rows, a shorter context or a larger corpus.",
            )
        number, step = divmod(step, steps)
        text = self.epoch(number, seed=seed, times=times)
        windows = np.random.default_rng([seed, number, 1]).permutation(steps * rows)
        at = windows[step * rows : (step + 1) * rows, None] * context + np.arange(context + 1)
        return cast("npt.NDArray[np.uint16]", text[at])


def tokenize(corpus: Path, tokenizer: Tokenizer, cache: Path) -> Tokens:
    """The tokens of a corpus, from `cache` if this corpus and tokenizer were tokenised before."""
    stat = corpus.stat()
    mark = hashlib.sha256(
        f"{stat.st_size} {stat.st_mtime_ns} {tokenizer.to_str()}".encode()
    ).hexdigest()
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as kept:
            if str(kept["mark"]) == mark:
                return Tokens(
                    kept["ids"],
                    kept["starts"],
                    kept["size"],
                    kept["category"],
                    kept["held"],
                    tuple(kept["categories"].tolist()),
                )
    documents = list(read_corpus(corpus))
    categories = sorted({d.category for d in documents})
    ids: list[npt.NDArray[np.uint16]] = []
    starts = [0]
    lead = tokenizer.token_to_id(END)
    for at in range(0, len(documents), 512):
        for found in tokenizer.encode_batch([d.text for d in documents[at : at + 512]]):
            ids.append(np.array([lead, *found.ids], dtype=np.uint16))
            starts.append(starts[-1] + len(ids[-1]))
    made = Tokens(
        np.concatenate(ids),
        np.array(starts),
        np.array([len(d.text.encode()) for d in documents]),
        np.array([categories.index(d.category) for d in documents]),
        np.array([d.held_out for d in documents]),
        tuple(categories),
    )
    cache.parent.mkdir(parents=True, exist_ok=True)
    scratch = cache.with_suffix(".part.npz")
    np.savez(
        scratch,
        mark=np.array(mark),
        ids=made.ids,
        starts=made.starts,
        size=made.size,
        category=made.category,
        held=made.held,
        categories=np.array(categories),
    )
    scratch.rename(cache)
    return made


def times(categories: Sequence[str], repeated: dict[str, int]) -> tuple[int, ...]:
    """How often each category is read in an epoch."""
    return tuple(repeated.get(c, 1) for c in categories)


def held_out_streams(tokens: Tokens) -> dict[str, npt.NDArray[np.uint16]]:
    """Each category's held-out documents, one after another."""
    return {
        name: np.concatenate([tokens.document(int(i)) for i in kept])
        for c, name in enumerate(tokens.categories)
        if len(kept := np.flatnonzero(tokens.held & (tokens.category == c)))
    }
