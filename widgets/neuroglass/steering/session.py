"""A session: one prompt, written on by the model as it is and as it is steered, side by side.

Settings flow in, again and again while sliders move; for each token an ``Event`` comes out with
both texts and what the steering does. Every start supersedes the one before it.

All rows are one batch, with common random numbers per sample: the *base* rows (untouched), the
*steered* rows, and the *reader* rows: the untouched model reading the steered text. Once the texts
differ, base and steered rows have different contexts, and their distributions say nothing about the
edit; reader and steered rows always have the same tokens before them, so KL, Δlog-probability and
rank compare these two. Until the texts differ, base and reader rows are the same.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.basis import Feature
from neuroglass.model.edits import bind
from neuroglass.model.generate import Start, Step, Stream, fits, settings_of, whole_number, write
from neuroglass.model.positions import Extent
from neuroglass.model.worker import Job, Preempted, Priority
from neuroglass.steering import readouts
from neuroglass.steering.prompted import Prompted
from neuroglass.steering.readouts import Meters
from neuroglass.steering.resume import side_by_side
from neuroglass.steering.setting import Setting, edits_of
from neuroglass.steering.strength import Calibration, Scales

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.model.edits import BoundEdit, Edit
    from neuroglass.model.live import LiveModel
    from neuroglass.model.prompts import Prompt


@dataclass(frozen=True)
class Side:
    """One generated token of each sample; see ``Step``. All [samples]."""

    tokens: torch.Tensor
    pieces: list[str]
    logprobs: torch.Tensor
    entropy: torch.Tensor
    ended: torch.Tensor


@dataclass(frozen=True)
class Event:
    """One token of both texts. Where a row has ended, numbers are NaN (ranks 0) and tokens -1.

    Attributes:
        index: 0 for the first generated token.
        base: the untouched model's text; log-probability and entropy under itself.
        steered: the steered text; log-probability and entropy under the steered model.
        kl: KL(base‖steered) in nats, float32 [samples]: of the two models' next-token distributions
            after prompt and steered text so far, that is of those that this token was one of.
        base_logprobs: log-probability of the steered token under the untouched model, nats.
        ranks, base_ranks: the steered token's rank under the steered and the untouched model.
        perplexity: of the steered text so far under the untouched model, float32 [samples].
        divergence: index of the first token in which the texts differ, for each sample, or None.
        read: position of the token whose pass gave this one (the prompt's last at index 0), to
            which the next two belong. They are empty at index 0 if the prompt's pass was kept.
        change: site -> ‖Δ‖/‖h‖ there, steered rows, float32 [samples].
        activations: feature id -> its value there before the edits, float32 [3, samples]: on the
            base text, in the steered rows, and of the untouched model reading the steered text.
        chosen: log-probabilities of the session's chosen tokens in place of this one, float32
            [2, samples, tokens]: under the untouched model reading the steered text, and steered.
        chosen_ranks: their ranks likewise, int64; 0 where the row has ended.
    """

    index: int
    base: Side
    steered: Side
    kl: torch.Tensor
    base_logprobs: torch.Tensor
    ranks: torch.Tensor
    base_ranks: torch.Tensor
    perplexity: torch.Tensor
    divergence: list[int | None]
    read: int
    change: Mapping[str, torch.Tensor]
    activations: Mapping[str, torch.Tensor]
    chosen: torch.Tensor
    chosen_ranks: torch.Tensor


class Session(Prompted):
    """A prompt and how it is continued; ``start`` steers it. See ``Prompted`` for the rest.

    Args:
        model: the live model.
        prompt: one text, its token ids, or chat messages (through the chat template).
        n: samples: so many pairs of texts.
        max_new_tokens, temperature, top_p, stop: as in ``LiveModel.generate``.
        seed: of the sampling; sample i of both texts shares stream i.
        scales: what is known of features: a ``Calibration``, or feature id -> ``Scales``.
        measure: features whose activations are read; None: those that are steered.
        chosen: ids of tokens whose log-probability and rank are read at every step.
        prepend_bos: as in ``LiveModel.run``.

    Raises:
        InputError: an empty prompt or several, a setting out of range, no room in the context.
    """

    def __init__(
        self,
        model: LiveModel,
        prompt: Prompt,
        *,
        n: int = 1,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        scales: Calibration | Mapping[str, Scales] | None = None,
        measure: Sequence[Feature] | None = None,
        chosen: Sequence[int] = (),
        prepend_bos: bool | None = None,
    ) -> None:
        super().__init__(model, prompt, scales=scales, measure=measure, prepend_bos=prepend_bos)
        whole_number("n", n, 1)
        whole_number("seed", seed, 0)
        self.n = n
        self.settings = settings_of(max_new_tokens, temperature, top_p, seed, stop)
        self.chosen = list(chosen)
        if self.chosen:
            model.prompts.rows([self.chosen])  # refuses ids that do not exist
        if self.settings.stop:
            model.prompts.need_tokenizer()
        fits(model, [self.prompt], max_new_tokens)

    def start(
        self,
        settings: Sequence[Setting] = (),
        *,
        edits: Sequence[Edit] = (),
        listen: Callable[[Event], None] | None = None,
        key: Hashable = None,
        priority: Priority = Priority.GENERATION,
    ) -> Steered:
        """Write both texts from the prompt on.

        Edits of open ``model.edit`` blocks come first, in all rows: they belong to the model that
        is steered. (Where both clamp latents of one dictionary, ‖Δ‖ is of both.)

        Args:
            settings: what is done, in this order.
            edits: more edits that belong to the model, in all rows.
            listen: called with every event as it is made, on the model's thread; must be quick.
            key: starts of one key supersede each other; None: those of this session.
            priority: as in ``Worker.submit``.

        Raises:
            InputError: see ``edits_of``; positions that the text does not have.
        """
        self._learn(settings)
        key = ("steering", id(self)) if key is None else key
        return Steered(self, list(settings), list(edits), listen, key, priority)


class Steered(Stream[Event]):
    """Both texts, under way: iterate over events, ``cancel()``, or ``finish()``.

    Attributes:
        session: where it was started.
        settings: what is done.
        steps, cancelled, job: see ``Stream``.
    """

    def __init__(
        self,
        session: Session,
        settings: Sequence[Setting],
        edits: Sequence[Edit],
        listen: Callable[[Event], None] | None,
        key: Hashable,
        priority: Priority,
    ) -> None:
        self.session = session
        self.settings = settings
        model, n = session.model, session.n
        # on CPUs three rows take longer than four: see bench_steering
        rows = 4 if n == 1 else 3 * n
        size = len(session.prompt)
        limit = size + session.settings.max_new_tokens
        shared = [*model.current_edits(), *edits]
        steered = edits_of(settings, model, session.scales, rows=range(n, 2 * n))
        extent = Extent([size] * rows, [limit] * rows)
        bound = bind([*shared, *steered], model, extent)
        alone = bind(edits_of(settings, model, session.scales), model, Extent([size], [limit]))
        n_shared = len(bind(shared, model, extent))
        if n_shared + len(bind(steered, model, extent)) > len(bound):
            n_shared = 0  # clamps of a block and of ours are one step: measured together
        meters = Meters(bound[n_shared:], session.features(settings))
        everything = [*bound[:n_shared], *meters.bound]
        in_prompt = any(_touches_prompt(s, size) for s in settings)

        def steps(job: Job[None], send: Callable[[Event], None]) -> Generator[None, None, None]:
            start = None
            if not shared:
                start = yield from _start(session, alone if in_prompt else [], rows, job)
            reads = {row: row - n for row in range(2 * n, 3 * n)}
            if rows > 3 * n:
                reads[3 * n] = n
            made = _Events(n, size, meters, session.chosen)
            for written in write(
                model,
                [session.prompt] * rows,
                session.settings,
                everything,
                (),
                job,
                streams=[row % n for row in range(rows)],
                reads=reads,
                start=start,
            ):
                send(made(written.step, written.log_p))
                yield

        super().__init__(model, steps, priority=priority, key=key, listen=listen)

    # -- results ---------------------------------------------------------------------------------

    def _ids(self, side: str, sample: int) -> list[int]:
        return [t for e in self.steps if (t := int(getattr(e, side).tokens[sample])) >= 0]

    @property
    def tokens(self) -> tuple[list[list[int]], list[list[int]]]:
        """Ids written so far: of the base texts, and of the steered ones."""
        samples = range(self.session.n)
        return [self._ids("base", i) for i in samples], [self._ids("steered", i) for i in samples]

    @property
    def texts(self) -> tuple[list[str], list[str]]:
        """Base texts and steered texts so far, special tokens left out.

        Raises:
            InputError: the model has no tokenizer.
        """
        decode = self.session.model.prompts.need_tokenizer().decode
        base, steered = self.tokens
        return (
            [str(decode(t, skip_special_tokens=True)) for t in base],
            [str(decode(t, skip_special_tokens=True)) for t in steered],
        )

    def diff(self, sample: int = 0) -> list[tuple[str, int, int, int, int]]:
        """Both texts aligned by token: (what, first, last, first, last) of stretches of the base
        text and of the steered one, where what is equal, replace, delete or insert.
        """
        base, steered = self._ids("base", sample), self._ids("steered", sample)
        matcher = difflib.SequenceMatcher(None, base, steered, autojunk=False)
        return [(str(what), *span) for what, *span in matcher.get_opcodes()]  # type: ignore[misc]

    def to_frame(self, sample: int = 0) -> pd.DataFrame:
        """One row per token; columns as in ``Event``.

        ``change:<site>`` and ``<feature id>:base``, ``:steered``, ``:reader`` belong to the steered
        (``:base``: the base) token of the same row; they are NaN at the last token, which no pass
        has read.
        """
        import pandas as pd

        table: dict[str, list[Any]] = {}

        def put(name: str, value: Any) -> None:
            table.setdefault(name, []).append(value)

        for i, event in enumerate(self.steps):
            put("position", len(self.session.prompt) + i)
            for name, side in (("base", event.base), ("steered", event.steered)):
                put(f"{name}_token", side.pieces[sample])
                put(f"{name}_id", int(side.tokens[sample]))
                put(f"{name}_logprob", float(side.logprobs[sample]))
                put(f"{name}_entropy", float(side.entropy[sample]))
            put("kl", float(event.kl[sample]))
            put("steered_logprob_in_base", float(event.base_logprobs[sample]))
            put("delta_logprob", float((event.steered.logprobs - event.base_logprobs)[sample]))
            put("rank", int(event.ranks[sample]))
            put("rank_in_base", int(event.base_ranks[sample]))
            put("perplexity_so_far", float(event.perplexity[sample]))
            after = self.steps[i + 1] if i + 1 < len(self.steps) else None
            for site in self._seen("change"):
                share = after.change.get(site) if after is not None else None
                put(f"change:{site}", math.nan if share is None else float(share[sample]))
            for name in self._seen("activations"):
                value = after.activations.get(name) if after is not None else None
                for row, where in enumerate(("base", "steered", "reader")):
                    put(f"{name}:{where}", math.nan if value is None else float(value[row, sample]))
        return pd.DataFrame(table)

    def _seen(self, what: str) -> list[str]:
        return list(dict.fromkeys(k for e in self.steps for k in getattr(e, what)))

    def summary(self, sample: int = 0) -> dict[str, float | int | None]:
        """Numbers for one pair of texts.

        ``divergence`` (index or None), ``mean_kl`` (nats), ``perplexity`` of the steered text and
        ``base_perplexity`` of the base text, both under the untouched model, ``distinct_1`` to
        ``distinct_3`` of the steered text and ``base_distinct_1`` ..., and for each measured
        feature ``<id>`` its mean activation of the untouched model reading the steered text, and
        ``<id>:base`` on the base text.
        """
        steps = self.steps
        base, steered = self._ids("base", sample), self._ids("steered", sample)
        kls = torch.tensor([float(e.kl[sample]) for e in steps])
        logprobs = torch.tensor([float(e.base_logprobs[sample]) for e in steps])
        own = torch.tensor([float(e.base.logprobs[sample]) for e in steps])
        out: dict[str, float | int | None] = {
            "tokens": len(steered),
            "divergence": readouts.first_divergence(base, steered),
            "mean_kl": float(kls.nanmean()) if len(kls) else math.nan,
            "perplexity": readouts.perplexity(logprobs),
            "base_perplexity": readouts.perplexity(own),
        }
        for k in (1, 2, 3):
            out[f"distinct_{k}"] = readouts.distinct(steered, k)
            out[f"base_distinct_{k}"] = readouts.distinct(base, k)
        for name in self._seen("activations"):
            values = [e.activations[name][:, sample] for e in steps if e.activations and e.index]
            if values:
                stacked = torch.stack(values).nanmean(0)
                out[name], out[f"{name}:base"] = float(stacked[2]), float(stacked[0])
        return out

    def __repr__(self) -> str:
        n = self.session.n
        return f"Steered({n} pair{'s' * (n > 1)}, {len(self.steps)} tokens, {self.state})"


def _touches_prompt(setting: Setting, size: int) -> bool:
    given = setting.positions
    if isinstance(given, str):
        return given != "generated"
    if isinstance(given, slice):
        return (given.start or 0) < size
    return any(p < size for p in ([given] if isinstance(given, int) else given))


def _start(
    session: Session, alone: Sequence[BoundEdit], rows: int, job: Job[Any]
) -> Generator[None, None, Start | None]:
    """The prompt's passes, from what is kept of the untouched one. None: it can't be kept."""
    prefix = yield from session.read(job)
    if not prefix.kept:
        return None
    n = session.n
    last, cache = prefix.last, prefix.cache
    if alone:
        while True:
            try:
                last, cache, _ = prefix.run(
                    alone, cached=True, check=lambda: job.check(preempt=True)
                )
                break
            except Preempted:
                yield
    base = prefix.cache
    whose = [n <= row < 2 * n for row in range(rows)]
    return Start(
        side_by_side([cache if steered else base for steered in whose]),
        torch.cat([last if steered else prefix.last for steered in whose]),
    )


class _Events:
    """Makes an ``Event`` of what each pass has left. Rows are laid out as the module says."""

    def __init__(self, n: int, prompt: int, meters: Meters, chosen: Sequence[int]) -> None:
        self._n = n
        self._chosen = torch.tensor(chosen, dtype=torch.int64)
        self._prompt = prompt
        self._meters = meters
        self._surprisal = torch.zeros(n)
        self._count = torch.zeros(n)
        self._divergence: list[int | None] = [None] * n
        # [base, steered, reader; samples]: rows that had ended before
        self._over = torch.zeros(3, n, dtype=torch.bool)

    def __call__(self, step: Step, log_p: torch.Tensor) -> Event:
        n = self._n
        base, steered = _side(step, 0, n), _side(step, n, n)
        gone = steered.tokens < 0
        tokens = steered.tokens.clamp_min(0)
        edited, plain = log_p[n : 2 * n], log_p[2 * n : 3 * n]
        base_logprobs = plain.gather(1, tokens[:, None])[:, 0].masked_fill(gone, torch.nan)
        self._surprisal -= base_logprobs.nan_to_num(0.0)
        self._count += ~gone
        for i in range(n):
            if self._divergence[i] is None and base.tokens[i] != steered.tokens[i]:
                self._divergence[i] = step.index
        both = torch.stack([plain, edited])
        ranks = [readouts.ranks(p, c.expand(n)) for p in both for c in self._chosen]
        shape = (2, len(self._chosen), n)
        chosen_ranks = torch.stack(ranks).view(shape) if ranks else torch.zeros(shape).long()
        rows, over = slice(n, 2 * n), self._over
        self._over = torch.stack([base.tokens < 0, gone, gone])
        return Event(
            index=step.index,
            base=base,
            steered=steered,
            kl=readouts.kl(plain, edited).masked_fill(gone, torch.nan),
            base_logprobs=base_logprobs,
            ranks=readouts.ranks(edited, tokens).masked_fill(gone, 0),
            base_ranks=readouts.ranks(plain, tokens).masked_fill(gone, 0),
            perplexity=(self._surprisal / self._count).exp(),
            divergence=list(self._divergence),
            read=self._prompt + step.index - 1,
            change={
                site: share[rows].masked_fill(over[1], torch.nan)
                for site, share in self._meters.shares().items()
            },
            activations={
                name: value[: 3 * n].view(3, n).masked_fill(over, torch.nan)
                for name, value in self._meters.activations().items()
            },
            chosen=both[..., self._chosen].masked_fill(gone[:, None], torch.nan),
            chosen_ranks=chosen_ranks.mT.masked_fill(gone[:, None], 0),
        )


def _side(step: Step, first: int, n: int) -> Side:
    rows = slice(first, first + n)
    return Side(
        step.tokens[rows],
        step.pieces[rows],
        step.logprobs[rows],
        step.entropy[rows],
        step.ended[rows],
    )
