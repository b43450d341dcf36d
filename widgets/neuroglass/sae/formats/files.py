"""What lies on the disk, before it means anything: mapped tensors and the JSON files beside them.

Nothing is unpickled: ``.pt`` files are read with ``weights_only``, arrays without objects. Tensors
are views of mapped files, so a file of any size opens at once and only what is used is read.
"""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch raises when it refuses a file
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError, safe_open

from neuroglass.model.errors import InputError, ModelLoadError

# a JSON file above this is no config
_MAX_JSON = 4_000_000
_ABSENT: Any = object()


@dataclass(frozen=True, eq=False)
class Files:
    """A file of tensors and what lies beside it.

    Attributes:
        path: the file.
        tensors: its contents: tensors, and in a ``.pt`` also strings, numbers and dicts.
        configs: file name -> the object in it, of the JSON files in its folder (and, for a file in
            ``checkpoints/``, in the folder above); ``cfg.json`` and ``config.json`` first.
        above: the object in ``config.json`` of the folder above, if there is one.
        broken: JSON files that are none.
        input_scale: the user's word on what the input is multiplied by.
    """

    path: Path
    tensors: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]
    above: Mapping[str, Any]
    broken: tuple[str, ...] = ()
    input_scale: float | None = None

    def config(self, *keys: str) -> Config | None:
        """The first config that has all these keys."""
        for name, values in self.configs.items():
            if all(key in values for key in keys):
                return Config(name, values)
        return None

    def has(self, *names: str) -> bool:
        """Whether there are entries with all these names."""
        return all(name in self.tensors for name in names)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor.

        Raises:
            InputError: there is none of this name.
        """
        found = self.tensors.get(name)
        if not isinstance(found, torch.Tensor):
            there = ", ".join(sorted(map(str, self.tensors))[:20])
            raise InputError(f"There is no tensor {name!r} in it.", f"There are: {there}.")
        return found

    def number(self, name: str) -> float:
        """A tensor of one number.

        Raises:
            InputError: there is none, or it holds several.
        """
        found = self.tensor(name)
        if found.numel() != 1:
            raise InputError(f"{name} has shape {list(found.shape)}, and should be one number.")
        return float(found)

    def only(self, names: Iterable[str]) -> None:
        """Refuse entries besides these: they would be left out of the computation.

        Raises:
            InputError: there are others.
        """
        if others := sorted(set(map(str, self.tensors)) - set(names)):
            raise InputError(
                f"It holds {', '.join(map(repr, others))}, which this kind of dictionary has not.",
                "Left out silently, they would make its numbers wrong.",
            )


@dataclass(frozen=True)
class Config:
    """A JSON object that is asked for its values; `name` is its file's, for errors."""

    name: str
    values: Mapping[str, Any]

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = _ABSENT) -> Any:
        """A value; ``a.b`` is b in the object a. null counts as absent.

        Raises:
            InputError: it is not there and there is no default, or of another kind.
        """
        found: Any = self.values
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            if default is _ABSENT:
                raise InputError(f"{self.name} does not say {key!r}.", "It can't be guessed.")
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        kinds = (*kinds, int) if float in kinds else kinds  # JSON may write 1.0 as 1
        if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
            raise InputError(f"{key!r} in {self.name} is {found!r}.")
        return found

    def part(self, key: str) -> Config:
        """The object under a key; an empty one if there is none."""
        return Config(f"{self.name}: {key}", self.get(key, dict, {}))

    def refuse(self, key: str, *meant: Any, why: str) -> None:
        """Refuse any value but these.

        Raises:
            InputError: it has another.
        """
        if (value := self.values.get(key)) not in meant:
            raise InputError(f"{key!r} in {self.name} is {value!r}: {why}.")


def open_files(path: Path, input_scale: float | None) -> Files:
    """Open one file of tensors.

    Raises:
        ModelLoadError: it is damaged, or holds something that only unpickling could open.
    """
    configs: dict[str, Mapping[str, Any]] = {}
    broken = []
    folders = [path.parent, *([path.parent.parent] if path.parent.name == "checkpoints" else [])]
    for file in [f for folder in folders for f in sorted(folder.glob("*.json"), key=_order)]:
        try:
            values = _json(file)
        except ValueError:
            broken.append(file.name)
            continue
        if isinstance(values, dict):
            configs.setdefault(file.name, values)
    tensors = _OPENERS[path.suffix](path)
    return Files(path, tensors, configs, _above(path), tuple(broken), input_scale)


def _order(file: Path) -> tuple[int, str]:
    first = ["cfg.json", "config.json", "hyperparams.json"]
    return (first.index(file.name) if file.name in first else len(first), file.name)


def _json(file: Path) -> Any:
    if file.stat().st_size > _MAX_JSON:
        return None
    return json.loads(file.read_text(encoding="utf-8"))


def _above(path: Path) -> Mapping[str, Any]:
    """``config.json`` of the folder above: sparsify keeps a run's settings there."""
    try:
        values = _json(path.parent.parent / "config.json")
    except (OSError, ValueError):  # not this dictionary's: its absence is no fault
        return {}
    return values if isinstance(values, dict) else {}


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _pt(path: Path) -> Mapping[str, Any]:
    mapped = zipfile.is_zipfile(path)  # files of torch < 1.6 are no archives and can't be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles, which are refused or opened anyway
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise ModelLoadError(
            f"{path} is damaged, or holds more than tensors, numbers and text: to open it would "
            "run code that is in it.",
            "If you trust whoever made it, save its state dict as .safetensors in a separate "
            "process.",
        ) from error
    # damaged archives end in any of these
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, Mapping):
        raise ModelLoadError(f"{path} holds a {type(found).__name__}, not a state dict.")
    return found


def _npz(path: Path) -> Mapping[str, Any]:
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                array = _array(path, archive, member)
                found[member.filename.removesuffix(".npy")] = torch.from_numpy(array)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, TypeError, struct.error) as error:
        raise _damaged(path, error) from error
    return found


def _array(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray[Any, np.dtype[Any]]:
    """One member, mapped where it is stored as it is, else read."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which only unpickling opens")
    if member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as file:
            return npy.read_array(file, allow_pickle=False)
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)  # the lengths of the name and of the extra field
        name, extra = struct.unpack("<HH", raw.read(4))
    offset = member.header_offset + 30 + name + extra + start
    # a private mapping: torch wants to be allowed to write
    return np.memmap(path, dtype, "c", offset, shape, "F" if fortran else "C")


def _damaged(path: Path, error: Exception) -> ModelLoadError:
    lines = str(error).strip().splitlines()
    return ModelLoadError(
        f"{path} can't be read: {lines[0] if lines else type(error).__name__}.",
        "It may have been cut off while it was copied.",
    )


_OPENERS: Mapping[str, Callable[[Path], Mapping[str, Any]]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".pt": _pt,
    ".pth": _pt,
}
SUFFIXES = tuple(_OPENERS)
