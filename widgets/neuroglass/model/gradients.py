"""Gradients: how an objective, one number of a run, changes with what is at a site.

Parameters are frozen for the pass; autograd follows it from the first site on. The gradients are
total derivatives: everything after a site may react.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

    from neuroglass.model.run import Run
    from neuroglass.model.sites import Site


class Objective(Protocol):
    """A number worked out from a run; ``run.logits`` and its sites carry autograd's graph."""

    def __call__(self, run: Run) -> torch.Tensor: ...


def token_id(run: Run, token: str | int) -> int:
    """The id of a token given as text or id.

    Raises:
        InputError: the text is not one token, the id is not in the vocabulary.
    """
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise InputError(f"{token!r} is no token.", "Give its text or its id.")
    if isinstance(token, int):
        ids = run.model.prompts.rows([token])[0]
    else:
        tokenizer = run.model.prompts.need_tokenizer()
        ids = tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        pieces = run.model.pieces.many(ids)[0]
        raise InputError(
            f"{token!r} is {len(ids)} tokens ({', '.join(map(repr, pieces))}), not one.",
            "Give one token; a leading space usually belongs to it.",
        )
    return ids[0]


def _chosen(run: Run, position: int) -> torch.Tensor:
    """Logits after one position of each row (negative: from its end), [batch, vocabulary]."""
    assert run.logits is not None
    lengths = run.mask.sum(1)
    at = lengths + position if position < 0 else torch.full_like(lengths, position)
    if bool(((at < 0) | (at >= lengths)).any()):
        raise InputError(
            f"Position {position} is out of range: the text has {int(lengths.min())} tokens."
        )
    logits = run.logits[torch.arange(len(at), device=at.device), at]
    return logits if logits.dtype.itemsize >= 4 else logits.float()


@dataclass(frozen=True)
class Logit:
    """The logit of one next token after a position, summed over rows.

    Args:
        token: text (one token) or id.
        position: after which token; negative from the end.
    """

    token: str | int
    position: int = -1

    def __call__(self, run: Run) -> torch.Tensor:
        return _chosen(run, self.position)[:, token_id(run, self.token)].sum()


@dataclass(frozen=True)
class LogitDifference:
    """Logit of a target minus logit of a distractor after a position, summed over rows.

    The objective of OpenAI's Transformer Debugger. Args as in ``Logit``.
    """

    target: str | int
    distractor: str | int
    position: int = -1

    def __call__(self, run: Run) -> torch.Tensor:
        logits = _chosen(run, self.position)
        ids = [token_id(run, t) for t in (self.target, self.distractor)]
        return (logits[:, ids[0]] - logits[:, ids[1]]).sum()


@dataclass(frozen=True)
class Gradients:
    """What ``LiveModel.grad`` returns.

    Attributes:
        value: the objective.
        run: the run, its tensors detached.
        sites: gradient by site, shaped like ``run.sites``, in units of the objective per unit of
            the site. Read them as ``grads["neurons.5"]``.
    """

    value: float
    run: Run = field(repr=False)
    sites: Mapping[str, torch.Tensor] = field(repr=False)

    def __getitem__(self, site: str | Site) -> torch.Tensor:
        name = str(self.run.model.site(site))
        if name not in self.sites:
            raise InputError(f"No gradient was asked for at {name!r}.", nearest(name, self.sites))
        return self.sites[name]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No parameter gets a gradient in here; afterwards each is as it was."""
    trained = [p for p in module.parameters() if p.requires_grad]
    try:
        for p in trained:
            p.requires_grad_(False)
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def differentiate(
    objective: Callable[[Run], torch.Tensor], run: Run, raw: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The objective's value and its gradient by each raw tensor.

    Raises:
        InputError: the objective is not one finite number that depends on the run.
    """
    value = objective(run)
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise InputError("The objective must return one number, as a tensor.", "Sum or index it.")
    if not value.requires_grad:
        raise InputError(
            "The objective does not depend on any of the sites.",
            "Work it out from run.logits or run[site] with torch, without detach or item.",
        )
    if not bool(value.isfinite()):
        raise InputError(f"The objective is {value.item()}, which has no gradient.")
    found = torch.autograd.grad(value.sum(), list(raw.values()), allow_unused=True)
    return value.detach(), {
        name: torch.zeros_like(x) if g is None else g
        for (name, x), g in zip(raw.items(), found, strict=True)
    }
