"""Generation: one token per step, on the model's thread, with edits and captured sites.

A prompt flows in; an iterator of ``Step`` comes out while the model is still writing. Each step is
one forward pass with a KV cache, so a more urgent job goes first and a cancel is honoured between
any two tokens. Rows of different length are padded on the left and computed as if alone.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.edits import At, BoundEdit, Edit, Extent, bind
from neuroglass.model.errors import InputError
from neuroglass.model.hooks import Hooks
from neuroglass.model.prompts import padded
from neuroglass.model.sites import Site
from neuroglass.model.worker import Cancelled, Job, Priority

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

_SLICE = 0.05  # seconds; a waiting caller wakes this often, so that an interrupt gets through


@dataclass(frozen=True)
class Step:
    """One generated token of every row.

    Attributes:
        index: 0 for the first generated token.
        tokens: ids, int64 [rows]; -1 in rows that have ended before.
        pieces: their display pieces, "" in rows that have ended before.
        logprobs: log-probability of each token under the (edited) model's own distribution, before
            temperature and top-p, nats, float32 [rows]; NaN in rows that have ended before.
        entropy: of that distribution, nats, float32 [rows]; NaN likewise.
        ended: bool [rows]: True once the row is complete.
        sites: what was asked for, from the pass that predicted this token: of the prompt at step 0
            (left-padded), of the previous token afterwards. Shapes as in ``Run.sites``; ``logits``
            are the whole next-token distributions.
    """

    index: int
    tokens: torch.Tensor
    pieces: list[str]
    logprobs: torch.Tensor
    entropy: torch.Tensor
    ended: torch.Tensor
    sites: Mapping[str, torch.Tensor] = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """How tokens are chosen; see ``LiveModel.generate``.

    Raises:
        InputError: a value is out of range.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]

    def __post_init__(self) -> None:
        whole_number("max_new_tokens", self.max_new_tokens, 1)
        if not _is_number(self.temperature) or not 0 <= self.temperature < float("inf"):
            raise InputError(
                f"The temperature is {self.temperature!r}.", "Give 0 (greedy) or a positive number."
            )
        if not _is_number(self.top_p) or not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}.", "Give a number above 0 and up to 1.")
        if self.seed is not None:
            whole_number("seed", self.seed, 0)
            if self.seed >= 2**63:
                raise InputError(f"The seed is {self.seed}.", "Give one below 2**63.")
        if not all(isinstance(s, str) and s for s in self.stop):
            raise InputError("stop has an empty string or something else in it.", "Give texts.")


