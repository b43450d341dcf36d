"""Directions in two dimensions: where each feature of a store, or of several, lies on a map.

What features write flows in, from the stores' live models; two coordinates for each flow out. A map
is made once for each set of bases, method and parameters, and kept as a small ``.npz`` beside the
store's annotations: from then on it opens without a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from neuroglass.model.errors import InputError, MissingExtraError, nearest
from neuroglass.model.worker import Cancelled

if TYPE_CHECKING:
    import torch

    from neuroglass.features.store import Store

Floats = npt.NDArray[np.float32]
Tell = Callable[[str], None]

# UMAP: as in *Towards Monosemanticity* for A/0 and A/1; the seed makes it the same each time
PARAMETERS: dict[str, dict[str, Any]] = {
    "pca": {},
    "umap": {"n_neighbors": 15, "metric": "cosine", "min_dist": 0.05, "random_state": 0},
}
_VERSION = 1  # of what is kept
_RESIDUAL = "the residual stream"


@dataclass(frozen=True)
class Plane:
    """A finished map.

    Attributes:
        method: "pca" or "umap".
        parameters: of the method.
        space: where the directions are compared: the site that the bases write to, or the residual
            stream.
        xy: float32 [points, 2], the first store's features first; NaN for a direction that is zero
            or not finite.
        sizes: how many points each store has.
        explained: of PCA, the share of the variance that lies along each axis; else empty.
    """

    method: str
    parameters: dict[str, Any]
    space: str
    xy: Floats
    sizes: tuple[int, ...]
    explained: tuple[float, ...]


def parameters_of(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The method's parameters with those that were given.

    Raises:
        InputError: no such method or parameter.
    """
    if method not in PARAMETERS:
        raise InputError(f"There is no map by {method!r}.", nearest(method, PARAMETERS))
    known = PARAMETERS[method]
    for name in given:
        if name not in known:
            hint = nearest(name, known) if known else "PCA has none."
            raise InputError(f"{method} has no parameter {name!r} here.", hint)
    return {**known, **given}


def space_of(stores: Sequence[Store]) -> str:
    """Where the directions of these stores are compared.

    The site that they write to. Of neurons that would say nothing, since each is an axis of its
    own there: where neurons are among them, all are carried on to the residual stream.

    Raises:
        InputError: they are of different models or write to different sites.
    """
    first = stores[0]
    site = str(first.meta["basis"]["write_site"])
    for store in stores[1:]:
        theirs = str(store.meta["basis"]["write_site"])
        if store.meta["fingerprint"] != first.meta["fingerprint"] or theirs != site:
            raise InputError(
                f"{store.name} writes to {theirs} of {store.meta['model']}, {first.name} to "
                f"{site} of {first.meta['model']}: their directions can't be compared.",
                "Stores on one map have one model and one write site.",
            )
    neurons = any(store.meta["basis"]["kind"] == "NeuronBasis" for store in stores)
    return _RESIDUAL if neurons else site


# -------------------------------------------------------------------------- what is kept


def file_of(stores: Sequence[Store], method: str, parameters: Mapping[str, Any]) -> Path:
    """Where the map of these stores is kept."""
    what = {
        "version": _VERSION,
        "model": stores[0].meta["fingerprint"],
        "bases": [store.meta["basis"]["fingerprint"] for store in stores],
        "space": space_of(stores),
        "parameters": dict(parameters),
    }
    name = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()
    return stores[0].annotations.folder / "maps" / f"{method}-{name}.npz"


def kept(stores: Sequence[Store], method: str, parameters: Mapping[str, Any]) -> Plane | None:
    """The map as it was made before; None: it was not, or its file is damaged."""
    path = file_of(stores, method, parameters)
    sizes = tuple(store.n_features for store in stores)
    if not path.is_file():
        return None
    try:
        # opened here: of a damaged one, numpy leaves its own open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            xy, explained = file["xy"], file["explained"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # it is made again
    if xy.shape != (sum(sizes), 2) or xy.dtype != np.float32:
        return None
    shares = tuple(float(v) for v in explained)
    return Plane(method, dict(parameters), space_of(stores), xy, sizes, shares)


def keep(stores: Sequence[Store], plane: Plane) -> None:
    """Keep a map.

    Raises:
        OSError: the folder can't be written.
    """
    path = file_of(stores, plane.method, plane.parameters)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, xy=plane.xy, explained=np.array(plane.explained))
    part.replace(path)


# -------------------------------------------------------------------------- making one


def cost(stores: Sequence[Store], method: str) -> float:
    """About how many multiplications a map takes."""
    width = stores[0].basis.direction(0).numel()
    n = sum(store.n_features for store in stores)
    return float("inf") if method == "umap" else float(n) * width * min(n, width)


