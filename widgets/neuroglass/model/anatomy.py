"""Anatomy: what a model has, without running it: sizes, sites and their spellings, identity."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.errors import InputError, nearest
from neuroglass.model.sites import (
    ATTENTION,
    PER_HEAD,
    SITES,
    WHOLE_MODEL,
    Site,
    TransformerLens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from neuroglass.model.families import Family


class Anatomy:
    """A Hugging Face decoder and where its sites are.

    Attributes:
        hf: the unmodified Hugging Face model, in eval mode.
        family: where its sites are.
        name: short name for people.
        n_layers, n_heads, d_model, vocabulary: sizes.
        context: the most tokens that one text may have.
        absent: site name -> why this model does not have it.
        transformer_lens: TransformerLens' names for its sites.
    """

    def __init__(self, hf: PreTrainedModel, family: Family, name: str) -> None:
        self.hf = hf.eval()
        self.family = family
        self.name = name
        config: Any = hf.config.get_text_config(decoder=True)
        self.n_layers: int = config.num_hidden_layers
        self.n_heads: int = config.num_attention_heads
        self.d_model: int = config.hidden_size
        embeddings: Any = hf.get_input_embeddings()
        self.vocabulary: int = embeddings.weight.shape[0]
        self.context: int = getattr(config, "max_position_embeddings", None) or 2048
        different = dict(family.transformer_lens)
        if getattr(config, "final_logit_softcapping", None) is not None:
            different["unembed.hook_out"] = "the logits before the soft-cap"
        self.transformer_lens = TransformerLens(
            self.n_layers,
            rotary=any(hasattr(config, a) for a in ("rope_parameters", "rope_theta")),
            different=different,
        )
        self._widths: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self.absent: dict[str, str] = dict(family.absent)

    @property
    def d_head(self) -> int:
        """Numbers per head in ``head_out``."""
        return self.width("head_out.0") // self.n_heads

    def site(self, text: str | Site) -> Site:
        """Read a site in our spelling, TransformerLens' or as a Hugging Face module path.

        Raises:
            InputError: unknown name, layer out of range or missing; names the nearest valid ones.
                A site that this family does not have: says why.
        """
        spelled = str(text)
        spelled = self.transformer_lens.read(spelled) or self._from_module_path(spelled) or spelled
        name, _, layer = spelled.partition(".")
        if name not in SITES or not (layer.isdecimal() or layer == ""):
            raise InputError(f"There is no site {str(text)!r}.", nearest(text, self._site_names()))
        if name in self.absent:
            raise InputError(f"{self.name} has no {name}: {self.absent[name]}.")
        if name in WHOLE_MODEL:
            if layer:
                raise InputError(f"The site {name!r} has no layers.", f"Write {name!r}.")
            return Site(name)
        if not layer:
            last = self.n_layers - 1
            raise InputError(
                f"The site {name!r} needs a layer.", f"Write {name}.0 … {name}.{last}."
            )
        if int(layer) >= self.n_layers:
            raise InputError(
                f"There is no layer {layer} in {self.name}.",
                f"Layers go from 0 to {self.n_layers - 1}.",
            )
        return Site(name, int(layer))

    def sites(self, texts: Iterable[str | Site]) -> list[Site]:
        """Read several sites, each once.

        Raises:
            InputError: as ``site``; one text in place of a list.
        """
        if isinstance(texts, str | Site) or not isinstance(texts, Iterable):
            raise InputError(f"sites is a list, not {texts!r}.", f"Write sites=[{texts!r}].")
        return list(dict.fromkeys(self.site(s) for s in texts))

    def _site_names(self) -> list[str]:
        names = [n for n in SITES if n not in WHOLE_MODEL]
        return [*WHOLE_MODEL, *SITES, *(f"{n}.{i}" for n in names for i in range(self.n_layers))]

    def _from_module_path(self, path: str) -> str | None:
        if path == self.family.embed:
            return "embed"
        if not path.startswith(self.family.blocks + "."):
            return None
        layer, _, inner = path[len(self.family.blocks) + 1 :].partition(".")
        # the last name in the pass: a module's output is what follows goes on with
        found = [n for n, t in self.family.taps.items() if t.at == "output" and t.path == inner]
        return f"{found[-1]}.{layer}" if found else None

    def transformer_lens_sites(self) -> dict[str, Site]:
        """Every TransformerLens hook name that means one of this model's sites."""
        names = self.transformer_lens.names()
        return {theirs: ours for theirs, ours in names.items() if ours.name not in self.absent}

    def width(self, site: str | Site) -> int:
        """How many numbers the site holds per token (per head ones: heads x d_head).

        Raises:
            InputError: no such site; a pattern, which has one number per pair of tokens.
        """
        name = self.site(site).name
        if name == "pattern":
            raise InputError("A pattern has one number per pair of tokens, so it has no width.")
        return self._widths[name]

    @property
    def widths(self) -> Mapping[str, int]:
        """Width of every site name that this model has and that has one."""
        return self._widths

    @property
    def names(self) -> list[str]:
        """Site names that this model has, in the order of a pass."""
        return [n for n in SITES if n not in self.absent]

    def heads_at(self, site: str | Site) -> int:
        """Heads at a per-head site: for ``k`` and ``v`` key-value heads.

        Raises:
            InputError: the site has no heads.
        """
        site = self.site(site)
        if site.name not in self._heads:
            raise InputError(
                f"{site} has no heads.", f"Each head's output is at head_out.{site.layer or 0}."
            )
        return self._heads[site.name]

    def positive(self, site: str | Site) -> bool:
        """True where no value can be negative: the neurons of a ReLU MLP."""
        config = self.hf.config.get_text_config(decoder=True)
        act = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
        return self.site(site).name == "neurons" and act in {"relu", "relu2"}

    @property
    def dtype(self) -> str:
        return {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(
            str(self.hf.dtype).removeprefix("torch."), str(self.hf.dtype)
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all weights (names, types, shapes, bytes): 16 hexadecimal digits.

        Stores remember it, so that results of one model are never read as another's.
        """
        digest = hashlib.blake2b(digest_size=8)
        seen: set[int] = set()
        for name, tensor in sorted(self.hf.state_dict().items()):
            if tensor.data_ptr() in seen:  # tied weights count once, whichever name holds them
                continue
            seen.add(tensor.data_ptr())
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            digest.update(memoryview(flat.view(torch.uint8).numpy()))
        return digest.hexdigest()

    def owns(self, model: Anatomy, what: str) -> None:
        """Refuse what was made with a model of other weights.

        Raises:
            InputError: names both models.
        """
        if model is not self and model.fingerprint != self.fingerprint:
            raise InputError(
                f"{what} belongs to {model.name} ({model.fingerprint}), not to {self.name} "
                f"({self.fingerprint}).",
                "Make it with the model that you use it on.",
            )

    def learn(self, sites: Mapping[str, torch.Tensor]) -> None:
        """Note the width of every site from a captured pass; what was not captured is absent."""
        self._widths = {"embed": sites["embed"].shape[-1]}
        for name in SITES:
            captured = sites.get(f"{name}.0")
            if captured is None:
                continue
            if name == "pattern":
                self._heads[name] = captured.shape[1]
                continue
            if name in PER_HEAD:
                self._heads[name] = captured.shape[2]
            self._widths[name] = captured.flatten(2).shape[-1]
        self._widths["logits"] = self.vocabulary
        if "pattern.0" not in sites:
            why = "its attention does not go through transformers' attention interface"
            self.absent |= {n: why for n in SITES if n in ATTENTION}


def check_features(model: Anatomy, site: Site, features: Sequence[int]) -> None:
    """Refuse feature indices that the site does not have.

    Raises:
        InputError: names the valid range, and the nearest spelling that fits.
    """
    check_indices(site, model.width(site), features)


def check_indices(owner: object, width: int, features: Sequence[int]) -> None:
    """Refuse indices that `owner` with its `width` features does not have.

    Raises:
        InputError: names the valid range, and the nearest spelling that fits.
    """
    for feature in features:
        if not isinstance(feature, int) or isinstance(feature, bool) or not 0 <= feature < width:
            near = difflib.get_close_matches(str(feature), map(str, range(width)), n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise InputError(
                f"{owner} has no feature {feature!r}.", f"Features go from 0 to {width - 1}.{hint}"
            )
