"""Directions: where a vector at a site points in the residual stream, and which tokens it lifts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from neuroglass.model.errors import InputError
from neuroglass.model.families import matrix, scaled
from neuroglass.model.norms import measure
from neuroglass.model.sites import RESIDUAL, Site
from neuroglass.model.tokens import Kind

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.model.live import LiveModel


_PART = 16_384  # tokens


@dataclass(frozen=True)
class LogitEffect:
    """How a direction in the residual stream moves each token's logit; ``LiveModel.unembed``.

    Attributes:
        values: float32 [vocabulary], logits per unit of the direction at final-norm scale 1.
        kept: bool [vocabulary]: False for tokens left out of the lists.
    """

    model: LiveModel = field(repr=False)
    values: torch.Tensor = field(repr=False)
    kept: torch.Tensor = field(repr=False)

    def top(self, k: int = 10, *, lowest: bool = False) -> list[tuple[str, int, float]]:
        """The `k` tokens raised most (or lowered most): display piece, id, logits."""
        sign = -1.0 if lowest else 1.0
        ranked = (sign * self.values).masked_fill(~self.kept, -torch.inf)
        best = ranked.topk(min(k, int(self.kept.sum())))
        ids = best.indices.tolist()
        pieces = self.model.pieces.many(ids)[0]
        values = (sign * best.values).tolist()
        return list(zip(pieces, ids, values, strict=True))

    def to_frame(self) -> pd.DataFrame:
        """All kept tokens, raised most first: columns token, id, logit."""
        import pandas as pd

        ids = torch.nonzero(self.kept).flatten()
        ids = ids[self.values[ids].argsort(descending=True)]
        pieces = self.model.pieces.many(ids.tolist())[0]
        return pd.DataFrame(
            {"token": pieces, "id": ids.tolist(), "logit": self.values[ids].tolist()}
        )

    def __repr__(self) -> str:
        def words(lowest: bool) -> str:
            return ", ".join(f"{p!r} {v:+.3g}" for p, _, v in self.top(5, lowest=lowest))

        return f"LogitEffect(up: {words(False)}; down: {words(True)})"


def fits(what: str, v: object, width: int, where: str) -> None:
    """Refuse what is no finite tensor [..., width].

    Raises:
        InputError: says what it is.
    """
    if not isinstance(v, torch.Tensor):
        raise InputError(f"{what} is {type(v).__name__}, not a tensor.", "torch.tensor(...) it.")
    if v.ndim == 0 or v.shape[-1] != width:
        raise InputError(
            f"{what} has shape {list(v.shape)}; {where} takes {width} numbers.",
            "model.to_residual(site, v) carries a vector to the residual stream.",
        )
    if not bool(v.isfinite().all()):
        raise InputError(f"{what} is NaN or infinite.")


def to_residual(
    model: LiveModel, site: Site, v: torch.Tensor, at: torch.Tensor | None
) -> torch.Tensor:
    """See ``LiveModel.to_residual``."""
    width = model.width(site)
    fits("The vector", v, width, f"{site} of {model.name}")
    if at is not None:
        fits("`at`", at, model.d_model, f"the residual stream of {model.name}")
    if site.name in RESIDUAL:
        if width != model.d_model:
            raise InputError(f"{site} has another width than the residual stream.")
        return v
    family, layer = model.family, site.layer or 0
    paths = {
        "neurons": (family.mlp_matrix, family.mlp_norm),
        "mlp_proj": (None, family.mlp_norm),
        "head_out": (family.attn_matrix, family.attn_norm),
        "attn_proj": (None, family.attn_norm),
    }
    if site.name not in paths:
        raise InputError(
            f"{site} does not write to the residual stream by itself.",
            f"Sites that do: {', '.join([*paths, *sorted(RESIDUAL)])}.",
        )
    weights, norm_path = paths[site.name]
    out = v.float()
    if weights is not None:
        out = out @ matrix(family.block(model.hf, layer, weights)).detach().float()
    if norm_path is not None:
        norm = measure(family.block(model.hf, layer, norm_path), model.d_model)
        out = norm.linear(out, 1.0 if at is None else norm.scale(at))
    elif at is not None:
        raise InputError(f"{family.name} has no norm after {site}: `at` means nothing here.")
    return out.to(v.dtype)


def unembed(
    model: LiveModel, direction: torch.Tensor, *, fold_norm: bool, rare: bool
) -> LogitEffect:
    """See ``LiveModel.unembed``."""
    fits("The direction", direction, model.d_model, f"the residual stream of {model.name}")
    if direction.ndim > 1:
        raise InputError(f"Unembed takes one direction, not {list(direction.shape)}.")
    values = logit_effects(model, direction, fold_norm=fold_norm)
    kept = torch.ones_like(values, dtype=torch.bool) if rare else ~model.rare_tokens
    return LogitEffect(model, values.cpu(), kept.cpu())


def logit_effects(
    model: LiveModel, directions: torch.Tensor, *, fold_norm: bool = True
) -> torch.Tensor:
    """As ``LiveModel.unembed``, of one direction or many: [..., d_model] -> [..., vocabulary]."""
    x = directions.detach().float()
    if fold_norm and model.final_norm is not None:
        x = model.final_norm.linear(x)
    columns = matrix(cast("torch.nn.Module", model.hf.get_output_embeddings())).detach()
    # in parts: a whole W_U in float32 may be gigabytes
    return torch.cat([x @ part.float() for part in columns.split(_PART, dim=1)], -1)


def to_logits(model: LiveModel, x: torch.Tensor) -> torch.Tensor:
    """The logits that the model would give if `x` were what its last layer left.

    The model's own modules: the final norm, with the scale that it takes for each vector, and the
    head; then scales and soft-cap. To be called on the model's thread: [..., d_model] ->
    [..., vocabulary].
    """
    head: Any = model.hf.get_output_embeddings()
    with torch.no_grad():
        y = x if model.final_norm is None else model.final_norm.module(x)
        return scaled(model.hf, head(y))


def rare_tokens(model: LiveModel) -> torch.Tensor:
    """Tokens that clutter lists of favoured tokens, bool [vocabulary].

    Special tokens, ids that the tokenizer does not have, and tokens that are no text of their own:
    pieces of a character, or invisible. How often a token occurs in a corpus is not known here.
    """
    rare = torch.zeros(model.vocabulary, dtype=torch.bool)
    if model.tokenizer is not None:
        kinds = torch.tensor(model.pieces.many(range(model.vocabulary))[1])
        rare = kinds != int(Kind.TEXT)
        rare[len(model.tokenizer) :] = True
    return rare
