"""``sae.report(model, texts)``: how sparse, how faithful and how alive a dictionary is.

Every figure is measured in one pass over the texts; each has its definition beside it, because the
field uses one word for several (``reference`` in the table: where the definition is from).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

from neuroglass.model.edits import BoundEdit
from neuroglass.model.errors import InputError
from neuroglass.model.positions import At, Extent
from neuroglass.model.run import Run
from neuroglass.model.sites import PER_HEAD

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from neuroglass.model.live import LiveModel
    from neuroglass.model.sites import Site
    from neuroglass.sae.dictionary import SAE

_ROWS = 8  # windows in a pass
_DENSE = 0.1  # a latent that is on at more than a tenth of the tokens

WORDS = {
    "tokens": "tokens that count",
    "masked": "tokens left out: special ones and massive activations",
    "l0": "mean number of latents that are on",
    "mse": "mean over tokens of the squared error's mean over entries, at the write site",
    "fvu": "1 - explained variance: sum |x - x_hat|^2 / sum |x - mean(x)|^2 over all tokens",
    "cosine": "mean cosine of x and x_hat",
    "l2_ratio": "mean over tokens of |x_hat| / |x|",
    "reconstruction_bias": "gamma = mean |x_hat|^2 / mean x_hat.x (Rajamanoharan et al. 2024a): "
    "1 is unbiased, less means shrinkage",
    "dead": "share of latents that were never on in these tokens",
    "dense": "share of latents that were on at more than 10 % of tokens",
    "ce": "loss of the model as it is, nats per token",
    "ce_spliced": "loss with reconstructions, without their errors, at the tokens that count",
    "ce_zero": "loss with zeros there",
    "ce_mean": "loss with the mean of x there",
    "kl_spliced": "KL(model || spliced), nats per token",
    "kl_zero": "KL(model || zero-ablated)",
    "kl_mean": "KL(model || mean-ablated)",
    "recovered_zero": "(ce_zero - ce_spliced) / (ce_zero - ce); flattering, zero being far off",
    "recovered_mean": "(ce_mean - ce_spliced) / (ce_mean - ce)",
    "decoder_cosine": "median over latents of the largest |cosine| with another decoder row",
    "encoder_decoder_cosine": "median cosine of a latent's encoder and decoder row (one site only)",
    "explained": "share of latents whose best explanation in the store has precision and recall",
    "explanation_precision": "mean over those of: share of the tokens simulated on at which the "
    "latent is on (Gao et al. 2024, section 4.3, explainability, with patterns)",
    "explanation_recall": "mean over those of: share of the tokens where the latent is on that "
    "are simulated on",
}


class ExplainedStore(Protocol):
    """What the report needs of a store (``ng.Store``)."""

    @property
    def meta(self) -> Mapping[str, Any]: ...

    @property
    def annotations(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Report:
    """What ``sae.report`` found.

    Attributes:
        values: name -> figure; `WORDS` says what each means.
        density: share of tokens at which each latent was on, float64 [n_latents].
    """

    sae: SAE = field(repr=False)
    values: dict[str, float]
    density: torch.Tensor = field(repr=False)

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def to_frame(self) -> pd.DataFrame:
        """Figures with their definitions."""
        import pandas as pd

        rows = [(n, v, WORDS[n]) for n, v in self.values.items()]
        return pd.DataFrame(rows, columns=["figure", "value", "definition"]).set_index("figure")

    def plot(self) -> go.Figure:
        """Histogram of log10 densities, with the floor below which these tokens say nothing."""
        import plotly.graph_objects as go

        tokens = int(self.values["tokens"])
        alive = self.density[self.density > 0]
        dead = len(self.density) - len(alive)
        figure = go.Figure(
            go.Histogram(x=alive.log10().tolist(), xbins={"size": 0.1}, name="latents")
        )
        floor = torch.tensor(1 / tokens).log10().item()
        figure.add_vline(x=floor, line_dash="dot", annotation_text=f"1 / {tokens:,} tokens")
        figure.update_layout(
            title=f"{self.sae.name}: how often latents are on ({dead:,} of "
            f"{len(self.density):,} never were)",
            xaxis_title="log10 of the share of tokens",
            yaxis_title="latents",
            bargap=0,
        )
        return figure

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.4g}".format))


def report(
    sae: SAE,
    texts: Iterable[str],
    *,
    context: int = 128,
    tokens: int | None = None,
    prepend_bos: bool | None = None,
    store: ExplainedStore | None = None,
) -> Report:
    """Measure a dictionary on texts; see `WORDS` for what is measured.

    Args:
        sae: attached to its model.
        texts: held-out ones, for honest figures.
        context: tokens in a window; the dictionary's own by default if it is shorter.
        tokens: to stop at; None reads all.
        prepend_bos: None does as the tokenizer does.
        store: of this dictionary, with explanations that were scored (``ng.study(keep=True)``):
            the report then says how well they tell where its latents are on.

    Raises:
        InputError: not attached, no text, a store of another dictionary or without such scores.
    """
    model = sae.model
    explained = {} if store is None else _explained(sae, store)
    context = min(context, sae.spec.context or context)
    rows = [
        row
        for text in texts
        for row in model.prompts.windows(text, context, prepend_bos=prepend_bos)
        if len(row) > 1
    ]
    if tokens is not None:
        ends = torch.tensor([len(r) for r in rows]).cumsum(0)
        rows = rows[: int((ends < tokens).sum()) + 1]
    if not rows:
        raise InputError("There is no text to measure on.", "Give texts of two tokens or more.")
    rows.sort(key=len)  # little padding; no figure depends on the order
    batches = [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]
    sums = _Sums(sae)
    for batch in batches:
        sums.first(model.run(batch, sites=[sae.read_site, sae.write_site], logits=False))
    mean = sums.mean
    for batch in batches:
        sums.second(model, batch)
    return Report(sae, sums.figures(mean) | explained, sums.fired / sums.n)


@dataclass(frozen=True, eq=False)
class _Instead:
    """An edit that puts vectors [n, width] at the n tokens where `keep` [batch, tokens] is True."""

    site: Site
    keep: torch.Tensor
    vectors: torch.Tensor

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        return [self]

    @property
    def reads(self) -> Site:
        return self.site

    @property
    def writes(self) -> Site:
        return self.site

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        flat = x.flatten(2).clone()
        flat[self.keep] = self.vectors.to(flat)
        return flat.view_as(x)


class _Sums:
    """Running sums; the mean of x first, then everything about it."""

    def __init__(self, sae: SAE) -> None:
        self.sae = sae
        self.n = 0
        self.masked = 0
        self.total = torch.zeros(sae.spec.d_out, dtype=torch.float64)
        self.fired = torch.zeros(sae.n_features, dtype=torch.float64)
        self.sums: dict[str, float] = {}
        self.predicted = 0

    @property
    def mean(self) -> torch.Tensor:
        return (self.total / max(1, self.n)).float()

    def _vectors(self, run: Run) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read-site and write-site vectors of the tokens that count [tokens, width], and those."""
        keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
        x, y = (
            (run[s].flatten(2) if s.name in PER_HEAD else run[s])[keep].float()
            for s in (self.sae.read_site, self.sae.write_site)
        )
        return x, y, keep

    def _add(self, name: str, value: torch.Tensor | float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def first(self, run: Run) -> None:
        _, y, keep = self._vectors(run)
        self.n += len(y)
        self.masked += int((run.mask & ~keep).sum())
        self.total += y.double().sum(0)

    def second(self, model: LiveModel, batch: list[list[int]]) -> None:
        sae = self.sae
        clean = model.run(batch, sites=[sae.read_site, sae.write_site])
        x, y, keep = self._vectors(clean)
        latents = sae.encode(x)
        made = sae.decode(latents, x)
        self.fired += torch.bincount(latents.index, minlength=sae.n_features)
        self._add("l0", len(latents))
        self._add("error", (y - made).square().sum())
        self._add("spread", (y - self.mean).square().sum())
        sizes = y.norm(dim=1).clamp_min(1e-12), made.norm(dim=1).clamp_min(1e-12)
        inner = (y * made).sum(1)
        self._add("cosine", (inner / sizes[0] / sizes[1]).sum())
        self._add("l2_ratio", (sizes[1] / sizes[0]).sum())
        self._add("made2", made.square().sum())
        self._add("inner", inner.sum())
        instead = {
            "spliced": made,
            "zero": torch.zeros_like(made),
            "mean": self.mean.expand_as(made),
        }
        # what predicts the next token: the row's last token and padding predict nothing
        here = clean.mask[:, :-1] & clean.mask[:, 1:]
        after = clean.tokens[:, 1:][here]
        assert clean.logits is not None
        log_p = clean.logits[:, :-1][here].float().log_softmax(-1)
        self.predicted += len(after)
        self._add("ce", -log_p.gather(1, after[:, None]).sum())
        for name, vectors in instead.items():
            run = model.run(batch, edits=[_Instead(sae.write_site, keep, vectors)])
            assert run.logits is not None
            log_q = run.logits[:, :-1][here].float().log_softmax(-1)
            self._add(f"ce_{name}", -log_q.gather(1, after[:, None]).sum())
            self._add(f"kl_{name}", (log_p.exp() * (log_p - log_q)).sum())

    def figures(self, mean: torch.Tensor) -> dict[str, float]:
        s, n, width = self.sums, self.n, self.sae.spec.d_out
        loss = {k: v / self.predicted for k, v in s.items() if k[:2] in {"ce", "kl"}}
        density = self.fired / n
        out: dict[str, Any] = {
            "tokens": n,
            "masked": self.masked,
            "l0": s["l0"] / n,
            "mse": s["error"] / n / width,
            "fvu": s["error"] / s["spread"],
            "cosine": s["cosine"] / n,
            "l2_ratio": s["l2_ratio"] / n,
            "reconstruction_bias": s["made2"] / s["inner"] if s["inner"] else float("nan"),
            "dead": float((density == 0).double().mean()),
            "dense": float((density > _DENSE).double().mean()),
            **{k: loss[k] for k in WORDS if k in loss},
            **{
                f"recovered_{a}": (loss[f"ce_{a}"] - loss["ce_spliced"])
                / (loss[f"ce_{a}"] - loss["ce"])
                for a in ("zero", "mean")
            },
            **_structure(self.sae),
        }
        return out


def _structure(sae: SAE) -> dict[str, float]:
    """Cosines of the weights: between decoder rows, and of encoder with decoder."""
    rows = sae.weights.W_dec.float()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    nearest = []
    for at in range(0, len(rows), 1024):
        cosines = (rows[at : at + 1024] @ rows.T).abs()
        own = torch.arange(len(cosines))
        cosines[own, own + at] = 0
        nearest.append(cosines.max(1).values)
    found = {"decoder_cosine": float(torch.cat(nearest).median())}
    if sae.spec.d_in == sae.spec.d_out:
        encoder = sae.weights.W_enc.T.float()
        encoder = encoder / encoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
        found["encoder_decoder_cosine"] = float((encoder * rows).sum(1).median())
    return found


def _explained(sae: SAE, store: ExplainedStore) -> dict[str, float]:
    """How well the best explanation of each latent tells where it is on."""
    basis = store.meta["basis"]
    if basis["fingerprint"] != sae.fingerprint:
        raise InputError(f"The store is of {basis['name']}, not of {sae.name}.")
    notes = store.annotations
    of = notes.of_each(notes.table()["feature"]).values()
    best = [said["explanations"][0]["scores"] for said in of if said["explanations"]]
    names = ("precision", "recall")
    found = [[s[n] for n in names] for s in best if all(s.get(n) is not None for n in names)]
    if not found:
        raise InputError(
            "No explanation in the store has precision and recall.",
            "ng.study(store, keep=True) explains its latents and writes them.",
        )
    means = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    return {
        "explained": len(found) / sae.n_features,
        **{f"explanation_{n}": mean for n, mean in zip(names, means, strict=True)},
    }