def make(
    stores: Sequence[Store],
    method: str,
    parameters: Mapping[str, Any],
    tell: Tell = lambda _: None,
    stop: threading.Event | None = None,
) -> Plane:
    """Make a map of what the stores' features write; their models are needed.

    Each direction is brought to length 1: a map is of where features point, not of how strongly.

    Args:
        stores: of one write site; the first is the map's own.
        method: "pca" or "umap".
        parameters: all of them; see ``parameters_of``.
        tell: is told how far it is.
        stop: set, it ends the making: at once for UMAP, before the next part for PCA.

    Raises:
        InputError: a store without its model, too few directions.
        MissingExtraError: the extra ``umap`` is not installed.
        Cancelled: it was stopped.
    """
    if method == "umap" and find_spec("umap") is None:
        raise MissingExtraError("A map by UMAP needs umap-learn.", "pip install 'neuroglass[umap]'")
    stop = stop or threading.Event()
    space = space_of(stores)
    tell("reading the directions")
    parts = [_directions(store, space).float().cpu() for store in stores]
    sizes = tuple(len(part) for part in parts)
    x = np.concatenate([part.numpy() for part in parts]).astype(np.float64)
    _unless(stop)
    norms = np.linalg.norm(x, axis=1)
    good = np.isfinite(norms) & (norms > 0)
    if good.sum() < 5:
        raise InputError(f"Only {int(good.sum())} directions are there: too few for a map.")
    unit = x[good] / norms[good, None]
    tell(f"{method.upper()} of {len(unit):,} directions")
    shares: tuple[float, ...] = ()
    found: npt.NDArray[Any]
    if method == "pca":
        found, shares = pca(unit)
    else:
        found = umap(unit.astype(np.float32), parameters, tell, stop)
    _unless(stop)
    xy = np.full((len(x), 2), np.nan, np.float32)
    xy[good] = found
    return Plane(method, dict(parameters), space, xy, sizes, shares)


def pca(x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, ...]]:
    """The first two principal components of rows [n, width], and their shares of the variance.

    The rows are centred. By QR and the singular values of R, so that nothing is squared. The sign
    of an axis is not given by the data: the largest coordinate of each component is made positive.
    """
    import torch

    centred = torch.from_numpy(x - x.mean(0))
    tall = centred.shape[0] > centred.shape[1]
    small = torch.linalg.qr(centred, mode="r").R if tall else centred
    _, sizes, axes = torch.linalg.svd(small, full_matrices=False)
    two = axes[:2]
    largest = two.gather(1, two.abs().argmax(1, keepdim=True))
    two = two * torch.where(largest < 0, -1.0, 1.0)
    total = float(sizes.square().sum())
    shares = tuple(float(s) ** 2 / total if total else 0.0 for s in sizes[:2])
    return (centred @ two.T).numpy(), shares


def umap(
    x: Floats, parameters: Mapping[str, Any], tell: Tell, stop: threading.Event
) -> npt.NDArray[np.float32]:
    """Coordinates by umap-learn, in a process of its own: it can be ended, and blocks nothing.

    Raises:
        InputError: it failed, with what it said.
        Cancelled: it was stopped.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.npy", Path(folder) / "xy.npy"
        np.save(source, x, allow_pickle=False)
        command = [sys.executable, "-m", "neuroglass.features.umap_job", str(source), str(target)]
        process = subprocess.Popen(
            [*command, json.dumps(dict(parameters))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        said: list[str] = []
        reader = threading.Thread(target=_follow, args=(process, len(x), tell, said), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                if stop.wait(0.1):
                    raise Cancelled
        finally:
            process.kill()
            process.wait()
            reader.join(5)
        if process.returncode or not target.is_file():
            raise InputError(f"UMAP failed: {said[-1] if said else 'it said nothing'}.")
        made: npt.NDArray[np.float32] = np.load(target, allow_pickle=False)
        return made


def _follow(process: subprocess.Popen[bytes], n: int, tell: Tell, said: list[str]) -> None:
    """Tell how far the process is; what is no progress is kept, for when it fails."""
    assert process.stderr is not None
    rest = b""
    with process.stderr as stream:
        while part := os.read(stream.fileno(), 4096):
            *lines, rest = re.split(rb"[\r\n]+", rest + part)
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if found := re.fullmatch(r"(\d+)/(\d+)", text):
                    done, total = (int(v) for v in found.groups())
                    tell(f"UMAP of {n:,} directions: {done / max(1, total):.0%} of its epochs")
                elif text:
                    said.append(text)


def _directions(store: Store, space: str) -> torch.Tensor:
    """What each feature writes: [features, width of the space]."""
    import torch

    from neuroglass.features.live import rows_of

    rows = rows_of(store.basis, "decoder")
    if space != _RESIDUAL:
        return rows
    site, model = store.basis.write_site, store.model
    parts = rows.split(512)  # of neurons, the rows are as wide as they are many
    return torch.cat([model.to_residual(site, part.to(model.hf.device)) for part in parts])


def _unless(stop: threading.Event) -> None:
    if stop.is_set():
        raise Cancelled
