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
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch

from neuroglass.model.edits import BoundEdit, Edit, bind
from neuroglass.model.errors import InputError
from neuroglass.model.hooks import Hooks
from neuroglass.model.positions import At, Extent
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


def fits(model: LiveModel, rows: Sequence[Sequence[int]], new: int) -> None:
    """Refuse prompts that leave no room for `new` tokens.

    Raises:
        InputError: says how many there is room for.
    """
    longest = max(map(len, rows))
    if longest + new > model.context:
        raise InputError(
            f"{longest} tokens of prompt and {new} new ones do not fit: "
            f"{model.name} reads at most {model.context}.",
            f"Ask for at most {model.context - longest} new tokens."
            if longest < model.context
            else "Shorten the prompt.",
        )


def settings_of(
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int | None,
    stop: str | Sequence[str],
) -> Settings:
    """Checked settings; `stop` is a text or a list of texts.

    Raises:
        InputError: a value is out of range.
    """
    if isinstance(stop, str):
        stop = (stop,)
    if not isinstance(stop, Sequence):
        raise InputError(f"stop is {stop!r}.", "Give a text or a list of texts.")
    return Settings(max_new_tokens, temperature, top_p, seed, tuple(stop))


def whole_number(what: str, value: object, least: int) -> None:
    """Refuse what is not a whole number from `least` on.

    Raises:
        InputError: names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{what} is {value!r}.", f"Give a whole number, {least} or more.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


T = TypeVar("T")


@runtime_checkable
class Halting(Protocol):
    """A bound edit that can end rows: those in `halted`, bool [rows], write no further token."""

    @property
    def halted(self) -> torch.Tensor: ...


class Stream(Generic[T]):
    """Something under way on the model's thread that comes in steps: iterate, or ``finish()``.

    The model works ahead while you look; ``cancel()``, an interrupt in the loop, or letting go of
    this object ends it after the step it is at. What has been made stays.

    Args:
        model: the live model.
        make: given the job and where to send steps, a generator as ``Worker.submit`` takes it.
        priority, key: as in ``Worker.submit``: of one key, only the newest goes on.
        listen: called with every step as it is made, on the model's thread: it must be quick.

    Attributes:
        steps: the steps that have been taken from the iterator so far.
        cancelled: True once the iterator has ended because of a cancel.
        job: the job.
    """

    def __init__(
        self,
        model: LiveModel,
        make: Callable[[Job[None], Callable[[T], None]], Generator[None, None, None]],
        *,
        priority: Priority,
        key: Hashable = None,
        listen: Callable[[T], None] | None = None,
    ) -> None:
        self.model = model
        self.steps: list[T] = []
        self.cancelled = False
        self._arriving: queue.SimpleQueue[T] = queue.SimpleQueue()
        put = self._arriving.put

        def send(step: T) -> None:
            put(step)
            if listen is not None:
                listen(step)

        self.job: Job[None] = model.work(lambda job: make(job, send), priority=priority, key=key)
        self._finalizer = weakref.finalize(self, self.job.cancel)

    def __iter__(self) -> Iterator[T]:
        """The steps, from the first; those still to come are waited for."""
        for index in itertools.count():
            if index == len(self.steps) and not self._take():
                return
            yield self.steps[index]

    def _take(self) -> bool:
        """Move one more step over; False when there is none and none will come."""
        try:
            while True:
                over = self.job.done  # before looking: nothing is put after the job is done
                try:
                    self.steps.append(self._arriving.get(timeout=0 if over else _SLICE))
                    return True
                except queue.Empty:
                    if over:
                        break
        except BaseException:  # an interrupt: no hook may be left when the prompt is back
            self.cancel()
            with contextlib.suppress(Cancelled, TimeoutError):
                self.job.result(timeout=10)
            raise
        try:
            self.job.result()
        except Cancelled:
            self.cancelled = True
        return False

    def cancel(self) -> None:
        """End it after the step it is at; the steps so far stay."""
        self.job.cancel()

    def finish(self) -> Self:
        """Wait for the end (or the cancel) and return this.

        Raises:
            Exception: whatever went wrong in the model.
        """
        try:
            # one wake-up at the end, not one a token
            with contextlib.suppress(Cancelled):
                self.job.result()
        finally:
            while not self._arriving.empty():
                self.steps.append(self._arriving.get())
        for _ in self:  # an error of the model, or that it was cancelled
            pass
        return self

    @property
    def state(self) -> str:
        """``"writing"``, ``"complete"`` or ``"cancelled"``."""
        return "cancelled" if self.cancelled else "complete" if self.job.done else "writing"


class Generation(Stream[Step]):
    """A generation under way: iterate over its steps, or wait for the whole with ``finish()``.

    See ``Stream`` for how it is read and ended.

    Attributes:
        model: the live model.
        prompt: token ids of each row's prompt, the chat template's own tokens included.
        steps, cancelled: see ``Stream``.
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
        self.prompt = prompt
        lengths = [len(row) for row in prompt]
        extent = Extent(lengths, [n + settings.max_new_tokens for n in lengths])
        bound = bind(edits, model, extent)

        def steps(job: Job[None], send: Callable[[Step], None]) -> Generator[None, None, None]:
            for written in write(model, prompt, settings, bound, sites, job):
                send(written.step)
                yield

        super().__init__(model, steps, priority=priority)

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
        rows = len(self.prompt)
        return f"Generation({rows} row{'s' * (rows > 1)}, {len(self.steps)} steps, {self.state})"