def whole_number(what: str, value: object, least: int) -> None:
    """Refuse what is not a whole number from `least` on.

    Raises:
        InputError: names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{what} is {value!r}.", f"Give a whole number, {least} or more.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class Generation:
    """A generation under way: iterate over its steps, or wait for the whole with ``finish()``.

    The model writes ahead while you look; ``cancel()``, an interrupt in the loop, or letting go of
    this object ends it after the token it is at. What has been written stays.

    Attributes:
        model: the live model.
        prompt: token ids of each row's prompt, the chat template's own tokens included.
        steps: the steps that have been taken from the iterator so far.
        cancelled: True once the iterator has ended because of a cancel.
    """

    def __init__(
        self,
        model: LiveModel,
        prompt: list[list[int]],
        settings: Settings,
        edits: Sequence[Edit],
        sites: Sequence[Site],
        *,
        priority: Priority,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.steps: list[Step] = []
        self.cancelled = False
        self._arriving: queue.SimpleQueue[Step] = queue.SimpleQueue()
        lengths = [len(row) for row in prompt]
        extent = Extent(lengths, [n + settings.max_new_tokens for n in lengths])
        bound = bind(edits, model, extent)
        send = self._arriving.put
        self._job: Job[None] = model.work(
            lambda job: _write(model, prompt, settings, bound, sites, job, send),
            priority=priority,
        )
        self._finalizer = weakref.finalize(self, self._job.cancel)

    def __iter__(self) -> Iterator[Step]:
        """The steps, from the first; those still to come are waited for."""
        for index in itertools.count():
            if index == len(self.steps) and not self._take():
                return
            yield self.steps[index]

    def _take(self) -> bool:
        """Move one more step over; False when there is none and none will come."""
        try:
            while True:
                over = self._job.done  # before looking: nothing is put after the job is done
                try:
                    self.steps.append(self._arriving.get(timeout=0 if over else _SLICE))
                    return True
                except queue.Empty:
                    if over:
                        break
        except BaseException:  # an interrupt: no hook may be left when the prompt is back
            self.cancel()
            with contextlib.suppress(Cancelled, TimeoutError):
                self._job.result(timeout=10)
            raise
        try:
            self._job.result()
        except Cancelled:
            self.cancelled = True
        return False

    def cancel(self) -> None:
        """End it after the token it is at; the steps so far stay."""
        self._job.cancel()

    def finish(self) -> Generation:
        """Wait for the end (or the cancel) and return this.

        Raises:
            Exception: whatever went wrong in the model.
        """
        try:
            # one wake-up at the end, not one a token
            with contextlib.suppress(Cancelled):
                self._job.result()
        finally:
            while not self._arriving.empty():
                self.steps.append(self._arriving.get())
        for _ in self:  # an error of the model, or that it was cancelled
            pass
        return self

    @property
    def tokens(self) -> list[list[int]]:
        """Ids generated so far in each row, the prompt left out."""
        rows = [s.tokens.tolist() for s in self.steps]
        return [[r[i] for r in rows if r[i] >= 0] for i in range(len(self.prompt))]

    @property
    def sequences(self) -> list[list[int]]:
        """Prompt and generated ids of each row: a prompt for ``model.run``."""
        return [p + t for p, t in zip(self.prompt, self.tokens, strict=True)]

    @property
    def texts(self) -> list[str]:
        """Text generated so far in each row; special tokens left out.

        Raises:
            InputError: the model has no tokenizer.
        """
        tokenizer = self.model.prompts.need_tokenizer()
        return [str(tokenizer.decode(t, skip_special_tokens=True)) for t in self.tokens]

    def pieces(self, row: int = 0) -> tuple[list[str], list[int]]:
        """Display pieces and kinds of a row, prompt (and chat template) included."""
        return self.model.pieces.many(self.sequences[row])

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled else "complete" if self._job.done else "writing"
        rows = len(self.prompt)
        return f"Generation({rows} row{'s' * (rows > 1)}, {len(self.steps)} steps, {state})"


def _write(
    model: LiveModel,
    prompt: list[list[int]],
    settings: Settings,
    bound: Sequence[BoundEdit],
    sites: Sequence[Site],
    job: Job[None],
    send: Callable[[Step], None],
) -> Generator[None, None, None]:
    """The job: prefill, then one token per step."""
    device = model.hf.device
    tokens, mask = (t.to(device) for t in padded(prompt, "left"))
    lengths = mask.sum(1)
    n_rows = len(prompt)
    choose = _chooser(settings, n_rows)
    ended = torch.zeros(n_rows, dtype=torch.bool)
    written: list[list[int]] = [[] for _ in prompt]
    padding = not bool(mask.all())
    cache: Any = None
    columns = (mask.cumsum(1) - 1).masked_fill(~mask, -1)
    for index in range(settings.max_new_tokens):
        at = At(columns, tokens.shape[1], lengths)
        hooks = Hooks(
            model.hf,
            model.family,
            [s for s in sites if s.name != "logits"],
            at=at,
            edits=bound,
            check=job.check if tokens.shape[1] > 1 else None,  # else between tokens
        )
        options: dict[str, Any] = {}
        if padding:  # without, a mask that masks nothing would only make the pass slower
            options["attention_mask"] = (columns >= 0).long()
            options["position_ids"] = at.last(tokens.shape[1]).clamp_min(0)
        if Site("logits") not in sites and model.keeps_last_logits:
            options["logits_to_keep"] = 1
        with torch.no_grad(), hooks:
            out = model.hf(input_ids=tokens, past_key_values=cache, use_cache=True, **options)
            logits = hooks.at(Site("logits"), out.logits, keep=Site("logits") in sites)
        cache = out.past_key_values
        last = logits[:, -1].float().cpu()
        if not bool((last.amax(-1) < torch.inf).all()):  # a NaN is not below either
            raise InputError(
                f"The logits after {index} new tokens are NaN or infinite.",
                "An edit has driven the model out of the numbers: make it weaker.",
            )
        chosen = choose(last)
        log_p = last.log_softmax(-1)
        entropy = -torch.linalg.vecdot(last.softmax(-1), log_p.clamp_min(-1e4))
        before = ended.clone()
        for row, token in enumerate(chosen.tolist()):
            if not before[row]:
                written[row].append(token)
        ended |= torch.tensor(
            [w[-1] in model.end_tokens or _stopped(model, w, settings.stop) for w in written]
        )
        shown = chosen.masked_fill(before, -1)
        send(
            Step(
                index=index,
                tokens=shown,
                pieces=["" if t < 0 else model.pieces.one(t)[0] for t in shown.tolist()],
                logprobs=log_p.gather(1, chosen[:, None])[:, 0].masked_fill(before, torch.nan),
                entropy=entropy.masked_fill(before, torch.nan),
                ended=ended.clone(),
                sites=hooks.sites,
            )
        )
        if bool(ended.all()):
            return
        tokens = chosen[:, None].to(device)
        columns = torch.cat([columns, columns[:, -1:] + 1], 1)
        yield


def _stopped(model: LiveModel, written: list[int], stop: tuple[str, ...]) -> bool:
    if not stop:
        return False
    text = str(model.prompts.need_tokenizer().decode(written))
    return any(s in text for s in stop)


def _chooser(settings: Settings, rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Next tokens from logits, float32 [rows, vocabulary] -> int64 [rows].

    Sampling draws one uniform number per row and step and takes the token whose slice of the
    cumulated probabilities (likeliest first) holds it. Each row has its own stream of the seed, so
    two generations with one seed share their chance, row by row, whatever else differs.
    """
    if settings.temperature == 0:
        return lambda logits: logits.argmax(-1)
    master = torch.Generator()  # torch's own is the user's
    master.manual_seed(settings.seed) if settings.seed is not None else master.seed()
    # one after another, so that a row's stream does not depend on how many there are
    seeds = [int(torch.randint(2**62, (1,), generator=master)) for _ in range(rows)]
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def choose(logits: torch.Tensor) -> torch.Tensor:
        below = logits - logits.max(-1, keepdim=True).values  # a tiny temperature makes -inf of it
        p, order = (below / settings.temperature).softmax(-1).sort(dim=-1, descending=True)
        total = p.cumsum(-1)
        # top-p: the fewest tokens that together reach it
        p = p.masked_fill(total - p >= settings.top_p, 0.0)
        total = p.cumsum(-1)
        u = torch.stack([torch.rand(1, generator=g) for g in streams]) * total[:, -1:]
        at = (total <= u).sum(-1, keepdim=True).clamp_max(p.shape[1] - 1)
        # rounding may put u at the very end, past the last token that is left
        at = torch.minimum(at, (p > 0).sum(-1, keepdim=True) - 1)
        return order.gather(1, at)[:, 0]

    return choose
