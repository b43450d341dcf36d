"""What a store answers with its live model: new texts, causal effects, geometry, other stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.features.entries import entries, vectors
from neuroglass.model.basis import NeuronBasis
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel


def basis_of(described: dict[str, Any], model: LiveModel, basis: Basis | None) -> Basis | None:
    """The basis that a store describes, on a model; None if it can't be found here.

    Raises:
        InputError: `basis` is another one.
    """
    if basis is not None:
        if basis.fingerprint != described["fingerprint"]:
            raise InputError(
                f"This store is of {described['name']} ({described['fingerprint']}), not of "
                f"{basis.name} ({basis.fingerprint})."
            )
        return basis
    if described["kind"] == "NeuronBasis":
        return NeuronBasis(model, model.site(described["read_site"]).layer or 0, described["name"])
    return None


@dataclass(frozen=True)
class Live:
    """See ``Store.live``."""

    store: Store

    def search(self, prompt: str, tokens: Sequence[int] | None, limit: int) -> pd.DataFrame:
        """See ``Store.search``."""
        import pandas as pd

        store, basis = self.store, self.store.basis
        run = store.model.run(prompt, sites=[basis.read_site], logits=False)
        n = int(run.mask[0].sum())
        if tokens is None:
            keep = run.mask[0] & ~run.masks["special"][0] & ~run.masks["massive"][0]
            chosen = keep.nonzero().flatten()
        else:
            if bad := [t for t in tokens if not 0 <= t < n]:
                raise InputError(f"The text has no token {bad[0]}.", f"They go from 0 to {n - 1}.")
            chosen = torch.tensor(list(tokens), dtype=torch.int64)
        whole = vectors(run, basis, torch.ones_like(run.mask))
        token, index, value = entries(basis, whole[chosen])
        on = value > 0
        token, index, value = token[on], index[on], value[on]
        order = np.lexsort((token, -value, index))
        first = np.r_[True, index[order][1:] != index[order][:-1]][: len(order)]
        best = order[first]
        best = best[np.lexsort((index[best], -value[best]))][:limit]
        pieces = run.pieces()[0]
        at = chosen.numpy()[token[best]]
        known = store.to_frame().loc[index[best]]
        return pd.DataFrame(
            {
                "feature": index[best],
                "value": value[best],
                "share": value[best] / known["max"].replace(0, np.nan).to_numpy(),
                "position": at,
                "token": [pieces[i] for i in at],
                "density": known["density"].to_numpy(),
            }
        ).set_index("feature")