@dataclass(frozen=True)
class Start:
    """A prompt that has been read already, in every row: what its pass left.

    Attributes:
        cache: the KV cache; it is written on, so give each generation its own.
        last: next-token logits, float32 [rows, vocabulary].
    """

    cache: Any
    last: torch.Tensor


@dataclass(frozen=True)
class Written:
    """What ``write`` gives for every token.

    Attributes:
        step: the step.
        log_p: the distributions that its tokens were taken from (before temperature and top-p),
            nats, float32 [rows, vocabulary].
    """

    step: Step
    log_p: torch.Tensor


def write(
    model: LiveModel,
    prompt: Sequence[Sequence[int]],
    settings: Settings,
    bound: Sequence[BoundEdit],
    sites: Sequence[Site],
    job: Job[Any],
    *,
    streams: Sequence[int] | None = None,
    reads: Mapping[int, int] | None = None,
    start: Start | None = None,
) -> Generator[Written, None, None]:
    """The loop, for jobs on the model's thread: prefill, then one token per step.

    Args:
        prompt: ids of each row.
        bound: steps of edits, from ``bind`` with the extent of these rows.
        sites: what each step keeps.
        job: is asked whether it has been cancelled.
        streams: which stream of the seed each row draws from; rows with one stream have common
            random numbers. None: each its own.
        reads: row -> the row whose tokens it is given in place of its own choice.
        start: the prompt's pass, if it has been made; all rows are then of one length.
    """
    device = model.hf.device
    tokens, mask = (t.to(device) for t in padded(prompt, "left"))
    lengths = mask.sum(1)
    n_rows = len(prompt)
    choose = _chooser(settings, range(n_rows) if streams is None else streams)
    source = torch.tensor([(reads or {}).get(row, row) for row in range(n_rows)])
    ended = torch.zeros(n_rows, dtype=torch.bool)
    written: list[list[int]] = [[] for _ in prompt]
    padding = not bool(mask.all())
    cache: Any = None
    columns = (mask.cumsum(1) - 1).masked_fill(~mask, -1)
    halting = [one for one in bound if isinstance(one, Halting)]
    for index in range(settings.max_new_tokens):
        kept: Mapping[str, torch.Tensor] = {}
        if index == 0 and start is not None:
            cache, last = start.cache, start.last
        else:
            at = At(columns, tokens.shape[1], lengths, tokens)
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
            kept = hooks.sites
            last = logits[:, -1].float().cpu()
        for one in halting:
            ended |= one.halted
        if bool(ended.all()):
            return
        if not bool((last.amax(-1) < torch.inf).all()):  # a NaN is not below either
            raise InputError(
                f"The logits after {index} new tokens are NaN or infinite.",
                "An edit has driven the model out of the numbers: make it weaker.",
            )
        chosen = choose(last)[source]
        log_p = last.log_softmax(-1)
        entropy = -torch.linalg.vecdot(log_p.exp(), log_p.clamp_min(-1e4))
        before = ended.clone()
        for row, token in enumerate(chosen.tolist()):
            if not before[row]:
                written[row].append(token)
        ended |= torch.tensor(
            [w[-1] in model.end_tokens or _stopped(model, w, settings.stop) for w in written]
        )
        shown = chosen.masked_fill(before, -1)
        step = Step(
            index=index,
            tokens=shown,
            pieces=["" if t < 0 else model.pieces.one(t)[0] for t in shown.tolist()],
            logprobs=log_p.gather(1, chosen[:, None])[:, 0].masked_fill(before, torch.nan),
            entropy=entropy.masked_fill(before, torch.nan),
            ended=ended.clone(),
            sites=kept,
        )
        yield Written(step, log_p)
        if bool(ended.all()):
            return
        tokens = chosen[:, None].to(device)
        columns = torch.cat([columns, columns[:, -1:] + 1], 1)


def _stopped(model: LiveModel, written: list[int], stop: tuple[str, ...]) -> bool:
    if not stop:
        return False
    text = str(model.prompts.need_tokenizer().decode(written))
    return any(s in text for s in stop)


def _chooser(settings: Settings, streams: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Next tokens from logits, float32 [rows, vocabulary] -> int64 [rows].

    Sampling takes the largest p / e, where e is exponential noise, one number per token of the
    vocabulary (the Gumbel-max trick). Rows of one stream share it: common random numbers. Equal
    distributions then give equal tokens, and two that differ by a total variation of d differ in
    at most 2d / (1 + d) of their tokens, which no split of one uniform number promises. Streams
    depend on the seed alone: two generations share their chance, whatever else differs.
    """
    if settings.temperature == 0:
        return lambda logits: logits.argmax(-1)
    master = torch.Generator()  # torch's own is the user's
    master.manual_seed(settings.seed) if settings.seed is not None else master.seed()
    # one after another, so that a stream does not depend on how many there are
    seeds = [int(torch.randint(2**62, (1,), generator=master)) for _ in range(max(streams) + 1)]
    chance = {i: torch.Generator().manual_seed(seeds[i]) for i in dict.fromkeys(streams)}

    def choose(logits: torch.Tensor) -> torch.Tensor:
        below = logits - logits.max(-1, keepdim=True).values  # a tiny temperature makes -inf of it
        below = below / settings.temperature
        if settings.top_p < 1:
            p, order = below.softmax(-1).sort(dim=-1, descending=True)
            # the fewest tokens that together reach it
            out = p.cumsum(-1) - p >= settings.top_p
            below = below.masked_fill(out.scatter(1, order, out), -torch.inf)
        size = logits.shape[1]
        noise = {i: torch.empty(size).exponential_(generator=g).log() for i, g in chance.items()}
        return (below - torch.stack([noise[i] for i in streams])).argmax(-1)

    return choose
