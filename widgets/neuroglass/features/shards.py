"""Shards on disk: what a harvest has seen of a part of the corpus, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import I64
from neuroglass.features.reservoir import Examples
from neuroglass.model.errors import InputError

Arrays = Mapping[str, npt.NDArray[Any]]
META = "shard.json"
_RAGGED = ("offsets", "values")


def write_shard(folder: Path, arrays: Arrays, mark: str) -> None:
    """Write arrays to a folder of their own, which appears when all of them are there.

    Args:
        folder: must not exist.
        arrays: by name.
        mark: hash of the harvest's settings.

    Raises:
        OSError: no space; nothing is left behind.
    """
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        about = {"mark": mark, "arrays": {n: list(a.shape) for n, a in arrays.items()}}
        (part / META).write_text(json.dumps(about), "utf-8")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


class Shard:
    """What one shard has of one basis, mapped from disk.

    Args:
        folder: the shard.
        mark: hash of the harvest's settings.
        part: the basis' name; its arrays are called ``{part}.{name}``.

    Raises:
        InputError: cut off, or of other settings than `mark`.
    """

    def __init__(self, folder: Path, mark: str, part: str) -> None:
        again = f"Remove {folder.name!r} and harvest again: only this shard is made anew."
        try:
            about = json.loads((folder / META).read_text("utf-8"))
            if about["mark"] != mark:
                raise InputError(
                    f"The shard {str(folder)!r} is of another harvest.",
                    "Shards of different models, bases, corpora or settings can't be merged.",
                )
            shapes = {n: s for n, s in about["arrays"].items() if n.startswith(f"{part}.")}
            found = {n: _load(folder / f"{n}.npy") for n in shapes}
            cut = [n for n, a in found.items() if list(a.shape) != shapes[n]]
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The shard {str(folder)!r} is damaged: {error}.", again) from error
        if cut:
            raise InputError(f"The shard {str(folder)!r} is damaged: {', '.join(cut)}.", again)
        self.arrays = {n.removeprefix(f"{part}."): a for n, a in found.items()}
        self._starts: dict[str, I64] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    def examples(self, kind: str, groups: tuple[int, int]) -> Examples:
        """The examples of a range of groups."""
        columns = {f: self.arrays[f"{kind}.{f}"] for f in Examples.__dataclass_fields__}
        if kind not in self._starts:
            length = columns["length"]
            self._starts[kind] = np.concatenate([[0], length.cumsum(dtype=np.int64)])
        a, b = np.searchsorted(columns["group"], groups)
        first, last = self._starts[kind][[a, b]]
        return Examples(
            **{
                name: np.array(c[first:last] if name in _RAGGED else c[a:b])
                for name, c in columns.items()
            }
        )

    def keyed(self, kind: str, keys: tuple[int, int], *names: str) -> list[I64]:
        """Slices of arrays sorted by ``{kind}_key``, and that key first."""
        key = self.arrays[f"{kind}_key"]
        a, b = np.searchsorted(key, keys)
        return [np.array(self.arrays[f"{kind}_{n}"][a:b]) for n in ("key", *names)]


def _load(file: Path) -> npt.NDArray[Any]:
    found: npt.NDArray[Any]
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        found = np.load(file, allow_pickle=False)  # an empty array can't be mapped
    return found


def gathered(shards: Sequence[Shard], kind: str, groups: tuple[int, int]) -> Examples:
    """The examples of a range of groups from all shards."""
    return Examples.concat([s.examples(kind, groups) for s in shards])
