"""Shards on disk: what a harvest has seen of a part of the corpus, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import I64
from neuroglass.features.reservoir import Examples
from neuroglass.features.sketch import merge_keys
from neuroglass.model.errors import InputError

Arrays = Mapping[str, npt.NDArray[Any]]
META = "shard.json"
REASONS = ("special", "massive", "position")  # why a token is left out
_RAGGED = ("offsets", "values")
_WAITING = 1 << 18  # rows of several shards that are held before they are merged


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
    """What one shard has of one basis, on disk.

    Arrays are mapped anew each time one is asked for: what was read of them does not stay in
    memory.

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
            cut = [
                n for n, shape in shapes.items() if list(_load(folder / f"{n}.npy").shape) != shape
            ]
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The shard {str(folder)!r} is damaged: {error}.", again) from error
        if cut:
            raise InputError(f"The shard {str(folder)!r} is damaged: {', '.join(cut)}.", again)
        self.names = {n.removeprefix(f"{part}.") for n in shapes}
        self._place = str(folder / part)
        self._starts: dict[str, I64] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return _load(Path(f"{self._place}.{name}.npy"))

    def examples(self, kind: str, groups: tuple[int, int]) -> Examples:
        """The examples of a range of groups."""
        if kind not in self._starts:
            length = self[f"{kind}.length"]
            self._starts[kind] = np.concatenate([[0], length.cumsum(dtype=np.int64)])
        a, b = np.searchsorted(self[f"{kind}.group"], groups)
        first, last = self._starts[kind][[a, b]]
        rows = {n: (first, last) if n in _RAGGED else (a, b) for n in Examples.__dataclass_fields__}
        return Examples(**{n: np.array(self[f"{kind}.{n}"][i:j]) for n, (i, j) in rows.items()})

    def keyed(self, kind: str, keys: tuple[int, int], *names: str) -> list[I64]:
        """Slices of arrays sorted by ``{kind}_key``, and that key first."""
        a, b = np.searchsorted(self[f"{kind}_key"], keys)
        return [np.array(self[f"{kind}_{n}"][a:b]) for n in ("key", *names)]


def _load(file: Path) -> npt.NDArray[Any]:
    found: npt.NDArray[Any]
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        found = np.load(file, allow_pickle=False)  # an empty array can't be mapped
    return found


def gathered(
    shards: Sequence[Shard],
    kind: str,
    groups: tuple[int, int],
    k: int,
    regroup: Callable[[I64], I64] = lambda group: group,
) -> tuple[Examples, I64]:
    """The `k` of each group in a range with the smallest orders of all shards, and their ranks."""
    kept, waiting = Examples.none(), [Examples.none()]
    for shard in shards:
        found = shard.examples(kind, groups)
        found.group = regroup(found.group)
        waiting.append(found)
        if sum(map(len, waiting)) > max(_WAITING, len(kept)):
            kept, waiting = Examples.concat([kept, *waiting]).smallest(k)[0], []
    return Examples.concat([kept, *waiting]).smallest(k)


def summed(
    shards: Sequence[Shard], kind: str, keys: tuple[int, int], *names: str
) -> tuple[I64, I64, I64]:
    """Keys in a range, ascending, with counts and sums (zero if not named) over all shards."""
    none = np.zeros(0, np.int64)
    kept: tuple[I64, I64, I64] = none, none, none
    waiting: list[tuple[I64, I64, I64]] = []
    for i, shard in enumerate(shards):
        key, count, *total = shard.keyed(kind, keys, *names)
        waiting.append((key, count.astype(np.int64), total[0] if total else np.zeros_like(key)))
        last = i == len(shards) - 1
        if last or sum(len(k) for k, *_ in waiting) > max(_WAITING, len(kept[0])):
            joined = [np.concatenate(c) for c in zip(kept, *waiting, strict=True)]
            kept, waiting = merge_keys(joined[0], joined[1], joined[2]), []
    return kept
