"""What a harvest is asked for: the settings that decide a store, and a folder's claim to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuroglass.features.corpus import Corpus
from neuroglass.features.sketch import Keep
from neuroglass.features.store import SCHEMA
from neuroglass.model.basis import NeuronBasis
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis, Head
    from neuroglass.model.live import LiveModel

SETTINGS, SHARDS = "settings.json", "shards"
HEADS = "heads"  # the part of a shard that no basis has


@dataclass(frozen=True)
class Plan:
    """What a harvest is, apart from the texts; see ``harvest``."""

    prepend_bos: bool | None
    skip_special: bool
    skip_massive: bool
    skip_positions: int
    precision: Literal["fp32", "bf16"]
    neurons: bool
    groups_a_shard: int
    keep: Keep

    def n_shards(self, corpus: Corpus) -> int:
        """How many shards a corpus is cut into."""
        return -(-corpus.n_groups // self.groups_a_shard)

    def groups(self, shard: int) -> tuple[int, int]:
        """The first group of a shard, and the one after its last (if the corpus goes so far)."""
        return shard * self.groups_a_shard, (shard + 1) * self.groups_a_shard


@dataclass(frozen=True)
class Task:
    """A harvest, ready to be worked on."""

    model: LiveModel
    bases: list[Basis]
    heads: list[Head]
    plan: Plan
    corpus: Corpus
    folder: Path
    mark: str


def shard_folder(folder: Path, shard: int) -> Path:
    """Where a shard is, of all bases and heads."""
    return folder / SHARDS / f"{shard:05d}"


def bases_of(model: LiveModel, basis: Basis | Sequence[Basis]) -> list[Basis]:
    bases = list(basis) if isinstance(basis, Sequence) else [basis]
    if not bases:
        raise InputError("There is no basis to harvest.", "ng.harvest(model, sae, texts, out=...)")
    for b in bases:
        if not hasattr(b, "read_site"):
            raise InputError(
                f"{type(b).__name__} is no basis.",
                "Give an SAE, a Transcoder, Directions or ng.NeuronBasis(model, layer).",
            )
        model.owns(b.model, f"The basis {b.name!r}")
    names = [b.name for b in bases]
    if len(set(names)) < len(names) or HEADS in names:
        raise InputError(f"Bases need names of their own; these are {', '.join(names)}.")
    return bases


def head_of(model: LiveModel, head: Head | tuple[int, int]) -> Head:
    if isinstance(head, tuple):
        return model.head(*head)
    model.owns(head.model, repr(head))
    return head


def neuron_site(model: LiveModel, basis: Basis) -> str:
    """The neurons that a basis' features are correlated with; none for a basis of neurons."""
    layer = basis.read_site.layer
    if layer is None or isinstance(basis, NeuronBasis) or "neurons" not in model.names:
        return ""
    return f"neurons.{layer}"


def n_neurons(model: LiveModel, basis: Basis) -> int:
    site = neuron_site(model, basis)
    return model.width(site) if site else 0


def settings_of(
    model: LiveModel, bases: list[Basis], heads: list[Head], plan: Plan, corpus: Corpus
) -> dict[str, Any]:
    """All that the store depends on; shards of equal settings may be merged."""
    return {
        "schema": SCHEMA,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "bases": [
            {
                "name": b.name,
                "fingerprint": b.fingerprint,
                "n_features": b.n_features,
                "read_site": str(b.read_site),
                "write_site": str(b.write_site),
                "kind": type(b).__name__,
            }
            for b in bases
        ],
        "heads": [[h.layer, h.index] for h in heads],
        "corpus": corpus.hash,
        "context": corpus.context,
        **asdict(plan),
    }


def claim(folder: Path, settings: dict[str, Any]) -> str:
    """Write the settings, or see that the ones there are the same; their hash."""
    file = folder / SETTINGS
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        there = json.loads(file.read_text("utf-8"))
        if differ := [k for k in settings if there.get(k) != settings[k]]:
            name = differ[0]
            raise InputError(
                f"{str(folder)!r} holds another harvest: its {name} is {there.get(name)!r}, "
                f"this one's {settings[name]!r}.",
                "Choose a new folder, or the same settings to go on.",
            )
    else:
        file.write_text(json.dumps(settings, indent=1), "utf-8")
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
