"""Resume: a prompt is read once; with edits, only the layers from the first edited one run again.

Token ids flow in; the unedited pass is kept: its KV cache, the residual stream that enters each
layer, and what the model hands each of its blocks (masks, rotary angles). A pass with edits then
calls the same blocks with the same arguments from the edited layer on. Where a family does
something between its blocks and its logits that this does not know, the first pass finds out, and
whole passes are made instead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch

from neuroglass.model.edits import BoundEdit
from neuroglass.model.hooks import Hooks
from neuroglass.model.positions import At
from neuroglass.model.sites import Site

if TYPE_CHECKING:
    from torch import nn

    from neuroglass.model.live import LiveModel

# of the largest logit; a resumed pass computes the same numbers, so what differs is rounding
TOLERANCE = 1e-4
_TOLERANCE_16 = 2e-2  # in 16 bits


class Prefix:
    """One prompt, read by the unedited model. Use it on the model's thread only.

    It keeps ids x layers x d_model numbers beside the KV cache.

    Args:
        model: the live model.
        ids: the prompt.
        check: called before every layer; raises to abort the pass.

    Attributes:
        cache: its KV cache, of one row; never written on.
        last: next-token logits, float32 [1, vocabulary].
        kept: whether the cache can be copied and joined: one key and value tensor per layer.
        resumable: whether passes can begin at a later layer.
    """

    def __init__(
        self, model: LiveModel, ids: Sequence[int], check: Callable[[], None] | None = None
    ) -> None:
        self.model = model
        self.ids = torch.tensor([list(ids)], device=model.hf.device)
        self._calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        ends = [Site("resid_pre", i) for i in range(model.n_layers)]
        final = Site("resid_post", model.n_layers - 1)
        with self._noted():
            out, hooks = self._whole([*ends, final], (), 1, check)
        self.cache: Any = out.past_key_values
        self.last: torch.Tensor = out.logits[:, -1].float().cpu()
        # of each layer; and, as if there were one more, what the last one leaves
        self._entering = [hooks.sites[str(s)] for s in [*ends, final]]
        self.kept = _plain(self.cache)
        self.resumable = self.kept and self._checked()

    def __len__(self) -> int:
        return self.ids.shape[1]

    def run(
        self,
        edits: Sequence[BoundEdit],
        *,
        sites: Sequence[Site] = (),
        rows: int = 1,
        cached: bool = False,
        check: Callable[[], None] | None = None,
    ) -> tuple[torch.Tensor, Any, Mapping[str, torch.Tensor]]:
        """The prompt with edits.

        Args:
            edits: bound to an extent of `rows` rows.
            sites: what to keep; those of layers before the first edited one are not passed.
            rows: how many equal rows.
            cached: whether a KV cache is wanted (of one row only).
            check: as for the class.

        Returns:
            Next-token logits, float32 [rows, vocabulary]; the cache or None; the sites kept.
        """
        layer = self.first_layer(edits)
        if not self.resumable or layer is None:
            out, hooks = self._whole(sites, edits, rows, check)
            with torch.no_grad():
                logits = hooks.at(Site("logits"), out.logits)
            return logits[:, -1].float().cpu(), out.past_key_values, hooks.sites
        cache = None
        if cached:
            cache = copy.deepcopy(self.cache)
            for later in cache.layers[layer:]:  # empty, whatever `reset` of this version does
                later.keys, later.values = later.keys[:, :, :0], later.values[:, :, :0]
                if hasattr(later, "cumulative_length"):  # of a sliding window
                    later.cumulative_length = 0
        hooks = self._hooks(sites, edits, rows, check)
        with torch.no_grad(), hooks:
            logits = hooks.at(Site("logits"), self._from(layer, rows, cache, hooks))
        return logits[:, -1].float().cpu(), cache, hooks.sites

    def first_layer(self, edits: Sequence[BoundEdit]) -> int | None:
        """The layer that a pass with these edits begins at; None: with the embeddings.

        `n_layers`: after the last one. What a layer leaves is what enters the next.
        """
        if not edits:
            return self.model.n_layers
        first = min((step.reads for step in edits), key=lambda site: site.order)
        if first.name == "embed":
            return None
        if first.layer is None:
            return self.model.n_layers
        return first.layer + (first.name == "resid_post")

    # -- passes --------------------------------------------------------------------------------

    def _hooks(
        self,
        sites: Sequence[Site],
        edits: Sequence[BoundEdit],
        rows: int,
        check: Callable[[], None] | None,
    ) -> Hooks:
        n = len(self)
        columns = torch.arange(n, device=self.ids.device).expand(rows, n)
        at = At(columns, n, torch.full((rows,), n), self.ids.expand(rows, n))
        return Hooks(self.model.hf, self.model.family, sites, at=at, edits=edits, check=check)

    def _whole(
        self,
        sites: Sequence[Site],
        edits: Sequence[BoundEdit],
        rows: int,
        check: Callable[[], None] | None,
    ) -> tuple[Any, Hooks]:
        hooks = self._hooks(sites, edits, rows, check)
        options = {"logits_to_keep": 1} if self.model.keeps_last_logits else {}
        with torch.no_grad(), hooks:
            out = self.model.hf(
                input_ids=self.ids.expand(rows, -1), use_cache=True, **cast("Any", options)
            )
        return out, hooks

    def _block(self, layer: int) -> nn.Module:
        return self.model.family.block(self.model.hf, layer)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Keep what each block is called with."""
        with ExitStack() as scope:
            for layer in range(self.model.n_layers):

                def note(
                    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], layer: int = layer
                ) -> None:
                    self._calls[layer] = (
                        args[1:],
                        {k: v for k, v in kwargs.items() if k != "hidden_states"},
                    )

                handle = self._block(layer).register_forward_pre_hook(note, with_kwargs=True)
                scope.callback(handle.remove)
            yield

    def _from(self, layer: int, rows: int, cache: Any, hooks: Hooks | None = None) -> torch.Tensor:
        """Logits of the last token: the blocks from `layer` on, and what follows them."""
        model = self.model
        entering = self._entering[layer].expand(rows, -1, -1)
        x = entering
        if hooks is not None and layer > 0:  # that block is not run, so nobody else asks
            x = hooks.at(Site("resid_post", layer - 1), x)
        if layer == model.n_layers and x is entering:
            return self.last.to(model.hf.device, model.hf.dtype).expand(rows, -1)[:, None]
        for i in range(layer, model.n_layers):
            args, kwargs = self._calls[i]
            args = tuple(cache if v is self.cache else v for v in args)
            kwargs = {k: cache if v is self.cache else v for k, v in kwargs.items()}
            out = self._block(i)(x, *args, **kwargs)
            x = out[0] if isinstance(out, tuple) else out
        return self._tail(x[:, -1:])

    def _tail(self, x: torch.Tensor) -> torch.Tensor:
        """What most models do after their blocks: final norm, output matrix, soft-cap."""
        hf = self.model.hf
        if self.model.final_norm is not None:
            x = self.model.final_norm.module(x)
        logits: torch.Tensor = cast("nn.Module", hf.get_output_embeddings())(x)
        cap = getattr(hf.config.get_text_config(decoder=True), "final_logit_softcapping", None)
        if cap is not None:
            logits = (logits / cap).tanh() * cap
        return logits

    def _checked(self) -> bool:
        """Whether the last block and what follows it give what the whole pass gave."""
        if len(self._calls) < self.model.n_layers:
            return False
        for args, kwargs in self._calls.values():
            if sum(v is self.cache for v in (*args, *kwargs.values())) != 1:
                return False  # the cache comes another way: passes would write on ours
        allowed = TOLERANCE if self.model.hf.dtype == torch.float32 else _TOLERANCE_16
        allowed *= float(self.last.abs().max())
        try:
            with torch.no_grad():
                found = [
                    self._tail(self._entering[-1][:, -1:]),
                    self._from(self.model.n_layers - 1, 1, None),
                ]
        except (TypeError, RuntimeError, AttributeError, ValueError):
            return False  # another way of calling blocks: not ours to know
        return all(
            float((f[:, -1].float().cpu() - self.last).abs().max()) <= allowed for f in found
        )


def _plain(cache: Any) -> bool:
    layers = getattr(cache, "layers", [])
    tensors = [getattr(layer, what, None) for layer in layers for what in ("keys", "values")]
    return bool(tensors) and all(isinstance(t, torch.Tensor) and t.ndim == 4 for t in tensors)


def side_by_side(caches: Sequence[Any]) -> Any:
    """The KV cache of a batch, from caches of one row of the same prompt."""
    joined = copy.deepcopy(caches[0])
    for i, layer in enumerate(joined.layers):
        layer.keys = torch.cat([c.layers[i].keys for c in caches])
        layer.values = torch.cat([c.layers[i].values for c in caches])
    return joined
