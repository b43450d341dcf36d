"""The program that ``plane.umap`` runs: UMAP in a process of its own, which can be ended.

In: a file of directions, the file to write, the parameters as JSON. Out: the file, and on standard
error how far it is, as tqdm writes it.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any


def main(source: str, target: str, parameters: str) -> None:
    import numpy as np

    warnings.simplefilter("ignore")  # about its threads: one seed means one thread
    from umap import UMAP

    x: Any = np.load(source, allow_pickle=False)
    chosen = json.loads(parameters)
    chosen["n_neighbors"] = min(chosen["n_neighbors"], len(x) - 1)
    bar = {"disable": False, "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.2}
    made = UMAP(n_components=2, tqdm_kwds=bar, **chosen).fit_transform(x)
    part = Path(target).with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, np.asarray(made, np.float32), allow_pickle=False)
    part.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:4])
