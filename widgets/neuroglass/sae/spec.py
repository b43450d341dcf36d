"""What a dictionary is, whichever library wrote it: one record of settings, one of weights.

Every checkpoint format is turned into these two, and everything that computes reads only them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch

from neuroglass.model.errors import InputError, nearest

Architecture = Literal["relu", "topk", "jumprelu", "gated", "groupmax"]
InputNorm = Literal["none", "center", "layer_norm", "constant_norm", "constant"]

# one token's standard deviation, plus this, divides it (SAELens and OpenAI alike)
LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Spec:
    """The settings of a dictionary.

    Attributes:
        architecture: how pre-activations h become latents f.

            - ``relu``: f = max(h, 0) (Bricken et al. 2023; Cunningham et al. 2023);
            - ``topk``: the k largest h of a token, if positive (Gao et al. 2024);
            - ``jumprelu``: f = h where h > threshold and h > 0 (Rajamanoharan et al. 2024b). A
              BatchTopK dictionary (Bussmann et al. 2024) is one of these once it is trained, and
              so are Matryoshka dictionaries made by it (see `groups`);
            - ``gated``: f = 1[z·W_enc + b_gate > 0] · max(e^r_mag · (z·W_enc) + b_mag, 0)
              (Rajamanoharan et al. 2024a);
            - ``groupmax``: latents in k groups of equal size, the largest of each, if positive.
        d_in, d_out: widths of the read and of the write site.
        n_latents: how many latents.
        k: for ``topk`` and ``groupmax``.
        input_norm: what is done to x first, and undone to the output.

            - ``center``: x - mean per token (trained on a model whose writing weights are centred,
              as TransformerLens' ``center_writing_weights`` does);
            - ``layer_norm``: (x - mean) / (std + 1e-5) per token, std with n - 1;
            - ``constant_norm``: x · √d_in / ‖x‖ per token;
            - ``constant``: x · `input_scale`.
        input_scale: see ``constant``.
        output_scale: what the output is divided by under ``constant``, if that is another number
            (a transcoder's, whose two sites have two scales).
        subtract_b_dec: whether b_dec is taken from x before the encoder.
        unit_decoder: whether a latent counts in units of its normalised decoder row: its
            pre-activation is multiplied by ‖W_dec[i]‖. ``topk`` ranks the product, ``jumprelu``
            compares it with the threshold.
        groups: sizes of a Matryoshka dictionary's groups; its prefixes are dictionaries.
        read_site, write_site: sites, in our, TransformerLens' or Hugging Face's words; None if the
            checkpoint does not say. They differ for a transcoder.
        model: name of the model it was trained on; None if the checkpoint does not say.
        fingerprint: of that model's weights, where neuroglass trained the dictionary.
        prepend_bos: whether it was trained with a BOS token first.
        context: tokens in a training context.
    """

    architecture: Architecture
    d_in: int
    n_latents: int
    d_out: int
    k: int | None = None
    input_norm: InputNorm = "none"
    input_scale: float = 1.0
    output_scale: float | None = None
    subtract_b_dec: bool = True
    unit_decoder: bool = False
    groups: tuple[int, ...] = ()
    read_site: str | None = None
    write_site: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    prepend_bos: bool | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("architecture", Architecture), ("input_norm", InputNorm)):
            if getattr(self, name) not in get_args(kinds):
                raise InputError(
                    f"There is no {name} {getattr(self, name)!r}.",
                    nearest(str(getattr(self, name)), get_args(kinds)),
                )
        if self.architecture in {"topk", "groupmax"} and not 0 < (self.k or 0) <= self.n_latents:
            raise InputError(
                f"{self.architecture} needs k from 1 to {self.n_latents}, not {self.k}."
            )
        if self.architecture == "groupmax" and self.n_latents % (self.k or 1):
            raise InputError(f"{self.n_latents} latents do not make {self.k} groups of one size.")
        if self.groups and sum(self.groups) != self.n_latents:
            raise InputError(
                f"The groups {list(self.groups)} sum to {sum(self.groups)}, "
                f"not to {self.n_latents} latents."
            )

    @property
    def out_scale(self) -> float:
        """What the output is divided by under ``constant``."""
        return self.input_scale if self.output_scale is None else self.output_scale

    @property
    def transcodes(self) -> bool:
        """Whether what is written is another site than what is read."""
        return self.write_site not in {None, self.read_site} or self.d_in != self.d_out


@dataclass(frozen=True, eq=False)
class Weights:
    """The numbers of a dictionary, of any float dtype; views of a mapped file will do.

    Attributes:
        W_enc: [d_in, n_latents]; z·W_enc + b_enc are the pre-activations.
        b_enc: [n_latents] (``gated``: none).
        W_dec: [n_latents, d_out]; row i is the direction of latent i.
        b_dec: [d_out], added to the output.
        b_in: [d_in], subtracted from the input instead of b_dec, if given.
        threshold: [n_latents] or one number, for ``jumprelu``.
        b_gate, b_mag, r_mag: [n_latents] each, for ``gated``.
        W_skip: [d_in, d_out]; x·W_skip is added to the output, x being the input as it was read.
    """

    W_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    b_enc: torch.Tensor | None = None
    b_in: torch.Tensor | None = None
    threshold: torch.Tensor | None = None
    b_gate: torch.Tensor | None = None
    b_mag: torch.Tensor | None = None
    r_mag: torch.Tensor | None = None
    W_skip: torch.Tensor | None = None

    def map(self, change: Any) -> Weights:
        """All tensors that are there, changed."""
        fields = {n: t for n in self.__dataclass_fields__ if (t := getattr(self, n)) is not None}
        return replace(self, **{n: change(t) for n, t in fields.items()})

    def check(self, spec: Spec) -> None:
        """Refuse weights that the settings contradict.

        Raises:
            InputError: a shape is wrong (it says which, and whether it looks transposed), or a
                tensor that the architecture needs is missing, or one has no meaning in it.
        """
        n, d_in, d_out = spec.n_latents, spec.d_in, spec.d_out
        shapes: dict[str, tuple[tuple[int, ...], ...]] = {
            "W_enc": ((d_in, n),),
            "W_dec": ((n, d_out),),
            "b_dec": ((d_out,),),
            "b_enc": ((n,),),
            "b_in": ((d_in,),),
            "threshold": ((n,), ()),
            "b_gate": ((n,),),
            "b_mag": ((n,),),
            "r_mag": ((n,),),
            "W_skip": ((d_in, d_out),),
        }
        gated = spec.architecture == "gated"
        needed = {"W_enc", "W_dec", "b_dec"}
        needed |= {"b_gate", "b_mag", "r_mag"} if gated else {"b_enc"}
        needed |= {"threshold"} if spec.architecture == "jumprelu" else set()
        for name, allowed in shapes.items():
            tensor: torch.Tensor | None = getattr(self, name)
            if tensor is None:
                if name in needed:
                    raise InputError(f"A {spec.architecture} dictionary needs {name}.")
                continue
            if name not in needed | {"b_in", "W_skip"}:
                raise InputError(f"{name} has no meaning in a {spec.architecture} dictionary.")
            shape = tuple(tensor.shape)
            if shape not in allowed:
                turned = " It looks transposed." if shape[::-1] in allowed else ""
                raise InputError(f"{name} has shape {list(shape)}, not {list(allowed[0])}.{turned}")
            if not tensor.dtype.is_floating_point:
                raise InputError(f"{name} holds {tensor.dtype}, not floating-point numbers.")
        if self.b_in is None and spec.subtract_b_dec and spec.d_in != spec.d_out:
            raise InputError(
                "b_dec can't be taken from the input: it has the width of another site."
            )


def folding(spec: Spec, weights: Weights) -> tuple[Spec, dict[str, torch.Tensor]]:
    """How constant scales and decoder norms go into the weights, as SAELens has them.

    Latents and reconstruction stay what they are, up to rounding.

    Returns:
        The settings then, and for tensors that change a float32 factor that broadcasts to their
        shapes; nothing if there is nothing to fold.
    """
    constant = spec.input_norm == "constant"
    scale, out = (spec.input_scale, spec.out_scale) if constant else (1.0, 1.0)
    own_b_in = spec.subtract_b_dec and weights.b_in is None
    if not (constant or spec.unit_decoder) or (own_b_in and scale != out):
        return spec, {}
    norm = torch.ones(1, device=weights.W_dec.device)
    if spec.unit_decoder:
        norm = torch.linalg.vector_norm(weights.W_dec, dim=-1, dtype=torch.float32)
        norm = torch.where(norm > 0, norm, torch.ones_like(norm))  # [n_latents]
    factors = {
        "W_enc": norm * scale,
        "W_dec": (1 / (norm * out))[:, None],
        "b_dec": norm.new_tensor(1 / out),
        "b_in": norm.new_tensor(1 / scale),
        **dict.fromkeys(("b_enc", "b_gate", "b_mag"), norm),
    }
    kind = "none" if constant else spec.input_norm
    plain = replace(spec, input_norm=kind, input_scale=1.0, output_scale=None, unit_decoder=False)
    return plain, {n: f for n, f in factors.items() if getattr(weights, n) is not None}
