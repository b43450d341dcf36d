"""Opening dictionaries of every published format by what is in the files, and writing one.

A path flows in; an ``SAE`` or a ``Transcoder`` flows out, its weights mapped views of the file.
Each format is a module that recognises its files and turns them into ``Spec`` and ``Weights``;
whatever a file says against itself is refused here, before anything is computed with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuroglass.model import zoo
from neuroglass.model.errors import InputError, NeuroglassError
from neuroglass.sae.formats import (
    dictionary_learning,
    gemma_scope,
    llama_scope,
    openai_pt,
    saelens,
    sparsify,
)
from neuroglass.sae.formats.files import SUFFIXES, Files, open_files
from neuroglass.sae.formats.write import write
from neuroglass.sae.spec import Spec, Weights

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.sae.dictionary import SAE


@dataclass(frozen=True)
class Format:
    """One way of storing a dictionary; `looks` says what it is recognised by."""

    name: str
    looks: str
    recognises: Callable[[Files], bool]
    read: Callable[[Files], tuple[Spec, Weights]]


# the first that recognises a file reads it
FORMATS = (
    Format("OpenAI", openai_pt.LOOKS, openai_pt.recognises, openai_pt.read),
    Format("sparsify", sparsify.LOOKS, sparsify.recognises, sparsify.read),
    Format("Gemma Scope", gemma_scope.LOOKS_1, gemma_scope.recognises_1, gemma_scope.read_1),
    Format("Gemma Scope 2", gemma_scope.LOOKS_2, gemma_scope.recognises_2, gemma_scope.read_2),
    Format("Llama Scope", llama_scope.LOOKS, llama_scope.recognises, llama_scope.read),
    Format(
        "dictionary_learning",
        dictionary_learning.LOOKS,
        dictionary_learning.recognises,
        dictionary_learning.read,
    ),
    Format("SAELens", saelens.LOOKS, saelens.recognises, saelens.read),
)


def load(
    path: str | Path,
    model: LiveModel | None = None,
    *,
    site: str | None = None,
    write_site: str | None = None,
    any_model: bool = False,
    name: str | None = None,
    input_scale: float | None = None,
) -> SAE:
    """Open a dictionary, whichever library wrote it.

    Args:
        path: its folder, or its file of weights; ``"zoo/A-8x"`` is one that comes with neuroglass.
        model: a live model to attach it to.
        site, write_site: where it reads and writes, if the files do not say it.
        any_model: True attaches it to a model of another name or other weights than recorded.
        name: short name, part of its features' ids; by default what the file says, or the folder's.
        input_scale: what the input is multiplied by, where the files say that it is and not by how
            much.

    Returns:
        A ``Transcoder`` if it writes another site than it reads, else an ``SAE``.

    Raises:
        InputError: nothing there is a dictionary, or several are; a file contradicts itself, or
            needs something that is not there; it belongs to another site or model.
        ModelLoadError: a file is damaged, or would have to be unpickled.
    """
    from neuroglass.sae.dictionary import SAE, Transcoder

    path = zoo.locate_dictionary(str(path)) if str(path).startswith(zoo.PREFIX) else Path(path)
    kind, files = _find(path, input_scale)
    try:
        spec, weights = kind.read(files)
        spec = _scaled(spec, input_scale)
        if model is None and (site or write_site):
            read = site or spec.read_site
            write_site = write_site or (spec.write_site if spec.transcodes else read)
            spec = replace(spec, read_site=read, write_site=write_site)
        made = Transcoder if spec.transcodes else SAE
        sae = made(spec, weights, name=name or _name(files))
    except InputError as error:
        message = f"{files.path} ({kind.name}): {error.message}"
        raise InputError(message, error.hint) from error
    if model is None:
        return sae
    return sae.attach(model, site=site, write_site=write_site, any_model=any_model)


def save(sae: SAE, folder: str | Path) -> Path:
    """Write a dictionary in the format of SAELens.

    What SAELens can express it opens and computes alike; anything else it refuses, and only
    ``load`` opens it. Loaded again it has the same fingerprint.

    Returns:
        The folder.
    """
    return write(sae, Path(folder))


def _find(path: Path, input_scale: float | None) -> tuple[Format, Files]:
    """The one dictionary at a path."""
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise InputError(f"{path} is no file of weights.", f"Known: {', '.join(SUFFIXES)}.")
        groups = [[path]]
    elif path.is_dir():
        groups = [_weights_in(path), _weights_in(path / "checkpoints")]
    else:
        raise InputError(f"There is nothing at {path}.")
    failed: list[NeuroglassError] = []
    seen: list[str] = []
    for group in groups:
        found = []
        for file in group:
            try:
                files = open_files(file, input_scale)
            except NeuroglassError as error:  # another file in the folder may be the one
                failed.append(error)
                continue
            kind = next((f for f in FORMATS if f.recognises(files)), None)
            if kind is not None:
                found.append((kind, files))
            else:
                seen.append(f"{file.name} ({', '.join(sorted(map(str, files.tensors))[:12])})")
        if len(found) > 1:
            names = ", ".join(files.path.name for _, files in found)
            raise InputError(f"There are several dictionaries in {path}: {names}.", "Name one.")
        if found:
            return found[0]
    if failed:
        raise failed[0]
    raise InputError(f"{path} is no dictionary of a known format.", _looked_for(path, seen))


def _weights_in(folder: Path) -> list[Path]:
    return sorted(f for s in SUFFIXES for f in folder.glob(f"*{s}")) if folder.is_dir() else []


def _looked_for(path: Path, seen: list[str]) -> str:
    inner = sorted({f.parent.name for f in path.glob("*/*") if f.suffix in SUFFIXES})
    looks = "; ".join(f"{f.name}: {f.looks}" for f in FORMATS)
    there = "; ".join(seen) or f"no file ending in {', '.join(SUFFIXES)}"
    return " ".join(
        [
            f"There is {there}.",
            *([f"Folders with weights in it: {', '.join(inner[:8])}."] if inner else []),
            f"Looked for: {looks}.",
        ]
    )


def _scaled(spec: Spec, input_scale: float | None) -> Spec:
    """With the user's scale, where the files have none."""
    if input_scale is None or spec.input_scale == input_scale:
        return spec
    if spec.input_norm != "none":
        raise InputError(
            f"input_scale={input_scale}, and the files say {spec.input_norm} "
            f"(scale {spec.input_scale}).",
            "Leave input_scale out.",
        )
    return replace(spec, input_norm="constant", input_scale=input_scale)


def _name(files: Files) -> str:
    for values in files.configs.values():
        ours = values.get("metadata", {})
        ours = ours.get(saelens.OURS, {}) if isinstance(ours, dict) else {}
        if isinstance(ours, dict) and isinstance(ours.get("name"), str):
            return str(ours["name"])
    folder = files.path.parent
    folder = folder.parent if folder.name == "checkpoints" else folder
    # a lone <layer>.pt is named by its stem
    plain = files.path.stem if not files.configs and files.path.suffix == ".pt" else folder.name
    return plain or "sae"
