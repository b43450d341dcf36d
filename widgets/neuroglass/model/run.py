"""A run: what one forward pass left behind.

Tokens, display pieces, masks, captured sites and (unless stopped early) logits, with the numbers
that views and notebooks read off them: log-probability, entropy, top predictions. All tensors are
ordinary ones: a probe may be trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.model.live import LiveModel
    from neuroglass.model.sites import Site

MASSIVE_RATIO = 10.0  # a token is massive when its residual norm exceeds this many medians
_CHUNK = 256  # tokens; bounds the memory of a softmax over the vocabulary


@dataclass(frozen=True)
class Run:
    """One forward pass.

    Attributes:
        model: the live model that made it.
        tokens: token ids, int64 [batch, tokens], padded on the right.
        mask: True where there is a token, bool [batch, tokens].
        masks: ``bos``, ``special``, ``massive``: bool [batch, tokens]. Massive: the norm of the
            residual stream at `massive_site` exceeds 10 medians of the run's tokens (DESIGN §8).
        massive_site: where the norms were read: the middle layer, or the deepest one reached.
        sites: captured tensors by site, [batch, tokens, width]; ``q``, ``k``, ``v``, ``head_out``
            [batch, tokens, heads, d_head] (``k`` and ``v``: key-value heads); ``pattern`` [batch,
            heads, from, to]. Read them as ``run["resid_post.5"]``. Where the run was edited, they
            are what the edits left.
        logits: float [batch, tokens, vocabulary], or None after an early stop.
    """

    model: LiveModel = field(repr=False)
    tokens: torch.Tensor
    mask: torch.Tensor
    masks: Mapping[str, torch.Tensor]
    massive_site: str
    sites: Mapping[str, torch.Tensor]
    logits: torch.Tensor | None

    def __getitem__(self, site: str | Site) -> torch.Tensor:
        name = str(self.model.site(str(site)))
        if name == "logits" and self.logits is not None:
            return self.logits
        if name not in self.sites:
            raise InputError(
                f"The site {name!r} was not captured in this run.",
                nearest(name, self.sites) if self.sites else "No site was asked for.",
            )
        return self.sites[name]

    def __contains__(self, site: str) -> bool:
        return str(self.model.site(site)) in self.sites

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __repr__(self) -> str:
        rows, n = self.tokens.shape
        size = sum({t.data_ptr(): t.nbytes for t in self.sites.values()}.values())
        logits = "with logits" if self.logits is not None else "stopped early, no logits"
        return (
            f"Run({rows} x {n} tokens, {len(self.sites)} sites, {size / 1e6:.1f} MB, {logits}; "
            f"{int(self.masks['massive'].sum())} massive at {self.massive_site})"
        )

    def pieces(self, row: int = 0) -> tuple[list[str], list[int]]:
        """Display pieces of one row, padding left out, and their kinds (``tokens.Kind``)."""
        return self.model.pieces.many(self.tokens[row][self.mask[row]].tolist())

    def piece(self, token_id: int) -> str:
        """The display piece of any token id."""
        return self.model.pieces.one(token_id)[0]

    def _need_logits(self) -> torch.Tensor:
        if self.logits is None:
            raise InputError(
                "This run has no logits.", "Ask for them: model.run(..., logits=True)."
            )
        return self.logits

    @cached_property
    def _predictions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each token and entropy of each next-token distribution, in chunks."""
        logits = self._need_logits()
        rows, n, _ = logits.shape
        logprobs = torch.full((rows, n), torch.nan)
        entropy = torch.full((rows, n), torch.nan)
        for start in range(0, n, _CHUNK):
            log_p = logits[:, start : start + _CHUNK].float().log_softmax(-1)
            stop = start + log_p.shape[1]
            # xlogy semantics: a token of probability 0 adds nothing
            entropy[:, start:stop] = -(log_p.exp() * log_p.clamp_min(-1e4)).sum(-1).cpu()
            after = self.tokens[:, start + 1 : stop + 1].unsqueeze(-1)
            logprobs[:, start + 1 : stop + 1] = (
                log_p[:, : after.shape[1]].gather(-1, after).squeeze(-1).cpu()
            )
        pad = ~self.mask.cpu()
        return logprobs.masked_fill(pad, torch.nan), entropy.masked_fill(pad, torch.nan)

    @property
    def logprobs(self) -> torch.Tensor:
        """Log-probability of each token given those before it, nats, float32 [batch, tokens].

        NaN at the first token (nothing predicts it) and on padding.
        """
        return self._predictions[0]

    @property
    def entropy(self) -> torch.Tensor:
        """Entropy of the distribution after each token, nats, float32 [batch, tokens]."""
        return self._predictions[1]

    @cached_property
    def ranks(self) -> torch.Tensor:
        """Rank of each token among all that could have come, float32 [batch, tokens].

        1 is the likeliest; of equally likely ones all have the best rank. NaN at the first token
        and on padding.
        """
        logits = self._need_logits()
        ranks = torch.full(logits.shape[:2], torch.nan)
        for start in range(0, logits.shape[1] - 1, _CHUNK):
            part = logits[:, start : min(start + _CHUNK, logits.shape[1] - 1)]
            after = self.tokens[:, start + 1 : start + 1 + part.shape[1]].unsqueeze(-1)
            above = (part > part.gather(-1, after)).sum(-1)
            ranks[:, start + 1 : start + 1 + part.shape[1]] = (above + 1).float().cpu()
        return ranks.masked_fill(~self.mask.cpu(), torch.nan)

    def top(self, k: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
        """The `k` likeliest next tokens after each token: ids and log-probabilities (nats).

        Returns:
            int64 and float32 tensors, [batch, tokens, k].
        """
        logits = self._need_logits()
        ids, values = [], []
        for start in range(0, logits.shape[1], _CHUNK):
            part = logits[:, start : start + _CHUNK].float()
            best = part.topk(k, dim=-1)
            ids.append(best.indices)
            values.append(best.values - part.logsumexp(-1, keepdim=True))
        return torch.cat(ids, 1), torch.cat(values, 1)

    def to_frame(self, row: int = 0) -> pd.DataFrame:
        """One row of the run as a table: a line per token, masks as columns.

        The columns ``logprob`` and ``entropy`` (nats) are there when the run has logits.
        """
        import pandas as pd

        keep = self.mask[row]
        pieces, _ = self.pieces(row)
        table: dict[str, Any] = {"token": pieces, "id": self.tokens[row][keep].tolist()}
        if self.logits is not None:
            table["logprob"] = self.logprobs[row][keep.cpu()].tolist()
            table["entropy"] = self.entropy[row][keep.cpu()].tolist()
        table |= {name: m[row][keep].tolist() for name, m in self.masks.items()}
        return pd.DataFrame(table).rename_axis("position")
