"""The live model: a Hugging Face decoder with named sites, behind one worker thread.

Text, token ids or chat messages flow in; a ``Run`` flows out. The Hugging Face modules are never
changed: hooks exist only while a forward pass runs, so an idle handle costs nothing.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from neuroglass.model.capture import Capture
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.families import Family, verify
from neuroglass.model.run import MASSIVE_RATIO, Run
from neuroglass.model.sites import SITES, WHOLE_MODEL, Site, from_transformer_lens
from neuroglass.model.tokens import Pieces, whole_characters
from neuroglass.model.worker import Job, Priority, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Message: TypeAlias = Mapping[str, str]
Prompt: TypeAlias = "str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | torch.Tensor | Sequence[Message]"  # noqa: E501 - an alias can't be wrapped


class LiveModel:
    """A hooked language model. Make one with ``ng.load``; every view is a window onto it.

    Attributes:
        hf: the unmodified Hugging Face model, in eval mode.
        tokenizer: its tokenizer, or None (then only token ids can be run).
        family: where its sites are.
        source: where the weights came from, for people.
        name: short name for people.
        code: the Python that opens it again.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        family: Family,
        *,
        name: str,
        source: str,
        code: str,
    ) -> None:
        self.hf = hf.eval()
        self.tokenizer = tokenizer
        self.family = family
        self.name = name
        self.source = source
        self.code = code
        self.pieces = Pieces(tokenizer)
        config = hf.config
        self.n_layers: int = config.num_hidden_layers
        self.n_heads: int = config.num_attention_heads
        self.d_model: int = config.hidden_size
        embeddings: Any = hf.get_input_embeddings()
        self.vocabulary: int = embeddings.weight.shape[0]
        self.context: int = config.max_position_embeddings
        self._worker = Worker(name)
        self._widths = self._check_family()

    # -- what there is -----------------------------------------------------------------------

    def site(self, text: str | Site) -> Site:
        """Read a site in our spelling, TransformerLens' or as a Hugging Face module path.

        Raises:
            InputError: unknown name, layer out of range or missing; names the nearest valid ones.
        """
        spelled = str(text)
        spelled = from_transformer_lens(spelled) or self._from_module_path(spelled) or spelled
        name, _, layer = spelled.partition(".")
        if name not in SITES or not (layer.isdecimal() or layer == ""):
            raise InputError(f"There is no site {str(text)!r}.", nearest(text, self._site_names()))
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

    def _site_names(self) -> list[str]:
        layered = [f"{n}.{i}" for n in SITES if n not in WHOLE_MODEL for i in range(self.n_layers)]
        return [*WHOLE_MODEL, *SITES, *layered]

    def _from_module_path(self, path: str) -> str | None:
        if path == self.family.embed:
            return "embed"
        if not path.startswith(self.family.blocks + "."):
            return None
        layer, _, inner = path[len(self.family.blocks) + 1 :].partition(".")
        for name, tap in self.family.taps.items():
            if tap.at == "output" and tap.path == inner:
                return f"{name}.{layer}"
        return None

    def width(self, site: str | Site) -> int:
        """How many numbers the site holds per token (``head_out``: heads x d_head)."""
        return self._widths[self.site(site).name]

    def positive(self, site: str | Site) -> bool:
        """True where no value can be negative: the neurons of a ReLU MLP."""
        config = self.hf.config
        act = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
        return self.site(site).name == "neurons" and act in {"relu", "relu2"}

    @property
    def widths(self) -> Mapping[str, int]:
        """Width of every site name that this model has."""
        return self._widths

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

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.hf.parameters())
        return (
            f"LiveModel({self.name}: {self.family.name} family ({self.hf.config.model_type}), "
            f"{self.n_layers} layers x {self.d_model}, {parameters / 1e6:.1f} M parameters, "
            f"{self.dtype} on {self.hf.device}, from {self.source}, "
            f"fingerprint {self.fingerprint})"
        )

    # -- running -----------------------------------------------------------------------------

    def run(
        self,
        prompt: Prompt,
        *,
        sites: Iterable[str | Site] = (),
        logits: bool = True,
        prepend_bos: bool | None = None,
    ) -> Run:
        """Run the model and keep what was asked for.

        Args:
            prompt: a text, several texts, token ids ([tokens] or [batch, tokens], list or tensor),
                or chat messages ``[{"role": ..., "content": ...}, ...]`` (the chat template's own
                tokens are part of the run).
            sites: what to capture, e.g. ``["resid_post.5", "blocks.3.mlp.hook_post"]``.
            logits: False stops the pass right after the last site, which saves the rest of it.
            prepend_bos: None does as the tokenizer does; True and False overrule it.

        Returns:
            The run; shapes are in ``Run``.

        Raises:
            InputError: empty or too long prompt, unknown site, text without a tokenizer.
        """
        return self.submit(prompt, sites=sites, logits=logits, prepend_bos=prepend_bos).result()

    def submit(
        self,
        prompt: Prompt,
        *,
        sites: Iterable[str | Site] = (),
        logits: bool = True,
        prepend_bos: bool | None = None,
        priority: Priority = Priority.INTERACTIVE,
        key: Hashable = None,
    ) -> Job[Run]:
        """As ``run``, without waiting; `priority` and `key` as in ``Worker.submit``.

        Raises:
            InputError: a site is unknown (at once; a bad prompt fails the job).
        """
        wanted = [self.site(s) for s in sites]
        return self.work(
            lambda job: self.steps(prompt, wanted, job, logits=logits, prepend_bos=prepend_bos),
            priority=priority,
            key=key,
        )

    def steps(
        self,
        prompt: Prompt,
        sites: Iterable[str | Site],
        job: Job[Any],
        *,
        logits: bool = True,
        prepend_bos: bool | None = None,
    ) -> Generator[None, None, Run]:
        """A run as steps, for a larger job on this model's thread: ``yield from`` it there."""
        wanted = list(dict.fromkeys(self.site(s) for s in sites))
        tokens, mask = self.tokenize(prompt, prepend_bos=prepend_bos)
        yield
        return self._forward(tokens, mask, wanted, logits=logits, check=job.check)

    def work(
        self,
        make: Callable[[Job[Any]], Any],
        *,
        priority: Priority = Priority.BACKGROUND,
        key: Hashable = None,
    ) -> Job[Any]:
        """Run any work on this model's thread; see ``Worker.submit``."""
        return self._worker.submit(make, priority=priority, key=key)

    def tokenize(
        self, prompt: Prompt, *, prepend_bos: bool | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, int64 and bool [batch, tokens], padded on the right.

        Raises:
            InputError: see ``run``.
        """
        rows = self._rows(prompt)
        bos = self.tokenizer.bos_token_id if self.tokenizer is not None else None
        if prepend_bos is not None:
            if bos is None:
                raise InputError("prepend_bos needs a tokenizer with a BOS token.")
            rows = [r[1:] if r[:1] == [bos] else r for r in rows]
            rows = [[bos, *r] for r in rows] if prepend_bos else rows
        if not rows or not all(rows):
            raise InputError("The text is empty: there is no token to run.", "Give some text.")
        longest = max(map(len, rows))
        if longest > self.context:
            raise InputError(
                f"The text has {longest} tokens; {self.name} reads at most {self.context}.",
                f"Shorten it by {longest - self.context} tokens or more.",
            )
        worst = max(max(r) for r in rows), min(min(r) for r in rows)
        if worst[0] >= self.vocabulary or worst[1] < 0:
            raise InputError(
                f"Token id {worst[1] if worst[1] < 0 else worst[0]} is not in the vocabulary.",
                f"Ids go from 0 to {self.vocabulary - 1}.",
            )
        mask = torch.tensor([[i < len(r) for i in range(longest)] for r in rows])
        tokens = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
        return tokens, mask

    def _rows(self, prompt: Prompt) -> list[list[int]]:
        if isinstance(prompt, torch.Tensor):
            prompt = prompt.tolist()
        if isinstance(prompt, str):
            return [self._encode(prompt)]
        items = list(prompt)
        if not items:
            return []
        if all(isinstance(i, str) for i in items):
            return [self._encode(str(i)) for i in items]
        if all(isinstance(i, Mapping) for i in items):
            return [self._encode_chat([dict(i) for i in items])]
        if all(isinstance(i, int) for i in items):
            return [[int(i) for i in items]]
        if all(isinstance(i, Sequence) and all(isinstance(t, int) for t in i) for i in items):
            return [list(i) for i in items]
        raise InputError(
            f"A prompt of type {type(prompt).__name__} of {type(items[0]).__name__} can't be run.",
            "Give a text, a list of texts, token ids or chat messages.",
        )

    def _need_tokenizer(self) -> PreTrainedTokenizerBase:
        if self.tokenizer is None:
            raise InputError(
                f"{self.name} was loaded without a tokenizer, so it can't read text.",
                "Give token ids, or load it with ng.load(model, tokenizer).",
            )
        return self.tokenizer

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._need_tokenizer()(whole_characters(text), verbose=False)["input_ids"]
        return ids

    def _encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        tokenizer = self._need_tokenizer()
        if tokenizer.chat_template is None:
            raise InputError(
                f"The tokenizer of {self.name} has no chat template.", "Give plain text."
            )
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=messages[-1]["role"] == "user"
        )
        ids: list[int] = tokenizer(str(text), add_special_tokens=False)["input_ids"]
        return ids

    def _forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        sites: list[Site],
        *,
        logits: bool,
        check: Callable[[], None],
    ) -> Run:
        """One pass in one step of the worker: hooks go on, run, and are gone."""
        logits = logits or Site("logits") in sites
        sites = [s for s in sites if s.name != "logits"]
        deepest = max((s.layer or 0 for s in sites), default=0)
        norms_at = self.n_layers // 2 if logits else min(self.n_layers // 2, deepest)
        tokens, mask = tokens.to(self.hf.device), mask.to(self.hf.device)
        capture = Capture(
            self.hf, self.family, sites, norms_at=norms_at, stop=not logits, check=check
        )
        out = None
        with torch.no_grad(), capture:
            # an attention mask that masks nothing would only make the pass slower
            attention = None if bool(mask.all()) else mask.long()
            out = self.hf(input_ids=tokens, attention_mask=attention, use_cache=False)
        assert capture.norms is not None
        return Run(
            tokens=tokens,
            mask=mask,
            masks=self._masks(tokens, mask, capture.norms),
            massive_site=str(Site("resid_pre", norms_at)),
            sites=capture.sites,
            logits=out.logits if out is not None else None,
            _pieces=self.pieces,
            _site=self.site,
        )

    def _masks(
        self, tokens: torch.Tensor, mask: torch.Tensor, norms: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        special = torch.zeros_like(mask)
        bos = torch.zeros_like(mask)
        if self.tokenizer is not None:
            ids = torch.tensor(self.tokenizer.all_special_ids, device=tokens.device)
            special = torch.isin(tokens, ids) & mask
            if self.tokenizer.bos_token_id is not None:
                bos[:, 0] = tokens[:, 0] == self.tokenizer.bos_token_id
        massive = (norms > MASSIVE_RATIO * norms[mask].median()) & mask
        return {"bos": bos, "special": special, "massive": massive}

    # -- life --------------------------------------------------------------------------------

    def _check_family(self) -> dict[str, int]:
        """Run a short prompt once: check the residual sums, learn the width of every site."""
        ids = torch.arange(min(8, self.vocabulary, self.context))[None] * 7 % self.vocabulary
        sites = [Site(name, i) for name in self.family.taps for i in range(self.n_layers)]
        run = self._worker.submit(
            lambda job: self._forward(
                ids, torch.ones_like(ids, dtype=torch.bool), sites, logits=False, check=job.check
            )
        ).result()
        verify(self.hf, self.family, run.sites, self.n_layers)
        widths = {n: run.sites[f"{n}.0"].flatten(2).shape[-1] for n in self.family.taps}
        return {"embed": self.d_model, **widths, "logits": self.vocabulary}

    def close(self) -> None:
        """Stop the worker; running jobs end as cancelled. The Hugging Face model stays usable."""
        self._worker.close()


def check_features(model: LiveModel, site: Site, features: Sequence[int]) -> None:
    """Refuse feature indices that the site does not have.

    Raises:
        InputError: names the valid range, and the nearest spelling that fits.
    """
    width = model.width(site)
    for feature in features:
        if not isinstance(feature, int) or isinstance(feature, bool) or not 0 <= feature < width:
            near = difflib.get_close_matches(str(feature), map(str, range(width)), n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise InputError(
                f"{site} has no feature {feature!r}.", f"Features go from 0 to {width - 1}.{hint}"
            )
