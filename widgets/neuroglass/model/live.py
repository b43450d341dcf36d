"""The live model: a Hugging Face decoder with named sites, behind one worker thread.

Text, token ids or chat messages flow in; runs, generations and gradients flow out. The Hugging Face
modules are never changed: hooks exist only while a forward pass runs, so an idle handle costs
nothing, and after any end of a pass the model is what it was.
"""

from __future__ import annotations

import dataclasses
import inspect
import threading
import weakref
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from neuroglass.model import directions
from neuroglass.model.anatomy import Anatomy
from neuroglass.model.attention import has_eager
from neuroglass.model.basis import Feature, Head, NeuronBasis, feature_of
from neuroglass.model.edits import Edit, Scale, bind
from neuroglass.model.errors import InputError
from neuroglass.model.families import Family, family_of, verify
from neuroglass.model.generate import Generation, fits, settings_of, whole_number
from neuroglass.model.gradients import Gradients, Objective, differentiate, frozen
from neuroglass.model.hooks import Hooks
from neuroglass.model.norms import Norm, measure
from neuroglass.model.positions import At, Extent
from neuroglass.model.prompts import Prompt, Prompts, padded
from neuroglass.model.run import MASSIVE_RATIO, Run
from neuroglass.model.sites import ATTENTION, Site
from neuroglass.model.tokens import Pieces
from neuroglass.model.worker import Job, Preempted, Priority, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LiveModel(Anatomy):
    """A hooked language model. Make one with ``ng.load``; every view is a window onto it.

    Attributes:
        tokenizer: its tokenizer, or None (then only token ids can be run).
        source: where the weights came from, for people.
        code: the Python that opens it again.
        final_norm: the norm before the unembedding, None where there is none.
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
        super().__init__(hf, family, name)
        self.tokenizer = tokenizer
        self.source = source
        self.code = code
        self.pieces = Pieces(tokenizer)
        self.prompts = Prompts(tokenizer, name, self.vocabulary, self.context)
        self.final_norm = self._measure_norm()
        self._editing: list[weakref.ref[Editing]] = []
        self._lock = threading.Lock()  # of _editing
        self._worker = Worker(name)
        self._check_family()

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
        edits: Sequence[Edit] = (),
        logits: bool = True,
        n_prompt: int | Sequence[int] | None = None,
        prepend_bos: bool | None = None,
    ) -> Run:
        """Run the model and keep what was asked for.

        Args:
            prompt: a text, several texts, token ids ([tokens] or [batch, tokens], list or tensor),
                or chat messages ``[{"role": ..., "content": ...}, ...]`` (the chat template's own
                tokens are part of the run).
            sites: what to capture, e.g. ``["resid_post.5", "blocks.3.mlp.hook_post"]``.
            edits: ``Add``, ``Scale``, ``Clamp``, ``Ablate``, applied in this order, after those of
                ``edit``.
            logits: False stops the pass right after the last site, which saves the rest of it.
            n_prompt: how many tokens are the prompt, for edits that tell it from what was
                generated: one number, or one per row; None: all of them.
            prepend_bos: None does as the tokenizer does; True and False overrule it.

        Returns:
            The run; shapes are in ``Run``.

        Raises:
            InputError: empty or too long prompt, unknown site, text without a tokenizer, an edit
                that does not fit.
        """
        return self.submit(
            prompt,
            sites=sites,
            edits=edits,
            logits=logits,
            n_prompt=n_prompt,
            prepend_bos=prepend_bos,
        ).result()

    def submit(
        self,
        prompt: Prompt,
        *,
        sites: Iterable[str | Site] = (),
        edits: Sequence[Edit] = (),
        logits: bool = True,
        n_prompt: int | Sequence[int] | None = None,
        prepend_bos: bool | None = None,
        priority: Priority = Priority.INTERACTIVE,
        key: Hashable = None,
    ) -> Job[Run]:
        """As ``run``, without waiting; `priority` and `key` as in ``Worker.submit``.

        Raises:
            InputError: a site is unknown (at once; a bad prompt or edit fails the job).
        """
        wanted = self.sites(sites)
        edits = self._edits(edits)  # now: the job may start after a block's end
        return self.work(
            lambda job: self._steps(
                prompt,
                wanted,
                job,
                edits=edits,
                logits=logits,
                n_prompt=n_prompt,
                prepend_bos=prepend_bos,
            ),
            priority=priority,
            key=key,
        )

    def steps(
        self,
        prompt: Prompt,
        sites: Iterable[str | Site],
        job: Job[Any],
        *,
        edits: Sequence[Edit] = (),
        logits: bool = True,
        n_prompt: int | Sequence[int] | None = None,
        prepend_bos: bool | None = None,
    ) -> Generator[None, None, Run]:
        """A run as steps, for a larger job on this model's thread: ``yield from`` it there."""
        wanted = self.sites(sites)
        return self._steps(
            prompt,
            wanted,
            job,
            edits=self._edits(edits),
            logits=logits,
            n_prompt=n_prompt,
            prepend_bos=prepend_bos,
        )

    def _steps(
        self,
        prompt: Prompt,
        sites: Sequence[Site],
        job: Job[Any],
        *,
        edits: Sequence[Edit],
        logits: bool,
        n_prompt: int | Sequence[int] | None,
        prepend_bos: bool | None,
    ) -> Generator[None, None, Run]:
        tokens, mask = self.tokenize(prompt, prepend_bos=prepend_bos)
        while True:
            yield
            try:
                with torch.no_grad():
                    return self._forward(
                        tokens,
                        mask,
                        sites,
                        edits=edits,
                        logits=logits,
                        n_prompt=n_prompt,
                        check=partial(job.check, preempt=True),
                    )[0]
            except Preempted:
                continue  # a background pass can take seconds; a keystroke doesn't wait for it

    def work(
        self,
        make: Callable[[Job[Any]], Any],
        *,
        priority: Priority = Priority.BACKGROUND,
        key: Hashable = None,
    ) -> Job[Any]:
        """Run any work on this model's thread; see ``Worker.submit``."""
        return self._worker.submit(make, priority=priority, key=key)

    def give_way(self) -> None:
        """Wait while more urgent work than the background's is to be done on this model.

        For long work on a thread of its own, between its steps: widgets go first.
        """
        self._worker.give_way()

    def tokenize(
        self, prompt: Prompt, *, prepend_bos: bool | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, int64 and bool [batch, tokens], padded on the right.

        Raises:
            InputError: see ``run``.
        """
        return padded(self.prompts.rows(prompt, prepend_bos=prepend_bos))

    def _forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        sites: Sequence[Site],
        *,
        edits: Sequence[Edit] = (),
        logits: bool = True,
        n_prompt: int | Sequence[int] | None = None,
        check: Callable[[], None],
        graph: bool = False,
        frozen_norm: Norm | None = None,
    ) -> tuple[Run, Hooks]:
        """One pass in one step of the worker: hooks go on, run, and are gone."""
        logits = logits or Site("logits") in sites
        inside = [s for s in sites if s.name != "logits"]
        deepest = max((s.layer or 0 for s in inside), default=0)
        norms_at = self.n_layers // 2 if logits else min(self.n_layers // 2, deepest)
        lengths = mask.sum(1)
        prompt = lengths
        if n_prompt is not None:
            given = list(n_prompt) if isinstance(n_prompt, Sequence) else [n_prompt] * len(lengths)
            for number in given:
                whole_number("n_prompt", number, 0)
            if len(given) != len(lengths):
                raise InputError(f"n_prompt has {len(given)} numbers for {len(lengths)} rows.")
            prompt = lengths.minimum(torch.tensor(given))
        bound = bind(edits, self, Extent(prompt.tolist(), lengths.tolist()))
        tokens, mask = tokens.to(self.hf.device), mask.to(self.hf.device)
        hooks = Hooks(
            self.hf,
            self.family,
            inside,
            at=At(
                (mask.cumsum(1) - 1).masked_fill(~mask, -1),
                mask.shape[1],
                prompt,
                tokens,
            ),
            edits=bound,
            norms_at=norms_at,
            stop=not logits,
            check=check,
            graph=graph,
            frozen_norm=frozen_norm,
        )
        out = None
        with hooks:
            # an attention mask that masks nothing would only make the pass slower
            attention = None if bool(mask.all()) else mask.long()
            out = self.hf(input_ids=tokens, attention_mask=attention, use_cache=False)
        last = None
        if out is not None:
            wanted = Site("logits") in sites
            last = hooks.at(Site("logits"), out.logits, keep=wanted)
        assert hooks.norms is not None
        run = Run(
            model=self,
            tokens=tokens,
            mask=mask,
            masks=self._masks(tokens, mask, hooks.norms),
            massive_site=str(Site("resid_pre", norms_at)),
            sites={name: x for name, x in hooks.sites.items() if name != "logits"},
            logits=last,
        )
        return run, hooks

    def _masks(
        self, tokens: torch.Tensor, mask: torch.Tensor, norms: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        special = torch.zeros_like(mask)
        bos = torch.zeros_like(mask)
        if self.tokenizer is not None:
            special = self.special_tokens[tokens] & mask
            if self.tokenizer.bos_token_id is not None:
                bos[:, 0] = tokens[:, 0] == self.tokenizer.bos_token_id
        massive = (norms > MASSIVE_RATIO * norms[mask].median()) & mask
        return {"bos": bos, "special": special, "massive": massive}

    # -- edits -------------------------------------------------------------------------------

    def edit(self, *edits: Edit) -> Editing:
        """Edits for everything that is asked of this model inside a ``with`` block.

        ``with model.edit(ng.Add("resid_post.10", v)): ...`` - runs, generations and gradients
        submitted in the block are edited, by views too. Blocks nest, the outer one's edits first.
        """
        return Editing(self, edits)

    def _edits(self, edits: Sequence[Edit]) -> list[Edit]:
        """Those of the open blocks, then these."""
        if not isinstance(edits, Iterable):
            raise InputError(f"edits is a list, not {edits!r}.", "Write edits=[...].")
        return [*self.current_edits(), *edits]

    def current_edits(self) -> list[Edit]:
        """Edits of the ``edit`` blocks that are open now, outer first."""
        with self._lock:
            self._editing = [ref for ref in self._editing if ref() is not None]
            open_now = [ref() for ref in self._editing]
        return [e for editing in open_now if editing is not None for e in editing.edits]

    # -- generation --------------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt,
        *,
        edits: Sequence[Edit] = (),
        sites: Iterable[str | Site] = (),
        n: int = 1,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        prepend_bos: bool | None = None,
        priority: Priority = Priority.GENERATION,
    ) -> Generation:
        """Let the model write; iterate over the result to get the tokens as they come.

        Args:
            prompt: as in ``run``; several prompts are written on side by side. Chat messages go
                through the chat template, whose tokens are in the result's prompt.
            edits: as in ``run``, in the prompt and at every generated token.
            sites: what to keep of every step, see ``Step``.
            n: continuations of each prompt (rows are prompt by prompt).
            max_new_tokens: at most so many.
            temperature: 0 takes the likeliest token; else logits are divided by it and sampled.
            top_p: samples from the fewest tokens that together have this probability.
            seed: of the sampling: row i has its own stream, so that a steered and an unsteered
                generation with one seed share their chance. None draws one.
            stop: a row ends when one of these texts appears in what it wrote (the text stays).

        Raises:
            InputError: as in ``run``; a setting out of range; the tokens would not fit into the
                context.
        """
        settings = settings_of(max_new_tokens, temperature, top_p, seed, stop)
        whole_number("n", n, 1)
        rows = [r for r in self.prompts.rows(prompt, prepend_bos=prepend_bos) for _ in range(n)]
        if settings.stop:
            self.prompts.need_tokenizer()
        fits(self, rows, max_new_tokens)
        return Generation(
            self,
            rows,
            settings,
            self._edits(edits),
            self.sites(sites),
            priority=priority,
        )

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Ids that end a text, from the model's generation settings and its tokenizer."""
        config: Any = self.hf.generation_config
        ends = config.eos_token_id if config is not None else None
        if ends is None and self.tokenizer is not None:
            ends = self.tokenizer.eos_token_id
        return frozenset(() if ends is None else [ends] if isinstance(ends, int) else ends)

    @cached_property
    def special_tokens(self) -> torch.Tensor:
        """Whether a token is special to the tokenizer, bool [vocabulary]; none without one."""
        special = torch.zeros(self.vocabulary, dtype=torch.bool)
        if self.tokenizer is not None:
            ids = torch.tensor(self.tokenizer.all_special_ids, dtype=torch.int64)
            special[ids[ids < self.vocabulary]] = True
        return special.to(self.hf.device)

    @cached_property
    def keeps_last_logits(self) -> bool:
        """True if the model can leave out the logits of all but the last token."""
        return "logits_to_keep" in inspect.signature(self.hf.forward).parameters

    # -- gradients ---------------------------------------------------------------------------

    def grad(
        self,
        objective: Objective,
        prompt: Prompt,
        *,
        sites: Iterable[str | Site],
        edits: Sequence[Edit] = (),
        freeze_norm: bool = False,
        n_prompt: int | Sequence[int] | None = None,
        prepend_bos: bool | None = None,
    ) -> Gradients:
        """How a number worked out from a run changes with what is at some sites.

        Args:
            objective: ``Logit``, ``LogitDifference``, or any function of a ``Run`` that returns one
                number, differentiable in ``run.logits`` or ``run[site]``.
            prompt: as in ``run``.
            sites: what to differentiate by. Gradients are total: everything after a site may react.
            edits: as in ``run``; gradients go through them.
            freeze_norm: take the scale of the final norm as a constant (as direct effects do).

        Raises:
            InputError: as in ``run``; an objective that is not one number or depends on no site.
        """
        wanted = self.sites(sites)
        if not wanted:
            raise InputError("No site was named.", "For example sites=['resid_pre.5'].")
        edits = self._edits(edits)
        if not callable(objective):
            raise InputError(
                f"The objective is {objective!r}, which can't be called.",
                "Give ng.Logit, ng.LogitDifference or a function of a run.",
            )
        norm = self.final_norm if freeze_norm else None
        if freeze_norm and norm is None:
            raise InputError(f"{self.name} has no final norm to freeze.")

        def job(job: Job[Gradients]) -> Gradients:
            tokens, mask = self.tokenize(prompt, prepend_bos=prepend_bos)
            with torch.enable_grad(), frozen(self.hf):
                run, hooks = self._forward(
                    tokens,
                    mask,
                    wanted,
                    edits=edits,
                    n_prompt=n_prompt,
                    check=job.check,
                    graph=True,
                    frozen_norm=norm,
                )
                value, found = differentiate(objective, run, hooks.raw)
            with torch.no_grad():
                grads = {name: hooks.shown(name, g) for name, g in found.items()}
                assert run.logits is not None
                detached = dataclasses.replace(
                    run,
                    sites={name: x.detach() for name, x in run.sites.items()},
                    logits=run.logits.detach(),
                )
            return Gradients(float(value), detached, grads)

        done: Gradients = self.work(job, priority=Priority.INTERACTIVE).result()
        return done

    # -- features and directions -------------------------------------------------------------

    def neuron(self, layer: int, index: int) -> Feature:
        """One MLP neuron as a feature.

        Raises:
            InputError: no such layer or neuron.
        """
        self.site(f"neurons.{layer}")
        return feature_of(NeuronBasis(self, layer), index)

    def head(self, layer: int, index: int) -> Head:
        """One attention head.

        Raises:
            InputError: no such layer or head.
        """
        self.site(f"head_out.{layer}")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < self.n_heads:
            raise InputError(
                f"{self.name} has no head {index!r} in layer {layer}.",
                f"Heads go from 0 to {self.n_heads - 1}.",
            )
        return Head(self, layer, index)

    def feature(self, feature_id: str) -> Feature:
        """The feature with an id, ``model/site/basis/index``, of a basis that the model brings.

        Raises:
            InputError: it is no such id, or belongs to another model or basis.
        """
        own = f"{self.name}/"  # a model's name may have a "/" in it
        if feature_id.startswith(own):
            parts = [self.name, *feature_id[len(own) :].split("/")]
        else:
            parts = feature_id.rsplit("/", 3)
        if len(parts) != 4 or not parts[3].isdecimal():
            raise InputError(
                f"{feature_id!r} is no feature's id.", "Ids are model/site/basis/index."
            )
        if parts[0] != self.name:
            raise InputError(
                f"The feature {feature_id!r} belongs to {parts[0]}, not to {self.name}."
            )
        site = self.site(parts[1])
        if site.name != "neurons" or parts[2] != "neurons":
            raise InputError(
                f"The model alone does not know the basis {parts[2]!r}.",
                "Take the feature from its dictionary or store.",
            )
        return self.neuron(site.layer or 0, int(parts[3]))

    def to_residual(
        self, site: str | Site, v: torch.Tensor, *, at: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Carry a direction at a site to the residual stream that it writes to.

        ``neurons``: through W_out; ``head_out``: through W_O; then, where the family has one,
        through the post-norm with its scale frozen: gain ⊙ v·s. Sites in the residual stream are
        already there.

        Args:
            site: where the direction is.
            v: float [..., width of the site].
            at: ``attn_proj`` or ``mlp_proj`` vectors [..., d_model] whose scale s the post-norm
                takes; None: s = 1, so that the direction is right and its length is per unit of the
                norm's own scale.

        Returns:
            float [..., d_model].

        Raises:
            InputError: wrong width, a site that does not write to the residual stream.
        """
        return directions.to_residual(self, self.site(site), v, at)

    def unembed(
        self, direction: torch.Tensor | Feature | str, *, fold_norm: bool = True, rare: bool = True
    ) -> directions.LogitEffect:
        """How a direction in the residual stream moves the logits, if the final norm's scale stays.

        logits = W_U·(gain ⊙ c(direction)), where c takes the mean away in a LayerNorm: effects per
        unit of direction at norm scale 1, before any soft-cap (*Towards Monosemanticity*, appendix
        on logit weights).

        Args:
            direction: float [d_model], or a feature or its id.
            fold_norm: False leaves the final norm's gain and centring out.
            rare: False leaves special tokens, ids that the tokenizer lacks and pieces of characters
                out of the lists; ``values`` has them.

        Raises:
            InputError: wrong width, NaN.
        """
        if isinstance(direction, str):
            direction = self.feature(direction)
        if isinstance(direction, Feature):
            self.owns(direction.model, repr(direction))
            direction = direction.to_residual()
        return directions.unembed(self, direction, fold_norm=fold_norm, rare=rare)

    @cached_property
    def rare_tokens(self) -> torch.Tensor:
        """Tokens that clutter lists, bool [vocabulary]; see ``directions.rare_tokens``."""
        return directions.rare_tokens(self)

    # -- life --------------------------------------------------------------------------------

    def _measure_norm(self) -> Norm | None:
        path = self.family.norm
        if path is None:
            return None
        parent, _, name = path.rpartition(".")
        module = getattr(self.hf.get_submodule(parent), name, None)  # OPT may have None there
        return None if module is None else measure(module, self.d_model)

    def _check_family(self) -> None:
        """Run a short prompt once: check the sums, learn the width of every site."""
        ids = torch.arange(min(8, self.vocabulary, self.context))[None] * 7 % self.vocabulary
        names = list(self.family.taps)
        # attention that can't be looked into is noted by `learn`
        if self.family.attn is not None and has_eager(
            self.family.block(self.hf, 0, self.family.attn)
        ):
            names += ATTENTION
        sites = [Site(name, i) for name in names for i in range(self.n_layers)]

        def check(job: Job[None]) -> None:
            with torch.no_grad():
                mask = torch.ones_like(ids, dtype=torch.bool)
                wanted = [Site("embed"), *sites, Site("logits")]
                run, hooks = self._forward(ids, mask, wanted, check=job.check)
                verify(self.hf, self.family, hooks.sites, self.final_norm)
                self.learn(run.sites)

        self._worker.submit(check).result()
        if "resid_mid" in self.widths and family_of(self.hf.config) is None:
            self._check_resid_mid(ids)

    def _check_resid_mid(self, ids: torch.Tensor) -> None:
        """An edit there must reach the sum after the MLP: a probe can't see that it does."""
        names = ["resid_mid.0", "mlp_out.0", "resid_post.0"]
        run = self.run(ids, sites=names, edits=[Scale("resid_mid.0", 2.0)], logits=False)
        want = run["resid_mid.0"] + run["mlp_out.0"]
        if (run["resid_post.0"] - want).norm() > 0.05 * want.norm():
            self.absent["resid_mid"] = "the model keeps a copy of it, which no edit would reach"
            del self._widths["resid_mid"]

    def close(self) -> None:
        """Stop the worker; running jobs end as cancelled. The Hugging Face model stays usable."""
        self._worker.close()


class Editing:
    """An ``edit`` block. It holds only while it is entered and someone holds on to it."""

    def __init__(self, model: LiveModel, edits: Sequence[Edit]) -> None:
        self.edits = edits
        self._model = model
        self._entry: weakref.ref[Editing] | None = None

    def __enter__(self) -> Self:
        if self._entry is not None:
            raise InputError("This edit block is already open.", "Make another one.")
        self._entry = weakref.ref(self)
        with self._model._lock:
            self._model._editing.append(self._entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._model._lock:
            self._model._editing = [r for r in self._model._editing if r is not self._entry]
        self._entry = None
