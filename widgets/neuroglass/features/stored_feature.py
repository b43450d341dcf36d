"""One feature of a store, as a handle: what was harvested of it, and what its model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.exchange.records import FeatureRecord
    from neuroglass.features.store import Store
    from neuroglass.model.basis import Feature


@dataclass(frozen=True)
class StoredFeature:
    """One feature of a store; with a model attached, ``feature`` is the live handle."""

    store: Store = field(repr=False)
    index: int

    @property
    def id(self) -> str:
        """``model/site/basis/index``."""
        return self.store.id(self.index)

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its row of ``Store.to_frame``."""
        found = self.store.sql("SELECT * FROM feature WHERE feature = ?", self.index)
        return {str(k): v for k, v in found.iloc[0].items()}

    @property
    def feature(self) -> Feature:
        """The live feature.

        Raises:
            InputError: the store has no model.
        """
        from neuroglass.model.basis import feature_of

        return feature_of(self.store.basis, self.index)

    def examples(self, group: str | None = "top", *, context: int | None = None) -> pd.DataFrame:
        """See ``Store.examples``."""
        return self.store.examples(self.index, group, context=context)

    def record(self) -> FeatureRecord:
        """All that the store knows of it, in the form that other people's features are read in."""
        from neuroglass.features.exchange.neuronpedia import record_of

        return record_of(self.store, self.index)

    def ablation(self, prompt: Any, at: int | Sequence[int] | None = None) -> pd.DataFrame:
        """What each later token loses without it; see ``Live.ablation``."""
        return self.store.live.ablation(self.index, prompt, at)

    def direct_effect(self, prompt: Any) -> pd.DataFrame:
        """What it adds to the logits along the direct path; see ``Live.direct_effect``."""
        return self.store.live.direct_effect(self.index, prompt)

    def alignment(self, k: int = 10) -> pd.DataFrame:
        """Its direction's largest coordinates; see ``Live.alignment``."""
        return self.store.live.alignment(self.index, k)

    def neighbours(self, *, by: str = "decoder", k: int = 10) -> pd.DataFrame:
        """The nearest features of its basis; see ``Live.neighbours``."""
        return self.store.live.neighbours(self.index, by=by, k=k)

    def transitions(self, *, k: int = 10) -> pd.DataFrame:
        """What it makes likely, and what is on there next; see ``Live.transitions``."""
        return self.store.live.transitions(self.index, k=k)

    def promoted(self, *, lowest: bool = False) -> list[tuple[str, float]]:
        """Tokens whose logits it raises most (or lowers most), with logits per unit.

        Raises:
            InputError: the site that the basis writes to does not add to the residual stream.
        """
        name = "suppressed" if lowest else "promoted"
        if name not in self.row:
            raise InputError(
                f"{self.store.meta['basis']['write_site']} has no direct path to the logits.",
                "store.live.ablation measures what a feature does through the rest of the model.",
            )
        pieces = self.store.pieces(self.row[name])
        return list(zip(pieces, map(float, self.row[f"{name}_by"]), strict=True))

    def __repr__(self) -> str:
        row = self.row
        up = " ".join(repr(p) for p, _ in self.promoted()[:4]) if "promoted" in row else ""
        return f"StoredFeature({self.id}: on at {row['density']:.3%} of tokens; raises {up})"
