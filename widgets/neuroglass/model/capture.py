"""Capture: forward hooks on unmodified modules, alive for one forward pass.

A set of sites flows in, tensors come out by site. Nothing is copied: a captured tensor is the one
the model computed. When no logits are wanted, the pass is stopped at the last site by an exception
that only ``Capture`` catches; a cancelled job is stopped the same way, at the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from neuroglass.model.sites import Site

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

    from neuroglass.model.families import Family, Tap


class _StopForward(BaseException):
    """Everything asked for has been captured. BaseException: no model code may catch it."""


class Capture:
    """Context manager around one forward pass.

    Args:
        hf: the model.
        family: its row of the table.
        sites: what to keep; each becomes an entry of ``self.sites``.
        norms_at: layer whose incoming residual norm is kept in ``self.norms``, float32
            [batch, tokens] (for the massive-activation mask).
        stop: leave the pass when all of this has been seen.
        check: called before every layer; raises to abort the pass (a cancelled job).
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        family: Family,
        sites: Iterable[Site],
        *,
        norms_at: int,
        stop: bool,
        check: Callable[[], None],
    ) -> None:
        self.sites: dict[str, torch.Tensor] = {}
        self.norms: torch.Tensor | None = None
        self._hf = hf
        self._family = family
        self._wanted = list(sites)
        self._norms_at = norms_at
        self._left = len(self._wanted) + 1 if stop else -1  # + 1: the norms
        self._check = check
        self._n_heads: int = hf.config.num_attention_heads
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        blocks = self._hf.get_submodule(self._family.blocks)
        try:
            for block in blocks.children():
                self._handles.append(block.register_forward_pre_hook(self._on_block))
            self._listen(blocks[self._norms_at], "input", self._keep_norms)  # type: ignore[index]
            for site in self._wanted:
                module, end = self._find(site)
                self._listen(module, end, self._keeper(site))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        self._remove()
        return isinstance(error, _StopForward)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _find(self, site: Site) -> tuple[nn.Module, str]:
        if site.layer is None:
            return self._hf.get_submodule(self._family.embed), "output"
        tap: Tap = self._family.taps[site.name]
        path = ".".join(p for p in (self._family.blocks, str(site.layer), tap.path) if p)
        return self._hf.get_submodule(path), tap.at

    def _listen(self, module: nn.Module, end: str, keep: Callable[[torch.Tensor], None]) -> None:
        if end == "input":

            def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                keep(args[0] if args else kwargs["hidden_states"])

            self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:

            def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
                keep(output[0] if isinstance(output, tuple) else output)

            self._handles.append(module.register_forward_hook(after))

    def _on_block(self, *_: object) -> None:
        self._check()

    def _keep_norms(self, x: torch.Tensor) -> None:
        self.norms = x.float().norm(dim=-1)
        self._seen()

    def _keeper(self, site: Site) -> Callable[[torch.Tensor], None]:
        def keep(x: torch.Tensor) -> None:
            if site.name == "head_out":
                x = x.unflatten(-1, (self._n_heads, -1))
            self.sites[str(site)] = x
            self._seen()

        return keep

    def _seen(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise _StopForward
