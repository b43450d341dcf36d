"""Hooks: capture and edits on unmodified modules, alive for one forward pass.

Sites to keep and edit steps flow in; tensors come out by site. Both are the same mechanism: at a
site the edits are made, in order, and what they leave is captured, which is what the model goes on
with. Nothing is copied: a captured tensor is the one the model computed. When no logits are wanted,
the pass is stopped at the last site by an exception that only ``Hooks`` catches; a cancelled job is
stopped the same way, at the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from neuroglass.model.attention import observed
from neuroglass.model.sites import ATTENTION, PER_HEAD, Site

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from neuroglass.model.edits import BoundEdit
    from neuroglass.model.families import Family
    from neuroglass.model.norms import Norm
    from neuroglass.model.positions import At


class _StopForward(BaseException):
    """Everything asked for has been captured. BaseException: no model code may catch it."""


class Hooks:
    """Context manager around one forward pass.

    Args:
        hf: the model.
        family: its row of the table.
        sites: what to keep; each becomes an entry of ``self.sites``.
        at: the tokens of the pass.
        edits: steps in the order in which they apply.
        norms_at: layer whose incoming residual norm is kept in ``self.norms``, float32
            [batch, tokens] (for the massive-activation mask); None keeps none.
        stop: leave the pass when all of this has been seen.
        check: called before every layer; raises to abort the pass (a cancelled job). None: the
            pass is too short to look.
        graph: let autograd follow the pass from its first site on; ``self.raw`` then holds the
            tensors to differentiate by.
        frozen_norm: the final norm, its scale to be taken as a constant by autograd.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        family: Family,
        sites: Iterable[Site],
        *,
        at: At,
        edits: Sequence[BoundEdit] = (),
        norms_at: int | None = None,
        stop: bool = False,
        check: Callable[[], None] | None = None,
        graph: bool = False,
        frozen_norm: Norm | None = None,
    ) -> None:
        self.raw: dict[str, torch.Tensor] = {}
        self.norms: torch.Tensor | None = None
        self._hf = hf
        self._family = family
        self._at = at
        self._wanted = frozenset(sites)
        self._edits = edits
        self._values: dict[int, torch.Tensor] = {}  # of a step whose write is still to come
        self._norms_at = norms_at
        self._left = len(self._wanted) + (norms_at is not None) if stop else -1
        self._check = check
        self._graph = graph
        self._frozen_norm = frozen_norm
        config = hf.config.get_text_config(decoder=True)
        self._n_heads: int = config.num_attention_heads
        self._scope = ExitStack()
        touched = {s for step in edits for s in (step.reads, step.writes)}
        self._touched = sorted(touched | self._wanted, key=lambda s: s.order)
        self._layer_of = {
            id(family.block(hf, s.layer or 0, family.attn)): s.layer or 0
            for s in self._touched
            if s.name in ATTENTION
        }

    # -- life --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._attach()
        except BaseException:
            self._scope.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        self._scope.close()
        self._values.clear()
        return isinstance(error, _StopForward)

    def _attach(self) -> None:
        hf, family = self._hf, self._family
        if self._check is not None:
            for block in hf.get_submodule(family.blocks).children():
                self._on(block.register_forward_pre_hook(self._on_block))
        if self._norms_at is not None:
            self._listen(family.block(hf, self._norms_at), "input", self._keep_norms)
        # in the order of the pass: sites that share a module see each other's edits
        for site in self._touched:
            if site.name == "embed":
                self._listen(hf.get_submodule(family.embed), "output", self._seer(site))
            elif site.name not in ATTENTION and site.layer is not None:
                tap = family.taps[site.name]
                block = family.block(hf, site.layer, tap.path)
                self._listen(block, tap.at, self._seer(site))
        if self._layer_of:
            modules = [family.block(hf, i, family.attn) for i in self._layer_of.values()]
            self._scope.enter_context(observed(hf, modules, self))
        if self._frozen_norm is not None:
            module = self._frozen_norm.module
            self._on(module.register_forward_hook(self._freeze))

    def _on(self, handle: Any) -> None:
        self._scope.callback(handle.remove)

    def _listen(
        self, module: nn.Module, end: str, see: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        if end == "input":

            def before(
                _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
            ) -> tuple[Any, Any] | None:
                old = args[0] if args else kwargs["hidden_states"]
                new = see(old)
                if new is old:
                    return None
                return (
                    ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})
                )

            self._on(module.register_forward_pre_hook(before, with_kwargs=True))
        else:

            def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
                old = output[0] if isinstance(output, tuple) else output
                new = see(old)
                if new is old:
                    return None
                return (new, *output[1:]) if isinstance(output, tuple) else new

            self._on(module.register_forward_hook(after))

    # -- what happens at a module --------------------------------------------------------------

    def _on_block(self, *_: object) -> None:
        assert self._check is not None
        self._check()

    def _keep_norms(self, x: torch.Tensor) -> torch.Tensor:
        self.norms = x.detach().float().norm(dim=-1)
        self._seen()
        return x

    def _freeze(self, _: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> Any:
        norm = self._frozen_norm
        assert norm is not None
        x = args[0]
        frozen = norm.linear(x.float(), norm.scale(x, output)).to(output.dtype)
        return frozen + (output - frozen).detach()  # the module's own value, the frozen gradient

    def _seer(self, site: Site) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: self.at(site, x)

    def at(self, site: Site, raw: torch.Tensor, *, keep: bool = False) -> torch.Tensor:
        """The pass comes by `site` with `raw`: edit, capture, and return what goes on.

        The site is captured if it was asked for, or with `keep` (the logits, which are no hook's).
        """
        new = raw
        if self._edits:
            # autograd may need what an edit has read: not what is written over below
            spare = raw.clone() if self._graph and site.name == "resid_mid" else raw
            shaped = self._shaped(site, spare)
            edited = self._edit(site, shaped)
            if edited is not shaped:
                new = self._unshaped(site, edited, raw)
                if site.name == "resid_mid":
                    # the block still holds this tensor for the sum after the MLP
                    new = raw.copy_(new)
        if keep or site in self._wanted:
            if self._graph and site.name == "mlp_in":
                new = new.view_as(new)  # apart from the residual stream, where that is what is read
            if self._graph and not new.requires_grad:
                new.requires_grad_()  # a leaf: the graph begins here
            self.raw[str(site)] = new
            self._seen()
        return new

    def _edit(self, site: Site, x: torch.Tensor) -> torch.Tensor:
        for i, step in enumerate(self._edits):
            if step.reads == site:
                self._values[i] = step.read(x)
            if step.writes == site:
                x = step.write(x, self._values.pop(i), self._at)
        return x

    def _seen(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise _StopForward

    # -- attention -------------------------------------------------------------------------------

    def wants(self, name: str, module: nn.Module) -> bool:
        """See ``attention.Observer``."""
        layer = self._layer_of.get(id(module))
        return layer is not None and Site(name, layer) in self._touched

    def see(self, name: str, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """See ``attention.Observer``."""
        return self.at(Site(name, self._layer_of[id(module)]), x)

    # -- shapes ----------------------------------------------------------------------------------

    def _shaped(self, site: Site, raw: torch.Tensor) -> torch.Tensor:
        """As the model has it -> as we show it (see ``Run.sites``)."""
        if site.name in ATTENTION:
            return raw if site.name == "pattern" else raw.transpose(1, 2)
        if raw.ndim == 2:  # OPT's MLP works on [batch·tokens, width]
            raw = raw.unflatten(0, (-1, self._at.tokens))
        return raw.unflatten(-1, (self._n_heads, -1)) if site.name in PER_HEAD else raw

    def _unshaped(self, site: Site, x: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
        if site.name in ATTENTION:
            return x if site.name == "pattern" else x.transpose(1, 2)
        return x.reshape(raw.shape)

    def shown(self, name: str, raw: torch.Tensor) -> torch.Tensor:
        """A tensor like ``self.raw[name]`` (it or its gradient), as we show it."""
        kind, _, layer = name.partition(".")
        site = Site(kind, int(layer) if layer else None)
        x = self._shaped(site, raw)
        return x[:, -self._at.tokens :] if site.name in {"k", "v"} else x

    @property
    def sites(self) -> dict[str, torch.Tensor]:
        """Captured tensors by site, in the shapes of ``Run.sites``."""
        return {name: self.shown(name, raw) for name, raw in self.raw.items()}
