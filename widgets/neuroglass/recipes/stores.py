"""How the stores of the zoo were harvested.

    python -m neuroglass.recipes.stores --corpus CORPUS.jsonl [--out FOLDER]

The dictionaries A-8x and A-1x and the neurons of model A, in one pass over texts in the public
domain: their tokens ship with the stores. What is kept of a feature is little, to be small.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuroglass.features.harvest import harvest
from neuroglass.features.sketch import Keep
from neuroglass.model.basis import NeuronBasis
from neuroglass.model.errors import NeuroglassError
from neuroglass.model.load import load
from neuroglass.recipes.data import read_corpus
from neuroglass.recipes.dictionaries import MODEL
from neuroglass.recipes.texts import public_texts
from neuroglass.sae.dictionary import SAE

if TYPE_CHECKING:
    from neuroglass.features.store import Store

DICTIONARIES = ("A-8x", "A-1x")
NEURONS = "A-neurons"
CHARACTERS = 90_000  # of each category
KEEP = Keep(top=10, intervals=5, per_interval=2, firing=2, random=10, pairs=8, tokens=10)
CONTEXT = 64


def harvest_zoo_stores(corpus: str | Path, out: str | Path, *, progress: bool = True) -> list[str]:
    """Harvest the stores of the zoo into a folder; the names of what is in it.

    Args:
        corpus: what ``python -m neuroglass.recipes.corpus`` wrote.
        out: a new folder, or one where this was interrupted.

    Raises:
        InputError: see ``harvest``.
    """
    model, out = load(MODEL), Path(out)
    bases = [SAE.load(f"zoo/{name}", model) for name in DICTIONARIES]
    texts = public_texts(read_corpus(Path(corpus)), CHARACTERS, trained=True)
    found = harvest(
        model,
        [*bases, NeuronBasis(model, 0, NEURONS)],
        [t["text"] for group in texts.values() for t in group],
        out=out,
        context=CONTEXT,
        keep=KEEP,
        progress=progress,
    )
    (out / "README.md").write_text(_card(list(found.values()), texts), "utf-8")
    return list(found)


def _card(stores: Sequence[Store], texts: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """What the stores are of, and whose texts are in them."""
    first = stores[0]
    count = Counter(_origin(t["source"]) for group in texts.values() for t in group)
    return "\n".join(
        [
            f"# neuroglass zoo: stores of {MODEL}",
            "",
            f"What features of {', '.join(s.name for s in stores)} do on {first.n_tokens:,} tokens "
            f"in windows of {CONTEXT}, harvested by",
            "",
            "    python -m neuroglass.recipes.stores --corpus CORPUS.jsonl",
            "",
            "Little is kept of each feature, to be small; `neuroglass.harvest` keeps more. Model "
            "and dictionaries have seen part of these texts in training.",
            "",
            "All texts are in the public domain:",
            "",
            "| texts | source |",
            "|---:|---|",
            *(f"| {n} | {source} |" for source, n in sorted(count.items())),
            "",
        ]
    )


def _origin(source: str) -> str:
    """Where a text is from, without the place in there; why it is free is in the brackets."""
    place, _, why = source.partition(" (")
    return f"{'/'.join(place.split('/')[:2])} ({why}" if why else source


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/stores"))
    given = parser.parse_args(argv)
    try:
        names = harvest_zoo_stores(given.corpus, given.out)
    except (NeuroglassError, OSError) as error:
        print(f"stores: {error}", file=sys.stderr)
        return 1
    print(", ".join(names), "in", given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
