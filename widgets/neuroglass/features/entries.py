"""A run and a basis → sparse entries: which features are on at which tokens, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.features.exact import I64
from neuroglass.model.sites import PER_HEAD

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis
    from neuroglass.model.run import Run


def vectors(run: Run, basis: Basis, keep: torch.Tensor) -> torch.Tensor:
    """What a basis reads at the tokens that count: float32 [tokens, width]."""
    site = basis.read_site
    x = run[site].flatten(2) if site.name in PER_HEAD else run[site]
    return x[keep].float()


def entries(basis: Basis, x: torch.Tensor) -> tuple[I64, I64, Any]:
    """What a basis finds in vectors [tokens, width]: token, feature, value where not zero."""
    encode = getattr(basis, "encode", None)
    if encode is not None:
        found = encode(x)
        parts = found.token, found.index, found.value
    else:
        f = basis.activations(x, range(basis.n_features)).float()
        token, index = f.nonzero(as_tuple=True)
        parts = token, index, f[token, index]
    token, index, value = (p.detach().cpu().numpy() for p in parts)
    return token, index, value.astype(np.float32)
