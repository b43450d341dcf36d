"""A dictionary in the running model: an edit that sends a site through encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from neuroglass.model.edits import BoundEdit
from neuroglass.model.positions import At, Extent
from neuroglass.model.sites import PER_HEAD

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.sites import Site
    from neuroglass.sae.dictionary import SAE


@dataclass(frozen=True, eq=False)
class Splice:
    """See ``SAE.splice``."""

    sae: SAE
    keep_error: bool = True
    change: Callable[[torch.Tensor], torch.Tensor] | None = None

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        """See ``Edit``."""
        model.owns(self.sae.model, repr(self.sae))
        return [self]

    @property
    def reads(self) -> Site:
        return self.sae.read_site

    @property
    def writes(self) -> Site:
        return self.sae.write_site

    def read(self, x: torch.Tensor) -> torch.Tensor:
        """The vectors themselves: [batch, tokens, d_in]."""
        return x.flatten(2) if self.reads.name in PER_HEAD else x

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        """See ``BoundEdit``. With errors kept, x stays where its latents do."""
        latents = self.sae.encode_dense(values)
        out = self.sae.decode(latents, values)
        here = x.reshape(out.shape).to(out)
        error = (here - out).detach() if self.keep_error else torch.zeros_like(out)
        if self.change is not None:
            out = self.sae.decode(self.change(latents), values)
        return (out + error).view_as(x).to(x.dtype)
