"""Contrast vectors: two lists of texts become directions at a site, in one line.

The texts are run, the site's vectors are compared, and what comes out is a basis like any other:
``ng.contrast(model, happy, sad, site="resid_post.15")[0]`` is a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from neuroglass.model.basis import Directions
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.sites import PER_HEAD, Site
from neuroglass.steering.setting import Setting

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

Method: TypeAlias = Literal["mean", "pca", "actadd"]
_METHODS = ("mean", "pca", "actadd")
_ROWS = 16  # texts run together


@dataclass(frozen=True)
class Contrast(Directions):
    """Directions made by ``contrast``.

    Attributes:
        method: how.
        at: ``actadd``: the position that each vector belongs to; else empty.
        separation: ``mean`` and ``pca``: share of (positive, negative) pairs whose coordinates
            along the direction are in that order, over all pairs; 0.5 is chance.
    """

    method: Method = "mean"
    at: tuple[int, ...] = ()
    separation: float = float("nan")

    def settings(self, strength: float = 1.0) -> list[Setting]:
        """Its vectors added: everywhere, or (``actadd``) each at its own position."""
        if not self.at:
            return [Setting(self[0], "add", strength)]
        return [
            Setting(self[i], "add", strength, positions=[p], skip_special=False)
            for i, p in enumerate(self.at)
        ]


def contrast(
    model: LiveModel,
    positive: str | Sequence[str],
    negative: str | Sequence[str],
    site: str | Site,
    *,
    method: Method = "mean",
    tokens: Literal["last", "mean"] = "last",
    name: str = "",
) -> Contrast:
    """A direction from what sets two lists of texts apart.

    Args:
        model: the live model.
        positive, negative: texts; for ``pca`` and ``actadd`` pairs.
        site: where, such as ``"resid_post.15"``.
        method: ``"mean"``: mean over the positive texts minus mean over the negative ones
            (difference of means; Marks & Tegmark 2023). ``"pca"``: as repeng does it (Zou et al.
            2023): the first principal component, of length 1, of the pairs' differences with their
            mean taken away, turned so that the positive text of most pairs is further along it (of
            half of them: on average).
            ``"actadd"``: activation addition (Turner et al. 2023): one pair, a vector per position,
            the shorter text padded with spaces on the right; positions where both are equal have
            none.
        tokens: for ``mean`` and ``pca``: each text's last token, or the mean over its tokens
            (special tokens and massive activations left out).
        name: of the basis, for ids.

    Raises:
        InputError: texts that are empty, unpaired or equal; an unknown method; a pattern.
    """
    if method not in _METHODS:
        raise InputError(f"There is no method {method!r}.", nearest(method, _METHODS))
    if tokens not in {"last", "mean"}:
        raise InputError(f"tokens is {tokens!r}.", "Give 'last' or 'mean'.")
    plus = [positive] if isinstance(positive, str) else list(positive)
    minus = [negative] if isinstance(negative, str) else list(negative)
    if not plus or not minus:
        raise InputError("A contrast needs positive and negative texts.", "Give some of each.")
    where = model.site(site)
    model.width(where)
    if method != "mean" and len(plus) != len(minus):
        raise InputError(
            f"{method!r} takes pairs: there are {len(plus)} positive and {len(minus)} negative "
            "texts.",
            "Give as many of each, or use 'mean'.",
        )
    if method == "actadd":
        if len(plus) != 1:
            raise InputError(f"'actadd' takes one pair, not {len(plus)}.", "Use 'mean' or 'pca'.")
        return _actadd(model, plus[0], minus[0], where, name)
    high, low = (_vectors(model, texts, where, tokens) for texts in (plus, minus))
    if method == "mean":
        direction = high.mean(0) - low.mean(0)
    else:
        if len(plus) < 2:
            raise InputError("'pca' needs two pairs or more.", "Use 'mean' for one.")
        differences = high - low
        centred = differences - differences.mean(0)
        direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
        further = float((high @ direction > low @ direction).float().mean())
        if further < 0.5 or (further == 0.5 and float((differences @ direction).mean()) < 0):
            direction = -direction
    if not float(direction.norm()) > 0:
        raise InputError("The texts do not differ at this site.", "Give other texts.")
    order = ((high @ direction)[:, None] > (low @ direction)[None]).float().mean()
    return Contrast(
        model, where, direction[None], name or f"{method}-{where}", method, (), float(order)
    )


def _vectors(
    model: LiveModel, texts: Sequence[str], site: Site, tokens: Literal["last", "mean"]
) -> torch.Tensor:
    """One vector per text, float32 [texts, width]."""
    found = []
    for start in range(0, len(texts), _ROWS):
        run = model.run(texts[start : start + _ROWS], sites=[site], logits=False)
        x = run[site]
        x = (x.flatten(2) if site.name in PER_HEAD else x).float()
        if tokens == "last":
            last = run.mask.sum(1) - 1
            found.append(x[torch.arange(len(x)), last])
            continue
        keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
        if not bool(keep.any(1).all()):
            raise InputError("A text has no ordinary token.", "Give longer texts.")
        found.append((x * keep[..., None]).sum(1) / keep.sum(1, keepdim=True))
    return torch.cat(found).cpu()


def _actadd(model: LiveModel, plus: str, minus: str, site: Site, name: str) -> Contrast:
    rows = model.prompts.rows([plus, minus])
    space = model.prompts.plain([" "])[0]
    if len(space) != 1:
        raise InputError("This tokenizer has no token for a space to pad with.", "Use 'mean'.")
    longest = max(map(len, rows))
    padded = [row + space * (longest - len(row)) for row in rows]
    x = model.run(padded, sites=[site], logits=False)[site]
    x = (x.flatten(2) if site.name in PER_HEAD else x).float().cpu()
    change = x[0] - x[1]
    at = tuple(i for i in range(longest) if float(change[i].norm()) > 0)
    if not at:
        raise InputError("The texts do not differ at this site.", "Give other texts.")
    return Contrast(model, site, change[list(at)], name or f"actadd-{site}", "actadd", at)
