"""Inside attention: one function, registered with transformers' attention interface.

While a pass asks for ``q``, ``k``, ``v`` or ``pattern``, the model's config names our function,
which wraps the one the model uses; outside such a pass nothing is different. A layer whose pattern
is not asked for runs the model's own function on the same numbers. Where it is, the eager function
of the model's file computes it (so soft-caps, sinks and whatever else a family does stay its
business), and what it returns is what goes on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Observer(Protocol):
    """Who looks at a layer's attention and may change it."""

    def wants(self, name: str, module: nn.Module) -> bool:
        """True if the site `name` of this attention module is captured or edited."""

    def see(self, name: str, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Take notice of a site's value and return what goes on.

        q: [batch, heads, tokens, d_head]; k, v: [batch, kv_heads, columns, d_head], where columns
        are all tokens seen so far; pattern: [batch, heads, tokens, columns].
        """


_active = threading.local()  # .observer: of the pass that runs on this thread


@contextmanager
def observed(hf: PreTrainedModel, modules: list[nn.Module], observer: Observer) -> Iterator[None]:
    """Let `observer` see the attention of `modules` for the passes of this thread."""
    configs = {id(c): c for c in (hf.config.get_text_config(decoder=True), *map(_config, modules))}
    before = [(c, c._attn_implementation) for c in configs.values()]
    try:
        for config, implementation in before:
            config._attn_implementation = _registered(implementation)
        _active.observer = observer
        yield
    finally:
        _active.observer = None
        for config, implementation in before:
            config._attn_implementation = implementation


def _config(module: nn.Module) -> Any:
    return module.config


def _registered(base: str | None) -> str:
    """The name of our function around `base`; kernels that know no dense mask run as sdpa."""
    if base not in {"eager", "sdpa"}:
        base = "sdpa"
    name = f"neuroglass_{base}"
    if name not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(name, partial(_attention, base))
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return name


def _attention(
    base: str,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    observer: Observer | None = getattr(_active, "observer", None)
    if observer is None:  # another thread runs the same model
        return _run(base, module, query, key, value, attention_mask, **options)
    if observer.wants("q", module):
        query = observer.see("q", module, query)
    if observer.wants("k", module):
        key = observer.see("k", module, key)
    if observer.wants("v", module):
        value = observer.see("v", module, value)
    if not observer.wants("pattern", module):
        return _run(base, module, query, key, value, attention_mask, **options)
    mask = dense_mask(attention_mask, query, key.shape[2])
    out, pattern = _run("eager", module, query, key, value, mask, **options)
    assert pattern is not None
    seen = observer.see("pattern", module, pattern)
    if seen is not pattern or (seen.is_leaf and seen.requires_grad):  # what autograd begins with
        groups = query.shape[1] // value.shape[1]
        out = (seen @ value.repeat_interleave(groups, dim=1)).transpose(1, 2).contiguous()
    return out, seen


def _run(
    base: str, module: nn.Module, *args: Any, **options: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    run = eager_of(module) if base == "eager" else ALL_ATTENTION_FUNCTIONS[base]
    out, pattern = run(module, *args, **options)
    return out, pattern


def has_eager(module: nn.Module) -> bool:
    """True if an attention module uses the attention interface, so that it can be looked into."""
    return hasattr(sys.modules[type(module).__module__], "eager_attention_forward")


def eager_of(module: nn.Module) -> Callable[..., Any]:
    """The eager attention function of the file that defines an attention module."""
    function: Callable[..., Any] = sys.modules[type(module).__module__].eager_attention_forward
    return function


def dense_mask(mask: torch.Tensor | None, query: torch.Tensor, columns: int) -> torch.Tensor:
    """A mask as eager attention adds it to the scores: 0 to look, the lowest number not to."""
    if mask is None:  # what the other kernels read as causal
        rows = query.shape[2]
        mask = torch.ones(rows, columns, dtype=torch.bool, device=query.device)
        mask = mask.tril(columns - rows)[None, None]
    if mask.dtype != torch.bool:
        return mask[..., :columns]
    lowest = torch.finfo(query.dtype).min
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest)
