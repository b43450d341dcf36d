"""Probe: find the sites of a decoder that is not in the table of families, by running it.

Every module of the first block is watched for one short pass. A site is where the numbers say it
is: the two outputs that add up to what the block adds to the residual stream, the matrix whose
output is one of them, and so on; names are not looked at. What can't be found is absent, and says
so; what was found is then checked by the same sums as a listed family (``families.verify``), in
every layer.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from neuroglass.model.attention import observed
from neuroglass.model.errors import ModelLoadError
from neuroglass.model.families import FAMILIES, PARALLEL, Family, Tap, project
from neuroglass.model.sites import SITES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# relative errors; float32 rounding is about 1e-6, that of 16-bit types (kept as such) about 1e-2
_BOUND = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 3e-2}
_IN_PLACE = "the model changes it in place later on"
_NOT_FOUND = "the probe of this unlisted architecture found no module where it is"


@dataclass
class _Call:
    """One module's call: its path in the block, first input and output, [tokens, width]."""

    path: str
    x: torch.Tensor
    y: torch.Tensor
    module: nn.Module

    @property
    def matrix(self) -> bool:
        weight = getattr(self.module, "weight", None)
        return weight is not None and weight.ndim == 2 and not isinstance(self.module, nn.Embedding)

    def under(self, path: str) -> bool:
        return self.path == path or self.path.startswith(path + ".")


