"""What a store answers with its live model: new texts, causal effects, geometry, other stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass import zoo
from neuroglass.features.entries import entries, vectors
from neuroglass.features.exact import F64, I64
from neuroglass.features.rules import Predicate, Rule
from neuroglass.features.trace import fit_all
from neuroglass.model.basis import Directions, Feature, NeuronBasis
from neuroglass.model.directions import logit_effects
from neuroglass.model.edits import Ablate
from neuroglass.model.errors import InputError, nearest
from neuroglass.sae.dictionary import SAE

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel
    from neuroglass.model.run import Run

_SHOWN = 5  # promoted and demoted tokens
_AT_ONCE = 2048  # features whose values are made dense together


def basis_of(described: dict[str, Any], model: LiveModel, basis: Basis | None) -> Basis | None:
    """The basis that a store describes, on a model; None if it can't be found here.

    Raises:
        InputError: `basis` is another one.
    """
    if basis is not None:
        if basis.fingerprint != described["fingerprint"]:
            raise InputError(
                f"This store is of {described['name']} ({described['fingerprint']}), not of "
                f"{basis.name} ({basis.fingerprint})."
            )
        return basis
    if described["kind"] == "NeuronBasis":
        return NeuronBasis(model, model.site(described["read_site"]).layer or 0, described["name"])
    if described["name"] in zoo.dictionaries():
        found = SAE.load(f"zoo/{described['name']}", model)
        if found.fingerprint == described["fingerprint"]:
            return found
    return None


@dataclass(frozen=True)
class Live:
    """See ``Store.live``. Features are given by index, id or handle."""

    store: Store
    _units: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def _feature(self, feature: Any) -> Feature:
        return Feature(self.store.basis, self.store.index(feature))

    # ------------------------------------------------------------------ texts

    def search(
        self,
        prompt: str,
        tokens: Sequence[int] | None,
        limit: int | None,
        by: str = "max",
        bos: bool | None = None,
    ) -> pd.DataFrame:
        """See ``Store.search``."""
        import pandas as pd

        if by not in ("max", "sum"):
            raise InputError(f"by={by!r} is not known.", nearest(by, ("max", "sum")))
        store, basis = self.store, self.store.basis
        run = store.model.run(prompt, sites=[basis.read_site], logits=False)
        n = int(run.mask[0].sum())
        if tokens is None:
            keep = run.mask[0] & ~run.masks["massive"][0]
            keep &= ~run.masks["special"][0] | (run.masks["bos"][0] & bool(bos))
        else:
            if bad := [t for t in tokens if not 0 <= t < n]:
                raise InputError(f"The text has no token {bad[0]}.", f"They go from 0 to {n - 1}.")
            keep = torch.zeros_like(run.mask[0])
            keep[list(tokens)] = True
            if bos is False:
                keep &= ~run.masks["bos"][0]
        chosen = keep.nonzero().flatten().cpu()
        whole = vectors(run, basis, torch.ones_like(run.mask))
        token, index, value = entries(basis, whole[chosen])
        on = value > 0
        token, index, value = token[on], index[on], value[on]
        order = np.lexsort((token, -value, index))
        first = np.r_[True, index[order][1:] != index[order][:-1]][: len(order)]
        best = order[first]  # one for each feature, by index
        rank = value[best]
        if by == "sum":
            rank = np.bincount(index, weights=value, minlength=store.n_features)[index[best]]
        down = np.lexsort((index[best], -rank))[:limit]
        best, rank = best[down], rank[down]
        pieces = run.pieces()[0]
        at = chosen.numpy()[token[best]]
        known = store.sql("SELECT feature, max, density FROM feature ORDER BY feature")
        known = known.set_index("feature").loc[index[best]]
        return pd.DataFrame(
            {
                "feature": index[best],
                "value": rank,
                "share": value[best] / known["max"].replace(0, np.nan).to_numpy(),
                "position": at,
                "token": [pieces[i] for i in at],
                "density": known["density"].to_numpy(),
            }
        ).set_index("feature")

    # ------------------------------------------------------------------ rules

    def rules(
        self, rules: Mapping[str, str | Predicate | Rule], *, tokens: int | None = None
    ) -> pd.DataFrame:
        """How well rules predict each feature: every token is looked at, in one pass for all.

        *Towards Monosemanticity* does this for four features (specificity, sensitivity, Pearson).

        Args:
            rules: name -> a regular expression or a function; see ``Rule.of``.
            tokens: how many tokens of the corpus are read, from all over it; None: all.

        Returns:
            One row for each rule and feature, best Pearson first: see ``Fit`` for the columns.

        Raises:
            InputError: no model; no regular expression; a function fails.
        """
        made = {name: Rule.of(rule) for name, rule in rules.items()}
        found: pd.DataFrame = self.store.model.work(
            lambda _: fit_all(self.store, made, tokens)
        ).result()
        return found

    # ------------------------------------------------------------------ effects

    def ablation(
        self, feature: Any, prompt: Any, at: int | Sequence[int] | None = None
    ) -> pd.DataFrame:
        """What each later token loses when a feature is taken away: two passes, nothing estimated.

        Args:
            feature: which.
            prompt: a text or token ids, such as an example's ``ids``.
            at: at which tokens the feature is set to zero; None: at all of them (*Towards
                Monosemanticity*, feature ablations; OpenAI's viewer takes one).

        Returns:
            One row for each token: ``value`` of the feature there, ``effect``: log-likelihood of
            the token with the feature minus without, nats (NaN at the first); and of the
            distribution after it ``kl`` of with from without, nats, and the tokens whose
            probability the feature ``promoted`` and ``demoted`` most, with differences.

        Raises:
            InputError: no model, no such token.
        """
        import pandas as pd

        chosen, basis = self._feature(feature), self.store.basis
        sites = [basis.read_site]
        clean = self.store.model.run(prompt, sites=sites)
        positions = [at] if isinstance(at, int) else at
        n = int(clean.mask[0].sum())
        if positions is not None and (bad := [p for p in positions if not 0 <= p < n]):
            raise InputError(f"The text has no token {bad[0]}.", f"They go from 0 to {n - 1}.")
        edit = Ablate(chosen, "zero", positions="all" if positions is None else positions)
        without = self.store.model.run(prompt, edits=[edit])
        assert clean.logits is not None
        assert without.logits is not None
        rows = []
        value = chosen.activations(vectors(clean, basis, clean.mask))
        gain = (clean.logprobs - without.logprobs)[0].tolist()
        for i in range(n):
            p, q = (r[0, i].float().log_softmax(-1) for r in (clean.logits, without.logits))
            difference = (p.exp() - q.exp()).cpu()
            best = {}
            for name, sign in (("promoted", 1), ("demoted", -1)):
                top = (sign * difference).topk(_SHOWN)
                best[name] = [
                    (clean.piece(t), sign * v)
                    for t, v in zip(top.indices.tolist(), top.values.tolist(), strict=True)
                    if v > 0
                ]
            rows.append(
                {
                    "token": clean.piece(int(clean.tokens[0, i])),
                    "value": float(value[i]),
                    "effect": gain[i],
                    "kl": float((p.exp() * (p - q)).sum().clamp_min(0)),
                    **best,
                }
            )
        return pd.DataFrame(rows).rename_axis("position")

    def direct_effect(self, feature: Any, prompt: Any) -> pd.DataFrame:
        """What a feature adds to the next tokens' logits along the direct path alone.

        value · direction through the final norm with the scale it has at that token, times W_U:
        exact for that path, with the norm frozen; what later layers make of it is not counted.

        Returns:
            One row for each token: ``value``, ``next``: logits added to the token that follows (NaN
            at the last), and the tokens ``promoted`` and ``demoted`` most, with logits.
        """
        import pandas as pd

        chosen, basis, model = self._feature(feature), self.store.basis, self.store.model
        last = f"resid_post.{model.n_layers - 1}"
        run = model.run(prompt, sites=[basis.read_site, last], logits=False)
        x = vectors(run, basis, run.mask)
        value = chosen.activations(x) * basis.scale(x)
        scale = torch.ones(len(value), 1)
        if model.final_norm is not None:
            scale = model.final_norm.scale(run[last][0][run.mask[0]])
        effect = logit_effects(model, chosen.to_residual().float()).cpu()
        ids = run.tokens[0][run.mask[0]].tolist()
        added = (value * scale[:, 0]).cpu()
        shown = {
            sign: [
                (run.piece(t), float(effect[t]))
                for t in (sign * effect).topk(_SHOWN).indices.tolist()
            ]
            for sign in (1, -1)
        }
        rows = []
        for i, token in enumerate(ids):
            by = float(added[i])
            after = by * float(effect[ids[i + 1]]) if i + 1 < len(ids) else float("nan")
            sign = 1 if by >= 0 else -1
            rows.append(
                {
                    "token": run.piece(token),
                    "value": float(value[i]),
                    "next": after,
                    "promoted": [(p, by * v) for p, v in shown[sign]] if by else [],
                    "demoted": [(p, by * v) for p, v in shown[-sign]] if by else [],
                }
            )
        return pd.DataFrame(rows).rename_axis("position")

    # ------------------------------------------------------------------ geometry

    def alignment(self, feature: Any, k: int = 10) -> pd.DataFrame:
        """The coordinates of a feature's direction in its own site: is it a single neuron?

        Returns:
            The `k` largest by size: ``coordinate`` (a neuron where the site is ``neurons``),
            ``value``, ``share`` of ‖direction‖₁ (*Towards Monosemanticity*, neuron alignment).
        """
        import pandas as pd

        direction = self._feature(feature).direction.float().cpu()
        best = direction.abs().topk(min(k, len(direction))).indices
        return pd.DataFrame(
            {
                "coordinate": best.numpy(),
                "value": direction[best].numpy(),
                "share": (direction[best].abs() / direction.abs().sum()).numpy(),
            }
        )

    def neighbours(self, feature: Any, *, by: str = "decoder", k: int = 10) -> pd.DataFrame:
        """The features of the same basis whose directions are nearest, by cosine.

        Args:
            feature: which.
            by: "decoder" (what they write) or "encoder" (what they read).
            k: how many.

        Raises:
            InputError: the basis has no encoder.
        """
        import pandas as pd

        index = self.store.index(feature)
        if by not in self._units:  # they are asked for page after page
            vectors = rows_of(self.store.basis, by)
            self._units[by] = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        rows = self._units[by]
        cosine = rows @ rows[index]
        cosine[index] = -torch.inf
        best = cosine.topk(min(k, len(rows) - 1))
        return pd.DataFrame({"feature": best.indices.numpy(), "cosine": best.values.numpy()})

    # ------------------------------------------------------------------ other stores

    def correlated(
        self, other: Store, features: Sequence[Any] | None = None, *, tokens: int = 20_000
    ) -> pd.DataFrame:
        """For each feature, the one of another store whose values go with it most: universality.

        Args:
            other: a store with its model attached; another model too, if the tokenizer is the same.
            features: which; by default all.
            tokens: how many of this store's corpus are read by both models, from all over it.

        Returns:
            By feature: ``other``, ``pearson`` and ``cosine`` over all read tokens of values, those
            below zero taken as zero, and ``count``, the tokens on which the feature was on there (a
            correlation over few means little). NaN where a feature was never on.

        Raises:
            InputError: a store without a model, another tokenizer.
        """
        import pandas as pd

        chosen = self._chosen(features)
        n, dot, own, theirs = self._products(other, chosen, tokens)
        (sum_a, square_a, count), (sum_b, square_b, _) = own, theirs
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.outer(
                np.maximum(square_a / n - (sum_a / n) ** 2, 0) ** 0.5,
                np.maximum(square_b / n - (sum_b / n) ** 2, 0) ** 0.5,
            )
            pearson = (dot["ab"] / n - np.outer(sum_a / n, sum_b / n)) / spread
            cosine = dot["ab"] / np.sqrt(np.outer(square_a, square_b))
        pearson = np.where(spread > 0, pearson, np.nan)
        best = np.argmax(np.nan_to_num(pearson, nan=-2.0), axis=1)
        row = np.arange(len(chosen))
        return pd.DataFrame(
            {
                "feature": chosen,
                "other": np.where(np.isnan(pearson[row, best]), -1, best),
                "pearson": pearson[row, best],
                "cosine": cosine[row, best],
                "count": count,
            }
        ).set_index("feature")

    def splitting(
        self,
        other: Store,
        features: Sequence[Any] | None = None,
        *,
        least: float = 0.4,
        seen: int = 10,
        tokens: int = 20_000,
    ) -> pd.DataFrame:
        """Edges to a store of another width: which features split into which.

        The masked cosine of *Towards Monosemanticity* (feature splitting): the cosine of two
        features' values over the tokens where one of them is on, the larger of the two ways.

        Args:
            other, features, tokens: as in ``correlated``.
            least: edges below this are left out (the paper draws those above about 0.4).
            seen: at how many of the tokens the feature must be on whose tokens the cosine is over;
                over one token it is 1 for any two.

        Returns:
            ``feature``, ``other``, ``masked_cosine``, largest first.
        """
        import pandas as pd

        chosen = self._chosen(features)
        _, dot, *sums = self._products(other, chosen, tokens)
        (_, square_a, count_a), (_, square_b, count_b) = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            on_a = dot["ab"] / np.sqrt(square_a[:, None] * dot["1bb"])
            on_b = dot["ab"] / np.sqrt(dot["aa1"] * square_b[None, :])
        on_a[count_a < seen] = 0
        on_b[:, count_b < seen] = 0
        cosine = np.maximum(np.nan_to_num(on_a), np.nan_to_num(on_b))
        i, j = np.nonzero(cosine >= least)
        found = pd.DataFrame({"feature": chosen[i], "other": j, "masked_cosine": cosine[i, j]})
        return found.sort_values(
            ["masked_cosine", "feature", "other"], ascending=[False, True, True], ignore_index=True
        )

    def transitions(self, feature: Any, *, k: int = 10, through: int = 20) -> pd.DataFrame:
        """Feature → token → feature: what a feature makes likely, and what is on there next.

        The edges of *Towards Monosemanticity*'s "finite state automata": logit weight times how
        often the next feature is on at the promoted token. A token that the feature promotes is on
        the way to every feature that fires on it; the corpus decides how often.

        Args:
            feature: which.
            k: how many next features.
            through: how many promoted tokens are followed.

        Returns:
            ``next``, ``weight`` Σ over tokens of logits per unit × share of the token's occurrences
            where the next feature is on, and the ``tokens`` on the way, heaviest first.
        """
        import pandas as pd

        store, model = self.store, self.store.model
        effect = logit_effects(model, self._feature(feature).to_residual()).cpu()
        effect = (effect - effect.median()).masked_fill(model.rare_tokens.cpu(), 0)
        best = effect.topk(through)
        rows = []
        for token, weight in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            if weight > 0:
                found = store.find(token=token, sort="on", limit=200)
                rows += [
                    (i, token, weight * on) for i, on in zip(found.index, found["on"], strict=True)
                ]
        table = pd.DataFrame(rows, columns=["next", "token", "weight"])
        out = []
        for index, part in table.groupby("next"):
            ordered = part.sort_values("weight", ascending=False)
            out.append((index, ordered["weight"].sum(), store.pieces(ordered["token"].tolist())))
        found = pd.DataFrame(out, columns=["next", "weight", "tokens"])
        return found.sort_values("weight", ascending=False, ignore_index=True).head(k)

    # ------------------------------------------------------------------ both at once

    def _chosen(self, features: Sequence[Any] | None) -> I64:
        if features is None:
            return np.arange(self.store.n_features)
        return np.array([self.store.index(f) for f in features], np.int64)

    def _products(
        self, other: Store, chosen: I64, tokens: int
    ) -> tuple[int, dict[str, F64], F64, F64]:
        """Sums over tokens that both models read.

        How many tokens; Σ ab, Σ [a > 0] b², Σ a² [b > 0] for each pair; Σ, Σ² and how often on, of
        each side.
        """
        store = self.store
        if store.vocabulary[0].tolist() != other.vocabulary[0].tolist():
            raise InputError("The two stores have different tokenizers.", "Their tokens differ.")
        sizes = len(chosen), other.n_features
        dot = {k: np.zeros(sizes) for k in ("ab", "1bb", "aa1")}
        sums = [np.zeros((3, s)) for s in sizes]
        n = 0
        for a, b, length in self._both(other, chosen, tokens):
            n += length
            powers = _powers(a), _powers(b)
            for side, parts in zip(sums, powers, strict=True):
                for i, part in enumerate(parts):
                    side[i] += torch.sparse.sum(part, 1).to_dense().numpy()
            (_, aa, a_on), (_, bb, b_on) = powers
            for name, left, right in (("ab", a, b), ("1bb", a_on, bb), ("aa1", aa, b_on)):
                dot[name] += _times(left, right)
        return max(1, n), dot, sums[0], sums[1]

    def _both(
        self, other: Store, chosen: I64, tokens: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Values of both stores' features at the same tokens, sparse [features, tokens]."""
        where = np.full(self.store.n_features, -1)
        where[chosen] = np.arange(len(chosen))
        for windows in self.store.corpus.scattered(tokens):
            rows = self.store.corpus.rows(windows)
            runs = [
                s.model.run(rows, sites=[s.basis.read_site], logits=False)
                for s in (self.store, other)
            ]
            keep = _kept(runs[0]) & _kept(runs[1])
            own = _sparse(self.store.basis, runs[0], keep, where, len(chosen))
            theirs = _sparse(
                other.basis, runs[1], keep, np.arange(other.n_features), other.n_features
            )
            yield own, theirs, int(keep.sum())


def _kept(run: Run) -> torch.Tensor:
    return run.mask & ~run.masks["special"] & ~run.masks["massive"]


def _sparse(basis: Basis, run: Run, keep: torch.Tensor, where: I64, n: int) -> torch.Tensor:
    """Values above zero, sparse float64 [n, tokens]; feature i is row where[i], unless -1."""
    token, index, value = entries(basis, vectors(run, basis, keep))
    use = (value > 0) & np.isfinite(value) & (where[index] >= 0)
    use = use.nonzero()[0]
    use = use[np.argsort(where[index[use]], kind="stable")]
    at = torch.from_numpy(np.stack([where[index[use]], token[use]]))
    size = (n, int(keep.sum()))
    return _coo(at, torch.from_numpy(value[use].astype(np.float64)), size)


def _times(left: torch.Tensor, right: torch.Tensor) -> F64:
    """Left · rightᵀ of sparse [n, tokens] and [m, tokens]: dense [n, m]."""
    rows, tokens = right.indices()
    out = np.empty((left.shape[0], right.shape[0]))
    for a in range(0, right.shape[0], _AT_ONCE):
        b = min(a + _AT_ONCE, right.shape[0])
        first, last = torch.searchsorted(rows.contiguous(), torch.tensor([a, b])).tolist()
        part = torch.zeros(right.shape[1], b - a, dtype=torch.float64)
        part[tokens[first:last], rows[first:last] - a] = right.values()[first:last]
        out[:, a:b] = torch.sparse.mm(left, part).numpy()
    return out


def _coo(at: torch.Tensor, value: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    # what is in range was just made; each cell comes once
    return torch.sparse_coo_tensor(at, value, size, check_invariants=False, is_coalesced=True)


def _powers(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, x² and [x > 0] of a sparse tensor whose values are positive."""
    at, value = x.indices(), x.values()
    return (
        x,
        _coo(at, value * value, tuple(x.shape)),
        _coo(at, torch.ones_like(value), tuple(x.shape)),
    )


def rows_of(basis: Basis, by: str) -> torch.Tensor:
    """What each feature writes ("decoder") or reads ("encoder"): float32 [features, width]."""
    if by not in {"decoder", "encoder"}:
        raise InputError(f"by={by!r} is neither.", nearest(by, ["decoder", "encoder"]))
    if by == "encoder" and isinstance(basis, SAE):
        return basis.weights.W_enc.T.float()
    if by == "encoder" and not isinstance(basis, NeuronBasis | Directions):
        raise InputError(f"{basis.name} has no encoder.", "by='decoder'")
    if isinstance(basis, SAE):
        return basis.weights.W_dec.float()
    return torch.stack([basis.direction(i).float() for i in range(basis.n_features)])
