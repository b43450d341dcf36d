"""``SAE`` and ``Transcoder``: sparse dictionaries as bases, whatever their architecture.

A site's vectors flow in; latents flow out, sparse, dense, or only those that are asked for; and
back through the decoder. Attached to a live model, a dictionary is a basis: ``sae[123]`` is a
``Feature``, and ``sae.splice()`` an edit that puts the reconstruction into the running model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from neuroglass.model.basis import Feature, feature_of
from neuroglass.model.errors import InputError
from neuroglass.sae.latents import Latents
from neuroglass.sae.spec import LAYER_NORM_EPS, Spec, Weights, folding

if TYPE_CHECKING:
    from neuroglass.model.edits import Edit
    from neuroglass.model.live import LiveModel
    from neuroglass.model.sites import Site
    from neuroglass.sae.report import Report

# dense pre-activations are made for so many numbers at a time (32 MB in float32)
_CHUNK = 8_000_000


class SAE:
    """A sparse dictionary of one site: d_in numbers in, n_latents sparse ones, d_in numbers out.

    Args:
        spec: its settings.
        weights: its numbers. Mapped files stay mapped: a latent's rows are read when they are
            asked for, the encoder as a whole (in float32) at the first full ``encode``.
        name: short name, part of its features' ids.
        model: the live model it reads; ``attach`` gives it one later.

    Everything is computed in float32, or in float64 if x is.

    Raises:
        InputError: settings and weights contradict each other.
    """

    def __init__(
        self, spec: Spec, weights: Weights, *, name: str = "sae", model: LiveModel | None = None
    ) -> None:
        weights.check(spec)
        if "/" in name:
            raise InputError(f"{name!r} has a slash in it.", "Ids are split there.")
        self.spec = spec
        self.weights = weights
        self.name = name
        self._model = model
        self._wide: dict[torch.dtype, Weights] = {}

    # ------------------------------------------------------------------ as a basis

    @property
    def model(self) -> LiveModel:
        """The live model it is attached to.

        Raises:
            InputError: none.
        """
        if self._model is None:
            raise InputError(f"{self.name} is not attached to a model.", "sae = sae.attach(model)")
        return self._model

    def attach(
        self,
        model: LiveModel,
        *,
        site: str | None = None,
        write_site: str | None = None,
        any_model: bool = False,
    ) -> Self:
        """The same dictionary on a live model.

        Args:
            model: the live model.
            site: where it reads, if the checkpoint does not say or says it in words that this
                model does not know.
            write_site: where it writes, for a transcoder; by default what the checkpoint says.
            any_model: True takes a model of another name or other weights than recorded.

        Raises:
            InputError: trained on another model; no site known; a site of another width.
        """
        spec = self.spec
        read = site or spec.read_site
        write = write_site or (read if not spec.transcodes else spec.write_site)
        if read is None or write is None:
            raise InputError(
                f"The checkpoint of {self.name} does not say at which site it "
                f"{'reads' if read is None else 'writes'}.",
                "Say it: sae.attach(model, site='resid_post.5').",
            )
        if not any_model:
            _same_model(spec, model, self.name)
        places = [model.site(read), model.site(write)]
        for place, width, does in zip(
            places, (spec.d_in, spec.d_out), ("reads", "writes"), strict=True
        ):
            if model.width(place) != width:
                raise InputError(
                    f"{self.name} {does} vectors of {width} numbers; {place} of {model.name} "
                    f"has {model.width(place)}.",
                    "It belongs to another site or another model.",
                )
        spec = replace(spec, read_site=str(places[0]), write_site=str(places[1]))
        made = type(self)(spec, self.weights, name=self.name, model=model)
        made._wide = self._wide
        return made

    @property
    def read_site(self) -> Site:
        return self.model.site(str(self.spec.read_site))

    @property
    def write_site(self) -> Site:
        return self.model.site(str(self.spec.write_site))

    @property
    def n_features(self) -> int:
        return self.spec.n_latents

    def __len__(self) -> int:
        return self.n_features

    def __getitem__(self, index: int) -> Feature:
        return feature_of(self, index)

    def __iter__(self) -> Iterator[Feature]:
        return (Feature(self, i) for i in range(self.n_features))

    def activations(self, x: torch.Tensor, features: Sequence[int]) -> torch.Tensor:
        """Values of some latents: [..., d_in] -> [..., features].

        Others are not computed, except where they compete: ``topk`` needs all of them,
        ``groupmax`` those of the same groups.
        """
        return self.encode_dense(x, features)

    def direction(self, feature: int) -> torch.Tensor:
        """What one unit of a latent writes, before ``scale``: float32 [d_out].

        Raises:
            InputError: there is no such latent.
        """
        self._check(feature)
        row = self.weights.W_dec[feature].float()
        return row / _norm(row) if self.spec.unit_decoder else row

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """What ``direction`` is multiplied by at each token: [..., d_in] -> [...].

        1 where the input is not normalised or only centred; the token's standard deviation
        (``layer_norm``), ‖x‖/√d_in (``constant_norm``), 1/c (``constant``).
        """
        return self._normalise(_wide(x))[2][..., 0]

    # ------------------------------------------------------------------ maths

    def _as(self, dtype: torch.dtype) -> Weights:
        """All weights in a dtype, made once."""
        if dtype not in self._wide:
            self._wide[dtype] = self.weights.map(lambda t: t.to(dtype))
        return self._wide[dtype]

    def _normalise(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The normalised x, what was subtracted [..., 1], what it was divided by [..., 1]."""
        zero, one = x.new_zeros(*x.shape[:-1], 1), x.new_ones(*x.shape[:-1], 1)
        match self.spec.input_norm:
            case "center":
                mean = x.mean(-1, keepdim=True)
                return x - mean, mean, one
            case "layer_norm":
                mean = x.mean(-1, keepdim=True)
                # divided by std + eps, multiplied by std: SAELens and OpenAI's code alike
                std = (x - mean).std(-1, keepdim=True)
                return (x - mean) / (std + LAYER_NORM_EPS), mean, std
            case "constant_norm":
                size = x.norm(dim=-1, keepdim=True) / self.spec.d_in**0.5
                return x / size.clamp_min(torch.finfo(x.dtype).tiny), zero, size
            case "constant":
                return x * self.spec.input_scale, zero, one / self.spec.out_scale
            case _:
                return x, zero, one

    def _centred(self, x: torch.Tensor, weights: Weights) -> torch.Tensor:
        """z: what the encoder's matrix multiplies."""
        z = self._normalise(x)[0]
        if weights.b_in is not None:
            return z - weights.b_in.to(x)
        return z - weights.b_dec.to(x) if self.spec.subtract_b_dec else z

    def encode_dense(self, x: torch.Tensor, features: Sequence[int] | None = None) -> torch.Tensor:
        """Latents, zeros too: [..., d_in] -> [..., n_latents], or [..., features] of some.

        Raises:
            InputError: x has another width, or there is no such latent.
        """
        x = self._fit(x)
        chosen = None if features is None else self._indices(features)
        parts = [
            self._encode(part, chosen)
            for part in x.reshape(-1, x.shape[-1]).split(max(1, _CHUNK // self.n_features))
        ]
        out = torch.cat(parts)
        return out.view(*x.shape[:-1], out.shape[-1])

    def encode(self, x: torch.Tensor) -> Latents:
        """Latents that are on: [..., d_in] -> sparse (token, index, value); gradients flow."""
        x = self._fit(x)
        flat = x.reshape(-1, x.shape[-1])
        step = max(1, _CHUNK // self.n_features)
        parts = [Latents.from_dense(self._encode(part, None)) for part in flat.split(step)]
        shape = (*x.shape[:-1], self.n_features)
        if not len(flat):
            nothing = torch.zeros(0, dtype=torch.int64, device=x.device)
            return Latents(nothing, nothing, x.new_zeros(0), shape)
        return Latents(
            torch.cat([p.token + i * step for i, p in enumerate(parts)]),
            torch.cat([p.index for p in parts]),
            torch.cat([p.value for p in parts]),
            shape,
        )

    def _encode(self, x: torch.Tensor, chosen: torch.Tensor | None) -> torch.Tensor:
        """[tokens, d_in] -> [tokens, n_latents] or [tokens, chosen]."""
        spec = self.spec
        if spec.architecture == "topk":
            h = self._pre(x, None)
            top = h.topk(int(spec.k or 0), dim=-1)
            f = torch.zeros_like(h).scatter(-1, top.indices, top.values.relu())
            return f if chosen is None else f[..., chosen]
        if spec.architecture == "groupmax":
            size = spec.n_latents // int(spec.k or 1)
            needed = None
            if chosen is not None:
                groups, where = (chosen // size).unique(return_inverse=True)
                needed = (
                    groups[:, None] * size + torch.arange(size, device=groups.device)
                ).flatten()
            h = self._pre(x, needed).unflatten(-1, (-1, size))
            top = h.max(-1, keepdim=True)
            f = torch.zeros_like(h).scatter(-1, top.indices, top.values.relu()).flatten(-2)
            return f if chosen is None else f[..., where * size + chosen % size]
        return self._pre(x, chosen, activate=True)

    def _pre(
        self, x: torch.Tensor, chosen: torch.Tensor | None, *, activate: bool = False
    ) -> torch.Tensor:
        """Pre-activations of all or some latents; with `activate`, the latents (not ``topk``)."""
        if chosen is None:
            w = self._as(x.dtype)
            take: Callable[[torch.Tensor], torch.Tensor] = lambda t: t  # noqa: E731
            encoder, rows = w.W_enc, w.W_dec
        else:
            w = self.weights  # only what is asked for is read
            take = lambda t: (t[chosen] if t.ndim else t).to(x)  # noqa: E731
            encoder = w.W_enc[:, chosen].to(x)
            rows = w.W_dec[chosen].to(x) if self.spec.unit_decoder else w.W_dec
        h = self._centred(x, w) @ encoder
        if self.spec.architecture == "gated":
            b_gate, b_mag, r_mag = (
                take(cast("torch.Tensor", t)) for t in (w.b_gate, w.b_mag, w.r_mag)
            )
            on: torch.Tensor | None = h + b_gate > 0
            h = h * r_mag.exp() + b_mag
        else:
            h = h + take(cast("torch.Tensor", w.b_enc))
            on = None
        if self.spec.unit_decoder:
            h = h * _norm(rows)[:, 0]
        if not activate:
            return h
        if on is None:
            on = h > (take(w.threshold) if w.threshold is not None else 0)
        return h.relu() * on

    def decode(
        self, latents: Latents | torch.Tensor, x: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The reconstruction: latents, sparse or [..., n_latents], -> [..., d_out].

        Args:
            latents: what ``encode`` or ``encode_dense`` gave, changed or not.
            x: what was encoded. Needed where the input was normalised token by token (that is
                undone with the same numbers) and where there is a skip connection.

        Raises:
            InputError: x is needed, or the latents have another width.
        """
        if isinstance(latents, Latents):
            shape, kind = latents.shape, latents.value.dtype
        else:
            shape, kind = tuple(latents.shape), latents.dtype
        if shape[-1] != self.n_features:
            raise InputError(f"{self.name} has {self.n_features} latents, not {shape[-1]}.")
        w = self._as(kind)
        if isinstance(latents, Latents):
            out = self._sum_rows(latents, w.W_dec)
        else:
            f = latents / _norm(w.W_dec)[:, 0] if self.spec.unit_decoder else latents
            out = f @ w.W_dec
        out = out.view(*shape[:-1], self.spec.d_out) + w.b_dec
        per_token = self.spec.input_norm in {"center", "layer_norm", "constant_norm"}
        if x is None and (per_token or w.W_skip is not None):
            raise InputError(
                f"{self.name} needs to know what was encoded to decode it "
                f"({'its input is normalised per token' if per_token else 'it has a skip'}).",
                "sae.decode(latents, x)",
            )
        if self.spec.input_norm == "constant":
            out = out / self.spec.out_scale
        if x is not None:
            x = self._fit(x).to(kind)
            if per_token:
                _, mean, size = self._normalise(x)
                out = out * size + mean
            if w.W_skip is not None:
                out = out + x @ w.W_skip
        return out

    def _sum_rows(self, latents: Latents, rows: torch.Tensor) -> torch.Tensor:
        """Σ value · row for each token: [tokens, d_out]."""
        value = latents.value
        if self.spec.unit_decoder:
            value = value / _norm(rows)[:, 0][latents.index]
        starts = torch.searchsorted(
            latents.token, torch.arange(latents.n_tokens, device=value.device)
        )
        return torch.nn.functional.embedding_bag(
            latents.index, rows, starts, mode="sum", per_sample_weights=value
        )

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """``decode(encode(x))``: [..., d_in] -> [..., d_out]."""
        return self.decode(self.encode(x), x)

    def prefix(self, n: int) -> Self:
        """The dictionary of the first `n` latents (of a Matryoshka dictionary: some groups).

        Raises:
            InputError: n is not where a group ends (of ``groupmax``: one that competes).
        """
        ends = torch.tensor(self.spec.groups).cumsum(0).tolist() if self.spec.groups else []
        if not 0 < n <= self.n_features or (ends and n not in ends):
            raise InputError(
                f"{self.name} has no prefix of {n} latents.",
                f"Prefixes end at {ends or [self.n_features]}.",
            )
        k = min(self.spec.k, n) if self.spec.k else None
        if k is not None and self.spec.architecture == "groupmax":
            size = self.n_features // int(self.spec.k or 1)  # those that compete stay the same
            if n % size:
                raise InputError(
                    f"{self.name} has no prefix of {n} latents.",
                    f"Its latents compete in groups of {size}: give a multiple of that.",
                )
            k = n // size
        per_latent = {"b_enc", "threshold", "b_gate", "b_mag", "r_mag", "W_dec"}
        w = self.weights
        fields: dict[str, Any] = {
            name: (t[:n] if t.ndim else t)
            for name in per_latent
            if (t := getattr(w, name)) is not None
        }
        groups = self.spec.groups[: ends.index(n) + 1] if ends else ()
        spec = replace(self.spec, n_latents=n, groups=groups, k=k)
        made = replace(w, W_enc=w.W_enc[:, :n], **fields)
        return type(self)(spec, made, name=f"{self.name}-{n}", model=self._model)

    # ------------------------------------------------------------------ in the model

    def splice(
        self,
        *,
        keep_error: bool = True,
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Edit:
        """An edit that sends the write site through the dictionary.

        Args:
            keep_error: True adds what the dictionary does not explain back, without gradient, so
                that nothing changes but what `change` changes, and gradients flow through encoder
                and decoder. False writes the reconstruction alone.
            change: is given the latents [batch, tokens, n_latents] and returns them, changed.
        """
        from neuroglass.sae.splice import Splice

        return Splice(self, keep_error=keep_error, change=change)

    def report(self, texts: Iterable[str], **options: Any) -> Report:
        """How sparse, faithful and alive it is; see ``neuroglass.sae.report.report``."""
        from neuroglass.sae.report import report

        return report(self, texts, **options)

    # ------------------------------------------------------------------ files

    @classmethod
    def load(cls, path: str | Path, model: LiveModel | None = None, **options: Any) -> SAE:
        """Open a dictionary, whichever library wrote it; see ``neuroglass.sae.formats.load``."""
        from neuroglass.sae.formats import load

        return load(path, model, **options)

    def save(self, folder: str | Path) -> Path:
        """Write it in the format of SAELens; see ``neuroglass.sae.formats.save``."""
        from neuroglass.sae.formats import save

        return save(self, folder)

    @property
    def fingerprint(self) -> str:
        """Hash of settings and weights: equal for equal dictionaries.

        Constant scales and decoder norms count as part of the weights, as they are in a file of
        SAELens.
        """
        spec, factors = folding(self.spec, self.weights)
        found = hashlib.blake2b(repr(replace(spec, read_site=None, write_site=None)).encode())
        for name in self.weights.__dataclass_fields__:
            tensor: torch.Tensor | None = getattr(self.weights, name)
            if tensor is not None:
                found.update(name.encode())
                rows = tensor.reshape(tensor.shape[0] if tensor.ndim else 1, -1)
                factor = factors.get(name, tensor.new_ones((), dtype=torch.float32))
                factor = factor.expand(tensor.shape).reshape(rows.shape)
                for part, times in zip(rows.split(4096), factor.split(4096), strict=True):
                    found.update((part.float() * times).cpu().contiguous().numpy().data)
        return found.hexdigest()[:16]

    def _fit(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self.spec.d_in:
            raise InputError(
                f"{self.name} reads vectors of {self.spec.d_in} numbers, not {x.shape[-1]}."
            )
        return _wide(x)

    def _check(self, latent: int) -> None:
        if int(latent) != latent or not 0 <= latent < self.n_features:
            raise InputError(
                f"{self.name} has no latent {latent}.", f"They go from 0 to {self.n_features - 1}."
            )

    def _indices(self, features: Sequence[int]) -> torch.Tensor:
        for i in features:
            self._check(i)
        device = self.weights.W_enc.device
        return torch.tensor(list(features), dtype=torch.int64, device=device)

    def __repr__(self) -> str:
        s = self.spec
        where = s.read_site if not s.transcodes else f"{s.read_site} -> {s.write_site}"
        k = f" k={s.k}" if s.k else ""
        on = f", on {self._model.name}" if self._model is not None else ""
        return (
            f"{type(self).__name__}({self.name}: {s.architecture}{k}, {s.n_latents:,} latents of "
            f"{s.d_in} numbers at {where}{on})"
        )


class Transcoder(SAE):
    """A dictionary that reads one site and writes another, such as an MLP's input and output."""


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _norm(rows: torch.Tensor) -> torch.Tensor:
    """Norms of rows, zero counted as one: [..., 1]."""
    size = rows.norm(dim=-1, keepdim=True)
    return torch.where(size > 0, size, torch.ones_like(size))


def _same_model(spec: Spec, model: LiveModel, name: str) -> None:
    hint = "Open the model it was trained on; any_model=True takes this one all the same."
    if spec.fingerprint is not None and spec.fingerprint != model.fingerprint:
        raise InputError(
            f"{name} was trained on a model with other weights "
            f"({spec.model}, fingerprint {spec.fingerprint}; this is {model.name}, "
            f"{model.fingerprint}).",
            hint,
        )
    if spec.fingerprint is None and spec.model is not None:
        plain = [_plain(n) for n in (spec.model, model.name)]
        if plain[0] != plain[1]:
            raise InputError(f"{name} was trained on {spec.model}, and this is {model.name}.", hint)


def _plain(name: str) -> str:
    """A model's name without owner, case and separators: the libraries spell it differently."""
    text = name.rsplit("/", maxsplit=1)[-1].lower()
    text = {"gpt2-small": "gpt2"}.get(text, text)
    return "".join(c for c in text if c.isalnum() or c == ".").removesuffix("hf")