class _WhoAttends:
    """An observer that only notes which modules call the attention function."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []

    def wants(self, _: str, module: nn.Module) -> bool:
        self.modules.append(module)
        return False

    def see(self, _: str, __: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x


def probe(hf: PreTrainedModel) -> Family:
    """The row of an unlisted decoder.

    Raises:
        ModelLoadError: not even its blocks could be found.
    """
    kind = hf.config.model_type
    config = hf.config.get_text_config(decoder=True)
    if not all(hasattr(config, a) for a in ("num_hidden_layers", "num_attention_heads")):
        raise ModelLoadError(
            f"neuroglass does not know {kind!r} models, and this one has no attention heads.",
            f"It opens transformers, such as {', '.join(f.name for f in FAMILIES)}.",
        )
    blocks, embed = _blocks(hf), _path_of(hf, hf.get_input_embeddings())
    if blocks is None or embed is None:
        raise ModelLoadError(
            f"neuroglass does not know {kind!r} models, and the probe found no list of blocks.",
            f"Known families: {', '.join(f.name for f in FAMILIES)}.",
        )
    calls, attends, norm, changed = _watch(hf, blocks)
    block = next(c for c in calls if c.path == "")
    inner = [c for c in calls if c.path]
    taps = {"resid_pre": Tap("", "input"), "resid_post": Tap("", "output")}
    attn = next((c.path for c in inner if any(c.module is m for m in attends)), None)
    attn_matrix = mlp_matrix = None
    absent: dict[str, str] = {}
    pair = _adders(inner, block, attn)
    if pair is not None:
        taps["attn_out"] = Tap(pair[0].path, "output")
        taps["mlp_out"] = Tap(pair[1].path, "output")
        reader = next((c for c in inner if _same(c.x, block.x + pair[0].y)), None)
        if reader is not None:
            taps["resid_mid"] = Tap(reader.path, "input")
        else:
            absent["resid_mid"] = PARALLEL
    # what belongs to attention: what is in the module that attends, else what runs before the MLP
    first = inner.index(pair[0]) if pair else -1
    attends_here = [c.under(attn) if attn else i <= first for i, c in enumerate(inner)]
    within = [c for c, is_attn in zip(inner, attends_here, strict=True) if is_attn and c.matrix]
    if within and _fits(within[-1], block):
        attn_matrix = within[-1].path
        taps["head_out"] = Tap(attn_matrix, "input")
        taps["attn_proj"] = Tap(attn_matrix, "output")
    outside = [
        c for c, is_attn in zip(inner, attends_here, strict=True) if not is_attn and c.matrix
    ]
    if outside and _fits(outside[-1], block):
        mlp_matrix = outside[-1].path
        taps["neurons"] = Tap(mlp_matrix, "input")
        taps["mlp_proj"] = Tap(mlp_matrix, "output")
        parent = mlp_matrix.rpartition(".")[0]
        taps["mlp_in"] = Tap(parent or outside[0].path, "input")
    absent |= {n: _IN_PLACE for n, t in taps.items() if t.at == "output" and t.path in changed}
    taps = {n: t for n, t in taps.items() if n not in absent}
    layered = [n for n in SITES if n not in {"embed", "logits", "q", "k", "v", "pattern"}]
    absent |= {n: _NOT_FOUND for n in layered if n not in taps and n not in absent}
    return Family(
        name=f"unlisted, probed ({kind})",
        model_types=(kind,),
        blocks=blocks,
        embed=embed,
        norm=norm,
        taps={n: taps[n] for n in layered if n in taps},  # in the order of the pass
        attn=attn,
        attn_matrix=attn_matrix,
        mlp_matrix=mlp_matrix,
        attn_norm=_norm_between(inner, attn_matrix, taps.get("attn_out")),
        mlp_norm=_norm_between(inner, mlp_matrix, taps.get("mlp_out")),
        absent=absent,
    )


def _blocks(hf: PreTrainedModel) -> str | None:
    layers = hf.config.get_text_config(decoder=True).num_hidden_layers
    lists = [
        (sum(p.numel() for p in m.parameters()), name)
        for name, m in hf.named_modules()
        if isinstance(m, nn.ModuleList) and len(m) == layers
    ]
    return max(lists)[1] if lists else None


def _path_of(hf: PreTrainedModel, module: nn.Module | None) -> str | None:
    return next((name for name, m in hf.named_modules() if m is module), None)


def _rows(x: Any) -> torch.Tensor | None:
    if isinstance(x, tuple):
        x = x[0] if x else None
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.ndim not in {2, 3}:
        return None
    return x.detach().reshape(-1, x.shape[-1]).clone()


def _watch(
    hf: PreTrainedModel, blocks: str
) -> tuple[list[_Call], list[nn.Module], str | None, set[str]]:
    """One short pass.

    Returns:
        The calls of block 0 in order, who attends, the final norm's path, and the paths of modules
        in block 0 whose output is changed in place afterwards.
    """
    calls: list[_Call] = []
    outputs: list[tuple[str, torch.Tensor, int]] = []
    outer: dict[str, tuple[torch.Tensor | None, torch.Tensor | None]] = {}
    first = hf.get_submodule(f"{blocks}.0")
    last = next(reversed(list(hf.get_submodule(blocks).children())))
    head = cast("nn.Module", hf.get_output_embeddings())
    who = _WhoAttends()
    size = cast("nn.Embedding", hf.get_input_embeddings()).weight.shape[0]
    ids = (torch.arange(6, device=hf.device)[None] * 7 + 1) % size

    def inside(path: str) -> Any:
        def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            x = _rows(args[0] if args else kwargs.get("hidden_states"))
            y = _rows(output)
            if x is not None and y is not None:
                calls.append(_Call(path, x, y, module))
                out = output[0] if isinstance(output, tuple) else output
                outputs.append((path, out, out._version))

        return after

    def outside(path: str) -> Any:
        def after(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            x = _rows(args[0] if args else kwargs.get("hidden_states"))
            outer[path] = (x, _rows(output))

        return after

    with ExitStack() as scope:
        for path, module in first.named_modules():
            handle = module.register_forward_hook(inside(path), with_kwargs=True)
            scope.callback(handle.remove)
        for path, module in hf.named_modules():
            if not path.startswith(blocks + ".") or module in {last, head}:
                handle = module.register_forward_hook(outside(path), with_kwargs=True)
                scope.callback(handle.remove)
        scope.enter_context(observed(hf, [], who))
        with torch.no_grad():
            hf(input_ids=ids, use_cache=False)
    end = outer[_path_of(hf, last) or ""][1]
    read = outer[_path_of(hf, head) or ""][0]
    norm = next(
        (p for p, (x, y) in outer.items() if _same(x, end) and _same(y, read) and p != ""), None
    )
    changed = {path for path, out, version in outputs if out._version != version}
    return calls, who.modules, norm, changed


def _fits(call: _Call, block: _Call) -> bool:
    """A matrix into the residual stream's space whose output is x·W + b."""
    if call.y.shape != block.y.shape or call.x.shape[0] != block.x.shape[0]:
        return False
    weight = cast("torch.Tensor", call.module.weight)
    if set(weight.shape) != {call.x.shape[1], call.y.shape[1]}:
        return False
    return _same(project(call.module, call.x).to(call.y), call.y)


def _adders(inner: list[_Call], block: _Call, attn: str | None) -> tuple[_Call, _Call] | None:
    """The outputs, attention's first, that together are what the block adds."""
    wide = [c for c in inner if c.y.shape == block.y.shape]
    added = block.y - block.x
    pairs = list(itertools.combinations(wide, 2))  # attention runs first, as far as one can tell
    if attn is not None:
        own = [c for c in wide if c.under(attn)]
        rest = [c for c in wide if not c.under(attn)]
        own.sort(key=lambda c: len(c.path))  # the whole module before its parts
        pairs = [*itertools.product(own, rest), *itertools.combinations(rest, 2)]
    return next((pair for pair in pairs if _same(pair[0].y + pair[1].y, added)), None)


def _norm_between(inner: list[_Call], matrix: str | None, out: Tap | None) -> str | None:
    """The module that stands between an output matrix and the residual stream, if one does."""
    if matrix is None or out is None:
        return None
    have = next(c.y for c in inner if c.path == matrix)
    want = next(c for c in inner if c.path == out.path)
    return None if _same(have, want.y) else out.path


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return bool((a - b).norm() <= _BOUND[a.dtype] * b.norm())
