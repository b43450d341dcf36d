"""Stores of the zoo with something changed: features that were NaN, a damaged file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import neuroglass as ng
from neuroglass import zoo
from neuroglass.features.corpus import need_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEVER_FINITE, SOMETIMES, ULTRALOW = 7, 11, 13  # what `with_nan` makes of these features


def altered(
    folder: Path,
    changes: Mapping[str, Mapping[int, float]] | None = None,
    *,
    of: str = "A-1x",
    damaged: Sequence[str] = (),
) -> ng.Store:
    """A store in `folder` as one of the zoo's, with other numbers in its table of features.

    Args:
        folder: is made; the large files in it are links.
        changes: column -> feature -> value.
        of: which store.
        damaged: files that are cut off.
    """
    pa, parquet = need_store("pyarrow"), need_store("pyarrow.parquet")
    source = zoo.path("stores") / of
    folder.mkdir(parents=True)
    for file in source.iterdir():
        if file.name in damaged:
            (folder / file.name).write_bytes(file.read_bytes()[:200])
        elif file.name not in {"meta.json", "features.parquet"}:
            (folder / file.name).symlink_to(file)
    if "features.parquet" not in damaged:
        table = parquet.read_table(source / "features.parquet")
        for name, values in (changes or {}).items():
            column = table[name].to_numpy().copy()
            column[list(values)] = list(values.values())
            at = table.column_names.index(name)
            table = table.set_column(at, name, pa.array(column, table.schema.field(name).type))
        parquet.write_table(table, folder / "features.parquet")
    meta = json.loads((source / "meta.json").read_text("utf-8"))
    meta["tokens"] = str((source / meta["tokens"]).resolve())
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")
    return ng.open_store(folder)


def with_nan(folder: Path, of: str = "A-1x") -> ng.Store:
    """One feature that was only ever NaN, one that was at times, and an ultralow one."""
    nothing = dict.fromkeys(("count", "density", "max", "mean", "mean_square"), 0.0)
    undefined = dict.fromkeys(("skew", "kurtosis", "single_token_share"), np.nan)
    changes: dict[str, dict[int, float]] = {}
    for name, value in {**nothing, **undefined, "not_finite": 425_776, "top_token": -1}.items():
        changes.setdefault(name, {})[NEVER_FINITE] = value
    changes["not_finite"][SOMETIMES] = 12
    changes["density"][ULTRALOW] = 5e-7
    return altered(folder, changes, of=of)
